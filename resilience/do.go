package resilience

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/resilience/retry"
	"github.com/surefoot-go/surefoot/safe"
)

// Option changes one call of Do. Make one with Fallback, Idempotent, Named,
// Hold, RepeatIf or Later.
type Option[T any] struct {
	fallback   func(ctx context.Context, err error) (T, error)
	idempotent repeat
	repeatIf   func(err error, idempotent bool) bool
	later      bool
	name       string
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

// RepeatIf has may decide whether a call that failed with err is worth another
// try that does no harm, in place of: it is idempotent and err's Kind is
// Retryable. For one who knows more: that a request never left the process, or
// that the target asked not to. Number, budget, deadline and the mark of a layer
// above that retries still apply. If may panics, the answer is no.
func RepeatIf[T any](may func(err error, idempotent bool) bool) Option[T] {
	return Option[T]{repeatIf: may}
}

// Later says that a success of fn proves nothing yet, as when it opens a stream:
// the breaker and the limits do not learn from it. Guard.Report tells them how
// it went on.
func Later[T any]() Option[T] { return Option[T]{later: true} }

// Named says which method of the target a call is, so that the first
// Policy.Methods whose Pattern matches counts for it: "GET /v1/orders/7" or
// "package.Service/Method". Calls without a name follow the Policy itself.
func Named[T any](method string) Option[T] { return Option[T]{name: method} }

// Hold is for a value that lives on after the call, such as a response whose
// body is still to be read: the try's ctx is not ended when Do returns but when
// release is called. keep takes over v, the value Do is about to return (with
// or without an error), and must see to it that release is called exactly once;
// if it is nil the try's ctx ends as usual. drop, if not nil, gets each value
// that another try replaces, also while Do still waits for that other try. A
// place in a limit is given back when fn returns, not when v is released.
func Hold[T any](keep func(v T, release context.CancelFunc) T, drop func(v T)) Option[T] {
	return Option[T]{keep: keep, drop: drop}
}

const op = "resilience.Do"

// Do makes one call to g's target: fn, with g's Policy around it. It blocks
// until fn has succeeded, the policy gives up, or ctx ends. With hedging on, fn
// may run more than once at the same time.
//
// The error is fn's last one, unchanged; or of Kind errs.Unavailable, wrapping
// breaker.ErrOpen, if the breaker refused; or of Kind errs.TooMany, with the id
// "over_limit" and wrapping limit.ErrLimit, if a limit did; or of Kind
// errs.Internal if fn panicked: a panic does not cross. The value is the one fn
// returned beside its last error.
//
// What an error says about the target and about repeating is read from its
// errs.Kind; an error without one is a failure that may be repeated. A cancel
// by the caller, a 429 and an answer with a retry delay (load shed on purpose)
// say nothing about the target, nor does a timeout of a try that had less than a
// tenth of AttemptTimeout; a 4xx says that the target is alive. What the
// breaker or a limit of g refused is not tried again.
//
// The ctx that fn gets has its deadline at once and its timer only when it is
// asked for Done (see WithDeadline).
func Do[T any](ctx context.Context, g *Guard, fn func(ctx context.Context) (T, error), opts ...Option[T]) (T, error) {
	p := g.plan.Load()
	r := &p.rules
	var o Option[T]
	for i := range opts {
		o.add(&opts[i])
	}
	if o.name != "" {
		r = p.find(o.name)
	}
	v, err := try(ctx, g, r, &o, fn)
	if err == nil || o.fallback == nil || ctx.Err() != nil {
		return v, err
	}
	if k := errs.KindOf(err); k.Fault() == errs.Caller && k != errs.TooMany {
		return v, err
	}
	return fallback(ctx, g, &o, err)
}

func (o *Option[T]) add(n *Option[T]) {
	if n.fallback != nil {
		o.fallback = n.fallback
	}
	if n.idempotent != asPolicy {
		o.idempotent = n.idempotent
	}
	if n.repeatIf != nil {
		o.repeatIf = n.repeatIf
	}
	o.later = o.later || n.later
	if n.name != "" {
		o.name = n.name
	}
	if n.keep != nil || n.drop != nil {
		o.keep, o.drop = n.keep, n.drop
	}
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

// try is everything inside the fallback:
// retry(budget(breaker(hedge(limit(timeout(attempt)))))).
func try[T any](ctx context.Context, g *Guard, r *rules, o *Option[T], fn func(ctx context.Context) (T, error)) (T, error) {
	if err := ctx.Err(); err != nil {
		var none T
		return none, errs.Wrap(err, op) // expired work is not sent
	}
	idempotent := o.idempotent == may || o.idempotent == asPolicy && r.idempotent
	// One layer retries: if what brought us here is a retry, the layer above
	// does, and our own tries would multiply with its.
	again := (idempotent || o.repeatIf != nil) && flow.Attempt(ctx) == 0

	now := time.Now()
	deadline, _ := ctx.Deadline()
	if r.timeout > 0 {
		deadline = sooner(deadline, now.Add(r.timeout))
	}
	g.budget.Call(now, r.retry)
	for n := 0; ; n++ {
		m := moment{g: g, r: r, n: n, now: now, deadline: deadline, hedged: idempotent && again && r.hedge != nil, later: o.later}
		t, err := attempt(ctx, &m, o, fn)
		if err == nil || !again || t.refused || !o.worth(err, idempotent) || !g.again(ctx, r, n, deadline, err) {
			return t.finish(o), err
		}
		t.discard(o)
		now = time.Now()
	}
}

func sooner(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// again decides about another try after try n failed with err, pays for it, and
// waits for its time.
func (g *Guard) again(ctx context.Context, r *rules, n int, deadline time.Time, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	m := retry.Moment{Tries: n, Now: time.Now(), Deadline: deadline, After: errs.From(err).RetryDelay(), Rand: rand.Float64()}
	next := r.retry.Next(m)
	if next.Again && !g.budget.Take(m.Now, r.retry) {
		next = retry.Verdict{Why: retry.NoBudget}
	}
	if !next.Again {
		g.notAgain.Add(ctx, 1, metric.WithAttributes(g.target, attribute.String("surefoot.reason", string(next.Why))))
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

// worth says whether the call may be tried again, as far as err says.
func (o *Option[T]) worth(err error, idempotent bool) (yes bool) {
	if o.repeatIf == nil {
		return idempotent && curable(err)
	}
	_ = safe.Call(func() error { yes = o.repeatIf(err, idempotent); return nil })
	return yes
}

// curable says whether another try can help. An error that is no *errs.Error,
// such as a driver's, may be anything, so a call that may be repeated is.
func curable(err error) bool {
	if e, ok := errors.AsType[*errs.Error](err); ok {
		return e.Kind().Retryable()
	}
	return errs.KindOf(err) != errs.Canceled
}
