package order

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/shop/outbox"
	"github.com/surefoot-go/surefoot/shop/shopv1"
)

// batch is how many orders one round of Recover takes; payment looks that many
// up in one call.
const batch = 200

// Recover finishes or undoes sagas that nobody works on, until ctx ends, and
// then returns nil: those of a process that died, and those whose payment is
// pending. Several processes may do so on one database.
func (s *Service) Recover(ctx context.Context) error {
	tracer := s.Observe.OrDefault().Tracer.Tracer("github.com/surefoot-go/surefoot/shop/order")
	ctx = context.WithValue(ctx, settling{}, true)
	return outbox.Worker{Name: "orders", Rate: 4, Log: s.log()}.Run(ctx, func(ctx context.Context) (outbox.Outcome, error) {
		list, err := s.book().due(ctx, time.Now(), batch)
		if err != nil || len(list) == 0 {
			return outbox.Idle, err
		}
		ctx, span := tracer.Start(ctx, "order.recover", trace.WithAttributes(attribute.Int("shop.orders", len(list))))
		defer span.End()
		err = s.round(ctx, list)
		if err != nil {
			span.SetStatus(codes.Error, errs.From(err).Message())
			span.SetAttributes(attribute.String("error.type", errs.From(err).Code()))
			return outbox.Idle, err
		}
		return outbox.Done, nil
	})
}

// round takes every order of list as far as it goes. One that fails does not
// stop the others; the first error is returned.
func (s *Service) round(ctx context.Context, list []order) (first error) {
	keep := func(err error) {
		if first == nil {
			first = err
		}
	}
	var waiting []order
	for i := range list {
		o := &list[i]
		if ctx.Err() != nil {
			return first
		}
		if o.state == Pending {
			waiting = append(waiting, *o)
			continue
		}
		keep(s.resume(ctx, o))
	}
	if len(waiting) > 0 {
		keep(s.poll(ctx, waiting))
	}
	return first
}

// resume goes on with one order that was left half way.
func (s *Service) resume(ctx context.Context, o *order) error {
	mine, err := s.book().claim(ctx, o, time.Now().Add(lease))
	if err != nil || !mine {
		return err
	}
	if o.state == New { // whoever placed it has had an error, or none: undo
		from := *o
		o.reason = "the order was not completed in time"
		if err := s.write(ctx, o, from, Abandoned); err != nil {
			return err
		}
	}
	return s.finish(ctx, o)
}

// finish takes steps until the saga is over, has to wait, or fails.
func (s *Service) finish(ctx context.Context, o *order) error {
	for !o.state.Settled() && ctx.Err() == nil {
		was := o.state
		if err := s.step(ctx, o); err != nil {
			return err
		}
		if o.state == was || o.state == Pending {
			return nil
		}
	}
	return nil
}

// poll asks payment, in one call, what became of pending orders. Those that
// payment never heard of are charged now.
func (s *Service) poll(ctx context.Context, waiting []order) (first error) {
	ids := make([]string, len(waiting))
	for i, o := range waiting {
		ids[i] = o.id
	}
	reply, err := s.Payments.Lookup(ctx, &shopv1.LookupRequest{OrderIds: ids})
	if err != nil {
		// Keep them from being the first to be taken again and again.
		if late := s.book().postpone(ctx, ids, Pending, time.Now().Add(backoff(1))); late != nil {
			return late
		}
		return err
	}
	known := make(map[string]*shopv1.Payment, len(reply.Payments))
	for _, p := range reply.Payments {
		known[p.OrderId] = p
	}
	still := map[int64][]string{} // by attempts
	for i := range waiting {
		o := &waiting[i]
		p := known[o.id]
		if p != nil && p.Status == shopv1.PaymentStatus_PAYMENT_STATUS_PENDING {
			n := min(o.attempts, 8)
			still[n] = append(still[n], o.id)
			continue
		}
		if err := s.decide(ctx, o, p); err != nil && first == nil {
			first = err
		}
	}
	for n, ids := range still {
		if err := s.book().postpone(ctx, ids, Pending, time.Now().Add(backoff(n))); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// decide goes on with a pending order whose payment is settled, or unknown to
// payment if p is nil.
func (s *Service) decide(ctx context.Context, o *order, p *shopv1.Payment) error {
	if mine, err := s.book().claim(ctx, o, time.Now().Add(lease)); err != nil || !mine {
		return err
	}
	if p != nil {
		from := *o
		out := o.heard(p)
		if err := s.write(ctx, o, from, out); err != nil {
			return err
		}
	}
	return s.finish(ctx, o)
}
