// Package vitals watches the process it runs in for what grows without end:
// goroutines, live heap, descriptors, timers, stacks; and for a collector, a
// scheduler or locks that hold work up. It says so in one sentence while the
// trouble is small:
//
//	+982 goroutines created at order/outbox.go:88 by order.(*Outbox).Flush,
//	blocked on channel send at order/outbox.go:91, first seen in v1.8
//
// Package service has it on by default. Without package service:
//
//	w := &vitals.Watch{Version: "v1.8"}
//	task := safe.Go(ctx, "vitals", w.Run) // until ctx ends
//
// It reads a few counters on a slow beat and takes profiles only on a suspicion
// and each ten minutes: `go test ./vitals -bench .` tells the price. No value of
// the program is in what it reports, only functions, places and counts, besides
// trace ids and the names given to safe.Go.
//
// It does not turn on the runtime's block profile, which costs each blocking
// operation: where goroutines are blocked, and for how long, the dump says too.
// How often the collector runs is a metric; a finding is what that costs.
//
// It stops nothing and kills nothing, does not see other processes, and is no
// profiler: see /debug/pprof of package service. Connections that others opened
// and leave idle are no leak here; it watches their descriptors.
package vitals

import (
	"cmp"
	"context"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/observe"
)

// Settings say what is worth a finding. The zero value is what the fields'
// comments say. It is plain data.
type Settings struct {
	// Every is the time between two beats; 0 means 2s, as often as module
	// telemetry sends metrics; negative means that nothing is watched. Spans of
	// time below are given at 2s and grow and shrink with it.
	Every time.Duration
	// Goroutines is how many there have to be in all, besides growing, before
	// they are a finding; 0 means 1000, negative means they are not watched. Half
	// as many in one group are one, too, and any number that the runtime's own
	// leak profile proves, from 20 on: fewer hurt nobody and cost a night's
	// sleep. From a quarter on, growth raises a suspicion.
	//
	// A group is the goroutines that run one function and are blocked at one
	// place. It is a leak when it keeps growing over 30s and of those that were
	// there 30s ago four fifths still are: 30s is the longest that requests
	// commonly may take, so that a slow target below is over, or known otherwise,
	// by then.
	Goroutines int
	// HeapPerMinute is how many bytes the live heap may grow in a minute, over 5
	// minutes, the first 2 after a start left out; 0 means 10 MB, with which a
	// container of 1 GB is full within two hours; negative means it is not
	// watched. Growth that slows down is a cache that fills, and none; one
	// that fills as fast to the last is reported until it is full.
	HeapPerMinute int64
	// Descriptors is how many have to be open, besides growing for 5 minutes by
	// more than connections explain, to be a finding; 0 means 1000, the limit of
	// old systems (1024); negative means they are not watched. Four fifths of the
	// process's limit are one in any case.
	Descriptors int
	// Timers is how many have to be alive, by an estimate from the heap profile,
	// and more each ten minutes three times running; 0 means 100000, a hundred for
	// each goroutine that would be a finding; negative means they are not watched.
	// The runtime does not count them.
	Timers int
	// GCShare is how much of the processors' time the garbage collector may take
	// over a minute; 0 means 0.25, what the runtime allots to its background
	// workers while a cycle runs: more means that it always runs and that
	// requests have to help. Negative means it is not watched.
	GCShare float64
	// GCPause is how long the 99th percentile of the collector's pauses may be
	// over a minute; 0 means 10ms, the goal of Go 1.5, which today's is far below;
	// negative means it is not watched.
	GCPause time.Duration
	// SchedWait is how long the 99th percentile of goroutines that could run may
	// wait for a processor over a minute; 0 means 50ms, five times the slice of
	// time after which the runtime takes a processor away; negative means it is
	// not watched.
	SchedWait time.Duration
	// MutexWait is how many seconds goroutines may wait for locks in each second,
	// together, over a minute; 0 means 10, a queue of ten at all times; negative
	// means it is not watched.
	MutexWait float64
	// StackPerMinute is how many bytes the stacks may grow in a minute, over 5
	// minutes, when there are over 256 MB of them and over 64 KiB for each
	// goroutine, eight times what a connection of net/http takes; 0 means 10 MB;
	// negative means they are not watched.
	StackPerMinute int64
	// Trace keeps the last so many seconds of the execution trace (the flight
	// recorder) and sets them aside when a finding opens, for WriteTrace; 0 or
	// negative means it is off, because it runs all the time: see BenchmarkTrace. It takes
	// up to 16 MB, twice. It never leaves the process by itself.
	Trace time.Duration
}

// Watch watches this process. Set the fields, then call Run once. The zero value
// works. Its methods are safe for concurrent use. Profiles are of the whole
// process, so one Watch is enough.
type Watch struct {
	Settings Settings
	// Observe is where findings and metrics go; empty fields mean the process's own.
	Observe observe.Sinks
	Version string // of the program, to say in a finding

	armed  atomic.Int64 // how many more requests get their trace id as a label
	mu     sync.Mutex
	last   Sample
	open   []Finding
	looked time.Duration // spent on profiles so far
	sites  []Site        // of contended locks
	timers int
	ran    bool
	trace  tracer
}

// Run watches until ctx ends, then closes what is open and returns nil. It
// starts no goroutine. With a negative Settings.Every it returns at once; a second call is
// an error. What it reports, each time as one log record on Observe.Log at level
// Warn with the sentence as message and attributes surefoot.finding...: a finding
// when it opens and every 30s while it holds, and at level Info when it closes.
func (w *Watch) Run(ctx context.Context) error {
	if w.Settings.Every < 0 {
		return nil
	}
	w.mu.Lock()
	ran := w.ran
	w.ran = true
	w.mu.Unlock()
	if ran {
		return errs.New(errs.Invalid, "vitals.Run", "Run was called twice; make a new Watch")
	}
	l := newLoop(w)
	defer l.end(context.WithoutCancel(ctx))
	tick := time.NewTicker(w.Settings.orDefault().Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			l.beat(ctx, now)
		}
	}
}

// Findings returns those that are open, the oldest first; there are 12 at most.
func (w *Watch) Findings() []Finding {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := slices.Clone(w.open)
	slices.SortFunc(out, func(a, b Finding) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID)) })
	return out
}

// Last returns what the last beat read; the zero Sample before the first.
func (w *Watch) Last() Sample {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// WriteTrace writes the execution trace that was set aside when the last finding
// opened, for go tool trace. It fails with an error of Kind errs.NotFound
// if there is none. It shows more than findings do: keep it on this machine.
func (w *Watch) WriteTrace(to io.Writer) error {
	if n, err := w.trace.copy(to); n > 0 || err != nil {
		return err
	}
	return errs.New(errs.NotFound, "vitals.WriteTrace", "no trace was kept: set Settings.Trace and wait for a finding")
}

func (s Settings) orDefault() Settings {
	s.Every = cmp.Or(s.Every, 2*time.Second)
	s.Goroutines = cmp.Or(s.Goroutines, 1000)
	s.HeapPerMinute = cmp.Or(s.HeapPerMinute, 10e6)
	s.Descriptors = cmp.Or(s.Descriptors, 1000)
	s.Timers = cmp.Or(s.Timers, 100_000)
	s.GCShare = cmp.Or(s.GCShare, 0.25)
	s.GCPause = cmp.Or(s.GCPause, 10*time.Millisecond)
	s.SchedWait = cmp.Or(s.SchedWait, 50*time.Millisecond)
	s.MutexWait = cmp.Or(s.MutexWait, 10)
	s.StackPerMinute = cmp.Or(s.StackPerMinute, 10e6)
	return s
}
