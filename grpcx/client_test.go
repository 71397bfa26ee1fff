package grpcx_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/grpcx"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/breaker"
	"github.com/surefoot-go/surefoot/resilience/hedge"
	"github.com/surefoot-go/surefoot/resilience/retry"
)

const ms = time.Millisecond

// TestHedge: the first try hangs, the second answers; what the caller gets is
// all of the second.
func TestHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries, gone atomic.Int32
		rec := new(recorder)
		conn := serve(t, grpcx.Server{}, handlers{do: func(ctx context.Context, in string) (string, error) {
			n := strconv.Itoa(int(tries.Add(1)))
			grpc.SetHeader(ctx, metadata.Pairs("h", n))
			grpc.SetTrailer(ctx, metadata.Pairs("t", n))
			if n == "1" {
				<-ctx.Done()
				gone.Add(1)
				return "", ctx.Err()
			}
			return n, nil
		}}, grpcx.Client{Target: "s", Observe: rec.sinks(), Policy: resilience.Policy{Hedge: hedge.Settings{Max: 1, Delay: 50 * ms}}})
		var header, trailer metadata.MD
		var p peer.Peer
		begin := time.Now()
		got, err := call(t.Context(), conn, "", grpcx.Idempotent(), grpc.Header(&header), grpc.Trailer(&trailer), grpc.Peer(&p))
		if took := time.Since(begin); err != nil || got != "2" || took != 50*ms {
			t.Errorf("%q, %v after %v", got, err, took)
		}
		if h, tr := header.Get("h"), trailer.Get("t"); len(h) != 1 || h[0] != "2" || len(tr) != 1 || tr[0] != "2" || p.Addr == nil {
			t.Errorf("header %v trailer %v peer %v", header, trailer, p)
		}
		synctest.Wait()
		if gone.Load() != 1 {
			t.Error("the loser was not told")
		}
		spans := rec.ended(trace.SpanKindClient)
		if len(spans) != 2 {
			t.Fatalf("%d spans", len(spans))
		}

		// Not without a licence to repeat.
		tries.Store(0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := call(ctx, conn, ""); errs.KindOf(err) != errs.Timeout || tries.Load() != 1 {
			t.Errorf("%v, %d tries", err, tries.Load())
		}
	})
}

// TestHedgesNeverMix has tries answer at about the same time, under the race
// detector: header, trailer and reply are of one try, and nobody writes after
// the call has returned.
func TestHedgesNeverMix(t *testing.T) {
	var tries atomic.Int32
	conn := serve(t, grpcx.Server{}, handlers{do: func(ctx context.Context, in string) (string, error) {
		n := strconv.Itoa(int(tries.Add(1)))
		grpc.SetHeader(ctx, metadata.Pairs("h", n))
		grpc.SetTrailer(ctx, metadata.Pairs("t", n))
		return n, nil
	}}, grpcx.Client{Target: "s", Observe: silent, Policy: resilience.Policy{Idempotent: true, Retry: retry.Policy{Budget: -1},
		Hedge: hedge.Settings{Max: 2, Delay: -1}}}) // all at once
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				var header, trailer metadata.MD
				got, err := call(t.Context(), conn, "", grpc.Header(&header), grpc.Trailer(&trailer))
				if err != nil || len(header.Get("h")) != 1 || header.Get("h")[0] != got || len(trailer.Get("t")) != 1 || trailer.Get("t")[0] != got {
					t.Errorf("reply %q header %v trailer %v: %v", got, header.Get("h"), trailer.Get("t"), err)
				}
			}
		})
	}
	wg.Wait()
	if n := tries.Load(); n < 800 {
		t.Errorf("%d tries for 400 calls: nothing was hedged", n)
	}
}

// plain is a codec of somebody's own, whose messages are no protobuf.
type plain struct{}

func (plain) Name() string                    { return "plain" }
func (plain) Marshal(v any) ([]byte, error)   { return []byte(*v.(*string)), nil }
func (plain) Unmarshal(b []byte, v any) error { *v.(*string) = string(b); return nil }

func TestHedgeWithAnotherCodec(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := bufconn.Listen(1 << 16)
		srv := grpc.NewServer(grpc.ForceServerCodec(plain{}))
		var tries atomic.Int32
		srv.RegisterService(&grpc.ServiceDesc{ServiceName: "test.Service", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
			MethodName: "Do", Handler: func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				var in string
				if err := dec(&in); err != nil {
					return nil, err
				}
				if tries.Add(1) == 1 {
					<-ctx.Done()
				}
				return &in, ctx.Err()
			}}}}, nil)
		done := make(chan error, 1)
		go func() { done <- srv.Serve(l) }()
		client := grpcx.Client{Target: "s", Observe: silent, Policy: resilience.Policy{Idempotent: true, Hedge: hedge.Settings{Max: 1, Delay: 10 * ms}}}
		conn, err := grpc.NewClient("passthrough:///x", append(client.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodec(plain{})),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))...)
		if err != nil {
			t.Fatal(err)
		}
		in, out := "hello", "old"
		if err := conn.Invoke(t.Context(), unaryMethod, &in, &out); err != nil || out != "hello" || tries.Load() != 2 {
			t.Errorf("%q, %v, %d tries", out, err, tries.Load())
		}
		conn.Close()
		srv.Stop()
		<-done
	})
}

func TestMethods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		yes := true
		var calls atomic.Int32
		conn := serve(t, grpcx.Server{}, handlers{do: func(ctx context.Context, in string) (string, error) {
			calls.Add(1)
			<-ctx.Done()
			return "", ctx.Err()
		}}, grpcx.Client{Target: "s", Observe: silent, Policy: resilience.Policy{AttemptTimeout: time.Minute, Methods: []resilience.Method{
			{Pattern: "test.Service/Do", AttemptTimeout: 300 * ms, Idempotent: &yes, Retry: &retry.Policy{Max: 1, Base: -1}},
			{Pattern: "test.Service/*", AttemptTimeout: time.Millisecond},
		}}})
		begin := time.Now()
		_, err := call(t.Context(), conn, "")
		if took := time.Since(begin); errs.KindOf(err) != errs.Timeout || calls.Load() != 2 || took != 600*ms {
			t.Errorf("%v, %d calls, %v", err, calls.Load(), took)
		}
	})
}

func TestNegativePushback(t *testing.T) {
	for pushback, want := range map[string]int32{"": 3, "1": 3, "-1": 1, "soon": 1} {
		var calls atomic.Int32
		conn := serve(t, grpcx.Server{}, handlers{do: func(ctx context.Context, _ string) (string, error) {
			calls.Add(1)
			if pushback != "" {
				grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", pushback))
			}
			return "", errs.New(errs.Unavailable, "x", "no")
		}}, grpcx.Client{Observe: silent, Policy: quick, Idempotent: []string{"test.Service/*"}})
		_, err := call(t.Context(), conn, "")
		if errs.KindOf(err) != errs.Unavailable || calls.Load() != want {
			t.Errorf("%q: %d calls, want %d; %v", pushback, calls.Load(), want, err)
		}
	}
}

// TestUnsentTriesAreOnTheBudget: calls that were never sent may be tried again,
// but a target that is away must not be dialed by everybody all the time.
func TestUnsentTriesAreOnTheBudget(t *testing.T) {
	rec := new(recorder)
	client := grpcx.Client{Target: "b", Observe: rec.sinks(), Policy: resilience.Policy{
		Retry: retry.Policy{Max: 3, Base: -1, Reserve: 5, Budget: 0.001}, Breaker: breaker.Settings{Rule: breaker.Off}}}
	conn, err := grpc.NewClient("127.0.0.1:1", append(client.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const calls = 20
	for range calls {
		if _, err := call(t.Context(), conn, ""); errs.KindOf(err) != errs.Unavailable {
			t.Fatal(err)
		}
	}
	if n := len(rec.ended(trace.SpanKindClient)); n != calls+5 {
		t.Errorf("%d tries for %d calls, want 5 more than calls", n, calls)
	}
	if _, err := call(flow.WithAttempt(t.Context(), 1), conn, ""); errs.KindOf(err) != errs.Unavailable {
		t.Fatal(err)
	}
}

// TestOneLayerRetries is A -> B -> C with C down: C sees what one layer does.
func TestOneLayerRetries(t *testing.T) {
	var atB, atC atomic.Int32
	policy := resilience.Policy{Idempotent: true, Retry: retry.Policy{Max: 3, Base: ms, Cap: ms, Reserve: 100}, Breaker: breaker.Settings{Rule: breaker.Off}}
	toC := serve(t, grpcx.Server{Service: "c"}, handlers{do: func(context.Context, string) (string, error) {
		atC.Add(1)
		return "", errs.New(errs.Unavailable, "c", "down")
	}}, grpcx.Client{Service: "b", Target: "c", Observe: silent, Policy: policy})
	toB := serve(t, grpcx.Server{Service: "b"}, handlers{do: func(ctx context.Context, in string) (string, error) {
		atB.Add(1)
		return call(ctx, toC, in)
	}}, grpcx.Client{Service: "a", Target: "b", Observe: silent, Policy: policy})
	_, err := call(t.Context(), toB, "x")
	// B retries its first request 3 times; the retries of A find B passing on.
	if errs.KindOf(err) != errs.Unavailable || atB.Load() != 4 || atC.Load() != 4+3 {
		t.Errorf("%v; %d at B, %d at C", err, atB.Load(), atC.Load())
	}
}

// TestStreamsAndTheBreaker: a stream that breaks off is a failure, one that ends
// or is ended is none.
func TestStreamsAndTheBreaker(t *testing.T) {
	for _, c := range []struct {
		name  string
		serve func(grpc.ServerStream) error
		ctx   func(context.Context) (context.Context, context.CancelFunc)
		want  breaker.State
	}{
		{"unavailable", func(grpc.ServerStream) error { return errs.New(errs.Unavailable, "x", "gone") }, nil, breaker.Open},
		{"internal", func(grpc.ServerStream) error { return errs.New(errs.Internal, "x", "oops") }, nil, breaker.Open},
		{"panic", func(grpc.ServerStream) error { panic("x") }, nil, breaker.Open},
		{"its end", func(grpc.ServerStream) error { return nil }, nil, breaker.Closed},
		{"not found", func(grpc.ServerStream) error { return errs.New(errs.NotFound, "x", "no") }, nil, breaker.Closed},
		{"shed", func(grpc.ServerStream) error { return errs.New(errs.Unavailable, "x", "no").RetryAfter(time.Second) }, nil, breaker.Closed},
		{"canceled by its caller", func(s grpc.ServerStream) error { <-s.Context().Done(); return s.Context().Err() }, context.WithCancel, breaker.Closed},
		{"out of its caller's time", func(s grpc.ServerStream) error { <-s.Context().Done(); return s.Context().Err() },
			func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, 5*ms) }, breaker.Closed},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				board := new(resilience.Board)
				conn := serve(t, grpcx.Server{}, handlers{follow: func(_ string, s grpc.ServerStream) error {
					if err := s.SendMsg(wrapperspb.String("first")); err != nil {
						return err
					}
					return c.serve(s)
				}}, grpcx.Client{Target: "s", Observe: silent, Board: board, Policy: resilience.Policy{Breaker: breaker.Classic()}})
				for range 6 { // more than 5 in a row
					ctx, cancel := t.Context(), context.CancelFunc(func() {})
					if c.ctx != nil {
						ctx, cancel = c.ctx(ctx)
					}
					s, err := open(ctx, conn, "")
					if err != nil {
						t.Fatal(err)
					}
					if err := s.RecvMsg(new(text)); err != nil {
						t.Fatal(err)
					}
					if c.name == "canceled by its caller" {
						cancel()
					}
					if err := s.RecvMsg(new(text)); err == nil {
						t.Fatal("a second message")
					}
					cancel()
				}
				if s := board.List()[0]; s.State != c.want {
					t.Errorf("breaker %v, want %v: %+v", s.State, c.want, s.Calls)
				}
				if c.want == breaker.Open {
					if _, err := open(t.Context(), conn, ""); !errors.Is(err, breaker.ErrOpen) {
						t.Errorf("%v", err)
					}
				}
			})
		})
	}
}

// TestStreamProbe: while the breaker tries the target out, a first message is
// enough, for a stream may live for hours.
func TestStreamProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		board := new(resilience.Board)
		var down atomic.Bool
		conn := serve(t, grpcx.Server{}, handlers{follow: func(_ string, s grpc.ServerStream) error {
			if down.Load() {
				return errs.New(errs.Unavailable, "x", "gone")
			}
			if err := s.SendMsg(wrapperspb.String("first")); err != nil {
				return err
			}
			<-s.Context().Done()
			return s.Context().Err()
		}}, grpcx.Client{Target: "s", Observe: silent, Board: board, Policy: resilience.Policy{Breaker: breaker.Classic()}})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		follow := func() error {
			s, err := open(ctx, conn, "")
			if err != nil {
				return err
			}
			return s.RecvMsg(new(text))
		}
		down.Store(true)
		for range 6 {
			if err := follow(); errs.KindOf(err) != errs.Unavailable {
				t.Fatal(err)
			}
		}
		if err := follow(); !errors.Is(err, breaker.ErrOpen) {
			t.Fatal(err)
		}
		down.Store(false)
		time.Sleep(61 * time.Second) // fake time
		for range 3 {
			if err := follow(); err != nil {
				t.Fatal(err)
			}
		}
		if s := board.List()[0]; s.State != breaker.Closed {
			t.Errorf("after three streams that live, the breaker is %v", s.State)
		}
	})
}

// TestStreamIsOpenedAgainOnce: nobody listens at first.
func TestStreamIsOpenedAgainOnce(t *testing.T) {
	for _, c := range []struct {
		refused int32
		spans   int
		good    bool
	}{{0, 1, true}, {1, 2, true}, {9, 2, false}} {
		t.Run(fmt.Sprint(c.refused), func(t *testing.T) {
			rec := new(recorder)
			var dials atomic.Int32
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			srv := grpc.NewServer()
			srv.RegisterService(&desc, handlers{follow: func(in string, s grpc.ServerStream) error {
				return s.SendMsg(wrapperspb.String("hello"))
			}})
			go srv.Serve(l)
			defer srv.Stop()
			client := grpcx.Client{Target: "s", Observe: rec.sinks(), Policy: resilience.Policy{Retry: retry.Policy{Base: 300 * ms, Jitter: -1}}}
			conn, err := grpc.NewClient(l.Addr().String(), append(client.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
					if dials.Add(1) <= c.refused {
						return nil, errors.New("connection refused")
					}
					return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
				}))...)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			s, err := open(t.Context(), conn, "")
			if (err == nil) != c.good {
				t.Fatal(err)
			}
			if err == nil {
				for err == nil {
					err = s.RecvMsg(new(text))
				}
				if err != io.EOF {
					t.Error(err)
				}
			} else if e := errs.From(err); e.Kind() != errs.Unavailable || e.Remote() || strings.Contains(e.Message(), "refused") {
				t.Errorf("%v", err)
			}
			if n := len(rec.ended(trace.SpanKindClient)); n != c.spans {
				t.Errorf("%d tries, want %d", n, c.spans)
			}
		})
	}
}
