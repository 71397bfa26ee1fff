package limit

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// BulkheadSettings say how many calls may run at once. The zero value is no
// limit: no number fits a stranger. They are plain data: decode them, compare
// them, replace them with Set while calls run.
type BulkheadSettings struct {
	// Max is how many calls run at once; 0 or negative means no limit. More
	// than a million count as a million.
	Max int
	// Queue is how many more may wait for a place, first come, first served; 0
	// or negative means none: a full bulkhead refuses at once, as resilience4j's
	// does.
	Queue int
	// MaxWait is how long one waits at most; 0 means 1s, negative means none
	// waits.
	MaxWait time.Duration
}

// OrDefault returns s with every zero field replaced by its default.
func (s BulkheadSettings) OrDefault() BulkheadSettings {
	s.Max = min(s.Max, maxSlots)
	if s.Max <= 0 {
		s.Max = -1
	}
	if s.Queue <= 0 {
		s.Queue = -1
	}
	if s.MaxWait == 0 {
		s.MaxWait = time.Second
	}
	return s
}

// Bulkhead limits how many calls run at once, so that one slow target cannot
// take all of a process. The zero value is no limit. A Bulkhead is safe for
// concurrent use and must not be copied.
type Bulkhead struct {
	settings atomic.Pointer[BulkheadSettings]
	setting  sync.Mutex
	gate     gate
}

// NewBulkhead returns a Bulkhead that follows s.
func NewBulkhead(s BulkheadSettings) *Bulkhead {
	b := new(Bulkhead)
	b.Set(s)
	return b
}

// Set replaces the settings. Calls that run go on and count; those that wait
// keep their MaxWait. Calls that began while there was no limit do not count.
func (b *Bulkhead) Set(s BulkheadSettings) {
	s = s.OrDefault()
	b.setting.Lock()
	defer b.setting.Unlock()
	b.settings.Store(&s)
	b.gate.resize(s.Max)
}

// Settings are the settings in force, defaults filled in.
func (b *Bulkhead) Settings() BulkheadSettings {
	if s := b.settings.Load(); s != nil {
		return *s
	}
	return BulkheadSettings{}.OrDefault()
}

// Permit is a place among the calls that run. The zero Permit is no place and
// may be released.
type Permit struct {
	g   *gate
	s   *slot
	gen uint32
}

// Release gives the place back. Only the first Release of a place does
// anything, whatever copies were made of the Permit; later ones report false
// and are counted as Strays.
func (p Permit) Release() bool {
	if p.s == nil {
		return true
	}
	return p.g.release(p.s, p.gen)
}

// Try is Acquire for those who do not wait: false if no place is free or others
// wait for one, which is counted nowhere.
func (b *Bulkhead) Try() (Permit, bool) {
	s := b.settings.Load()
	if s == nil || s.Max < 0 {
		return Permit{}, true
	}
	if got := b.gate.try(); got != nil {
		return Permit{&b.gate, got, got.gen()}, true
	}
	return Permit{}, false
}

// Acquire asks for a place: the answer is a Permit to be released exactly once,
// however the call ends; or ErrLimit if there is none within MaxWait; or ctx's
// error if ctx ended before.
func (b *Bulkhead) Acquire(ctx context.Context) (Permit, error) {
	s := b.settings.Load()
	if s == nil || s.Max < 0 {
		return Permit{}, nil
	}
	got := b.gate.try()
	if got == nil {
		var err error
		if got, err = b.gate.wait(ctx, s.Queue, s.MaxWait); err != nil {
			return Permit{}, err
		}
		if got == noSlot {
			return Permit{}, nil
		}
	}
	return Permit{&b.gate, got, got.gen()}, nil
}

// Do calls fn with a place held, and gives it back also if fn panics or calls
// runtime.Goexit. The error is fn's, or Acquire's without calling fn.
func (b *Bulkhead) Do(ctx context.Context, fn func() error) error {
	p, err := b.Acquire(ctx)
	if err != nil {
		return err
	}
	defer p.Release()
	return fn()
}

// BulkheadSnapshot is a Bulkhead at one moment.
type BulkheadSnapshot struct {
	Running int    // calls that hold a place
	Waiting int    // calls that wait for one
	Refused uint64 // calls answered ErrLimit, since it was made
	Strays  uint64 // Releases of a place that had been given back, since it was made
}

// Snapshot is the bulkhead at this moment; while calls come and go, Running may
// be off by those.
func (b *Bulkhead) Snapshot() BulkheadSnapshot {
	held, waiting, _ := b.gate.counts()
	return BulkheadSnapshot{held, waiting, b.gate.refused.Load(), b.gate.strays.Load()}
}
