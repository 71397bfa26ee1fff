package order_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/surefoot-go/surefoot/canary"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/shop/bank"
	"github.com/surefoot-go/surefoot/shop/invariant"
	"github.com/surefoot-go/surefoot/shop/inventory"
	"github.com/surefoot-go/surefoot/shop/order"
	"github.com/surefoot-go/surefoot/shop/payment"
	"github.com/surefoot-go/surefoot/shop/shopv1"
	"github.com/surefoot-go/surefoot/shop/sqldb"
	"github.com/surefoot-go/surefoot/shop/warehouse"
)

// world is everything around the order service: real services, real databases,
// real bank and warehouse, joined without a network so that time can be fake.
type world struct {
	t        *testing.T
	dsn      map[string]string
	orderDB  *sqldb.DB
	bank     *bank.Bank
	house    *warehouse.Warehouse
	stock    *inventory.Service
	pay      map[string]*payment.Service // by version, one database
	routes   *canary.Table
	faults   atomic.Pointer[func(call string) fault] // what befalls calls; nil means nothing
	quiet    observe.Sinks
	cancel   context.CancelFunc
	outboxes []*safe.Task
}

// fault is what happens to one call.
type fault int

const (
	none       fault = iota
	lostBefore       // the call never arrives
	lostAfter        // it does its work, and the answer is lost
	dieBefore        // the caller is killed before it calls
	dieAfter         // the caller is killed before it hears the answer
)

// killed is the panic that stands for kill -9: nothing below it runs on.
var killed = errors.New("kill -9")

// newWorld makes a world; dsn names the database of a service.
func newWorld(t *testing.T, dsn func(name string) string) *world {
	w := &world{t: t, dsn: map[string]string{}, pay: map[string]*payment.Service{}, routes: &canary.Table{},
		quiet: observe.Sinks{Log: slog.New(slog.NewTextHandler(io.Discard, nil))}}
	dir := t.TempDir()
	for _, name := range []string{"orders", "payments", "stock"} {
		w.dsn[name] = dsn(name)
	}
	w.orderDB = w.open("orders")
	w.must(w.orderDB.Migrate(t.Context(), order.Migrations()))
	stock := w.open("stock")
	w.must(stock.Migrate(t.Context(), inventory.Migrations()))
	w.must(inventory.Seed(t.Context(), stock))
	pay := w.open("payments")
	w.must(pay.Migrate(t.Context(), payment.Migrations()))
	var err error
	w.bank, err = bank.Open(filepath.Join(dir, "bank.db"))
	w.must(err)
	w.house, err = warehouse.Open(filepath.Join(dir, "warehouse.db"))
	w.must(err)
	w.stock = &inventory.Service{DB: stock, Warehouse: "http://warehouse", HTTP: w.http("warehouse", w.house.Handler()), Observe: w.quiet}
	ctx, cancel := context.WithCancel(t.Context())
	w.cancel = cancel
	w.outboxes = append(w.outboxes, safe.Go(ctx, "dispatches", w.stock.Dispatches))
	for _, v := range []string{"v1", "v2"} {
		w.pay[v] = &payment.Service{DB: pay, Bank: "http://bank", HTTP: w.http("bank", w.bank.Handler()), Version: v, Observe: w.quiet}
		w.outboxes = append(w.outboxes, safe.Go(ctx, "outbox", w.pay[v].Outbox))
	}
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) open(name string) *sqldb.DB {
	db, err := sqldb.Open(w.t.Context(), w.dsn[name], sqldb.Options{Timeout: time.Minute})
	w.must(err)
	return db
}

// close ends everything; it must be called inside the bubble.
func (w *world) close() {
	w.cancel()
	for _, o := range w.outboxes {
		o.Wait()
	}
	w.orderDB.Close()
	w.stock.DB.Close()
	w.pay["v1"].DB.Close()
	w.bank.Close()
	w.house.Close()
}

// service is the order service as a process that has just started.
func (w *world) service() *order.Service {
	return &order.Service{DB: w.orderDB, Observe: w.quiet,
		Payments:  shopv1.NewPaymentsClient(wire{w, "payment"}),
		Inventory: shopv1.NewInventoryClient(wire{w, "inventory"})}
}

// settle runs the recovery as a process of its own until nothing is left to do,
// and returns how long that took.
func (w *world) settle() time.Duration {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	recovery := safe.Go(ctx, "recover", w.service().Recover)
	defer func() { cancel(); w.must(recovery.Wait()) }()
	start, tick := time.Now(), time.NewTicker(100*time.Millisecond)
	defer tick.Stop()
	for time.Since(start) < 5*time.Minute {
		n, err := w.checker(nil).Unsettled(w.t.Context())
		w.must(err)
		if n == 0 {
			return time.Since(start)
		}
		<-tick.C
	}
	w.t.Fatal("not settled after 5 minutes")
	return 0
}

func (w *world) checker(accepted []string) invariant.Checker {
	books := http.NewServeMux()
	books.Handle("bank/", w.bank.Admin())
	books.Handle("warehouse/", w.house.Handler())
	return invariant.Checker{Bank: "http://bank", Warehouse: "http://warehouse", Orders: w.dsn["orders"], Payments: w.dsn["payments"], Stock: w.dsn["stock"],
		Accepted: accepted, HTTP: &http.Client{Transport: handlers{books}}}
}

// check proves the invariants.
func (w *world) check(accepted []string) {
	w.t.Helper()
	r, err := w.checker(accepted).Check(w.t.Context())
	w.must(err)
	if err := r.Err(); err != nil {
		w.t.Error(err)
	}
}

// place orders as a customer does; died says that the process was killed.
func (w *world) place(ctx context.Context, s *order.Service, key string, quantity int32) (o *shopv1.Order, err error, died bool) {
	defer func() {
		if r := recover(); r == killed {
			died = true
		} else if r != nil {
			panic(r)
		}
	}()
	o, err = s.Place(ctx, &shopv1.PlaceRequest{UserId: "u-0001", Sku: inventory.SKU(50), Quantity: quantity, IdempotencyKey: key})
	return o, err, false
}

func (w *world) state(id string) string {
	var state string
	w.must(w.orderDB.Row(w.t.Context(), []any{&state}, "SELECT state FROM orders WHERE id = ?", id))
	return state
}

func (w *world) orders() (n int) {
	w.must(w.orderDB.Row(w.t.Context(), []any{&n}, "SELECT COUNT(*) FROM orders"))
	return n
}

// wire is a gRPC connection to the real services that loses calls on demand.
type wire struct {
	w  *world
	to string
}

func (c wire) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	name := method[strings.LastIndexByte(method, '/')+1:]
	f := c.w.fault(name)
	switch f {
	case dieBefore:
		panic(killed)
	case lostBefore:
		return errs.New(errs.Unavailable, name, "cannot be reached")
	}
	err := safe.Call(func() error { return c.serve(ctx, args, reply) })
	if p := (*safe.Panic)(nil); errors.As(err, &p) {
		if p.Value == killed {
			panic(killed)
		}
		err = errs.New(errs.Internal, name, "something went wrong")
	}
	switch f {
	case dieAfter:
		panic(killed)
	case lostAfter:
		return errs.New(errs.Timeout, name, "no answer in time")
	}
	return err
}

func (c wire) serve(ctx context.Context, args, reply any) error {
	pay := c.w.pay[order.Lane(ctx, c.w.routes, "v1")]
	switch in := args.(type) {
	case *shopv1.ReserveRequest:
		return answer(reply.(*shopv1.Reservation))(c.w.stock.Reserve(ctx, in))
	case *shopv1.ConfirmRequest:
		return answer(reply.(*shopv1.Reservation))(c.w.stock.Confirm(ctx, in))
	case *shopv1.ReleaseRequest:
		return answer(reply.(*shopv1.Reservation))(c.w.stock.Release(ctx, in))
	case *shopv1.ChargeRequest:
		return answer(reply.(*shopv1.Payment))(pay.Charge(ctx, in))
	case *shopv1.LookupRequest:
		out, err := pay.Lookup(ctx, in)
		if err == nil {
			reply.(*shopv1.LookupReply).Payments = out.Payments
		}
		return err
	}
	return fmt.Errorf("no such call: %T", args)
}

func (wire) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("no streams here")
}

// answer copies what a service returned into the client's reply.
func answer[T interface {
	*shopv1.Reservation | *shopv1.Payment
}](reply T) func(T, error) error {
	return func(got T, err error) error {
		if err != nil {
			return err
		}
		switch to := any(reply).(type) {
		case *shopv1.Reservation:
			from := any(got).(*shopv1.Reservation)
			to.OrderId, to.Sku, to.Quantity, to.Status, to.UnitPriceMinor, to.Currency = from.OrderId, from.Sku, from.Quantity, from.Status, from.UnitPriceMinor, from.Currency
		case *shopv1.Payment:
			from := any(got).(*shopv1.Payment)
			to.OrderId, to.Status, to.AmountMinor, to.Currency, to.ChargeId, to.Reason = from.OrderId, from.Status, from.AmountMinor, from.Currency, from.ChargeId, from.Reason
		}
		return nil
	}
}

// http is a client to one of the outside programs, through the faults.
func (w *world) http(name string, h http.Handler) *http.Client {
	return &http.Client{Transport: lossy{w, name, h}}
}

type lossy struct {
	w    *world
	name string
	h    http.Handler
}

func (l lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	f := l.w.fault(l.name)
	if f == lostBefore {
		return nil, errs.New(errs.Unavailable, l.name, "cannot be reached")
	}
	res, err := handlers{l.h}.RoundTrip(r)
	if f == lostAfter {
		return nil, errs.New(errs.Timeout, l.name, "no answer in time")
	}
	return res, err
}

// handlers is a network of one handler.
type handlers struct{ h http.Handler }

func (h handlers) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	in := r.Clone(r.Context())
	in.Host = r.URL.Host
	if in.Body == nil {
		in.Body = http.NoBody
	}
	h.h.ServeHTTP(rec, in)
	return rec.Result(), nil
}

// strike sets what befalls calls from now on, also those that workers make.
func (w *world) strike(faults func(call string) fault) { w.faults.Store(&faults) }

func (w *world) fault(call string) fault {
	if faults := w.faults.Load(); faults != nil {
		return (*faults)(call)
	}
	return none
}

// once returns a fault that strikes the first call of that name.
func once(call string, f fault) func(string) fault {
	var mu sync.Mutex
	struck := false
	return func(name string) fault {
		mu.Lock()
		defer mu.Unlock()
		if name == call && !struck {
			struck = true
			return f
		}
		return none
	}
}

// files puts each database in a SQLite file of its own.
func files(t *testing.T) func(string) string {
	dir := t.TempDir()
	return func(name string) string { return filepath.Join(dir, name+".db") }
}
