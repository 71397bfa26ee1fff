// Package retry decides whether a failed call is tried again, and when.
//
// Waits grow by a factor with full jitter, never reach past the deadline, obey
// what the target asked for, and further tries are paid from a budget, so that
// retries cannot multiply the load on a target that is already failing.
//
//	var budget retry.Budget // one per target
//	user, err := retry.Do(ctx, retry.Policy{}, &budget,
//		func(ctx context.Context, try int) (User, error) { return fetch(ctx, id) })
//
// It does not know which of your calls may be repeated: give Do only calls that
// are idempotent. It does not limit the time of one try and does not stop
// calling a dead target: see packages resilience and breaker.
package retry

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"time"
)

// Policy says how often and how long to try again. The zero value tries up to
// 3 more times, with full jitter, never past the deadline, and within a budget.
// A Policy is plain data: decode it, compare it, replace it while calls run.
type Policy struct {
	Max    int           // further tries; 0 means 3, negative means none
	Base   time.Duration // first wait; 0 means 100ms, negative means no wait
	Cap    time.Duration // longest wait; 0 means 5s, negative means no limit
	Factor float64       // growth; 0 means 2, negative means 1 (no growth)
	Jitter float64       // random share of each wait; 0 means 1 (full jitter), negative means none

	// Budget is how many further tries a target gets, as a share of its first
	// tries in the last Window; 0 means 0.1, negative means no budget. The
	// share is the per-client retry budget of Google's SRE book, "Handling
	// Overload": it bounds what retries add to an outage at 10 %.
	Budget float64
	// Reserve is how many further tries a Window has besides that share, so
	// that a quiet client can retry at all; 0 means 10, negative means none.
	// One a second over 10 s is a tenth of Finagle's RetryBudget reserve.
	Reserve int
	// Window is how far back the budget looks; 0 or negative means 10s, the
	// life of a deposit in Finagle's RetryBudget.
	Window time.Duration
}

// Classic is the article's policy, exactly: 3 further tries after 1s, 2s and
// 4s, capped at 5s, without jitter and without a budget. Alone it never recovers
// from a 5s stall at 60 % load: its further tries keep the target overloaded
// (go test -run RecoveryFromAStall -v ./resilience). Prefer the zero Policy.
func Classic() Policy {
	return Policy{Max: 3, Base: time.Second, Cap: 5 * time.Second, Factor: 2, Jitter: -1, Budget: -1}
}

// OrDefault returns p with every zero field replaced by its default.
func (p Policy) OrDefault() Policy {
	p.Max = or(p.Max, 3)
	p.Base = or(p.Base, 100*time.Millisecond)
	p.Cap = or(p.Cap, 5*time.Second)
	p.Factor = or(p.Factor, 2)
	p.Jitter = or(p.Jitter, 1)
	p.Budget = or(p.Budget, 0.1)
	p.Reserve = or(p.Reserve, 10)
	if p.Window <= 0 {
		p.Window = 10 * time.Second
	}
	return p
}

func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Moment is what Next needs to know about a call that has just failed.
type Moment struct {
	Tries    int           // further tries already made; 0 after the first failure
	Now      time.Time     // when the try ended
	Deadline time.Time     // when the caller stops waiting; zero means never
	After    time.Duration // how long the target asked to wait; 0 means it did not ask, negative "do not retry"
	Rand     float64       // a random number in [0,1)
}

// Reason says why there is no further try.
type Reason string

// The reasons not to try again.
const (
	Exhausted Reason = "exhausted" // Max further tries were made
	Deadline  Reason = "deadline"  // the wait would end past the deadline
	Pushback  Reason = "pushback"  // the target said not to, or to wait longer than Cap
	NoBudget  Reason = "budget"    // the target's budget is spent
)

// Verdict is Next's answer: wait, then try again; or give up for a Reason.
type Verdict struct {
	Again bool
	Wait  time.Duration // before the next try; set only with Again
	Why   Reason        // set only without Again
}

// Next says whether to try again after m, and how long to wait first. It reads
// no clock, draws no random number and spends no budget; its caller does.
//
// The wait is at most half of the time left, so that the other half is there
// for the try itself. A target's own After is a lower bound; the jittered wait
// comes on top, because everybody else was told the same number.
func (p Policy) Next(m Moment) Verdict {
	p = p.OrDefault()
	if m.Tries >= p.Max {
		return Verdict{Why: Exhausted}
	}
	if m.After < 0 || p.Cap > 0 && m.After > p.Cap {
		return Verdict{Why: Pushback}
	}
	top := p.ceiling(m.Tries)
	if !m.Deadline.IsZero() {
		left := m.Deadline.Sub(m.Now) - m.After
		if left <= 0 {
			return Verdict{Why: Deadline}
		}
		top = min(top, left/2)
	}
	wait := float64(top)
	if p.Jitter > 0 {
		j := min(p.Jitter, 1)
		wait = wait*(1-j) + wait*j*m.Rand
	}
	return Verdict{Again: true, Wait: m.After + min(time.Duration(wait), top)}
}

// longest keeps sums of waits from overflowing.
const longest = time.Duration(math.MaxInt64 / 4)

// ceiling is the longest wait after n further tries, before jitter.
func (p Policy) ceiling(n int) time.Duration {
	if p.Base <= 0 {
		return 0
	}
	top := float64(p.Base) * math.Pow(max(p.Factor, 1), float64(max(n, 0)))
	limit := longest
	if p.Cap > 0 {
		limit = min(p.Cap, longest)
	}
	if !(top < float64(limit)) { // also when NaN or infinite
		return limit
	}
	return time.Duration(top)
}

// Wait blocks for d, or until ctx ends, whose error it then returns.
func Wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Do calls fn, and calls it again as p allows while it fails; try is 0 for the
// first call. It returns fn's last value and error. b is the target's budget;
// nil means none. Every error is tried again except one marked by Stop and one
// that comes after ctx ended; an error with a method RetryDelay() time.Duration
// says how long to wait. Do blocks while it waits, until ctx ends.
func Do[T any](ctx context.Context, p Policy, b *Budget, fn func(ctx context.Context, try int) (T, error)) (T, error) {
	deadline, _ := ctx.Deadline()
	if b != nil {
		b.Call(time.Now(), p)
	}
	for try := 0; ; try++ {
		v, err := fn(ctx, try)
		if err == nil || ctx.Err() != nil {
			return v, err
		}
		if stop, ok := errors.AsType[*stopError](err); ok {
			if stop == err {
				err = stop.error
			}
			return v, err
		}
		m := Moment{Tries: try, Now: time.Now(), Deadline: deadline, Rand: rand.Float64()}
		if d, ok := errors.AsType[interface {
			error
			RetryDelay() time.Duration
		}](err); ok {
			m.After = d.RetryDelay()
		}
		next := p.Next(m)
		if !next.Again || b != nil && !b.Take(m.Now, p) || Wait(ctx, next.Wait) != nil {
			return v, err
		}
	}
}

// Stop marks err as one that another try cannot cure; Do returns err itself.
// Stop(nil) is nil.
func Stop(err error) error {
	if err == nil {
		return nil
	}
	return &stopError{err}
}

type stopError struct{ error }

func (e *stopError) Unwrap() error { return e.error }
