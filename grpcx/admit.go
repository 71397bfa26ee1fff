package grpcx

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/resilience/shed"
	"github.com/surefoot-go/surefoot/safe"
)

// admit asks the door. The error is the status of a refusal, which has been told
// about.
func (c *request) admit(ctx context.Context) error {
	h := c.side
	if h.Door == nil {
		return nil
	}
	if d, ok := ctx.Deadline(); ok && !c.started.Before(d) {
		return nil // expired: serve says so
	}
	switch {
	case h.Classify != nil:
		in := flow.ExtractCarrier(ctx, incoming{ctx})
		if h.Edge {
			in = flow.WithoutLabels(in)
		}
		c.ask = h.Classify(in, c.method.name)
	case !h.Edge:
		if bag := metadata.ValueFromIncomingContext(ctx, "baggage"); len(bag) > 0 {
			c.ask.User = flow.PeekLabel(bag, flow.LabelUser)
			c.ask.Priority, _ = shed.ParsePriority(flow.PeekLabel(bag, flow.LabelPriority))
		}
	}
	if c.ask.Op == "" {
		c.ask.Op = c.method.name
	}
	pass, err := h.Door.Enter(ctx, c.ask)
	if err != nil {
		return c.refuse(ctx, err)
	}
	c.pass = pass
	return nil
}

// leave hands the pass back, if it is still held.
func (c *request) leave(o shed.Outcome) {
	if c.side.Door != nil && !c.gone.Swap(true) {
		c.pass.Done(o)
	}
}

// streams says that the call has become a stream, which is no work that others
// have to wait for.
func (c *request) streams() { c.leave(shed.Ignored) }

// labeled returns ctx with what Classify decided, for the services below.
func labeled(ctx context.Context, ask shed.Request) context.Context {
	priority := ""
	if ask.Priority != shed.Normal {
		priority = ask.Priority.String()
	}
	if flow.Label(ctx, flow.LabelPriority) == priority && flow.Label(ctx, flow.LabelUser) == ask.User {
		return ctx
	}
	return flow.WithLabels(ctx, map[string]string{flow.LabelPriority: priority, flow.LabelUser: ask.User})
}

// outcomeOf is what a call that was admitted says about the service's capacity.
func outcomeOf(ctx context.Context, err error) shed.Outcome {
	_, panicked := errors.AsType[*safe.Panic](err)
	switch {
	case panicked, errors.Is(ctx.Err(), context.Canceled):
		return shed.Ignored
	case ctx.Err() != nil:
		return shed.Overload // done too late, or not at all
	case err == nil:
		return shed.Success
	}
	e := own(err)
	if e.Remote() && e.Kind() == errs.Unavailable && e.RetryDelay() > 0 {
		return shed.Overload // somebody below sheds
	}
	switch e.Kind() {
	case errs.NotFound, errs.Conflict, errs.FailedPrecondition:
		return shed.Success
	}
	return shed.Ignored // our fault, or refused before there was work
}

// overloaded is the id of a refusal.
const overloaded = "overloaded"

// refusal is a status that was made a moment ago.
type refusal struct {
	err error
	at  time.Time
}

// fresh is how long a refusal is sent again as it is: its times are no more
// wrong than this.
const fresh = time.Second

// refuse ends a call that was not admitted, at little cost: refusing must not be
// what keeps a service busy. So its status is made once a second, and says
// nothing of the one call.
func (c *request) refuse(ctx context.Context, err error) error {
	h, m, now := c.side, c.method, time.Now()
	refused, ok := errors.AsType[*shed.Refused](err)
	if !ok { // the caller went away, or its time ran out, while it waited
		e := errs.From(errs.Wrap(err, m.name)).At(errs.Border{Service: h.Service, Op: m.name, Started: c.started})
		m.refusals.Count(ctx, "left", c.ask.Priority.String())
		h.tell.record(ctx, m, codes.Code(e.GRPC()), "", now.Sub(c.started))
		return h.status(ctx, e)
	}
	after := refused.RetryDelay()
	c.trailer(ctx, after)
	m.refusals.Count(ctx, string(refused.Reason()), c.ask.Priority.String())
	m.failures.Count(ctx, errs.Unavailable.ID(), overloaded)
	h.tell.record(ctx, m, codes.Unavailable, overloaded, now.Sub(c.started))
	language := metadata.ValueFromIncomingContext(ctx, "accept-language")
	if len(language) == 0 {
		if r, ok := m.refused.Load(after); ok && now.Sub(r.(*refusal).at) < fresh {
			return r.(*refusal).err
		}
	}
	e := errs.New(errs.Unavailable, m.name, "this is not available right now; please try again later").ID(overloaded).
		RetryAfter(after).Because(err).At(errs.Border{Service: h.Service, Op: m.name, Now: now})
	err = h.status(ctx, e)
	if len(language) == 0 {
		m.refused.Store(after, &refusal{err, now})
	}
	return err
}
