package grpcx_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/grpcx"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/balance"
	"github.com/surefoot-go/surefoot/resilience/breaker"
	"github.com/surefoot-go/surefoot/resilience/hedge"
	"github.com/surefoot-go/surefoot/resilience/retry"
)

// town is some instances in memory, by address.
type town struct {
	t     testing.TB
	mu    sync.Mutex
	nodes map[string]*bufconn.Listener
	conns []*grpc.ClientConn
}

// open starts an instance.
func (w *town) open(addr string, h handlers) {
	w.t.Helper()
	l := bufconn.Listen(1 << 16)
	w.mu.Lock()
	if w.nodes == nil {
		w.nodes = map[string]*bufconn.Listener{}
	}
	w.nodes[addr] = l
	w.mu.Unlock()
	srv := grpc.NewServer(grpcx.Server{Service: addr, Observe: silent}.Options()...)
	srv.RegisterService(&desc, h)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	w.t.Cleanup(func() { srv.Stop(); <-done })
}

// dial is Balanced.Dial; nobody listens where open was not called.
func (w *town) dial(in balance.Instance, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	if in.Addr == "bad" {
		return nil, errors.New("no such place")
	}
	conn, err := grpc.NewClient("passthrough:///"+in.Addr, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			w.mu.Lock()
			l := w.nodes[addr]
			w.mu.Unlock()
			if l == nil {
				return nil, errors.New("connection refused")
			}
			return l.DialContext(ctx)
		}))...)
	if err == nil {
		w.mu.Lock()
		w.conns = append(w.conns, conn)
		w.mu.Unlock()
	}
	return conn, err
}

// left is how many connections are not closed.
func (w *town) left() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		if c.GetState() != connectivity.Shutdown {
			n++
		}
	}
	return n
}

func instances(addrs ...string) (all []balance.Instance) {
	for _, a := range addrs {
		addr, version, _ := strings.Cut(a, "@")
		all = append(all, balance.Instance{Addr: addr, Version: version})
	}
	return all
}

// says answers with its name.
func says(name string) handlers {
	return handlers{do: func(context.Context, string) (string, error) { return name, nil },
		follow: func(in string, s grpc.ServerStream) error {
			if err := s.SendMsg(wrapperspb.String(name)); err != nil || in != "stay" {
				return err
			}
			<-s.Context().Done()
			return nil
		}}
}

// hangs answers when its caller is gone.
func hangs(ctx context.Context, _ string) (string, error) {
	<-ctx.Done()
	return "", ctx.Err()
}

func fails(context.Context, string) (string, error) {
	return "", errs.New(errs.Unavailable, "x", "down")
}

var steady = breaker.Settings{Rule: breaker.Off}

func TestAFurtherTryGoesElsewhere(t *testing.T) {
	for _, c := range []struct {
		name   string
		first  func(context.Context, string) (string, error)
		policy resilience.Policy
		opts   []grpc.CallOption
	}{
		{"retry", fails, resilience.Policy{Breaker: steady, Retry: retry.Policy{Max: 1, Base: -1, Budget: -1}}, []grpc.CallOption{grpcx.Idempotent()}},
		{"hedge", hangs, resilience.Policy{Breaker: steady, Retry: retry.Policy{Max: -1, Budget: -1}, Hedge: hedge.Settings{Max: 1, Delay: 20 * ms}}, []grpc.CallOption{grpcx.Idempotent()}},
		{"nobody there, not idempotent", nil, resilience.Policy{Breaker: steady, Retry: retry.Policy{Max: 1, Base: -1, Budget: -1}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, rec := &town{t: t}, new(recorder)
				if c.first != nil {
					w.open("a", handlers{do: c.first})
				}
				w.open("b", says("b"))
				// Without ejection: the first is chosen again and again.
				conn := &grpcx.Balanced{Client: grpcx.Client{Target: "s", Observe: rec.sinks(), Policy: c.policy}, Dial: w.dial,
					Balance: balance.Settings{Ejection: -1, Window: time.Millisecond}}
				defer conn.Close()
				if err := conn.Set(instances("a", "b")); err != nil {
					t.Fatal(err)
				}
				for range 50 {
					var p peer.Peer
					if got, err := call(t.Context(), conn, "", append(c.opts, grpc.Peer(&p))...); got != "b" || err != nil || p.Addr == nil {
						t.Fatalf("%q, %v", got, err)
					}
					time.Sleep(100 * ms) // fake time: what was learnt is old
				}
				tries := map[string]int{}
				for _, s := range rec.ended(trace.SpanKindClient) {
					tries[s.attr("server.address")]++
				}
				if tries["b"] != 50 || tries["a"] < 5 {
					t.Errorf("tries %v", tries)
				}
			})
		})
	}
}

// TestADeadInstanceIsEjected: nobody listens at one of four, and no call fails.
func TestADeadInstanceIsEjected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, rec := &town{t: t}, new(recorder)
		for _, a := range []string{"a", "b", "c"} {
			w.open(a, says(a))
		}
		conn := &grpcx.Balanced{Client: grpcx.Client{Target: "s", Observe: rec.sinks()}, Dial: w.dial,
			Balance: balance.Settings{Window: time.Millisecond}} // forget fast that it failed, but not how often
		defer conn.Close()
		if err := conn.Set(instances("a", "b", "c", "dead")); err != nil {
			t.Fatal(err)
		}
		for range 200 {
			if _, err := call(t.Context(), conn, ""); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * ms) // 20s of fake time; an ejection takes 30s
		}
		dead := 0
		for _, s := range rec.ended(trace.SpanKindClient) {
			if s.attr("server.address") == "dead" {
				dead++
			}
		}
		if dead != 5 {
			t.Errorf("%d tries at the dead one, want 5 in a row", dead)
		}
		if s := conn.Snapshot(); !s[3].Ejected || s[0].Ejected || s[3].InFlight != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestStreamsAndInstances: a stream chooses once, elsewhere if nobody is there,
// and one that breaks off speaks against its instance however long it lived.
func TestStreamsAndInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, rec := &town{t: t}, new(recorder)
		breaks := handlers{follow: func(_ string, s grpc.ServerStream) error {
			if err := s.SendMsg(wrapperspb.String("a")); err != nil {
				return err
			}
			time.Sleep(time.Minute) // fake time
			return errs.New(errs.Unavailable, "x", "gone")
		}}
		w.open("a", breaks)
		w.open("b", says("b"))
		w.open("c", says("c"))
		conn := &grpcx.Balanced{Client: grpcx.Client{Target: "s", Observe: rec.sinks(), Policy: resilience.Policy{Breaker: steady, Retry: retry.Policy{Budget: -1, Base: -1}}},
			Dial: w.dial, Balance: balance.Settings{Window: time.Millisecond, Ejection: time.Hour, MaxEjection: time.Hour}}
		defer conn.Close()
		if err := conn.Set(instances("a", "b", "c", "dead")); err != nil {
			t.Fatal(err)
		}
		broken := 0
		for range 100 {
			s, err := open(t.Context(), conn, "")
			if err != nil {
				t.Fatal(err)
			}
			for err == nil {
				err = s.RecvMsg(new(text))
			}
			if err != io.EOF {
				broken++
			}
			time.Sleep(100 * ms)
		}
		if n := len(rec.ended(trace.SpanKindClient)); n != 105 {
			t.Errorf("%d tries, want 5 more than streams, at the dead one", n)
		}
		if s := conn.Snapshot(); broken != 5 || !s[0].Ejected || !s[3].Ejected || s[1].LatencyMs != 0 {
			t.Errorf("%d broken: %+v", broken, s)
		}
	})
}

func TestSetOfBalanced(t *testing.T) {
	w := &town{t: t}
	w.open("a", says("a"))
	conn := &grpcx.Balanced{Client: grpcx.Client{Target: "s", Observe: silent, Policy: resilience.Policy{Retry: retry.Policy{Max: -1}}}, Dial: w.dial}
	defer conn.Close()
	if _, err := call(t.Context(), conn, ""); errs.KindOf(err) != errs.Unavailable || !errors.Is(err, balance.ErrNone) {
		t.Errorf("before Set: %v", err)
	}
	if conn.Snapshot() != nil {
		t.Error("a snapshot of nothing")
	}
	if err := conn.Set(instances("bad", "a")); err == nil || !strings.Contains(fmt.Sprint(err), "no such place") {
		t.Errorf("one cannot be dialed: %v", err)
	}
	if got, err := call(t.Context(), conn, ""); got != "a" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := conn.Set(instances("bad")); err == nil {
		t.Error("none can be dialed")
	}
	if err := conn.Set(append(instances("a"), balance.Instance{ID: "a", Addr: "other"}, balance.Instance{}, balance.Instance{Addr: "none", Weight: -1})); err != nil {
		t.Error(err)
	}
	if n := len(w.conns); n != 1 || len(conn.Snapshot()) != 1 {
		t.Errorf("%d connections made, %d instances", n, len(conn.Snapshot()))
	}
	if got, err := call(t.Context(), conn, ""); got != "a" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := new(grpcx.Balanced).Set(instances("a")); err == nil {
		t.Error("without Dial")
	}
}

type versionKey struct{}

func wants(ctx context.Context, version string) context.Context {
	return context.WithValue(ctx, versionKey{}, version)
}

func wanted(ctx context.Context) string {
	v, _ := ctx.Value(versionKey{}).(string)
	return v
}

// TestVersions sends some users to a canary, by either way.
func TestVersions(t *testing.T) {
	w := &town{t: t}
	for _, a := range []string{"a", "b", "c"} {
		w.open(a, says(a))
	}
	board := new(resilience.Board)
	client := grpcx.Client{Target: "s", Observe: silent, Board: board}
	one := &grpcx.Balanced{Client: client, Dial: w.dial, Version: wanted}
	defer one.Close()
	if err := one.Set(instances("a@v1", "b@v1", "c@v2")); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range board.List() {
		names = append(names, s.Target)
	}
	if !slices.Equal(names, []string{"s", "s@v1", "s@v2"}) {
		t.Errorf("guards %v", names)
	}
	stable, canary := &grpcx.Balanced{Client: client, Dial: w.dial}, &grpcx.Balanced{Client: client, Dial: w.dial}
	defer stable.Close()
	defer canary.Close()
	if err := errors.Join(stable.Set(instances("a@v1", "b@v1")), canary.Set(instances("c@v2"))); err != nil {
		t.Fatal(err)
	}
	two := grpcx.Lanes(map[string]grpc.ClientConnInterface{"v1": stable, "v2": canary}, wanted)
	for name, conn := range map[string]grpc.ClientConnInterface{"Version": one, "Lanes": two} {
		for _, c := range []struct {
			version string
			want    []string
		}{{"v1", []string{"a", "b"}}, {"v2", []string{"c"}}} {
			got := map[string]bool{}
			for range 50 {
				s, err := call(wants(t.Context(), c.version), conn, "")
				if err != nil {
					t.Fatal(err)
				}
				got[s] = true
				st, err := open(wants(t.Context(), c.version), conn, "")
				if err != nil {
					t.Fatal(err)
				}
				m := new(text)
				if err := st.RecvMsg(m); err != nil || !slices.Contains(c.want, m.Value) {
					t.Fatalf("%s: stream of %s at %q, %v", name, c.version, m.Value, err)
				}
			}
			for _, a := range c.want {
				if !got[a] {
					t.Errorf("%s: %s never at %s", name, c.version, a)
				}
			}
			if len(got) != len(c.want) {
				t.Errorf("%s: %s at %v", name, c.version, got)
			}
		}
		if _, err := call(wants(t.Context(), "v9"), conn, ""); err != nil {
			t.Errorf("%s: a version nobody serves: %v", name, err)
		}
	}
}

// TestACrashedCanaryIsSeen from its callers' spans alone, and its users are
// served by the others.
func TestACrashedCanaryIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, rec := &town{t: t}, new(recorder)
		w.open("a", says("a"))
		w.open("b", says("b"))
		conn := &grpcx.Balanced{Client: grpcx.Client{Target: "s", Observe: rec.sinks()}, Dial: w.dial, Version: wanted}
		defer conn.Close()
		if err := conn.Set(instances("a@v1", "b@v1", "canary:9090@v2")); err != nil { // crashed: nobody listens
			t.Fatal(err)
		}
		for range 30 {
			if _, err := call(wants(t.Context(), "v2"), conn, ""); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		bad := 0
		for _, s := range rec.ended(trace.SpanKindClient) {
			if s.attr("surefoot.lane") != "v2" || s.attr("peer.service") != "s" {
				t.Fatalf("%v", s.attrs)
			}
			switch s.attr("surefoot.peer.version") {
			case "v1":
			case "v2":
				bad++
				if s.attr("server.address") != "canary" || s.attr("server.port") != "9090" || s.attr("rpc.response.status_code") != "UNAVAILABLE" {
					t.Errorf("%v", s.attrs)
				}
			default:
				t.Errorf("%v", s.attrs)
			}
		}
		if bad < 5 || bad > 7 {
			t.Errorf("%d tries at the canary", bad)
		}
	})
}

func ExampleBalanced() {
	payments := &grpcx.Balanced{
		Client: grpcx.Client{Service: "order", Target: "payment"},
		Dial: func(in balance.Instance, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
			return grpc.NewClient("passthrough:///"+in.Addr, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
		},
	}
	defer payments.Close()
	// Whenever discovery says so; an empty set changes nothing.
	err := payments.Set([]balance.Instance{{Addr: "127.0.0.1:9091", Version: "v1"}, {Addr: "127.0.0.1:9092", Version: "v2"}})
	fmt.Println(len(payments.Snapshot()), err)
	fmt.Println(payments.Set(nil) != nil, len(payments.Snapshot()))
	// Give it to generated code: paymentpb.NewPaymentClient(payments)
	// Output:
	// 2 <nil>
	// true 2
}
