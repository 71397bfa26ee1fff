package detect_test

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"time"

	"github.com/surefoot-go/surefoot/server/detect"
	"github.com/surefoot-go/surefoot/server/topology"
)

// load is how one target is called.
type load struct {
	rate   float64 // calls a second, Poisson
	errors float64 // share that fails
	slow   float64 // median milliseconds
	spread float64 // sigma of the lognormal
	reject float64 // calls a second that the callers' guards refuse
	batch  int     // spans arrive every so many seconds; 0 means 1
}

// world makes the running totals that a Graph would.
type world struct {
	seed  uint64
	now   int64
	names []string
	loads map[string]*load
	stats map[string]*topology.Stat
	held  map[string]topology.Stat
	luck  map[string]*rand.Rand // one for each target, so that their order does not matter
	r     *rand.Rand            // of the target at hand
}

func newWorld(seed uint64) *world {
	return &world{
		seed: seed, now: 1_800_000_000, luck: map[string]*rand.Rand{},
		loads: map[string]*load{}, stats: map[string]*topology.Stat{}, held: map[string]topology.Stat{},
	}
}

func (w *world) set(name string, l load) {
	if w.loads[name] == nil {
		kind, view := topology.External, topology.Callers
		s := &topology.Stat{Target: name}
		if svc, v, ok := detect.Split(name); ok {
			kind, view, s.Service, s.Version = topology.Service, topology.Own, svc, v
		} else if len(name) > 4 && name[:4] == "own/" {
			kind, view, s.Target = topology.Service, topology.Own, name[4:]
		}
		s.Kind, s.View = kind, view
		w.stats[name] = s
		w.names = append(w.names, name)
		h := fnv.New64a()
		h.Write([]byte(name))
		w.luck[name] = rand.New(rand.NewPCG(w.seed, h.Sum64()))
	}
	w.loads[name] = &l
}

func (w *world) poisson(mean float64) int {
	if mean > 50 {
		return max(0, int(math.Round(mean+math.Sqrt(mean)*w.r.NormFloat64())))
	}
	l, k, p := math.Exp(-mean), 0, 1.0
	for {
		if p *= w.r.Float64(); p <= l {
			return k
		}
		k++
	}
}

// bucketOf mirrors topology's: the first bucket whose bound is not below ms.
func bucketOf(ms float64) int {
	for i := range topology.Buckets {
		if ms <= topology.Bound(i) {
			return i
		}
	}
	return topology.Buckets - 1
}

// second lets one second pass and returns the totals.
func (w *world) second() (time.Time, []topology.Stat) {
	w.now++
	out := make([]topology.Stat, 0, len(w.names))
	for _, name := range w.names {
		l, s := w.loads[name], w.stats[name]
		w.r = w.luck[name]
		for range w.poisson(l.rate) {
			s.Calls++
			if w.r.Float64() < l.errors {
				s.Errors++
			}
			s.Latency[bucketOf(l.slow*math.Exp(l.spread*w.r.NormFloat64()))]++
		}
		s.Rejected += uint64(w.poisson(l.reject))
		if l.batch == 0 || w.now%int64(l.batch) == 0 {
			w.held[name] = *s
		}
		if h := w.held[name]; h.Calls > 0 || h.Rejected > 0 {
			out = append(out, h)
		}
	}
	return time.Unix(w.now, 0).UTC(), out
}

func show(s detect.Symptom) string {
	return fmt.Sprintf("%s %s", s.Target, s.Metric)
}
