// Package order owns orders and runs the saga of each: reserve stock, charge,
// confirm; or give the stock back.
//
//	s := &order.Service{DB: db, Payments: payments, Inventory: inventory}
//	shopv1.RegisterOrdersServer(server, s)
//	go s.Recover(ctx) // as a worker of the process
//
// Every step is written down before it is taken (see State), every step may be
// taken twice without harm, and Recover finishes or undoes what a crash or an
// outage left half way. So the process may be killed at any point.
package order

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/canary"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/shop/shopv1"
	"github.com/surefoot-go/surefoot/shop/sqldb"
)

const (
	// patience bounds the saga while a customer waits; afterwards Recover goes
	// on with it.
	patience = 3 * time.Second
	// lease is how long an order belongs to whoever took its last step. It is
	// longer than any single step, and a write after it, can take.
	lease = patience + 3*time.Second
)

// Service is the order service. Fill in the fields before the first call; it is
// safe for concurrent use. It owns none of them.
type Service struct {
	shopv1.UnimplementedOrdersServer

	DB        *sqldb.DB // migrated by Migrations
	Payments  shopv1.PaymentsClient
	Inventory shopv1.InventoryClient
	Observe   observe.Sinks // zero means the process-wide ones
}

// Place implements the gRPC method. Orders that were accepted come back without
// error, whatever becomes of their payment. An order for which there is no
// stock is an error of Kind Conflict, id "sold_out", or NotFound, "unknown_sku".
// Asking again with the same key gives the same order, or the error
// "in_progress" while it is not decided whether it is accepted,
// "order_canceled" or "order_rejected" when it was not.
func (s *Service) Place(ctx context.Context, in *shopv1.PlaceRequest) (*shopv1.Order, error) {
	const op = "order.Place"
	var wrong []string
	check := func(ok bool, what string) {
		if !ok {
			wrong = append(wrong, what)
		}
	}
	check(in.UserId != "" && len(in.UserId) <= 100, "user_id must have 1 to 100 characters")
	check(in.Sku != "" && len(in.Sku) <= 100, "sku must have 1 to 100 characters")
	check(in.Quantity >= 1 && in.Quantity <= 1000, "quantity must be 1 to 1000")
	check(in.IdempotencyKey != "" && len(in.IdempotencyKey) <= 200, "idempotency_key must have 1 to 200 characters")
	if wrong != nil {
		return nil, errs.New(errs.Invalid, op, "request parameters failed validation").Detail(wrong...)
	}
	now := time.Now()
	o, fresh, err := s.book().enter(ctx, order{
		id: newID(), userID: in.UserId, key: in.IdempotencyKey, sku: in.Sku, quantity: in.Quantity,
		state: New, createdAt: now.UnixMilli(), nextAt: now.Add(lease).UnixMilli(),
	})
	if err != nil {
		return nil, errs.Wrap(err, op)
	}
	if !fresh {
		return again(in, &o)
	}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, payer{}, o.userID), patience)
	defer cancel()
	if err := s.advance(ctx, &o); err != nil {
		return nil, errs.Wrap(err, op)
	}
	return o.wire(), nil
}

// again answers a request whose key is known. It must not say that an order is
// accepted which the saga may still give up, or has: whoever placed it first,
// perhaps a try of the same call that died, did not hear so either.
func again(in *shopv1.PlaceRequest, o *order) (*shopv1.Order, error) {
	const op = "order.Place"
	switch {
	case o.sku != in.Sku || o.quantity != in.Quantity:
		return nil, errs.New(errs.Conflict, op, "this idempotency key belongs to another order").ID("idempotency_key_reused")
	case o.state == New:
		return nil, errs.New(errs.Unavailable, op, "this order is being placed; ask again with the same idempotency key").ID("in_progress").RetryAfter(500 * time.Millisecond)
	case o.state == Canceling || o.state == Canceled:
		return nil, errs.New(errs.Conflict, op, "this order was given up before any charge; place it again with a new idempotency key").ID("order_canceled")
	case o.state == Rejected:
		return nil, errs.New(errs.Conflict, op, o.reason).ID("order_rejected")
	}
	return o.wire(), nil
}

// Get implements the gRPC method.
func (s *Service) Get(ctx context.Context, in *shopv1.GetOrderRequest) (*shopv1.Order, error) {
	const op = "order.Get"
	o, err := s.book().get(ctx, in.OrderId)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errs.New(errs.NotFound, op, "there is no such order").With("order", in.OrderId)
	}
	if err != nil {
		return nil, errs.Wrap(err, op)
	}
	return o.wire(), nil
}

// advance takes step after step for a waiting customer, until the saga is over
// or has to wait. It returns an error only if the order was not accepted: once
// a charge may have been made it was.
func (s *Service) advance(ctx context.Context, o *order) error {
	for !o.state.Settled() {
		was := o.state
		err := s.step(ctx, o)
		switch {
		case o.state == Rejected || o.state == Canceling || o.state == New:
			return err
		case err != nil && was != Charging:
			s.log().WarnContext(ctx, "saga left to recovery", "order", o.id, "state", o.state, "error", err)
		}
		if o.state == was || o.state == Pending {
			break
		}
	}
	return nil
}

// step takes the one step that o's state asks for, and writes down where that
// leads. The error is what the step failed with, or that it could not be
// written down; o then is as the book last had it.
func (s *Service) step(ctx context.Context, o *order) error {
	from := *o
	var err error
	var out Outcome
	switch o.state {
	case New:
		var r *shopv1.Reservation
		r, err = s.Inventory.Reserve(ctx, &shopv1.ReserveRequest{OrderId: o.id, Sku: o.sku, Quantity: o.quantity})
		if out = outcome(err); out == Succeeded {
			o.amount, o.currency = r.UnitPriceMinor*int64(o.quantity), r.Currency
		} else {
			o.reason = errs.From(err).Message()
		}
	case Charging, Pending:
		var p *shopv1.Payment
		p, err = s.Payments.Charge(ctx, &shopv1.ChargeRequest{OrderId: o.id, UserId: o.userID, AmountMinor: o.amount, Currency: o.currency})
		if out = Unknown; err == nil {
			out = o.heard(p)
		} else if errs.KindOf(err) == errs.Invalid { // refused unread: nothing is charged
			out, o.reason = Refused, errs.From(err).Message()
		}
	case Charged:
		_, err = s.Inventory.Confirm(ctx, &shopv1.ConfirmRequest{OrderId: o.id})
		out = forward(err)
	case Declining, Canceling:
		_, err = s.Inventory.Release(ctx, &shopv1.ReleaseRequest{OrderId: o.id})
		out = forward(err)
	}
	if kept := s.write(ctx, o, from, out); kept != nil {
		return kept
	}
	return err
}

// forward is outcome for steps that have no way back: a refusal there is a
// mistake of ours that a person must find, and the order waits for him.
func forward(err error) Outcome {
	if err == nil {
		return Succeeded
	}
	return Unknown
}

// heard takes over what payment says about o.
func (o *order) heard(p *shopv1.Payment) Outcome {
	switch p.Status {
	case shopv1.PaymentStatus_PAYMENT_STATUS_PAID:
		o.paid = p.AmountMinor
		return Succeeded
	case shopv1.PaymentStatus_PAYMENT_STATUS_DECLINED:
		o.reason = p.Reason
		return Refused
	}
	return Deferred
}

// write moves o from the state it had to where the outcome leads. It does so
// even if the caller has gone: what we know must reach the book.
func (s *Service) write(ctx context.Context, o *order, from order, out Outcome) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	to := Next(from.state, out)
	if to == from.state {
		*o = from
		return s.book().postpone(ctx, []string{o.id}, o.state, time.Now().Add(backoff(o.attempts)))
	}
	o.state = to
	now := time.Now()
	switch to {
	case Pending: // the next look costs one call for many orders
		o.nextAt = now.Add(backoff(0)).UnixMilli()
	case Canceling: // nobody goes on with it
		o.nextAt = now.UnixMilli()
	default:
		o.nextAt = now.Add(lease).UnixMilli()
	}
	if _, err := s.book().move(ctx, o, from.state); err != nil {
		*o = from // its lease ends, and Recover takes the step again
		return err
	}
	return nil
}

// backoff is how long an order rests after so many attempts at its step: 0.5s,
// doubling to 4s. The jitter comes from Recover's own pace.
func backoff(attempts int64) time.Duration {
	return min(4*time.Second, 500*time.Millisecond<<min(attempts, 8))
}

type (
	payer    struct{} // context key: the user who pays, for a route's weight
	settling struct{} // context key: set when Recover calls, not a customer
)

// Lane says which version of payment serves the call under ctx: what the route
// says for the user's labels; the stable version for work that Recover does
// again, so that a bad release cannot hold an accepted order back; fallback if
// there is no route.
func Lane(ctx context.Context, routes *canary.Table, fallback string) string {
	r, ok := routes.Get("payment")
	if !ok {
		return fallback
	}
	if ctx.Value(settling{}) != nil {
		return r.Stable
	}
	user, _ := ctx.Value(payer{}).(string)
	return r.Pick(flow.Labels(ctx), user)
}

// newID returns an order id nobody can guess; it doubles as the idempotency key
// towards payment, inventory, bank and warehouse.
func newID() string { return "o-" + strings.ToLower(rand.Text()[:20]) }

func (s *Service) book() book { return book{s.DB} }

func (s *Service) log() *slog.Logger { return s.Observe.OrDefault().Log }
