package supervise

import (
	"context"
	"time"
)

func (t *Tree) stopLimit() time.Duration {
	if t.StopLimit <= 0 {
		return 10 * time.Second
	}
	return t.StopLimit
}

// bound ends when stopping must have ended. It always has a deadline.
func (l *loop) bound() (context.Context, context.CancelFunc) {
	l.mu.Lock()
	limit := l.limit // of Stop
	l.mu.Unlock()
	if limit != nil {
		if _, ok := limit.Deadline(); ok {
			return context.WithCancel(limit)
		}
		return context.WithTimeout(limit, l.stopLimit())
	}
	if l.from != nil {
		l.up.mu.Lock()
		limit = l.from.limit
		l.up.mu.Unlock()
	}
	if limit == nil { // not told: one of ours was given up
		return context.WithTimeout(l.base, l.stopLimit())
	}
	deadline, _ := limit.Deadline()
	return context.WithTimeout(limit, min(l.stopLimit(), time.Until(deadline)*9/10))
}

// stopping is the end of one Run.
type stopping struct {
	*loop
	limit   context.Context
	release context.CancelFunc
	quit    <-chan struct{} // nil once heard
	ended   <-chan struct{} // of Run's ctx; nil once heard
}

// stop ends the workers, the last one first.
func (l *loop) stop(quit <-chan struct{}) error {
	w := &stopping{loop: l, quit: quit, ended: l.ctx.Done()}
	if l.ctx.Err() != nil {
		w.ended = nil
	}
	select {
	case <-quit:
		w.quit = nil
	default:
	}
	w.limit, w.release = l.bound()
	defer func() { w.release() }()
	for i := len(l.slots) - 1; i >= 0; i-- {
		s := l.slots[i]
		l.set(s, func(s *slot) bool {
			switch s.state {
			case Waiting:
				s.state = Done
			case Starting, Running:
				s.state, s.limit = Stopping, w.limit
			}
			return true
		})
		if s.cancel != nil {
			s.cancel(errStopped)
		}
		deadline, _ := w.limit.Deadline()
		w.wait(s, time.Until(deadline)/time.Duration(max(len(l.open), 1)))
	}
	for i := len(l.slots) - 1; i >= 0; i-- {
		s := l.slots[i]
		deadline, _ := w.limit.Deadline()
		if w.wait(s, time.Until(deadline)); l.open[s] {
			l.stuck = append(l.stuck, s.path)
		}
	}
	if len(l.stuck) == 0 {
		return nil
	}
	return &StopError{Names: l.stuck}
}

// wait waits until s has ended, for at most share and within the limit.
func (w *stopping) wait(s *slot, share time.Duration) {
	timer := time.NewTimer(share)
	defer timer.Stop()
	for w.open[s] {
		select {
		case e := <-w.ends: // before all else: who has ended has stopped in time
			w.last(e)
			continue
		default:
		}
		select {
		case e := <-w.ends:
			w.last(e)
		case <-w.quit:
			w.quit = nil
			w.hurry()
		case <-w.ended:
			w.ended = nil
			w.hurry()
		case <-w.limit.Done():
			return
		case <-timer.C:
			return
		}
	}
}

// hurry takes over the limit of whoever has just told us to stop, if it is
// sooner than ours. The trees inside that were told already keep theirs, so one
// of them may be reported by its own name.
func (w *stopping) hurry() {
	limit, release := w.bound()
	deadline, _ := w.limit.Deadline()
	before := w.release // not now: it would end the limits of trees inside
	var cut context.CancelFunc
	w.limit, cut = context.WithDeadline(limit, deadline)
	w.release = func() { cut(); release(); before() }
}
