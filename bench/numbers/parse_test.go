package main

import (
	"maps"
	"slices"
	"testing"
)

func TestMeasured(t *testing.T) {
	for _, c := range []struct {
		name, story string
		want        map[string]float64
	}{
		{"a story", `
Surefoot demo: the bank goes down under load and comes back
  Running   8 processes, 20 orders a second, open loop
  │   ✓ orders not settled: 0

Measured
  control plane ready after            0.1 s
  fault to symptom                     3.0 s
  memory, shared pages counted once    190 MB
  orders accepted                      1472
    +49.0s  ✓ the story came true
`, map[string]float64{"control plane ready after": 0.1, "fault to symptom": 3, resident: 190 << 20, "orders accepted": 1472}},
		{"painted, long names, other units", "\x1b[1mMeasured\x1b[0m\r\n  a name that is longer than the column is wide 850 ms\r\n  fault to diagnosis  2 min\r\n",
			map[string]float64{"a name that is longer than the column is wide": 0.85, diagnosis: 120}},
		{"what is no figure", "Measured\n  origin       bank\n  share        4 %\n  at           12.5.1 s\n\nNext\n  later        3 s\n", nil},
		{"figures before the block do not count", "  fault to symptom   3.0 s\n", nil},
		{"the word inside a line", "  Measured\n  fault to symptom   3.0 s\n", nil},
		{"nothing", "", nil},
	} {
		if got := measured(c.story); !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestBenchmarks(t *testing.T) {
	got := benchmarks(`goos: linux
cpu: something fast
BenchmarkSpans/senders=1         	     132	   9012345 ns/op	  11.20 MB/s	         1.000 cpus	     56789 spans/s	  512 B/op	       3 allocs/op
BenchmarkSpans/senders=1-2       	     140	   9000000 ns/op	  11.30 MB/s	         1.000 cpus	     57001 spans/s	  512 B/op	       3 allocs/op
BenchmarkSpans/senders=8
BenchmarkBytesPerSpan/batch=512-2	       1	6012345678 ns/op	        21.50 disk-B/span	       310.1 otlp-B/span
BenchmarkBroken                  	     one	   9 ns/op
--- BENCH: BenchmarkSpans/senders=1
PASS
ok  	github.com/surefoot-go/surefoot/server/ingest	12.3s
`)
	if v := got["BenchmarkSpans/senders=1"]["spans/s"]; !slices.Equal(v, []float64{56789, 57001}) {
		t.Errorf("spans/s: %v", v)
	}
	if v := got["BenchmarkBytesPerSpan/batch=512"]["disk-B/span"]; !slices.Equal(v, []float64{21.5}) {
		t.Errorf("disk-B/span: %v", v)
	}
	if len(got) != 2 {
		t.Errorf("%d benchmarks: %v", len(got), got)
	}
}

func TestReadyAt(t *testing.T) {
	line := "surefoot is ready after 0.2 s: console http://127.0.0.1:26600, OTLP gRPC 127.0.0.1:26601, data in /tmp/x\n"
	if url, ok := readyAt(line); !ok || url != "http://127.0.0.1:26600" {
		t.Errorf("%q %v", url, ok)
	}
	for _, bad := range []string{"", "surefoot is ready\n", "time=... msg=\"surefoot is ready: console http://x\"\n"} {
		if url, ok := readyAt(bad); ok {
			t.Errorf("%q gives %q", bad, url)
		}
	}
}

func TestService15(t *testing.T) {
	code, ok := service15("# S\n```go\nno\n```\n<!-- service15 -->\n```go\npackage main\n```\ntext\n```go\nno\n```\n")
	if !ok || code != "package main\n" {
		t.Errorf("%q %v", code, ok)
	}
	if _, ok := service15("<!-- service15 -->\nno code\n"); ok {
		t.Error("a README without the service has one")
	}
}

func TestProc(t *testing.T) {
	const status = "Name:\tsurefoot\nVmRSSX:\t1 kB\nVmRSS:\t   66016 kB\nRssAnon:\t   10020 kB\nVmBad:\tmany kB\n"
	for key, want := range map[string]int64{"VmRSS": 66016 << 10, "RssAnon": 10020 << 10, "VmBad": 0, "Pss": 0} {
		if got := kilobytes(status, key); got != want {
			t.Errorf("%s: %d, want %d", key, got, want)
		}
	}
	for stat, want := range map[string]int{
		"4242 (surefoot) S 17 4242 1 0 -1": 17, "1 (a) b (c) S 99 1": 99, "1 (half": 0, "2 (x) S": 0, "2 (x) S y": 0, "": 0,
	} {
		if got := parent(stat); got != want {
			t.Errorf("parent in %q: %d, want %d", stat, got, want)
		}
	}
}
