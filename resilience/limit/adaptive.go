package limit

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/surefoot-go/surefoot/resilience/internal/knee"
)

// AdaptiveSettings bound what an Adaptive may find. They are plain data: decode
// them, compare them, replace them with Set while calls run.
type AdaptiveSettings struct {
	// Start is the first limit; 0 or negative means 64. Ten times too many or
	// too few is put right within 3s for a target that takes 20ms (go test -run
	// Adaptive -v ./resilience/limit).
	Start int
	// Min is the lowest limit; 0 or negative means 1.
	Min int
	// Max is the highest; 0 or negative means 10000, which is about 100 MB of
	// goroutines that wait.
	Max int
	// Queue and MaxWait are those of BulkheadSettings: 0 or negative means no
	// queue, and a MaxWait of 0 means 1s.
	Queue   int
	MaxWait time.Duration
}

// OrDefault returns s with every zero field replaced by its default.
func (s AdaptiveSettings) OrDefault() AdaptiveSettings {
	if s.Start <= 0 {
		s.Start = 64
	}
	if s.Min <= 0 {
		s.Min = 1
	}
	if s.Max <= 0 {
		s.Max = 10000
	}
	s.Min = min(s.Min, maxSlots)
	s.Max = min(max(s.Max, s.Min), maxSlots)
	s.Start = min(max(s.Start, s.Min), s.Max)
	b := BulkheadSettings{Queue: s.Queue, MaxWait: s.MaxWait}.OrDefault()
	s.Queue, s.MaxWait = b.Queue, b.MaxWait
	return s
}

// Adaptive limits how many calls run at once to what the target does well,
// which it finds by itself from how latency follows the limit. It looks at
// nothing else: no CPU, no fixed latency, so that it works for targets that
// mostly wait. While the limit is not reached, or latency does not depend on
// it, nothing is refused for long.
//
// The zero value follows the zero settings. An Adaptive is safe for concurrent
// use and must not be copied.
type Adaptive struct {
	once     sync.Once
	settings atomic.Pointer[AdaptiveSettings]
	gate     gate

	mu      sync.Mutex
	learner knee.Finder
	blocked atomic.Int64 // since the learner was last told
}

// NewAdaptive returns an Adaptive that follows s.
func NewAdaptive(s AdaptiveSettings) *Adaptive {
	a := new(Adaptive)
	a.Set(s)
	return a
}

// Set replaces the settings; what was learned stays, Start is for a new one.
func (a *Adaptive) Set(s AdaptiveSettings) {
	s = s.OrDefault()
	a.once.Do(func() { a.begin(s) })
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settings.Store(&s)
	a.learner.Bound(s.Min, s.Max)
	a.gate.resize(a.learner.Limit())
}

func (a *Adaptive) begin(s AdaptiveSettings) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.learner.Start(s.Start, s.Min, s.Max)
	a.gate.resize(a.learner.Limit())
	a.settings.Store(&s)
}

// rules are the settings in force; the first use makes the zero value ready.
func (a *Adaptive) rules() *AdaptiveSettings {
	if s := a.settings.Load(); s != nil {
		return s
	}
	a.once.Do(func() { a.begin(AdaptiveSettings{}.OrDefault()) })
	return a.settings.Load()
}

// Settings are the settings in force, defaults filled in.
func (a *Adaptive) Settings() AdaptiveSettings { return *a.rules() }

// Trial is a place among the calls that run, from which the limit learns. The
// zero Trial is no place.
type Trial struct {
	a     *Adaptive
	s     *slot
	gen   uint32
	start int64
}

// Try is Acquire for those who do not wait: false if no place is free or others
// wait for one, which is counted nowhere and teaches nothing.
func (a *Adaptive) Try() (Trial, bool) {
	a.rules()
	if s := a.gate.try(); s != nil {
		return Trial{a, s, s.gen(), now()}, true
	}
	return Trial{}, false
}

// Acquire asks for a place: the answer is a Trial to be handed back with Done
// exactly once, however the call ends; or ErrLimit if there is none within
// MaxWait; or ctx's error if ctx ended before.
func (a *Adaptive) Acquire(ctx context.Context) (Trial, error) {
	set := a.rules()
	s := a.gate.try()
	if s == nil {
		a.blocked.Add(1)
		var err error
		if s, err = a.gate.wait(ctx, set.Queue, set.MaxWait); err != nil {
			return Trial{}, err
		}
	}
	return Trial{a, s, s.gen(), now()}, nil
}

// Done hands the place back with the outcome of the call. Only the first Done
// of a place does anything, whatever copies were made of the Trial; later ones
// report false and are counted as Strays.
func (t Trial) Done(o Outcome) bool {
	a := t.a
	if a == nil {
		return true
	}
	if !a.gate.release(t.s, t.gen) {
		return false
	}
	end := now()
	a.mu.Lock()
	if a.blocked.Load() != 0 {
		a.learner.Blocked(int(a.blocked.Swap(0)))
	}
	changed := false
	if o == Ignored {
		changed = a.learner.Climb(end)
	} else {
		changed = a.learner.Done(end, time.Duration(end-t.start), o == Success)
	}
	if changed {
		a.gate.resize(a.learner.Limit())
	}
	a.mu.Unlock()
	return true
}

// Do calls fn with a place held, and gives it back also if fn panics or calls
// runtime.Goexit. nil is a Success, an error that wraps
// context.DeadlineExceeded is an Overload, any other is Ignored, and so is a
// panic; use Acquire for another view. The error is fn's, or Acquire's without
// calling fn.
func (a *Adaptive) Do(ctx context.Context, fn func() error) error {
	t, err := a.Acquire(ctx)
	if err != nil {
		return err
	}
	o := Ignored
	defer func() { t.Done(o) }()
	err = fn()
	switch {
	case err == nil:
		o = Success
	case errors.Is(err, context.DeadlineExceeded):
		o = Overload
	}
	return err
}

// AdaptiveSnapshot is an Adaptive at one moment.
type AdaptiveSnapshot struct {
	Limit   int           // calls at once, now
	Latency time.Duration // mean of the last measurement; 0 before the first
	Running int           // calls that hold a place
	Waiting int           // calls that wait for one
	Refused uint64        // calls answered ErrLimit, since it was made
	Strays  uint64        // Dones of a place that had been given back, since it was made
}

// Snapshot is the limit at this moment; while calls come and go, Running may be
// off by those.
func (a *Adaptive) Snapshot() AdaptiveSnapshot {
	a.rules()
	a.mu.Lock()
	limit, latency := a.learner.Limit(), a.learner.Mean()
	a.mu.Unlock()
	held, waiting, _ := a.gate.counts()
	return AdaptiveSnapshot{limit, latency, held, waiting, a.gate.refused.Load(), a.gate.strays.Load()}
}
