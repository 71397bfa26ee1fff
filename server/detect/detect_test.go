package detect_test

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/server/detect"
	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/topology"
)

var update = flag.Bool("update", false, "rewrite the stories")

var (
	starts = flag.Int("starts", 30, "how many healthy starts to simulate")
	hours  = flag.Int("hours", 2, "how many healthy hours to simulate")
)

// TestHealthyLoadIsSilent: hours of Poisson load on 16 targets of all habits,
// among them failing, rare, spread out, bursty and stopping ones, and not one
// symptom. The figure: go test -run HealthyLoad -v -hours 48
func TestHealthyLoadIsSilent(t *testing.T) {
	n := 0
	for seed := range uint64(*hours) {
		n += healthy(t, 1+seed, 3600)
	}
	t.Logf("%d hours, %d judgements, no symptom", *hours, n)
}

// TestHealthyStartIsSilent: the first minutes, when little has been learnt, many
// times over. The figure: go test -run HealthyStart -v -starts 3000
func TestHealthyStartIsSilent(t *testing.T) {
	n := 0
	for seed := range uint64(*starts) {
		n += healthy(t, 1000+seed, 180)
	}
	t.Logf("%d starts, %d judgements, no symptom", *starts, n)
}

// healthy runs 16 healthy targets and returns how often one was judged.
func healthy(t *testing.T, seed uint64, seconds int) (steps int) {
	w := newWorld(seed)
	for name, l := range map[string]load{
		"shop": {rate: 20, errors: 0.001, slow: 5, spread: .5}, "own/shop": {rate: 20, errors: 0.001, slow: 5, spread: .5},
		"clean": {rate: 20, slow: 5, spread: .3}, "tail": {rate: 20, slow: 5, spread: 1.5},
		"busy": {rate: 200, errors: .002, slow: 2, spread: 1}, "poor": {rate: 20, errors: .05, slow: 20, spread: .7},
		"worse": {rate: 3, errors: .2, slow: 50, spread: .7}, "rare": {rate: .1, errors: .01, slow: 100, spread: 1},
		"slow": {rate: 5, errors: .005, slow: 900, spread: .8}, "batch": {rate: 20, errors: .005, slow: 5, spread: .8, batch: 5},
		"shop@v1": {rate: 18, errors: .002, slow: 5, spread: .5}, "shop@v2": {rate: 2, errors: .002, slow: 5, spread: .5},
		"stop": {rate: 20, errors: .003, slow: 5, spread: .6}, "ramp": {rate: 1, errors: .003, slow: 5, spread: .6},
		"drift": {rate: 20, errors: .003, slow: 5, spread: .6}, "probe": {rate: .5, slow: 3, spread: .2},
	} {
		w.set(name, l)
	}
	var d detect.Detector
	for s := range seconds {
		switch { // traffic stops and comes back; grows; latency drifts over half an hour
		case s%1800 == 600:
			w.set("stop", load{})
		case s%1800 == 900:
			w.set("stop", load{rate: 20, errors: .003, slow: 5, spread: .6})
		}
		w.set("ramp", load{rate: 1 + 50*(1+math.Sin(float64(s)/600)), errors: .003, slow: 5, spread: .6})
		w.set("drift", load{rate: 20, errors: .003, slow: 5 * (2 + math.Sin(float64(s)/1800)), spread: .6})
		now, stats := w.second()
		for _, sym := range d.Step(now, stats) {
			t.Fatalf("seed %d, second %d: %+v", seed, s, sym)
		}
		steps += len(stats)
	}
	return steps
}

func TestSingleErrorsAndStartUpAreSilent(t *testing.T) {
	t.Run("start-up", func(t *testing.T) {
		w := newWorld(1)
		w.set("bank", load{rate: 20, errors: 1, slow: 1}) // peers are not there yet
		var d detect.Detector
		for s := range 120 {
			if s == 8 {
				w.set("bank", load{rate: 20, slow: 5, spread: .3})
			}
			if now, stats := w.second(); len(d.Step(now, stats)) > 0 {
				t.Fatalf("second %d: a symptom", s)
			}
		}
	})
	t.Run("four in a row", func(t *testing.T) {
		w := newWorld(1)
		w.set("bank", load{rate: 1, slow: 5})
		var d detect.Detector
		for s := range 600 {
			now, stats := w.second()
			if s%100 > 95 && len(stats) > 0 {
				w.stats["bank"].Errors++
				w.stats["bank"].Calls++
			}
			if len(d.Step(now, stats)) > 0 {
				t.Fatalf("second %d: a symptom", s)
			}
		}
	})
	t.Run("one burst", func(t *testing.T) {
		w := newWorld(1)
		w.set("bank", load{rate: 20, slow: 5})
		var d detect.Detector
		for s := range 300 {
			if s%60 == 50 { // a connection with a dozen calls on it breaks
				w.stats["bank"].Errors += 12
				w.stats["bank"].Calls += 12
			}
			if now, stats := w.second(); len(d.Step(now, stats)) > 0 {
				t.Fatalf("second %d: a symptom", s)
			}
		}
	})
}

// TestStories runs testdata/*.txt: what is done, ----, what is told and when.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no stories", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			script, want, _ := strings.Cut(string(raw), "----\n")
			got := tell(t, script)
			if *update {
				if err := os.WriteFile(f, []byte(script+"----\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got:\n%swant:\n%s", got, want)
			}
		})
	}
}

// tell runs a script of lines "set TARGET key=value..." and "run SECONDS", and
// writes a line whenever a symptom comes (+) or goes (-).
func tell(t *testing.T, script string) string {
	var out strings.Builder
	w := newWorld(7)
	var d detect.Detector
	was := map[string]detect.Symptom{}
	start := w.now
	for _, line := range strings.Split(script, "\n") {
		f := strings.Fields(line)
		switch {
		case len(f) == 0 || strings.HasPrefix(line, "#"):
		case f[0] == "set":
			l := load{spread: .3}
			for _, kv := range f[2:] {
				k, v, _ := strings.Cut(kv, "=")
				x, err := strconv.ParseFloat(v, 64)
				if err != nil {
					t.Fatal(line, err)
				}
				switch k {
				case "rate":
					l.rate = x
				case "errors":
					l.errors = x
				case "ms":
					l.slow = x
				case "rejected":
					l.reject = x
				case "batch":
					l.batch = int(x)
				default:
					t.Fatal("unknown:", line)
				}
			}
			w.set(f[1], l)
		case f[0] == "run":
			n, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			for range n {
				now, stats := w.second()
				is := map[string]detect.Symptom{}
				active := d.Step(now, stats)
				for _, s := range active {
					is[show(s)] = s
					if _, old := was[show(s)]; !old {
						fmt.Fprintf(&out, "%ds + %s %s, usually %s, since %ds\n", w.now-start, show(s), value(s.Metric, s.Value), value(s.Metric, s.Baseline), s.Since.Unix()-start)
					}
				}
				for _, k := range sorted(was) {
					if _, still := is[k]; !still {
						fmt.Fprintf(&out, "%ds - %s\n", w.now-start, k)
					}
				}
				was = is
			}
		default:
			t.Fatal("unknown:", line)
		}
	}
	fmt.Fprintf(&out, "%ds end, %d active\n", w.now-start, len(was))
	return out.String()
}

func value(metric string, v float64) string {
	if metric == detect.ErrorShare {
		return fmt.Sprintf("%.1f %%", 100*v)
	}
	return fmt.Sprintf("%.0f ms", v)
}

func sorted(m map[string]detect.Symptom) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	for i := range out {
		for j := i; j > 0 && out[j] < out[j-1]; j-- {
			out[j], out[j-1] = out[j-1], out[j]
		}
	}
	return out
}

// TestPaint goes from spans to colours: the way server wires the rooms.
func TestPaint(t *testing.T) {
	var g topology.Graph
	var d detect.Detector
	t0 := time.Unix(1_800_000_000, 0)
	id := byte(0)
	var shown topology.Topology
	for s := range 90 {
		now := t0.Add(time.Duration(s) * time.Second)
		var spans []store.Span
		for n := range 10 {
			id++
			trace := store.TraceID{id, byte(s), byte(n)}
			root := store.Span{Resource: store.Resource{Service: "payment"}, TraceID: trace, ID: store.SpanID{1}, Kind: store.KindServer, Duration: time.Millisecond}
			call := store.Span{Resource: store.Resource{Service: "payment"}, TraceID: trace, ID: store.SpanID{2}, Parent: store.SpanID{1}, Kind: store.KindClient,
				Duration: time.Millisecond, Error: s > 80, Attrs: map[string]string{"peer.service": "bank"}}
			spans = append(spans, root, call)
		}
		g.Fold(spans, now)
		shown = detect.Paint(g.Snapshot(now), d.Step(now, g.Stats(now)))
	}
	bank, _ := shown.Node("bank")
	payment, _ := shown.Node("payment")
	if bank.State != topology.Bad || payment.State != topology.OK || shown.Edges[0].State != topology.Bad {
		t.Errorf("bank %s, payment %s, edge %s, want bad, ok, bad", bank.State, payment.State, shown.Edges[0].State)
	}
}

func BenchmarkStep(b *testing.B) {
	w := newWorld(1)
	for i := range 100 {
		w.set(fmt.Sprint("t", i), load{rate: 20, errors: .01, slow: 5, spread: .5})
	}
	var d detect.Detector
	for range 120 {
		now, stats := w.second()
		d.Step(now, stats)
	}
	for b.Loop() {
		b.StopTimer()
		now, stats := w.second()
		b.StartTimer()
		d.Step(now, stats)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/100, "µs/target")
}
