package main

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	failsafe "github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/surefoot-go/surefoot/grpcx"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/breaker"
)

// layers is one story of A -> B -> C: each call at A calls B, which calls C,
// which answers 503 to a share of what it is asked.
type layers struct {
	rate   float64 // calls a second at A, Poisson
	length time.Duration
	share  float64
}

var outages = []struct {
	name string
	layers
}{
	{caseDown, layers{rate: 100, length: 30 * time.Second, share: 1}},
	{caseAiling, layers{rate: 100, length: 30 * time.Second, share: 0.4}},
}

// down is C: it counts, and fails that share of what it is asked, evenly.
type down struct {
	share float64
	tries atomic.Int64
}

func (d *down) fails() bool {
	n := float64(d.tries.Add(1))
	return int(n*d.share) > int((n-1)*d.share)
}

func (d *down) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if d.fails() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte("{}"))
}

// tell makes calls at A and returns how many attempts reach C for each. It runs
// in a bubble; stop ends what the call needs.
func (s layers) tell(t *testing.T, seed uint64, open func(t *testing.T, c *down) (call attempt, stop func())) figure {
	t.Helper()
	f := figure{Seed: seed}
	bubble(t, func() {
		c := &down{share: s.share}
		call, stop := open(t, c)
		defer stop()
		r := rand.New(rand.NewPCG(seed, 13))
		var wg sync.WaitGroup
		begin := time.Now()
		calls := 0.0
		for next := time.Duration(0); ; calls++ {
			next += time.Duration(r.ExpFloat64() / s.rate * 1e9)
			if next > s.length {
				break
			}
			time.Sleep(next - time.Since(begin))
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				_ = call(ctx)
			})
		}
		wg.Wait()
		f.Values = map[string]float64{"attempts": float64(c.tries.Load()) / calls}
	})
	return f
}

// nested is a peer at A and at B; the hops are function calls.
func nested(make func() caller) func(*testing.T, *down) (attempt, func()) {
	return func(_ *testing.T, c *down) (attempt, func()) {
		a, b := make(), make()
		return func(ctx context.Context) error {
			return a.call(ctx, func(ctx context.Context) error {
				err := b.call(ctx, func(context.Context) error {
					if c.fails() {
						return errStatus{}
					}
					return nil
				})
				if err != nil && ctx.Err() == nil {
					return errStatus{} // B answers for its own target
				}
				return err
			})
		}, func() {}
	}
}

// hops are ours: A is an httpx server that calls B with a grpcx client, B a
// grpcx server that calls C with an httpx client. Everything crosses real
// HTTP/1.1 and HTTP/2 over connections in memory. All calls are idempotent, so
// that each layer could retry.
func hops(p resilience.Policy) func(*testing.T, *down) (attempt, func()) {
	p.Idempotent = true
	return func(t *testing.T, c *down) (attempt, func()) {
		toC, stopC := serveHTTP(c)
		clientC := httpx.Client{Service: "b", Target: "c", Policy: p, Observe: quiet, Transport: toC}.HTTP()
		toB, stopB := serveGRPC(t, grpcx.Server{Service: "b", Observe: quiet}, grpcx.Client{Service: "a", Target: "b", Policy: p, Observe: quiet},
			func(ctx context.Context) error {
				_, err := httpx.JSON[struct{}](ctx, clientC, http.MethodGet, "http://c/", nil)
				return err
			})
		toA, stopA := serveHTTP(httpx.Server{Service: "a", Observe: quiet}.Handle("a.Call", func(_ http.ResponseWriter, r *http.Request) error {
			return toB(r.Context())
		}))
		client := &http.Client{Transport: toA}
		return func(ctx context.Context) error {
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://a/", nil)
				if err != nil {
					return err
				}
				resp, err := client.Do(r)
				if err == nil {
					err = resp.Body.Close()
				}
				return err
			}, func() {
				stopA()
				stopB()
				stopC()
			}
	}
}

// memory is a listener of connections in memory.
type memory struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error   { m.once.Do(func() { close(m.done) }); return nil }
func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case m.conns <- far:
		return near, nil
	case <-m.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func serveHTTP(h http.Handler) (*http.Transport, func()) {
	m := &memory{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := &http.Server{Handler: h}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(m) })
	tr := &http.Transport{DialContext: m.dial, MaxIdleConnsPerHost: 256}
	return tr, func() {
		tr.CloseIdleConnections()
		_ = srv.Close()
		wg.Wait()
	}
}

const method = "/storm.B/Call"

func serveGRPC(t *testing.T, s grpcx.Server, c grpcx.Client, do attempt) (attempt, func()) {
	t.Helper()
	l := bufconn.Listen(1 << 20)
	srv := grpc.NewServer(s.Options()...)
	srv.RegisterService(&grpc.ServiceDesc{ServiceName: "storm.B", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: "Call",
		Handler: func(_ any, ctx context.Context, dec func(any) error, next grpc.UnaryServerInterceptor) (any, error) {
			in := new(emptypb.Empty)
			if err := dec(in); err != nil {
				return nil, err
			}
			return next(ctx, in, &grpc.UnaryServerInfo{FullMethod: method}, func(ctx context.Context, _ any) (any, error) {
				return new(emptypb.Empty), do(ctx)
			})
		},
	}}}, nil)
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(l) })
	conn, err := grpc.NewClient("passthrough:///b", append(c.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))...)
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context) error {
			return conn.Invoke(ctx, method, new(emptypb.Empty), new(emptypb.Empty))
		}, func() {
			_ = conn.Close()
			srv.Stop()
			wg.Wait()
		}
}

// retries are the peers' retries alone, at their defaults.
func failsafeRetry() caller {
	x := failsafe.With(failsafe.Policy[any](retrypolicy.NewWithDefaults[any]()))
	return caller{call: func(ctx context.Context, a attempt) error {
		return x.WithContext(ctx).RunWithExecution(func(e failsafe.Execution[any]) error { return limited(e.Context(), a) })
	}}
}

// withoutBreaker is Default with nothing but budgets and attempt marks to hold
// retries back.
func withoutBreaker() resilience.Policy {
	p := resilience.Default()
	p.Breaker.Rule = breaker.Off
	return p
}

var stacks = []struct {
	name string
	open func(*testing.T, *down) (attempt, func())
}{
	{self, hops(resilience.Default())},
	{"surefoot, breakers off", hops(withoutBreaker())},
	{classic, hops(resilience.Classic())},
	{"failsafe-go, retry at its defaults", nested(failsafeRetry)},
	{"failsafe-go, retry and breaker as in its documentation", nested(safelyByDocs)},
	{"retryablehttp and gobreaker", nested(retryable)},
	{"kratos", nested(kratos)},
	{"go-zero", nested(gozero)},
	{"plain loop, 3 retries", nested(plain)},
}
