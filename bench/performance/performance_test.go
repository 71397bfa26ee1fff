package main

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

const printed = `goos: linux
cpu: something fast
BenchmarkBreaker/open/surefoot-2         	  320398	        40.5 ns/op	       0 B/op	       0 allocs/op
BenchmarkBreaker/open/failsafe-go-2      	   56587	       356.7 ns/op	     352 B/op	      13 allocs/op
BenchmarkBreaker/open/x-time-rate        	   56587	       1e+03 ns/op
BenchmarkBreaker/open/late-2
BenchmarkBreaker/open/broken-2           	     one	   9 ns/op	       0 B/op
BenchmarkBreaker/open-2                  	       5	   9 ns/op	       0 B/op
--- BENCH: BenchmarkBreaker/open/surefoot-2
PASS
ok  	github.com/surefoot-go/surefoot/bench/peers	1.370s
`

func TestRead(t *testing.T) {
	f := figures{}
	f.read(printed)
	f.read(strings.ReplaceAll(printed, "40.5 ns/op", "50.5 ns/op"))
	f.read("")
	if got := slices.Sorted(maps.Keys(f)); !slices.Equal(got, []string{"Breaker/open"}) {
		t.Errorf("cases %v", got)
	}
	if got := slices.Sorted(maps.Keys(f["Breaker/open"])); !slices.Equal(got, []string{"failsafe-go", "surefoot", "x-time-rate"}) {
		t.Errorf("libraries %v", got)
	}
	for library, want := range map[string]cost{
		"surefoot":    {ns: 45.5, low: 40.5, high: 50.5},
		"failsafe-go": {ns: 356.7, low: 356.7, high: 356.7, allocs: 13, bytes: 352},
		"x-time-rate": {ns: 1000, low: 1000, high: 1000},
	} {
		if got, ok := f.cost("Breaker/open", library); !ok || got != want {
			t.Errorf("%s costs %+v, %v; want %+v", library, got, ok, want)
		}
	}
	if _, ok := f.cost("Breaker/open", "broken"); ok {
		t.Error("a broken line has a cost")
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1}, 5}, {[]float64{9, 1, 2}, 2}} {
		if got := median(c.values); got != c.want {
			t.Errorf("%v: %v, want %v", c.values, got, c.want)
		}
	}
}

func TestMet(t *testing.T) {
	limited := goal{ns: 800, allocs: 5, bytes: 300}
	parallel := goal{serial: "x"}
	for _, c := range []struct {
		name   string
		g      goal
		c      cost
		serial cost
		want   bool
	}{
		{"at the limit", limited, cost{ns: 800, allocs: 5, bytes: 300}, cost{}, true},
		{"too slow", limited, cost{ns: 801}, cost{}, false},
		{"too many allocations", limited, cost{allocs: 6}, cost{}, false},
		{"too many bytes", limited, cost{bytes: 301}, cost{}, false},
		{"no worse", parallel, cost{ns: 109}, cost{ns: 100}, true},
		{"worse", parallel, cost{ns: 111}, cost{ns: 100}, false},
		{"allocates", parallel, cost{ns: 1, allocs: 1}, cost{ns: 100}, false},
	} {
		if got := c.g.met(c.c, c.serial); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestDocument(t *testing.T) {
	f := figures{}
	for _, g := range goals {
		f.add(g.which, ours, "ns/op", 10)
		f.add(g.which, "slower", "ns/op", 123.4)
		f.add(g.which, "slower", "allocs/op", 1)
		if g.over != "" {
			f.add(g.which, g.over, "ns/op", 4)
		}
	}
	f.add("Breaker/closed", "surefoot-classic", "ns/op", 20)
	all, err := document("Measured today.", f)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Measured today.", "All goals in the table are met.", "Goals that are **open**", "lazily",
		"| breaker closed, windowed | ≤ 70 ns, 0 allocs | 10.0 ns, 0 allocs, 0 B | met | slower 123 ns, 1 alloc, 0 B | `go test -run '^$' -bench '^BenchmarkBreaker$/^closed$' ./bench/peers` |",
		"| HTTP client add-on | ≤ 150 ns, 2 allocs more than bare | 6.0 ns, 0 allocs, 0 B | met | slower 119 ns, 1 alloc, 0 B |",
		"| Breaker/closed | **surefoot-classic** | 20.0 | 20.0 – 20.0 | 0 | 0 |",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}

	f["Breaker/open"][ours]["ns/op"] = []float64{99, 1, 98}
	one, err := document("", f)
	if want := "Goals that are **missed**:\n\n- breaker open: 98.0 ns, 0 allocs, 0 B; goal ≤ 45 ns, 0 allocs\n"; err != nil || !strings.Contains(one, want) {
		t.Errorf("no %q (%v) in\n%s", want, err, one)
	}
	if strings.Count(one, "| **missed** |") != 1 {
		t.Errorf("want one row missed:\n%s", one)
	}

	delete(f["HTTPClient/get"], "bare")
	if _, err := document("", f); err == nil || !strings.Contains(err.Error(), "HTTPClient/get") {
		t.Errorf("a goal without its base: %v", err)
	}
	f.add("HTTPClient/get", "bare", "ns/op", 4)
	delete(f["Breaker/open"], ours)
	if _, err := document("", f); err == nil || !strings.Contains(err.Error(), "Breaker/open") {
		t.Errorf("a goal without a figure: %v", err)
	}
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{{"-count", "0"}, {"-benchtime", "-1s"}, {"-count", "many"}, {"extra"}} {
		if err := run(context.Background(), args, io.Discard, io.Discard); !errors.As(err, new(misuse)) {
			t.Errorf("%v: %v, want a misuse", args, err)
		}
	}
}

func TestSurroundings(t *testing.T) {
	got := surroundings(time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC), 5, 100*time.Millisecond)
	if !strings.HasPrefix(got, "Measured on 2026-11-23: ") || !strings.Contains(got, "medians of 5 rounds of 100ms") {
		t.Error(got)
	}
}
