package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/resilience/shed"
)

// kind is how a target fails.
type kind string

const (
	stall    kind = "stall" // it takes calls and begins none
	failures kind = "error" // it answers 503 at once
)

// target has 20 places of 20ms work. A call whose caller is gone leaves, as with
// a handler of net/http that obeys its ctx; unless the target is stubborn and
// works off what nobody waits for any more.
type target struct {
	places   chan struct{}
	kind     kind
	from, to time.Time // of the storm
	door     *shed.Door
	stubborn bool
	off      chan struct{} // closed when the story ends
	work     sync.WaitGroup
}

// serve does one call.
func (s *target) serve(ctx context.Context) error {
	if s.door == nil {
		return s.queue(ctx)
	}
	pass, err := s.door.Enter(ctx, shed.Request{})
	if r, ok := errors.AsType[*shed.Refused](err); ok {
		return errStatus{r.RetryDelay()}
	}
	if err != nil {
		return err
	}
	o := shed.Ignored
	defer func() { pass.Done(o) }()
	err = s.queue(ctx)
	switch {
	case err == nil:
		o = shed.Success
	case errors.Is(err, context.DeadlineExceeded):
		o = shed.Overload
	}
	return err
}

func (s *target) storming() bool {
	now := time.Now()
	return !now.Before(s.from) && now.Before(s.to)
}

func (s *target) queue(ctx context.Context) error {
	switch {
	case s.kind == failures && s.storming():
		return errStatus{}
	case !s.stubborn:
		return s.place(ctx)
	}
	done := make(chan struct{})
	s.work.Go(func() {
		if s.place(context.Background()) == nil {
			close(done)
		}
	})
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errOff = errors.New("the story is over")

// place waits for a place and works in it.
func (s *target) place(ctx context.Context) error {
	select {
	case s.places <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.off:
		return errOff
	}
	defer func() { <-s.places }()
	if s.kind == stall && s.storming() {
		if err := pause(ctx, time.Until(s.to)); err != nil {
			return err
		}
	}
	return pause(ctx, work)
}

// pause waits for d, or until ctx ends, whose error it then returns.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
