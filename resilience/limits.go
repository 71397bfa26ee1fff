package resilience

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/resilience/limit"
)

// The limits of a Guard, in the order in which a call meets them. The bulkhead
// is first, so that calls that wait for the rate are bounded by it too and the
// refused ones are refused at once; the adaptive limit is last, because it
// learns from how long calls take.
const (
	byBulkhead = iota
	byRate
	byAdaptive
	refusals
)

var limits = [refusals]string{"bulkhead", "rate", "adaptive"}

// limited is limit(timeout(attempt)).
func limited[T any](ctx context.Context, m *moment, fn func(ctx context.Context) (T, error)) (t tried[T], err error) {
	p, err := m.g.enter(ctx, m)
	if err != nil {
		t.refused = true
		return t, err
	}
	defer func() { p.leave(t.load) }() // Ignored also when fn ends the goroutine
	t, err = timed(ctx, m, fn)
	return t, err
}

// place is what a call holds while it runs.
type place struct {
	permit limit.Permit
	trial  limit.Trial
}

func (p *place) leave(o limit.Outcome) {
	p.trial.Done(o)
	p.permit.Release()
}

// enter waits until the limits let the call through, but no longer than they
// say and than the call has time. The error is ctx's, or that of a call over a
// limit; the call then holds nothing. m.now is when the wait was over.
func (g *Guard) enter(ctx context.Context, m *moment) (p place, err error) {
	if m.r.bulkhead {
		var free bool
		if p.permit, free = g.bulkhead.Try(); !free {
			err = m.wait(ctx, func(ctx context.Context) (err error) { p.permit, err = g.bulkhead.Acquire(ctx); return err })
			if err != nil {
				return place{}, g.over(ctx, byBulkhead, patience)
			}
		}
	}
	if m.r.rate && !g.rate.Allow() {
		if m.wait(ctx, g.rate.Wait) != nil {
			p.permit.Release()
			return place{}, g.over(ctx, byRate, g.rate.Delay())
		}
	}
	if m.r.adaptive {
		a, free := g.adaptive.Load(), false
		if p.trial, free = a.Try(); !free {
			err = m.wait(ctx, func(ctx context.Context) (err error) { p.trial, err = a.Acquire(ctx); return err })
			if err != nil {
				p.permit.Release()
				return place{}, g.over(ctx, byAdaptive, patience)
			}
		}
	}
	return p, nil
}

// wait gives acquire a ctx that ends with the call's time.
func (m *moment) wait(ctx context.Context, acquire func(context.Context) error) error {
	if !m.deadline.IsZero() {
		l := later(ctx, m.deadline)
		defer l.end()
		ctx = l
	}
	err := acquire(ctx)
	m.now = time.Now()
	return err
}

// What a refused call is told to wait: nobody knows when a place is free, so the
// first wait of retry.Policy; and never longer than its Cap, or nobody would.
const (
	patience = 100 * time.Millisecond
	longest  = 5 * time.Second
)

// over is the answer to a call that a limit did not let through. The target's
// name is for the log.
func (g *Guard) over(ctx context.Context, which int, delay time.Duration) error {
	if err := ctx.Err(); err != nil {
		return errs.Wrap(err, op) // the caller left, or has no time left
	}
	g.refused[which].Add(1)
	g.limited.Add(ctx, 1, metric.WithAttributes(g.target, attribute.String("surefoot.limit", limits[which])))
	g.event(ctx, "surefoot.limit.refused", attribute.String("surefoot.limit", limits[which]))
	return errs.New(errs.TooMany, op, "too many calls to a service behind this one; please try again later").
		ID("over_limit").With("target", g.name).With("limit", limits[which]).Because(limit.ErrLimit).
		RetryAfter(min(max(delay, time.Millisecond), longest))
}
