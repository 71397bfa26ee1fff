package resilience

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/resilience/breaker"
	"github.com/surefoot-go/surefoot/resilience/hedge"
	"github.com/surefoot-go/surefoot/resilience/limit"
	"github.com/surefoot-go/surefoot/safe"
)

// moment is where a call stands when a try begins.
type moment struct {
	g        *Guard
	r        *rules
	n        int // further tries before this one
	now      time.Time
	deadline time.Time // of the whole call; zero is none
	hedged   bool
	later    bool // a success proves nothing yet
}

// tried is what came of one try.
type tried[T any] struct {
	v       T
	ctx     *lazy              // of the try; nil if it has no end of its own
	release context.CancelFunc // of its hedge; nil if there was none
	further bool               // it ran beside another
	refused bool               // by ourselves: nothing was sent
	outcome breaker.Outcome
	load    limit.Outcome
}

// end ends the try's ctx.
func (t *tried[T]) end() {
	t.ctx.end()
	if t.release != nil {
		t.release()
	}
}

// finish is the value to return. It ends the try's ctx, or hands its end over
// with the value.
func (t *tried[T]) finish(o *Option[T]) T {
	if o.keep == nil {
		t.end()
		return t.v
	}
	return o.keep(t.v, t.releaser())
}

func (t *tried[T]) releaser() context.CancelFunc {
	switch {
	case t.release != nil:
		ctx, release := t.ctx, t.release
		return func() { ctx.end(); release() }
	case t.ctx != nil:
		return t.ctx.end
	}
	return func() {}
}

// discard is for a try whose value nobody gets.
func (t *tried[T]) discard(o *Option[T]) {
	t.end()
	if o.drop != nil {
		o.drop(t.v)
	}
}

// attempt is breaker(hedge(limit(timeout(attempt)))).
func attempt[T any](ctx context.Context, m *moment, o *Option[T], fn func(ctx context.Context) (T, error)) (t tried[T], err error) {
	g := m.g
	permit, err := g.breaker.Allow()
	if err != nil {
		t.refused = true
		return t, g.open(ctx, err)
	}
	// The outcome is Ignored also when fn ends the goroutine.
	defer func() {
		if permit.Done(t.outcome, err) {
			g.event(ctx, "surefoot.breaker.change", attribute.String("surefoot.breaker.state", g.breaker.State().String()))
		}
	}()
	switch {
	case m.hedged:
		t, err = hedged(ctx, *m, *o, fn)
	case m.r.limited:
		t, err = limited(ctx, m, fn)
	default:
		t, err = timed(ctx, m, fn)
	}
	return t, err
}

// open is the answer of an open breaker. The target's name is for the log.
func (g *Guard) open(ctx context.Context, cause error) error {
	g.event(ctx, "surefoot.breaker.rejected")
	return errs.New(errs.Unavailable, op, "a service behind this one is not available right now").
		ID("breaker_open").With("target", g.name).Because(cause).RetryAfter(max(g.breaker.Wait(), time.Millisecond))
}

// hedged is hedge(limit(timeout(attempt))). What it needs is copied, so that
// calls that are not hedged do not pay for tries that outlive their frame.
func hedged[T any](ctx context.Context, m moment, o Option[T], fn func(ctx context.Context) (T, error)) (tried[T], error) {
	c := hedge.Call[tried[T]]{
		Take:  func() bool { return m.g.further(ctx, m.r) },
		Final: func(err error) bool { return !curable(err) },
		Drop:  func(t tried[T]) { t.discard(&o) },
		Keep: func(t tried[T], release context.CancelFunc) tried[T] {
			t.release = release
			return t
		},
	}
	t, err := hedge.Do(ctx, m.r.hedge, c, func(ctx context.Context, k int) (t tried[T], err error) {
		m := m // tries run at the same time
		m.n += k
		if k > 0 {
			m.now = time.Now()
		}
		if m.r.limited {
			t, err = limited(ctx, &m, fn)
		} else {
			t, err = timed(ctx, &m, fn)
		}
		t.further = k > 0
		return t, err
	})
	if t.further && err == nil {
		m.g.hedges.won.Add(1)
		m.g.tellHedge(ctx, "won")
	}
	return t, err
}

// further asks for a try beside one that is late, and pays for it. A target
// that is coming back gets no double calls.
func (g *Guard) further(ctx context.Context, r *rules) bool {
	if g.breaker.State() == breaker.Closed && g.budget.Take(time.Now(), r.retry) {
		g.hedges.further.Add(1)
		g.tellHedge(ctx, "further")
		return true
	}
	g.hedges.refused.Add(1)
	g.tellHedge(ctx, "refused")
	return false
}

func (g *Guard) tellHedge(ctx context.Context, outcome string) {
	g.hedged.Add(ctx, 1, metric.WithAttributes(g.target, attribute.String("surefoot.outcome", outcome)))
	g.event(ctx, "surefoot.hedge", attribute.String("surefoot.outcome", outcome))
}

// timed is timeout(attempt).
func timed[T any](ctx context.Context, m *moment, fn func(ctx context.Context) (T, error)) (t tried[T], err error) {
	end := m.deadline
	if m.r.attempt > 0 {
		end = sooner(end, m.now.Add(m.r.attempt))
	}
	tryCtx := ctx
	if m.n > 0 {
		tryCtx = flow.WithAttempt(ctx, m.n)
	}
	if !end.IsZero() {
		t.ctx = later(tryCtx, end)
		tryCtx = t.ctx
	}
	returned, left := false, false
	defer func() {
		if !left { // fn ended the goroutine
			t.ctx.end()
		}
	}()
	err = safe.Call(func() (err error) {
		t.v, err = fn(tryCtx)
		returned = true
		return err
	})
	left = true
	if err == nil {
		if !m.later {
			t.outcome, t.load = breaker.Success, limit.Success
		}
		return t, nil
	}
	switch {
	case !returned: // a fault of ours, it says nothing about the target
		return t, errs.New(errs.Internal, op, "something went wrong on our side").Because(err)
	case tryCtx.Err() == context.DeadlineExceeded && ctx.Err() == nil:
		// Whatever fn made of it, it failed because its time was up.
		if errs.KindOf(err) != errs.Timeout {
			err = errs.New(errs.Timeout, op, "a service behind this one did not answer in time").With("target", m.g.name).Because(err)
		}
		t.outcome = breaker.Failure
	default:
		t.outcome = Judge(ctx, err)
	}
	late := errs.KindOf(err) == errs.Timeout
	if late && t.outcome == breaker.Failure && starved(m, end) {
		t.outcome = breaker.Ignored
		return t, err
	}
	if late && t.outcome == breaker.Failure || t.outcome == breaker.Ignored && ctx.Err() == nil && tooBusy(err) {
		t.load = limit.Overload
	}
	return t, err
}

// starved says that a try got so little time that running out of it says
// nothing about the target: less than a tenth of what the policy gives a try.
// Callers in a hurry must not open the breaker for the others.
func starved(m *moment, end time.Time) bool {
	return !end.IsZero() && end.Sub(m.now) < m.r.attempt/10
}

// tooBusy says that the target has more to do than it can.
func tooBusy(err error) bool {
	k := errs.KindOf(err)
	return (k == errs.TooMany || k == errs.Unavailable) && errs.From(err).RetryDelay() > 0
}

// Judge reads what the end of a call says about its target, as Do does for the
// breaker: nil is a Success, an error is read by its errs.Kind. ctx is the
// caller's. For those who tell others the same, such as a balancer.
func Judge(ctx context.Context, err error) breaker.Outcome {
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

// Report tells the breaker how something went that Do did not see end, such as
// a stream opened with the option Later: err is judged as Do would, nil is a
// success. ctx is the caller's.
func (g *Guard) Report(ctx context.Context, err error) {
	if g.breaker.Record(Judge(ctx, err), err) {
		g.event(ctx, "surefoot.breaker.change", attribute.String("surefoot.breaker.state", g.breaker.State().String()))
	}
}
