package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/bench/command"
)

func TestRead(t *testing.T) {
	all, err := read(strings.NewReader(`{"table":"storm","case":"stall","library":"surefoot","seed":3,"values":{"recovered":0.5},"line":[1,0.5]}
{"table":"storm","case":"stall","library":"surefoot","seed":4,"values":{"recovered":0.75},"line":[1,0]}
{"table":"storm","case":"stall","library":"none","values":{"recovered":1000000}}
`))
	if err != nil {
		t.Fatal(err)
	}
	some := all.of(tableStorm, caseStall, self)
	if len(some) != 2 || some.median("recovered") != 0.5 || some.worst("recovered") != 0.75 {
		t.Errorf("%d stories, median %v, worst %v", len(some), some.median("recovered"), some.worst("recovered"))
	}
	if got := some.line(); !slices.Equal(got, []float64{1, 0.25}) {
		t.Errorf("line %v", got)
	}
	if got := all.libraries(tableStorm); !slices.Equal(got, []string{self, "none"}) {
		t.Errorf("libraries %v", got)
	}
	if got := figures(nil); got.median("x") != 0 || got.worst("x") != 0 || got.line() != nil {
		t.Error("no stories have values")
	}
	if _, err := read(strings.NewReader("{}\nnonsense\n")); err == nil || !strings.Contains(err.Error(), "figure 2") {
		t.Errorf("nonsense: %v", err)
	}
}

// invented has a figure of ours for every goal, at its bound, and one peer.
func invented() figures {
	var all figures
	for _, g := range goals {
		v := g.least
		if v == 0 {
			v = g.most
		}
		all = append(all,
			figure{Table: g.table, Case: g.which, Library: self, Values: map[string]float64{g.value: v}, Line: make([]float64, 180)},
			figure{Table: g.table, Case: g.which, Library: "peer", Values: map[string]float64{g.value: never}})
	}
	return all
}

func TestDocument(t *testing.T) {
	all, err := document("Told today.", invented())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Told today.", "All goals are met.", "中文摘要",
		"| goodput at 2x | ≥ 0.98 | 0.98 (median of 1) | met |",
		"| breakers that opened again after recovery (stall) | 0 | 0 (worst of 1) | met |",
		"| attempts at C per call at A, C down | ≤ 1.2 | 1.2 (worst of 1) | met |",
		"| stall | peer | never (never ✗) | never ✗ |",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}

	worse := append(invented(), figure{Table: tableStorm, Case: caseStall, Library: self, Values: map[string]float64{"recovered": 3.25}})
	text, err := document("", worse)
	if want := "Goals that are **missed**:\n\n- seconds from the end of the storm to 95 % goodput (stall): 3.25; goal ≤ 1\n\n"; err != nil || !strings.Contains(text, want) {
		t.Errorf("no %q (%v) in\n%s", want, err, text)
	}
	if strings.Count(text, "| **missed** |") != 1 {
		t.Errorf("want one row missed:\n%s", text)
	}

	if _, err := document("", invented()[2:]); err == nil || !strings.Contains(err.Error(), "goodput at 2x") {
		t.Errorf("a goal without a figure: %v", err)
	}
}

func TestSpark(t *testing.T) {
	for _, c := range []struct {
		line     []float64
		from, to int
		want     string
	}{
		{[]float64{0, 0.1, 0.2, 0.5, 0.9, 0.94, 0.95, 1}, 0, 8, "▁▁▂▄▇▇██"},
		{[]float64{0, 1, 0}, 1, 2, "█"},
		{[]float64{1}, 4, 9, ""},
		{nil, 0, 3, ""},
	} {
		if got := spark(c.line, c.from, c.to); got != c.want {
			t.Errorf("%v: %q, want %q", c.line, got, c.want)
		}
	}
	if got := bySecond([]float64{1, 1, 0, 0, 1}); !slices.Equal(got, []float64{0.5, 1}) {
		t.Errorf("by second %v", got)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.5: "0.5", 1.23456: "1.23", 40: "40", never: "never"} {
		if got := number(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{{"-seeds", "0"}, {"-seeds", "many"}, {"extra"}, {"-unknown"}} {
		if err := run(context.Background(), args, io.Discard, io.Discard); !errors.As(err, new(command.Misuse)) {
			t.Errorf("%v: %v, want a misuse", args, err)
		}
	}
}

func TestSurroundings(t *testing.T) {
	got := surroundings(time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC), 90*time.Second, 20)
	if !strings.HasPrefix(got, "Told on 2026-11-23 in 1m30s: ") || !strings.Contains(got, "seeds 0 to 19") {
		t.Error(got)
	}
}
