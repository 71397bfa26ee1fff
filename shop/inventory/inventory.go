// Package inventory owns the stock: it reserves for an order, and then sells or
// gives back, each exactly once.
//
//	s := &inventory.Service{DB: db, Warehouse: "http://127.0.0.1:17618", HTTP: client}
//	shopv1.RegisterInventoryServer(server, s)
//	go s.Dispatches(ctx) // as a worker of the process
//
// What is sold has to leave the warehouse. The dispatch notice is written with
// the sale and sent at once; when the warehouse is away the sale stands, and
// the notice goes out when it is back.
package inventory

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/shop/outbox"
	"github.com/surefoot-go/surefoot/shop/shopv1"
	"github.com/surefoot-go/surefoot/shop/sqldb"
)

// lease is how long a notice belongs to whoever is sending it. It is longer
// than a call to the warehouse can take, retries included.
const lease = 4 * time.Second

// MaxQuantity is the most that one order may ask for.
const MaxQuantity = 1000

// Service is the inventory service. Fill in the fields before the first call;
// it is safe for concurrent use. It owns neither DB nor HTTP.
type Service struct {
	shopv1.UnimplementedInventoryServer

	DB        *sqldb.DB     // migrated by Migrations, filled by Seed
	Warehouse string        // base URL of the warehouse
	HTTP      *http.Client  // with a time limit and a breaker for the warehouse; repeats are safe
	Observe   observe.Sinks // zero means the process-wide ones
}

// Reserve implements the gRPC method.
func (s *Service) Reserve(ctx context.Context, in *shopv1.ReserveRequest) (*shopv1.Reservation, error) {
	const op = "inventory.Reserve"
	if err := checkID(op, in.OrderId); err != nil {
		return nil, err
	}
	if in.Quantity < 1 || in.Quantity > MaxQuantity {
		return nil, errs.New(errs.Invalid, op, "quantity must be 1 to 1000")
	}
	out, err := s.shelf().reserve(ctx, in.OrderId, in.Sku, int64(in.Quantity))
	return out, errs.Wrap(err, op)
}

// Confirm implements the gRPC method. It succeeds whether or not the warehouse
// answers.
func (s *Service) Confirm(ctx context.Context, in *shopv1.ConfirmRequest) (*shopv1.Reservation, error) {
	const op = "inventory.Confirm"
	if err := checkID(op, in.OrderId); err != nil {
		return nil, err
	}
	out, fresh, err := s.shelf().confirm(ctx, in.OrderId, time.Now().Add(lease))
	if err != nil {
		return nil, errs.Wrap(err, op)
	}
	if fresh {
		// What went wrong is on the client span; the outbox takes over.
		_ = s.dispatch(ctx, notice{orderID: out.OrderId, sku: out.Sku, quantity: int64(out.Quantity)})
	}
	return out, nil
}

// Release implements the gRPC method.
func (s *Service) Release(ctx context.Context, in *shopv1.ReleaseRequest) (*shopv1.Reservation, error) {
	const op = "inventory.Release"
	if err := checkID(op, in.OrderId); err != nil {
		return nil, err
	}
	out, err := s.shelf().release(ctx, in.OrderId)
	return out, errs.Wrap(err, op)
}

// Dispatches sends the notices that are still owed to the warehouse until ctx
// ends, then returns nil: one at a time, backing off while it is away.
func (s *Service) Dispatches(ctx context.Context) error {
	tracer := s.Observe.OrDefault().Tracer.Tracer("github.com/surefoot-go/surefoot/shop/inventory")
	return outbox.Worker{Name: "dispatches", Log: s.log()}.Run(ctx, func(ctx context.Context) (outbox.Outcome, error) {
		n, ok, err := s.shelf().due(ctx, time.Now())
		if err != nil || !ok {
			return outbox.Idle, err
		}
		if mine, err := s.shelf().claim(ctx, n, time.Now().Add(lease)); err != nil || !mine {
			return outbox.Done, err
		}
		n.attempts++
		ctx, span := tracer.Start(ctx, "inventory.dispatch", trace.WithAttributes(attribute.String("shop.order.id", n.orderID)))
		defer span.End()
		if err := s.dispatch(ctx, n); err != nil {
			span.SetStatus(codes.Error, errs.From(err).Message())
			span.SetAttributes(attribute.String("error.type", errs.From(err).Code()))
			return outbox.Idle, err
		}
		return outbox.Done, nil
	})
}

// dispatch tells the warehouse and writes down that it knows. If it does not,
// the notice is due again after a while.
func (s *Service) dispatch(ctx context.Context, n notice) error {
	refusal, err := s.tell(ctx, n)
	keep, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err != nil {
		if later := s.shelf().postpone(keep, n.orderID, time.Now().Add(backoff(n.attempts))); later != nil {
			s.log().ErrorContext(ctx, "dispatch not postponed; its lease ends by itself", "order", n.orderID, "error", later)
		}
		return err
	}
	if refusal != "" {
		s.log().ErrorContext(ctx, "the warehouse refused a dispatch; somebody must look", "order", n.orderID, "reason", refusal)
	}
	return s.shelf().sent(keep, n.orderID, refusal)
}

// tell makes the call. The warehouse packs each order once, so telling it again
// does no harm.
func (s *Service) tell(ctx context.Context, n notice) (refusal string, err error) {
	const op = "inventory.tell"
	body, err := json.Marshal(map[string]any{"orderId": n.orderID, "sku": n.sku, "quantity": n.quantity})
	if err != nil {
		return "", errs.Wrap(err, op)
	}
	// Our users' labels are none of a stranger's business.
	req, err := http.NewRequestWithContext(flow.WithoutLabels(ctx), http.MethodPost, s.Warehouse+"/dispatches", bytes.NewReader(body))
	if err != nil {
		return "", errs.Wrap(err, op)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", n.orderID)
	res, err := s.HTTP.Do(req)
	if err != nil {
		return "", errs.Wrap(err, op)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)); err != nil {
		return "", errs.New(errs.BadGateway, op, "the warehouse's answer broke off").Because(err)
	}
	switch code := res.StatusCode; {
	case code == http.StatusOK || code == http.StatusCreated:
		return "", nil
	case code == http.StatusBadRequest || code == http.StatusConflict:
		return http.StatusText(code), nil
	default:
		return "", errs.New(errs.KindOfHTTP(code), op, "the warehouse gave no answer").With("status", code)
	}
}

// backoff is how long a notice rests after so many attempts: 0.5s, doubling to
// 8s.
func backoff(attempts int64) time.Duration {
	return min(8*time.Second, 500*time.Millisecond<<min(attempts, 8))
}

func checkID(op, id string) error {
	if id == "" || len(id) > 100 {
		return errs.New(errs.Invalid, op, "order_id must have 1 to 100 characters")
	}
	return nil
}

func (s *Service) shelf() shelf { return shelf{s.DB} }

func (s *Service) log() *slog.Logger { return s.Observe.OrDefault().Log }
