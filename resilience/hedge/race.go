package hedge

import (
	"context"
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/safe"
)

// race is one call whose answer may be late.
type race[T any] struct {
	ctx   context.Context // of the caller
	h     *Hedge
	c     Call[T]
	fn    func(ctx context.Context, try int) (T, error)
	delay time.Duration
	timer *time.Timer
	wg    sync.WaitGroup // further tries

	mu      sync.Mutex
	left    int // further tries that may be made
	closed  bool
	cancels []context.CancelFunc // by try
	room    [2]context.CancelFunc
	winner  int // the try whose v and err are the answer; -1 before there is one
	v       T
	err     error
	first   T // what try 0 returned, unless it won
}

// further starts another try. It runs in the timer's goroutine.
func (r *race[T]) further() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.winner >= 0 || r.left <= 0 || r.ctx.Err() != nil {
		return
	}
	if !r.paid() {
		r.h.refused.Add(1)
		return
	}
	r.left--
	r.h.further.Add(1)
	n := len(r.cancels)
	ctx, cancel := context.WithCancel(r.ctx)
	r.cancels = append(r.cancels, cancel)
	r.wg.Add(1)
	var v T
	safe.Go(ctx, "hedge", func(ctx context.Context) (err error) {
		v, err = r.fn(ctx, n)
		return err
	}, func(err error) { r.finish(n, v, err) }, func(error) { r.wg.Done() })
	if r.left > 0 {
		r.timer.Reset(r.delay)
	}
}

// paid asks for one further try. A panic has nobody above it here; it is a no.
func (r *race[T]) paid() (yes bool) {
	if r.c.Take == nil {
		return true
	}
	_ = safe.Call(func() error { yes = r.c.Take(); return nil })
	return yes
}

// finish takes what try n returned, and reports whether it came too late.
func (r *race[T]) finish(n int, v T, err error) (late bool) {
	final := err == nil || r.c.Final != nil && r.c.Final(err)
	r.mu.Lock()
	late = r.winner >= 0
	won := final && !late
	if won {
		r.winner, r.v, r.err = n, v, err
		r.cancel(n)
	} else if n == 0 {
		r.first = v
		if !late {
			r.err = err // the answer, unless another try wins
		}
	}
	r.mu.Unlock()
	if !won && n > 0 {
		r.drop(v)
	}
	return late
}

func (r *race[T]) drop(v T) {
	if r.c.Drop != nil {
		r.c.Drop(v)
	}
}

// cancel ends the tries other than n; r.mu is held.
func (r *race[T]) cancel(n int) {
	for i, cancel := range r.cancels {
		if i != n {
			cancel()
		}
	}
}

// settle lets no try begin any more and waits for those under way, having ended
// them if nobody wants their answer.
func (r *race[T]) settle(wanted bool) {
	r.timer.Stop()
	r.mu.Lock()
	r.closed = true
	if !wanted {
		r.cancel(-1)
	}
	r.mu.Unlock()
	r.wg.Wait()
}

// answer is what Do returns, after settle.
func (r *race[T]) answer() (T, error) {
	switch {
	case r.winner < 0: // all have failed
		r.winner, r.v = 0, r.first
	case r.winner > 0:
		r.drop(r.first)
		if r.err == nil {
			r.h.won.Add(1)
		}
	}
	r.cancel(r.winner)
	if release := r.cancels[r.winner]; r.c.Keep != nil {
		r.v = r.c.Keep(r.v, release)
	} else {
		release()
	}
	return r.v, r.err
}
