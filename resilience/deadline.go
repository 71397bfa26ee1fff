package resilience

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// WithDeadline is context.WithDeadline at a fraction of its price for work that
// reads the deadline and never waits for it: there is no timer and no channel
// until somebody asks for Done or makes a child that must be told. Err reads
// the clock until then.
//
// Otherwise it is the standard one: the earlier deadline counts, context.Cause
// tells why the parent ended, and children of it start no goroutine. One
// difference remains: if the deadline passes, nobody looks, and the parent ends
// later, it ended with its parent. Call cancel when the work is done.
func WithDeadline(parent context.Context, deadline time.Time) (context.Context, context.CancelFunc) {
	l := later(parent, deadline)
	return l, l.cancel
}

// later makes what WithDeadline returns.
func later(parent context.Context, deadline time.Time) *lazy {
	l := &lazy{Context: parent, deadline: deadline, own: true}
	if d, ok := parent.Deadline(); ok && !deadline.Before(d) {
		l.deadline, l.own = d, false // the parent ends it
	}
	return l
}

// lazy is a context with a deadline, whose timer and channel are made when
// somebody needs them.
type lazy struct {
	context.Context // the parent
	deadline        time.Time
	own             bool // the deadline is sooner than the parent's
	state           atomic.Uint32

	mu    sync.Mutex
	inner context.Context // what the standard library makes of it; read without mu only in state made
	stop  context.CancelFunc
}

// The states of a lazy context. It leaves live once, and no other ever.
const (
	live     uint32 = iota
	made            // inner speaks for it
	expired         // its own deadline came
	canceled        // by its owner
	orphaned        // the parent ended
)

func (l *lazy) Deadline() (time.Time, bool) { return l.deadline, true }

func (l *lazy) Err() error {
	switch l.look() {
	case made:
		return l.inner.Err()
	case expired:
		return context.DeadlineExceeded
	case canceled:
		return context.Canceled
	case orphaned:
		return l.Context.Err()
	}
	return nil
}

// look is the state now.
func (l *lazy) look() uint32 {
	s := l.state.Load()
	if s != live {
		return s
	}
	switch {
	case l.Context.Err() != nil:
		s = orphaned
	case l.own && !time.Now().Before(l.deadline):
		s = expired
	default:
		return l.state.Load()
	}
	l.state.CompareAndSwap(live, s)
	return l.state.Load()
}

func (l *lazy) Done() <-chan struct{} { return l.real().Done() }

// Value has the standard library find its own kind of context here, so that it
// attaches children instead of starting a goroutine for each.
func (l *lazy) Value(key any) any {
	if key == cancelKey {
		return l.real().Value(key)
	}
	return l.Context.Value(key)
}

// real is a standard context that ends as l does, or has.
func (l *lazy) real() context.Context {
	if l.state.Load() == made {
		return l.inner
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inner != nil {
		return l.inner
	}
	if l.look() == live {
		if l.own {
			l.inner, l.stop = context.WithDeadline(l.Context, l.deadline)
		} else {
			l.inner, l.stop = context.WithCancel(l.Context)
		}
		if l.state.CompareAndSwap(live, made) {
			return l.inner
		}
		l.stop() // it ended meanwhile
	}
	l.inner = over(l.Context, l.state.Load())
	return l.inner
}

// over is a standard context that has ended as state says.
func over(parent context.Context, state uint32) context.Context {
	var ctx context.Context
	var cancel context.CancelFunc
	switch state {
	case orphaned:
		ctx, cancel = context.WithCancel(parent)
	case expired:
		ctx, cancel = context.WithDeadline(context.WithoutCancel(parent), time.Time{})
	default:
		ctx, cancel = context.WithCancel(context.WithoutCancel(parent))
	}
	cancel()
	return ctx
}

// cancel ends l, unless its time or its parent has.
func (l *lazy) cancel() {
	l.look()
	l.end()
}

// end is cancel for an owner who has seen whether the time was up: it reads no
// clock. A nil l has nothing to end.
func (l *lazy) end() {
	if l != nil && !l.state.CompareAndSwap(live, canceled) && l.state.Load() == made {
		l.stop()
	}
}

// cancelKey is the key by which the standard library finds its own contexts.
// It is not exported there, but asked for by context.Cause.
var cancelKey = func() any {
	var p probe
	_ = context.Cause(&p)
	return p.key
}()

// probe learns for which key it is asked.
type probe struct {
	context.Context
	key any
}

func (p *probe) Err() error { return context.Canceled }

func (p *probe) Value(key any) any {
	p.key = key
	return nil
}
