package resilience

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/resilience/breaker"
	"github.com/surefoot-go/surefoot/resilience/retry"
	"github.com/surefoot-go/surefoot/safe"
)

// Option changes one call of Do. Make one with Fallback, Idempotent or Hold.
type Option[T any] struct {
	fallback   func(ctx context.Context, err error) (T, error)
	idempotent repeat
	keep       func(v T, release context.CancelFunc) T
	drop       func(v T)
}

// Fallback answers a call that failed for good with fn, which gets the caller's
// ctx, not the call's used-up time, and the error. A call that the caller
// itself canceled, and one that failed by the caller's fault (a 4xx other than
// 429), has no fallback: an answer would hide the mistake.
func Fallback[T any](fn func(ctx context.Context, err error) (T, error)) Option[T] {
	return Option[T]{fallback: fn}
}

// Idempotent says for one call whether it may be repeated, whatever the Policy
// says.
func Idempotent[T any](yes bool) Option[T] {
	if yes {
		return Option[T]{idempotent: may}
	}
	return Option[T]{idempotent: mayNot}
}

// repeat says whether a call may be repeated.
type repeat int8

const (
	asPolicy repeat = iota
	may
	mayNot
)

// Hold is for a value that lives on after the call, such as a response whose
// body is still to be read: the try's ctx is not ended when Do returns but when
// release is called. keep takes over v, the value Do is about to return (with
// or without an error), and must see to it that release is called exactly once;
// drop, if not nil, gets each value that another try replaces.
func Hold[T any](keep func(v T, release context.CancelFunc) T, drop func(v T)) Option[T] {
	return Option[T]{keep: keep, drop: drop}
}

const op = "resilience.Do"

// Do makes one call to g's target: fn, with g's Policy around it. It blocks
// until fn has succeeded, the policy gives up, or ctx ends.
//
// The error is fn's last one, unchanged; or of Kind errs.Unavailable, wrapping
// breaker.ErrOpen, if the breaker refused; or of Kind errs.Internal if fn
// panicked: a panic does not cross. The value is the one fn returned beside its
// last error.
//
// What an error says about the target and about repeating is read from its
// errs.Kind; an error without one is a failure that may be repeated. A cancel
// by the caller, a 429 and an answer with a retry delay (load shed on purpose)
// say nothing about the target, nor does a timeout of a try that had less than a
// tenth of AttemptTimeout; a 4xx says that the target is alive.
func Do[T any](ctx context.Context, g *Guard, fn func(ctx context.Context) (T, error), opts ...Option[T]) (T, error) {
	p := g.policy.Load()
	var o Option[T]
	for _, opt := range opts {
		o = o.and(opt)
	}
	v, err := try(ctx, g, p, &o, fn)
	if err == nil || o.fallback == nil || ctx.Err() != nil {
		return v, err
	}
	if k := errs.KindOf(err); k.Fault() == errs.Caller && k != errs.TooMany {
		return v, err
	}
	return fallback(ctx, g, &o, err)
}

func (o Option[T]) and(n Option[T]) Option[T] {
	if n.fallback != nil {
		o.fallback = n.fallback
	}
	if n.idempotent != asPolicy {
		o.idempotent = n.idempotent
	}
	if n.keep != nil {
		o.keep, o.drop = n.keep, n.drop
	}
	return o
}

func fallback[T any](ctx context.Context, g *Guard, o *Option[T], cause error) (v T, err error) {
	err = safe.Call(func() (err error) {
		v, err = o.fallback(ctx, cause)
		return err
	})
	g.fallbacks.Add(ctx, 1, metric.WithAttributes(g.target, attribute.Bool("surefoot.ok", err == nil)))
	g.event(ctx, "surefoot.fallback", attribute.Bool("surefoot.ok", err == nil), attribute.String("error.type", errs.From(cause).Code()))
	return v, err
}

// try is everything inside the fallback: retry(budget(breaker(timeout(attempt)))).
func try[T any](ctx context.Context, g *Guard, p *Policy, o *Option[T], fn func(ctx context.Context) (T, error)) (T, error) {
	if err := ctx.Err(); err != nil {
		var none T
		return none, errs.Wrap(err, op) // expired work is not sent
	}
	again := o.idempotent == may || o.idempotent == asPolicy && p.Idempotent
	// One layer retries: if what brought us here is a retry, the layer above
	// does, and our own tries would multiply with its.
	again = again && flow.Attempt(ctx) == 0

	now := time.Now()
	deadline, _ := ctx.Deadline()
	if p.Timeout > 0 {
		deadline = sooner(deadline, now.Add(p.Timeout))
	}
	g.budget.Call(now, p.Retry)
	for n := 0; ; n++ {
		limit := deadline
		if p.AttemptTimeout > 0 {
			limit = sooner(limit, now.Add(p.AttemptTimeout))
		}
		v, release, err := attempt(ctx, g, n, limit, starved(p, now, limit), fn)
		if err == nil || !again || !g.again(ctx, p, n, deadline, err) {
			return finish(o, v, release), err
		}
		release()
		if o.drop != nil {
			o.drop(v)
		}
		now = time.Now()
	}
}

// starved says that a try gets so little time that running out of it says
// nothing about the target: less than a tenth of what the policy gives a try.
// Callers in a hurry must not open the breaker for the others.
func starved(p *Policy, now, limit time.Time) bool {
	return !limit.IsZero() && limit.Sub(now) < p.AttemptTimeout/10
}

// finish ends the try's ctx, or hands its end over with the value.
func finish[T any](o *Option[T], v T, release context.CancelFunc) T {
	if o.keep != nil {
		return o.keep(v, release)
	}
	release()
	return v
}

func sooner(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// again decides about another try after try n failed with err, pays for it, and
// waits for its time.
func (g *Guard) again(ctx context.Context, p *Policy, n int, deadline time.Time, err error) bool {
	if ctx.Err() != nil || errors.Is(err, breaker.ErrOpen) || !curable(err) {
		return false
	}
	m := retry.Moment{Tries: n, Now: time.Now(), Deadline: deadline, After: errs.From(err).RetryDelay(), Rand: rand.Float64()}
	next := p.Retry.Next(m)
	if next.Again && !g.budget.Take(m.Now, p.Retry) {
		next = retry.Verdict{Why: retry.NoBudget}
	}
	if !next.Again {
		g.refused.Add(ctx, 1, metric.WithAttributes(g.target, attribute.String("surefoot.reason", string(next.Why))))
		g.event(ctx, "surefoot.retry.refused", attribute.String("surefoot.reason", string(next.Why)), attribute.Int("surefoot.tries", n+1))
		return false
	}
	if retry.Wait(ctx, next.Wait) != nil {
		return false
	}
	g.attempts.Add(ctx, 1, g.set)
	g.event(ctx, "surefoot.retry", attribute.Int("surefoot.try", n+1),
		attribute.Int64("surefoot.wait_ms", next.Wait.Milliseconds()), attribute.String("error.type", errs.From(err).Code()))
	return true
}

// curable says whether another try can help. An error that is no *errs.Error,
// such as a driver's, may be anything, so a call that may be repeated is.
func curable(err error) bool {
	if e, ok := errors.AsType[*errs.Error](err); ok {
		return e.Kind().Retryable()
	}
	return errs.KindOf(err) != errs.Canceled
}

// event puts a mark on the caller's span.
func (g *Guard) event(ctx context.Context, name string, attrs ...attribute.KeyValue) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.AddEvent(name, trace.WithAttributes(append(attrs, g.target)...))
	}
}

// attempt is breaker(timeout(attempt)) for try n. release ends the try's ctx.
func attempt[T any](ctx context.Context, g *Guard, n int, limit time.Time, starved bool, fn func(ctx context.Context) (T, error)) (v T, release context.CancelFunc, err error) {
	permit, err := g.breaker.Allow()
	if err != nil {
		g.event(ctx, "surefoot.breaker.rejected")
		e := errs.New(errs.Unavailable, op, "a service behind this one is not available right now").
			ID("breaker_open").With("target", g.name).Because(err)
		return v, func() {}, e.RetryAfter(max(g.breaker.Wait(), time.Millisecond))
	}
	if n > 0 {
		ctx = flow.WithAttempt(ctx, n)
	}
	outcome := breaker.Ignored // also when fn ends the goroutine
	defer func() {
		if permit.Done(outcome, err) {
			g.event(ctx, "surefoot.breaker.change", attribute.String("surefoot.breaker.state", g.breaker.State().String()))
		}
	}()
	tryCtx, release := until(ctx, limit)
	returned := false
	err = safe.Call(func() (err error) {
		v, err = fn(tryCtx)
		returned = true
		return err
	})
	switch {
	case !returned: // a fault of ours, it says nothing about the target
		err = errs.New(errs.Internal, op, "something went wrong on our side").Because(err)
	case err != nil && tryCtx.Err() == context.DeadlineExceeded && ctx.Err() == nil:
		// Whatever fn made of it, it failed because its time was up.
		if errs.KindOf(err) != errs.Timeout {
			err = errs.New(errs.Timeout, op, "a service behind this one did not answer in time").With("target", g.name).Because(err)
		}
		outcome = breaker.Failure
	default:
		outcome = judge(ctx, err)
	}
	if outcome == breaker.Failure && starved && errs.KindOf(err) == errs.Timeout {
		outcome = breaker.Ignored
	}
	return v, release, err
}

// until is ctx with a deadline, none if it is zero.
func until(ctx context.Context, deadline time.Time) (context.Context, context.CancelFunc) {
	if deadline.IsZero() {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline)
}

// judge reads what err says about the target.
func judge(ctx context.Context, err error) breaker.Outcome {
	if err == nil {
		return breaker.Success
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return breaker.Ignored
	}
	kind := errs.KindOf(err)
	switch {
	case kind == errs.Canceled, kind == errs.TooMany:
		return breaker.Ignored
	case kind == errs.Unavailable && errs.From(err).RetryDelay() > 0: // load shed on purpose
		return breaker.Ignored
	case kind.Fault() == errs.Caller:
		return breaker.Answered
	}
	return breaker.Failure
}
