package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/surefoot-go/surefoot/bench/command"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   string
	}{
		{[]float64{57.24}, "57.2 s"},
		{[]float64{3, 3, 3}, "3.0 s"},
		{[]float64{3.4, 2.9, 3.0}, "3.0 s (2.9 to 3.4 in 3 runs)"},
		{[]float64{1, 2}, "1.5 s (1.0 to 2.0 in 2 runs)"},
		{[]float64{0.154}, "0.15 s"},
		{[]float64{123.4}, "123 s"},
		{[]float64{1234567.8}, "1 234 568 s"},
		{[]float64{0}, "0.00 s"},
	} {
		if got := spread(c.values, "s"); got != c.want {
			t.Errorf("%v: %q, want %q", c.values, got, c.want)
		}
	}
}

func TestGoals(t *testing.T) {
	for _, c := range []struct {
		values []float64
		missed bool
	}{
		{[]float64{14.9}, false},
		{[]float64{15}, true}, // under means under
		{[]float64{3, 99, 4}, false},
		{[]float64{3, 99, 16}, true},
	} {
		if f := below("x", c.values, 15, "s", "y"); f.missed != c.missed || f.goal != "< 15 s" {
			t.Errorf("%v: %+v", c.values, f)
		}
	}
}

// A limit on memory holds always, not in half of the runs.
func TestMost(t *testing.T) {
	got := most("x", []float64{100, 800, 200}, 700, "MB", "y")
	if len(got) != 1 || !got[0].missed || got[0].measured != "800 MB (the most in 3 runs, median 200)" {
		t.Errorf("%+v", got)
	}
	if got := most("x", []float64{100}, 700, "MB", "y"); got[0].missed || got[0].measured != "100 MB" {
		t.Errorf("%+v", got)
	}
	if got := most("x", nil, 700, "MB", "y"); got != nil {
		t.Errorf("nothing measured gives %+v", got)
	}
}

// What is written can be read back, so that a part measured alone leaves the
// others as they were, and a miss is said on top wherever it stands.
func TestDocument(t *testing.T) {
	all := parts()
	d := document{
		all[0].title: section("Measured on a day.", []figure{below("`surefoot`, stripped", []float64{57}, 75, "MB", "go build")}),
		all[1].title: section("Measured on another.", []figure{plain("speed", []float64{5}, "s", "go test"), below("build", []float64{500}, 420, "s", "go build x")}),
	}
	text := d.text(all)
	for _, want := range []string{
		"# Numbers\n", "## Binaries\n\nMeasured on a day.\n", "| `surefoot`, stripped | 57.0 MB | < 75 MB | met | `go build` |\n",
		"| speed | 5.0 s |  |  | `go test` |\n", "Goals that are **missed**:\n\n- build: 500 s, goal < 420 s\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	again := parseDocument(text)
	if got := again.text(all); got != text {
		t.Errorf("read back it is\n%s\nnot\n%s", got, text)
	}
	again[all[1].title] = section("Measured later.", []figure{below("build", []float64{100}, 420, "s", "go build x")})
	text = again.text(all)
	if strings.Contains(text, "missed") || !strings.Contains(text, "All goals below are met.") || !strings.Contains(text, "Measured on a day.") {
		t.Errorf("after a better day:\n%s", text)
	}
	if empty := parseDocument(""); len(empty) != 0 {
		t.Errorf("nothing has the sections %v", empty)
	}
}

func TestFlagsAreRefused(t *testing.T) {
	for _, args := range [][]string{{"-parts", "sizes"}, {"-parts", ""}, {"-n", "0"}, {"now"}, {"-speed"}} {
		if err := run(context.Background(), args, io.Discard, io.Discard); !errors.As(err, new(command.Misuse)) {
			t.Errorf("%v: %v", args, err)
		}
	}
}
