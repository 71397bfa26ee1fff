// Package outbox works off what a database says is still to be done: one step
// at a time, at a bounded rate, backing off while the other side is away.
//
//	err := outbox.Worker{Name: "payments", Log: log}.Run(ctx, func(ctx context.Context) (outbox.Outcome, error) {
//		e, err := book.next(ctx) // claim one, or none
//		...
//		return outbox.Done, nil
//	})
//
// The step keeps its own state in the database: a Worker remembers nothing but
// how often it failed in a row, so it may be killed at any point.
package outbox

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/surefoot-go/surefoot/safe"
)

// Outcome is what a step found.
type Outcome uint8

const (
	Idle Outcome = iota // nothing is due; look again after Poll
	Done                // one piece of work is finished; the next may follow
)

// Worker is the loop around a step. The zero value works; it is plain data.
type Worker struct {
	Name string        // for the log
	Poll time.Duration // pause when nothing is due; 0 means 250ms, jittered by half
	Rate float64       // steps per second at most; 0 means 50
	Base time.Duration // longest first wait after a failure; 0 means 200ms
	Cap  time.Duration // longest wait of all; 0 means 3s
	Log  *slog.Logger  // nil means slog.Default()
}

// Run calls step until ctx ends, and then returns nil. A step that fails or
// panics is logged when it begins to fail and when it works again, not each
// time, and is called again after a wait that doubles, with full jitter.
func (w Worker) Run(ctx context.Context, step func(context.Context) (Outcome, error)) error {
	if w.Log == nil {
		w.Log = slog.Default()
	}
	failures := 0
	for ctx.Err() == nil {
		var out Outcome
		err := safe.Call(func() (err error) {
			out, err = step(ctx)
			return err
		})
		switch {
		case err == nil && failures > 0:
			w.Log.InfoContext(ctx, "outbox works again", "outbox", w.Name, "failures", failures)
			failures = 0
		case err != nil && ctx.Err() == nil:
			if failures++; failures == 1 {
				w.Log.WarnContext(ctx, "outbox backs off", "outbox", w.Name, "error", err)
			}
		}
		pause := time.NewTimer(w.Pause(out, failures, rand.Float64()))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
	return nil
}

// Pause is how long Run waits after a step: out is what it found, failures how
// often it has failed in a row, r a random number in [0,1).
func (w Worker) Pause(out Outcome, failures int, r float64) time.Duration {
	poll, rate, base, limit := w.Poll, w.Rate, w.Base, w.Cap
	if poll == 0 {
		poll = 250 * time.Millisecond
	}
	if rate == 0 {
		rate = 50
	}
	if base == 0 {
		base = 200 * time.Millisecond
	}
	if limit == 0 {
		limit = 3 * time.Second
	}
	step := time.Duration(float64(time.Second) / rate)
	switch {
	case failures > 0:
		wait := min(limit, base<<min(failures-1, 16))
		return max(step, time.Duration(r*float64(wait)))
	case out == Done:
		return step
	}
	return time.Duration((0.75 + r/2) * float64(poll))
}
