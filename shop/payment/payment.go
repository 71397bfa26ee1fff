// Package payment charges orders at the bank, once each, and sees every charge
// through.
//
//	s := &payment.Service{DB: db, Bank: "http://127.0.0.1:17616", HTTP: client, Version: "v1"}
//	shopv1.RegisterPaymentsServer(server, s)
//	go s.Outbox(ctx) // as a worker of the process
//
// A payment is written down before the bank is asked. If the bank gives no
// verdict (it is away, its breaker is open, or it answers too late) the caller
// hears PENDING and the outbox asks again, with the same Idempotency-Key, until
// the bank has said yes or no. Several processes, of several versions, may
// share one database.
package payment

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/shop/outbox"
	"github.com/surefoot-go/surefoot/shop/shopv1"
	"github.com/surefoot-go/surefoot/shop/sqldb"
)

const scope = "github.com/surefoot-go/surefoot/shop/payment"

// lease is how long a payment belongs to whoever is asking the bank. It is
// longer than a call to the bank can take, retries included; after it, the
// asker is taken for dead.
const lease = 4 * time.Second

// maxLookup is how many orders one Lookup may ask for.
const maxLookup = 500

// Service is the payment service. Fill in the fields before the first call; it
// is safe for concurrent use. It owns neither DB nor HTTP: their maker closes
// them after the server and the outbox have stopped.
type Service struct {
	shopv1.UnimplementedPaymentsServer

	DB      *sqldb.DB     // migrated by Migrations
	Bank    string        // base URL of the bank
	HTTP    *http.Client  // with a time limit and a breaker for the bank; repeats are safe
	Version string        // "v1", "v2" or "v3": see price and receipts; "" means v1
	Observe observe.Sinks // zero means the process-wide ones
	Drain   float64       // payments the outbox settles per second at most; 0 means 50

	once      sync.Once
	fallbacks metric.Int64Counter
}

// Charge implements the gRPC method. It answers within its deadline whatever
// the bank does.
func (s *Service) Charge(ctx context.Context, in *shopv1.ChargeRequest) (*shopv1.Payment, error) {
	const op = "payment.Charge"
	switch {
	case in.OrderId == "" || len(in.OrderId) > 100:
		return nil, errs.New(errs.Invalid, op, "order_id must have 1 to 100 characters")
	case in.AmountMinor <= 0:
		return nil, errs.New(errs.Invalid, op, "amount_minor must be positive")
	case len(in.Currency) != 3:
		return nil, errs.New(errs.Invalid, op, "currency must have three letters")
	}
	e, fresh, err := s.book().enter(ctx, entry{
		orderID: in.OrderId, userID: in.UserId, currency: in.Currency, pricedBy: s.Version,
		amount: pricing(s.Version)(ctx, in.AmountMinor),
		nextAt: time.Now().Add(lease).UnixMilli(),
	})
	if err != nil {
		return nil, errs.Wrap(err, op)
	}
	if fresh {
		if e, err = s.settle(ctx, e); err != nil { // what went wrong is on the span
			s.fellBack(ctx, err) // the outbox takes over
		}
		if r := receiptsOf(s.Version); r != nil && e.status == paid {
			trace.SpanFromContext(ctx).SetAttributes(attribute.String("shop.receipt", r.number(ctx, e.orderID)))
		}
	}
	return e.wire(), nil
}

// Lookup implements the gRPC method.
func (s *Service) Lookup(ctx context.Context, in *shopv1.LookupRequest) (*shopv1.LookupReply, error) {
	const op = "payment.Lookup"
	if len(in.OrderIds) > maxLookup {
		return nil, errs.New(errs.Invalid, op, "at most 500 orders at once")
	}
	list, err := s.book().lookup(ctx, in.OrderIds)
	if err != nil {
		return nil, errs.Wrap(err, op)
	}
	out := &shopv1.LookupReply{}
	for _, e := range list {
		out.Payments = append(out.Payments, e.wire())
	}
	return out, nil
}

// settle asks the bank about e and writes its verdict down. Without one e stays
// pending, is due again after a while, and the reason is returned.
func (s *Service) settle(ctx context.Context, e entry) (entry, error) {
	v, err := s.ask(ctx, e)
	// The money may be gone by now: what we know must reach the book even if
	// the caller has left.
	keep, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err != nil {
		if later := s.book().postpone(keep, e.orderID, time.Now().Add(backoff(e.attempts))); later != nil {
			s.log().ErrorContext(ctx, "payment not postponed; its lease ends by itself", "order", e.orderID, "error", later)
		}
		return e, err
	}
	if err := s.book().settle(keep, e.orderID, v.to, v.chargeID, v.reason); err != nil {
		s.log().ErrorContext(ctx, "the bank's verdict was not written down; the outbox asks again", "order", e.orderID, "error", err)
		return e, err
	}
	e.status, e.chargeID, e.reason, e.nextAt = v.to, v.chargeID, v.reason, 0
	return e, nil
}

// fellBack counts a charge that was answered with PENDING, under the name and
// the attributes that package resilience gives to fallbacks: the pending answer
// is one, made by hand because the breaker sits inside the HTTP client.
func (s *Service) fellBack(ctx context.Context, why error) {
	s.once.Do(func() {
		s.fallbacks, _ = s.Observe.OrDefault().Meter.Meter(scope).Int64Counter("surefoot.fallback.calls",
			metric.WithDescription("Calls answered by the fallback."), metric.WithUnit("{call}")) // never nil, says OpenTelemetry
	})
	s.fallbacks.Add(ctx, 1, metric.WithAttributes(attribute.String("surefoot.target", "bank"), attribute.Bool("surefoot.ok", true)))
	trace.SpanFromContext(ctx).AddEvent("surefoot.fallback", trace.WithAttributes(attribute.Bool("surefoot.ok", true), attribute.String("error.type", errs.From(why).Code())))
}

// backoff is how long a payment rests after so many attempts: 0.5s, doubling to
// 4s. The spread between payments comes from the outbox, which takes one at a
// time at its own, jittered pace.
func backoff(attempts int64) time.Duration {
	return min(4*time.Second, 500*time.Millisecond<<min(attempts, 8))
}

// Outbox settles pending payments until ctx ends, then returns nil. It asks for
// one at a time, at most Drain a second, and backs off with jitter while the
// bank gives no verdicts.
func (s *Service) Outbox(ctx context.Context) error {
	tracer := s.Observe.OrDefault().Tracer.Tracer(scope)
	return outbox.Worker{Name: "payments", Rate: s.Drain, Log: s.log()}.Run(ctx, func(ctx context.Context) (outbox.Outcome, error) {
		list, err := s.book().due(ctx, time.Now(), 1)
		if err != nil || len(list) == 0 {
			return outbox.Idle, err
		}
		e := list[0]
		mine, err := s.book().claim(ctx, e, time.Now().Add(lease))
		if err != nil || !mine {
			return outbox.Done, err
		}
		e.attempts++
		ctx, span := tracer.Start(ctx, "payment.settle", trace.WithAttributes(attribute.String("shop.order.id", e.orderID)))
		defer span.End()
		if _, err := s.settle(ctx, e); err != nil {
			span.SetStatus(codes.Error, errs.From(err).Message())
			span.SetAttributes(attribute.String("error.type", errs.From(err).Code()))
			return outbox.Idle, err
		}
		return outbox.Done, nil
	})
}

// Measure reports the number of unsettled payments as the gauge
// shop.payments.waiting, until the returned function is called. It counts a
// shared database: every process reports the same number.
func (s *Service) Measure() (stop func() error, err error) {
	meter := s.Observe.OrDefault().Meter.Meter(scope)
	gauge, err := meter.Int64ObservableGauge("shop.payments.waiting", metric.WithUnit("{payment}"), metric.WithDescription("Payments the bank has not decided yet"))
	if err != nil {
		return nil, err
	}
	reg, err := meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		n, err := s.book().waiting(ctx)
		if err == nil {
			o.ObserveInt64(gauge, n)
		}
		return err
	}, gauge)
	if err != nil {
		return nil, err
	}
	return reg.Unregister, nil
}

func (s *Service) book() book { return book{s.DB} }

func (s *Service) log() *slog.Logger { return s.Observe.OrDefault().Log }

func (e entry) wire() *shopv1.Payment {
	p := &shopv1.Payment{OrderId: e.orderID, AmountMinor: e.amount, Currency: e.currency, ChargeId: e.chargeID, Reason: e.reason}
	switch e.status {
	case paid:
		p.Status = shopv1.PaymentStatus_PAYMENT_STATUS_PAID
	case declined:
		p.Status = shopv1.PaymentStatus_PAYMENT_STATUS_DECLINED
	default:
		p.Status = shopv1.PaymentStatus_PAYMENT_STATUS_PENDING
	}
	return p
}
