// Package limit bounds what goes out to a target: how often (Rate), how many
// calls at once (Bulkhead), or as many at once as the target does well, found
// by itself (Adaptive).
//
//	bank := limit.NewRate(limit.RateSettings{PerSecond: 100})
//	if err := bank.Wait(ctx); err != nil { ... } // limit.ErrLimit, or ctx's error
//
//	pool := limit.NewBulkhead(limit.BulkheadSettings{Max: 20, Queue: 100})
//	err := pool.Do(ctx, func() error { return query(ctx) })
//
//	var search limit.Adaptive // the zero value works
//	err := search.Do(ctx, func() error { return find(ctx) })
//
// All are safe for concurrent use, start no goroutine, and take new settings
// while calls run. A permit cannot be handed back twice. They treat all calls
// alike: to admit calls into a server by priority, user and deadline, see
// package shed.
package limit

import (
	"context"
	"errors"
	"time"
)

// ErrLimit is the answer instead of a call that is over a limit. Nothing was
// sent: it says nothing about the target.
var ErrLimit = errors.New("limit: reached")

// Outcome is what a finished call says about the target's capacity.
type Outcome uint8

// The outcomes of a call.
const (
	Ignored  Outcome = iota // nothing: canceled by the caller, failed for another reason, or never sent
	Success                 // it did the work; how long it took counts
	Overload                // it ran out of time, or the target said it has too much to do
)

// epoch is what times are counted from. Only differences mean anything.
var epoch = time.Now()

// now reads only the monotonic clock, in half the time of time.Now.
func now() int64 { return int64(time.Since(epoch)) }

// sleep blocks for d or until ctx ends, whose error it then returns.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
