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

	"github.com/surefoot-go/surefoot/bench/command"
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

// complete has a figure for every goal, all of them met.
func complete() figures {
	f := figures{}
	for _, g := range goals {
		f.add(g.which, g.ours(), "ns/op", 10)
		f.add(g.which, "slower", "ns/op", 123.4)
		f.add(g.which, "slower", "allocs/op", 1)
		if g.over != "" {
			f.add(g.which, g.over, "ns/op", 4)
		}
	}
	for _, g := range shares {
		for library, v := range map[string]float64{bare: 1, ours: 0.9, "kratos": 0.5} {
			f.add(g.which, library, "of-bare", v)
			f.add(g.which, library, "req/s", 1000*v)
			f.add(g.which, library, "cpu-ns/req", 20000)
			f.add(g.which, library, "refused", 0)
		}
	}
	f.read("BenchmarkFlight/hold/bare 1 100000 most 0 lost 0 wrong 20480 B/op 2 goroutines 1.5 p50-ms 4.25 p99-ms 9 max-ms 80.1 cpu-us/req 100000 n 4000 rate 26 hold-s\n" +
		"BenchmarkFlight/hold/surefoot 1 99990 most 0 lost 0 wrong 40960 B/op 2 goroutines 1.5 p50-ms 6.25 p99-ms 9 max-ms 99.9 cpu-us/req 100000 n 4000 rate 26 hold-s\n")
	return f
}

func TestDocument(t *testing.T) {
	f := complete()
	f.add("Breaker/closed", "surefoot-classic", "ns/op", 20)
	all, err := document("Measured today.", f)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Measured today.", "All goals are met.", "19 项目标中达到 19 项。全部达到。", "(overload.md)", "(safety.md)",
		"| breaker closed, windowed | ≤ 70 ns, 0 allocs | 10.0 ns, 0 allocs, 0 B | met | surefoot-classic 20.0 ns, 0 allocs, 0 B; slower 123 ns, 1 alloc, 0 B | `go test -run '^$' -bench '^BenchmarkBreaker$/^closed$' ./bench/peers` |",
		"| HTTP client add-on: retry, breaker, budget | ≤ 150 ns, 2 allocs more than bare | 6.0 ns, 0 allocs, 0 B | met | slower 119 ns, 1 alloc, 0 B |",
		"| Breaker/closed | **surefoot-classic** | 20.0 | 20.0 – 20.0 | 0 | 0 |",
		"| HTTP server, all guards and telemetry on, every trace recorded | ≥ 0.80 of net/http, best of all | 0.90 | met | kratos 0.50 | `go run ./bench/serving -only HTTPServer/always` |",
		"| HTTPServer/always | **surefoot** | 900 | 0.900 | 0.900 – 0.900 | 20.0 | 0.0 |",
		"| **surefoot** | 99990 | 0 | 0 | 40960 | 2 | 1.5 | 6.2 | 9 | 99.9 |",
		"\n100,000 requests in flight in one process:", "; 4,000 a second in an open loop, each held by the downstream for 26 s,",
		"None lost: met. At p99 ours answers 2.0 ms later than bare (goal: at most 5 ms): met. What a request in flight holds: 40.0 KiB, bare 20.0 KiB.",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
}

func TestDocumentMissed(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(figures)
		want   string
	}{
		{"a call", func(f figures) { f["Breaker/open"][ours]["ns/op"] = []float64{99, 1, 98} },
			"- breaker open: 98.0 ns, 0 allocs, 0 B; goal ≤ 45 ns, 0 allocs\n"},
		{"a server's share", func(f figures) { f["GRPCServer/always"][ours]["of-bare"] = []float64{0.5, 0.6, 0.9} },
			"- gRPC server, all guards and telemetry on, every trace recorded: 0.60 of grpc-go; goal ≥ 0.85 of grpc-go, best of all; best it is\n"},
		{"a better server", func(f figures) { f["HTTPServer/always"]["kratos"]["of-bare"] = []float64{0.95} },
			"- HTTP server, all guards and telemetry on, every trace recorded: 0.90 of net/http; goal ≥ 0.80 of net/http, best of all\n"},
		{"a lost request", func(f figures) { f[flightCase][ours]["lost"] = []float64{3} },
			"- 100,000 requests in flight, none lost: 3 lost or failed\n"},
		{"a late answer", func(f figures) { f[flightCase][ours]["p99-ms"] = []float64{19.25} },
			"- 100,000 requests in flight, our overhead at p99: 15.0 ms more than bare; goal ≤ 5 ms\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := complete()
			c.change(f)
			got, err := document("", f)
			if want := "Goals that are **missed**:\n\n" + c.want + "\n"; err != nil || !strings.Contains(got, want) || !strings.Contains(got, "19 项目标中达到 18 项。未达到：") {
				t.Errorf("no %q (%v) in\n%s", want, err, got)
			}
			if strings.Count(got, "**missed**") != 2 {
				t.Errorf("want one goal missed:\n%s", got)
			}
		})
	}
}

func TestDocumentIncomplete(t *testing.T) {
	for _, gone := range []string{ours, "surefoot-policies", bare} {
		f := complete()
		delete(f["HTTPClient/get"], gone)
		_, err := document("", f)
		if wrong := err != nil; wrong != (gone != ours) {
			t.Errorf("without %s: %v", gone, err)
		}
	}
	f := complete()
	for _, g := range shares {
		delete(f, g.which)
	}
	delete(f, flightCase)
	if got, err := document("", f); err != nil || strings.Count(got, "ot measured in this run") != 5 || !strings.Contains(got, "13 项目标中达到 13 项") {
		t.Errorf("without servers: %v\n%s", err, got)
	}
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{{"-count", "0"}, {"-benchtime", "-1s"}, {"-rounds", "-1"}, {"-inflight", "-1"}, {"-count", "many"}, {"extra"}} {
		if err := run(context.Background(), args, io.Discard, io.Discard); !errors.As(err, new(command.Misuse)) {
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
