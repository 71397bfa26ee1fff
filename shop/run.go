package shop

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/surefoot-go/surefoot/canary"
	"github.com/surefoot-go/surefoot/contrib/etcd"
	"github.com/surefoot-go/surefoot/grpcx"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/locks"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/retry"
	"github.com/surefoot-go/surefoot/service"
	"github.com/surefoot-go/surefoot/shop/bank"
	"github.com/surefoot-go/surefoot/shop/gateway"
	"github.com/surefoot-go/surefoot/shop/inventory"
	"github.com/surefoot-go/surefoot/shop/order"
	"github.com/surefoot-go/surefoot/shop/payment"
	"github.com/surefoot-go/surefoot/shop/shopv1"
	"github.com/surefoot-go/surefoot/shop/sqldb"
	"github.com/surefoot-go/surefoot/shop/user"
	"github.com/surefoot-go/surefoot/shop/warehouse"
	"github.com/surefoot-go/surefoot/telemetry"
)

// How long each call may take, all tries, from the gateway inwards: each layer
// leaves the one above time to act on the failure.
const (
	toUser      = time.Second
	toOrder     = 3500 * time.Millisecond // order bounds its saga by 3s
	toInventory = 900 * time.Millisecond
	toPayment   = 1500 * time.Millisecond
	toBank      = 900 * time.Millisecond // two tries of 400ms and the wait between
	toWarehouse = 300 * time.Millisecond // one try; the outbox is the second
)

// process is one of our five while it is put together.
type process struct {
	settings
	svc   *service.Service
	db    *sqldb.DB
	close []func() error // in reverse order
}

// newProcess starts telemetry; everything else is added by the caller.
func newProcess(s settings) *process {
	return &process{settings: s, svc: &service.Service{
		Name: s.name, Version: s.version, Namespace: "shop",
		// A queue of 2048 holds about ten seconds of order's spans at 20 orders a
		// second; the default of 8192 costs 6 MB more in each process.
		Telemetry: telemetry.OTLP{Endpoint: s.otlp, Stderr: s.stderr, Queue: 2048},
		// Few orders a second: there is time to check the order of locks. How long
		// they are held is the machine's matter here.
		Locks:     locks.Checks{Order: true, Owner: true, Hold: -1, Wait: -1},
		Drain:     -1, // no load balancer needs to be told first
		StopLimit: 5 * time.Second,
	}}
}

// run serves until ctx ends.
func (p *process) run(ctx context.Context) error {
	defer func() {
		for i := len(p.close) - 1; i >= 0; i-- {
			if err := p.close[i](); err != nil {
				p.svc.Log().Warn("not closed well", "error", err)
			}
		}
	}()
	return p.svc.Run(ctx)
}

// abandon closes what was opened, for a process that does not come to run.
func (p *process) abandon(err error) error {
	for i := len(p.close) - 1; i >= 0; i-- {
		err = errors.Join(err, p.close[i]())
	}
	return err
}

// open opens and migrates the process's database, which namespace calls by in
// the dependency graph.
func (p *process) open(ctx context.Context, namespace string, migrations fs.FS, seed func(context.Context, *sqldb.DB) error) error {
	db, err := sqldb.Open(ctx, p.dsn, sqldb.Options{Namespace: namespace, Tracer: p.svc.Observe().Tracer})
	if err != nil {
		return setup("%w; check --dsn", err)
	}
	p.close = append(p.close, db.Close)
	if err := db.Migrate(ctx, migrations); err != nil {
		return setup("the database of --dsn cannot be brought up to date: %w", err)
	}
	if seed != nil {
		if err := seed(ctx, db); err != nil {
			return setup("the database of --dsn cannot be filled: %w", err)
		}
	}
	p.db, p.svc.Ready = db, db.Ping
	return nil
}

// listen opens an address, or says whose flag it came from.
func listen(ctx context.Context, flag, addr string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, setup("the address %s is taken: stop the program that uses it, or pass another --%s", addr, flag)
	case err != nil:
		return nil, setup("cannot listen on %s: %w; pass another --%s", addr, err, flag)
	}
	return l, nil
}

// serveHTTP puts HTTP on --addr.
func (p *process) serveHTTP(ctx context.Context) (err error) {
	p.svc.Listener, err = listen(ctx, "addr", p.addr)
	return err
}

// serveGRPC puts gRPC on --addr, and health on an HTTP port of its own.
func (p *process) serveGRPC(ctx context.Context, register func(grpc.ServiceRegistrar)) error {
	health, err := listen(ctx, "health", p.health)
	if err != nil {
		return err
	}
	main, err := listen(ctx, "addr", p.addr)
	if err != nil {
		return errors.Join(err, health.Close())
	}
	p.svc.Listener = health
	srv := grpc.NewServer(append(grpcx.Server{Service: p.name, Observe: p.svc.Observe(), Door: p.svc.Door(), Watch: p.svc.Watch()}.Options(),
		grpc.ReadBufferSize(4<<10), grpc.WriteBufferSize(4<<10), // small messages, many processes
		grpc.MaxRecvMsgSize(1<<20))...)
	register(srv)
	p.svc.Servers = append(p.svc.Servers, &grpcx.Serving{Server: srv, Listener: main, StopLimit: 4 * time.Second, Ready: p.svc.Check})
	p.svc.Log().Info("serving gRPC", "addr", main.Addr().String())
	return nil
}

// dial connects to a gRPC service of ours; lane is its version, if it has
// several. It does not wait for the other side.
func (p *process) dial(target, lane, addr string, policy resilience.Policy) (*grpc.ClientConn, error) {
	opts := grpcx.Client{Service: p.name, Target: target, Lane: lane, Policy: policy, Observe: p.svc.Observe()}.DialOptions()
	cc, err := grpc.NewClient("passthrough:///"+addr, append(opts,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithReadBufferSize(4<<10), grpc.WithWriteBufferSize(4<<10))...)
	if err != nil {
		return nil, setup("the address %s of %s makes no sense: %w", addr, target, err)
	}
	p.close = append(p.close, cc.Close)
	return cc, nil
}

// client is for HTTP calls; few connections are kept, for small memory.
func (p *process) client(target string, policy resilience.Policy) *http.Client {
	c := httpx.Client{Service: p.name, Target: target, Policy: policy, Observe: p.svc.Observe(), MaxConns: 64}.HTTP()
	p.close = append(p.close, func() error { c.CloseIdleConnections(); return nil })
	return c
}

func (p *process) worker(name string, run func(context.Context) error) {
	p.svc.Workers = append(p.svc.Workers, service.Worker{Name: name, Run: run})
}

func runGateway(ctx context.Context, s settings) error {
	p := newProcess(s)
	p.svc.Server.Edge = true
	orders, err := p.dial("order", "", s.order, resilience.Policy{Timeout: toOrder, AttemptTimeout: toOrder, Retry: retry.Policy{Max: 2}})
	if err != nil {
		return p.abandon(err)
	}
	g := &gateway.Service{
		Users:   p.client("user", resilience.Policy{Timeout: toUser, AttemptTimeout: 400 * time.Millisecond, Retry: retry.Policy{Max: 2}}),
		UserURL: s.user, Orders: shopv1.NewOrdersClient(orders),
	}
	for _, r := range g.Routes() {
		p.svc.HandleFunc(r.Pattern, r.Handle)
	}
	if err := p.serveHTTP(ctx); err != nil {
		return p.abandon(err)
	}
	return p.run(ctx)
}

func runUser(ctx context.Context, s settings) error {
	p := newProcess(s)
	if err := p.open(ctx, "users", user.Migrations(), user.Seed); err != nil {
		return p.abandon(err)
	}
	u := &user.Service{DB: p.db}
	p.close = append(p.close, u.Close)
	p.svc.HandleFunc("GET /users/{id}", u.Get)
	if err := p.serveHTTP(ctx); err != nil {
		return p.abandon(err)
	}
	return p.run(ctx)
}

func runOrder(ctx context.Context, s settings) error {
	p := newProcess(s)
	if err := p.open(ctx, "orders", order.Migrations(), nil); err != nil {
		return p.abandon(err)
	}
	inv, err := p.dial("inventory", "", s.inventory, resilience.Policy{Timeout: toInventory, AttemptTimeout: 500 * time.Millisecond, Retry: retry.Policy{Max: 1}})
	if err != nil {
		return p.abandon(err)
	}
	payments, err := p.lanes()
	if err != nil {
		return p.abandon(err)
	}
	o := &order.Service{DB: p.db, Payments: shopv1.NewPaymentsClient(payments), Inventory: shopv1.NewInventoryClient(inv), Observe: p.svc.Observe()}
	if err := p.serveGRPC(ctx, func(r grpc.ServiceRegistrar) { shopv1.RegisterOrdersServer(r, o) }); err != nil {
		return p.abandon(err)
	}
	p.worker("recover", o.Recover)
	return p.run(ctx)
}

// lanes connects order to every version of payment, and to the routes that say
// who gets which.
func (p *process) lanes() (grpc.ClientConnInterface, error) {
	policy := resilience.Policy{Timeout: toPayment, AttemptTimeout: toPayment, Retry: retry.Policy{Max: 1}}
	conns := map[string]grpc.ClientConnInterface{}
	for version, addr := range map[string]string{"v1": p.payment, "v2": p.paymentV2, "v3": p.paymentV3} {
		if addr == "" {
			continue
		}
		cc, err := p.dial("payment", version, addr, policy)
		if err != nil {
			return nil, err
		}
		conns[version] = cc
	}
	routes := &canary.Table{}
	if p.etcd != "none" {
		kv := &etcd.KV{Endpoints: strings.Split(p.etcd, ","), Log: p.svc.Log()}
		p.close = append(p.close, kv.Close)
		p.worker("routes", func(ctx context.Context) error {
			if err := etcd.WatchRoutes(ctx, kv, routes); ctx.Err() == nil {
				return err // it is run again
			}
			return nil
		})
	}
	return grpcx.Lanes(conns, func(ctx context.Context) string { return order.Lane(ctx, routes, "v1") }), nil
}

func runPayment(ctx context.Context, s settings) error {
	p := newProcess(s)
	if err := p.open(ctx, "payments", payment.Migrations(), nil); err != nil {
		return p.abandon(err)
	}
	pay := &payment.Service{
		DB: p.db, Bank: s.bank, Version: s.version, Observe: p.svc.Observe(),
		HTTP: p.client("bank", resilience.Policy{Timeout: toBank, AttemptTimeout: 400 * time.Millisecond, Retry: retry.Policy{Max: 1}}),
	}
	stop, err := pay.Measure()
	if err != nil {
		return p.abandon(err)
	}
	p.close = append(p.close, stop)
	if err := p.serveGRPC(ctx, func(r grpc.ServiceRegistrar) { shopv1.RegisterPaymentsServer(r, pay) }); err != nil {
		return p.abandon(err)
	}
	p.worker("outbox", pay.Outbox)
	return p.run(ctx)
}

func runInventory(ctx context.Context, s settings) error {
	p := newProcess(s)
	if err := p.open(ctx, "stock", inventory.Migrations(), inventory.Seed); err != nil {
		return p.abandon(err)
	}
	inv := &inventory.Service{
		DB: p.db, Warehouse: s.warehouse, Observe: p.svc.Observe(),
		HTTP: p.client("warehouse", resilience.Policy{Timeout: toWarehouse, AttemptTimeout: toWarehouse, Retry: retry.Policy{Max: -1}}),
	}
	if err := p.serveGRPC(ctx, func(r grpc.ServiceRegistrar) { shopv1.RegisterInventoryServer(r, inv) }); err != nil {
		return p.abandon(err)
	}
	p.worker("dispatches", inv.Dispatches)
	return p.run(ctx)
}

func runBank(ctx context.Context, s settings) error {
	b, err := bank.Open(s.dsn)
	if err != nil {
		return setup("%w; check --dsn", err)
	}
	defer b.Close()
	public, err := listen(ctx, "addr", s.addr)
	if err != nil {
		return err
	}
	admin, err := listen(ctx, "admin", s.admin)
	if err != nil {
		return errors.Join(err, public.Close())
	}
	return b.Serve(ctx, public, admin)
}

func runWarehouse(ctx context.Context, s settings) error {
	w, err := warehouse.Open(s.dsn)
	if err != nil {
		return setup("%w; check --dsn", err)
	}
	defer w.Close()
	ln, err := listen(ctx, "addr", s.addr)
	if err != nil {
		return err
	}
	return w.Serve(ctx, ln)
}
