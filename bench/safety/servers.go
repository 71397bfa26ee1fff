package main

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"
)

// peer is a service of one library over one wire, and ways to call it.
type peer struct {
	wire string
	call func(ctx context.Context) error // with the library's own client
	look func() string                   // with a plain client: everything it can see
	late func()                          // with a plain client whose time is up; nil if no header says so
}

// server serves work with a library as its documentation tells a newcomer to.
type server func(l *lab, work func(ctx context.Context) error) peer

// secret stands for what must not be shown.
const secret = "hunter2"

var errNotReached = errors.New("the handler was not reached")

var errRaw = errors.New("dial postgres://app:" + secret + "@db/orders: connection refused")

func leaksError(s server) experiment {
	return func(l *lab) answer {
		var came atomic.Bool
		p := s(l, func(context.Context) error { came.Store(true); return errRaw })
		saw := p.look()
		if !came.Load() {
			l.must(errNotReached)
		}
		return unless(!strings.Contains(saw, secret), "the client saw a safe message",
			"the client saw the handler's error text with the password of its DSN").over(p.wire)
	}
}

func leaksPanic(s server) experiment {
	return func(l *lab) answer {
		var came atomic.Bool
		p := s(l, func(context.Context) error { came.Store(true); panic("cache " + secret) })
		saw := p.look()
		if !came.Load() {
			l.must(errNotReached)
		}
		return unless(!strings.Contains(saw, secret) && !strings.Contains(saw, "goroutine "),
			"the client saw neither value nor stack", "the client saw the panic's value").over(p.wire)
	}
}

// forwards makes a call with 300ms left and looks at what the handler has left.
func forwards(s server) experiment {
	return func(l *lab) answer {
		const left = 300 * time.Millisecond
		var knew, came atomic.Bool
		p := s(l, func(ctx context.Context) error {
			d, ok := ctx.Deadline()
			knew.Store(ok && time.Until(d) <= left)
			came.Store(true)
			return nil
		})
		ctx, cancel := context.WithTimeout(l.ctx, left)
		defer cancel()
		err := p.call(ctx)
		if !came.Load() {
			l.must(errors.Join(errNotReached, err))
		}
		return unless(knew.Load(), "the handler knew the caller's deadline",
			"the handler did not know the caller's deadline").over(p.wire)
	}
}

func worksLate(s server) experiment {
	return func(l *lab) answer {
		var worked atomic.Bool
		p := s(l, func(context.Context) error { worked.Store(true); return nil })
		for range 10 {
			p.late()
		}
		l.wait(50*time.Millisecond, worked.Load)
		return unless(!worked.Load(), "a request whose time was up was refused at the door",
			"a request whose time was up reached the handler").over(p.wire)
	}
}
