package limit

import (
	"context"
	"math"
	"sync/atomic"
	"time"
)

// RateSettings say how often calls may start. The zero value is no limit: no
// number fits a stranger. They are plain data: decode them, compare them,
// replace them with Set while calls run.
type RateSettings struct {
	// PerSecond is how many calls a second may start in the long run; 0,
	// negative, infinite and NaN mean no limit.
	PerSecond float64
	// Burst is how many calls may start at the same moment after a quiet time;
	// 0 or negative means 1. With 1 the rate is smooth: calls start no closer
	// than 1/PerSecond. With n it is a token bucket that holds n, of which
	// those count that come within 200 days.
	Burst int
	// MaxWait is how long Wait blocks at most; 0 means 1s, the first wait that
	// a person notices as one, negative means it never blocks.
	MaxWait time.Duration
}

// OrDefault returns s with every zero field replaced by its default.
func (s RateSettings) OrDefault() RateSettings {
	if !(s.PerSecond > 0) || math.IsInf(s.PerSecond, 1) {
		s.PerSecond = -1
	}
	if s.Burst <= 0 {
		s.Burst = 1
	}
	if s.MaxWait == 0 {
		s.MaxWait = time.Second
	}
	return s
}

// Rate limits how often calls start, smoothly or in bursts. The zero value is
// no limit. A Rate is safe for concurrent use, never blocks one caller behind
// another's lock, and must not be copied.
//
// It is the generic cell rate algorithm: one number, the time at which the next
// call would be due if all calls were spaced evenly. A call may be early by
// Burst-1 spaces.
type Rate struct {
	rule atomic.Pointer[rateRule]
	due  atomic.Int64 // ticks since rule.start
}

// ticks per nanosecond: at a million calls a second the rate is exact to 1e-4,
// and int64 lasts for 36 years.
const ticks = 8

type rateRule struct {
	RateSettings
	start int64 // the first rule's time, kept by later ones
	space int64 // between two calls, in ticks
	early int64 // how far ahead of its due time a call may start, in ticks
}

// NewRate returns a Rate that follows s.
func NewRate(s RateSettings) *Rate {
	r := new(Rate)
	r.Set(s)
	return r
}

// Set replaces the settings for calls from now on. What was used stays used:
// the next call is due when it was, later ones at the new spacing.
func (r *Rate) Set(s RateSettings) {
	s = s.OrDefault()
	rule := &rateRule{RateSettings: s, start: now()}
	if s.PerSecond > 0 {
		const most = float64(math.MaxInt64 / 64)
		space := min(ticks*1e9/s.PerSecond, most)
		rule.space = max(int64(math.Round(space)), 1)
		rule.early = int64(min(float64(rule.space)*float64(s.Burst-1), most))
	}
	for {
		old := r.rule.Load()
		if old != nil {
			rule.start = old.start
		}
		if r.rule.CompareAndSwap(old, rule) {
			return
		}
	}
}

// Settings are the settings in force, defaults filled in.
func (r *Rate) Settings() RateSettings {
	if rule := r.rule.Load(); rule != nil {
		return rule.RateSettings
	}
	return RateSettings{}.OrDefault()
}

// Allow reports whether a call may start now, and counts it if so. It does not
// block. A call that may not start costs nothing.
func (r *Rate) Allow() bool {
	rule := r.rule.Load()
	if rule == nil || rule.space == 0 {
		return true
	}
	t := (now() - rule.start) * ticks
	for {
		due := r.due.Load()
		if due-t > rule.early {
			return false
		}
		if r.due.CompareAndSwap(due, max(due, t)+rule.space) {
			return true
		}
	}
}

// Delay is how long until a call may start, and 0 if it may start now. It
// counts nothing: another caller may be faster.
func (r *Rate) Delay() time.Duration {
	rule := r.rule.Load()
	if rule == nil || rule.space == 0 {
		return 0
	}
	return rule.delay(r.due.Load(), (now()-rule.start)*ticks)
}

// delay is how long after t a call that is due may start.
func (rule *rateRule) delay(due, t int64) time.Duration {
	return time.Duration((max(due-t-rule.early, 0) + ticks - 1) / ticks)
}

// Reservation is a right to start one call at a set time.
type Reservation struct {
	r     *Rate
	Delay time.Duration // from when it was made until the call may start
	due   int64         // what the Rate's due became
	space int64
}

// Reserve counts a call that starts as soon as the rate allows, but not later
// than within; it reports false and counts nothing if that is impossible. It
// does not block. Reservations are served in the order in which they are made.
func (r *Rate) Reserve(within time.Duration) (Reservation, bool) {
	rule := r.rule.Load()
	if rule == nil || rule.space == 0 {
		return Reservation{}, true
	}
	t := (now() - rule.start) * ticks
	for {
		due := r.due.Load()
		d := rule.delay(due, t)
		if d > max(within, 0) {
			return Reservation{}, false
		}
		next := max(due, t) + rule.space
		if r.due.CompareAndSwap(due, next) {
			return Reservation{r, d, next, rule.space}, true
		}
	}
}

// Cancel gives the reservation back and reports whether it could: only the last
// one made can be taken back, because those behind it have their times.
func (v Reservation) Cancel() bool {
	return v.r != nil && v.r.due.CompareAndSwap(v.due, v.due-v.space)
}

// Wait blocks until a call may start. It returns ErrLimit at once, and counts
// nothing, if that would take longer than MaxWait or than ctx has left; and
// ctx's error if ctx ends, giving its turn back where it can. Callers start in
// the order in which they asked.
func (r *Rate) Wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	rule := r.rule.Load()
	if rule == nil || rule.space == 0 {
		return nil
	}
	within := rule.MaxWait
	if deadline, ok := ctx.Deadline(); ok {
		within = min(within, time.Until(deadline))
	}
	v, ok := r.Reserve(within)
	if !ok {
		return ErrLimit
	}
	if v.Delay == 0 {
		return nil
	}
	err := sleep(ctx, v.Delay)
	if err != nil {
		v.Cancel()
	}
	return err
}
