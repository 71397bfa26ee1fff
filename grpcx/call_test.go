package grpcx_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/grpcx"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/breaker"
	"github.com/surefoot-go/surefoot/resilience/retry"
)

func echo(_ context.Context, in string) (string, error) { return in, nil }

// quick retries without waiting long.
var quick = resilience.Policy{Retry: retry.Policy{Max: 2, Base: time.Millisecond, Cap: 2 * time.Millisecond}}

func TestTelemetryOfOneCall(t *testing.T) {
	for _, c := range []struct {
		name  string
		err   error
		code  string
		kind  string // error.type
		ended otelcodes.Code
		event string
	}{
		{"good", nil, "OK", "", otelcodes.Unset, ""},
		{"caller's fault", errs.New(errs.Invalid, "x", "no"), "INVALID_ARGUMENT", "invalid_request", otelcodes.Unset, "exception exception.type=invalid_request exception.message=no"},
		{"our fault", errs.New(errs.Internal, "x", "oops").ID("db_down"), "INTERNAL", "db_down", otelcodes.Error, "exception exception.type=db_down exception.message=oops"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := new(recorder)
			var log bytes.Buffer
			sinks := rec.sinks()
			sinks.Log = slog.New(slog.NewTextHandler(&log, nil))
			conn := serve(t, grpcx.Server{Service: "shop", Observe: sinks}, handlers{do: func(context.Context, string) (string, error) { return "", c.err }},
				grpcx.Client{Service: "gate", Target: "shop", Lane: "v2", Observe: rec.sinks()})
			_, err := call(t.Context(), conn, "")
			if (err == nil) != (c.err == nil) {
				t.Fatal(err)
			}
			server, client := rec.one(t, trace.SpanKindServer), rec.one(t, trace.SpanKindClient)
			if server.parent != client.ctx.SpanID() || server.ctx.TraceID() != client.ctx.TraceID() {
				t.Error("the server's span is not the child of the client's")
			}
			for _, s := range []*span{server, client} {
				for k, want := range map[string]string{"rpc.system": "grpc", "rpc.service": "test.Service", "rpc.method": "Do", "rpc.response.status_code": c.code} {
					if got := s.attr(k); got != want {
						t.Errorf("%v %s = %q, want %q", s.kind, k, got, want)
					}
				}
				if s.name != "test.Service/Do" || s.status != c.ended || c.event != "" && !s.has(c.event) {
					t.Errorf("%v span %q status %v events %q", s.kind, s.name, s.status, s.events)
				}
				if c.kind != "" && s.attr("error.type") != c.kind {
					t.Errorf("error.type %q", s.attr("error.type"))
				}
			}
			for k, want := range map[string]string{"peer.service": "shop", "service.peer.name": "shop", "surefoot.lane": "v2", "surefoot.peer.version": "v2", "server.address": "bufconn"} {
				if got := client.attr(k); got != want {
					t.Errorf("client %s = %q, want %q", k, got, want)
				}
			}
			if got := server.attr("surefoot.op"); got != "test.Service/Do" {
				t.Errorf("surefoot.op %q", got)
			}
			for _, name := range []string{"rpc.server.call.duration", "rpc.client.call.duration"} {
				sets := rec.measured(name)
				if len(sets) != 1 {
					t.Fatalf("%s measured %d times", name, len(sets))
				}
				if v, _ := sets[0].Value("rpc.response.status_code"); v.Emit() != c.code {
					t.Errorf("%s code %q", name, v.Emit())
				}
			}
			if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), server.ctx.TraceID().String()) {
				t.Errorf("%d log lines: %s", n, log.String())
			}
		})
	}
}

func TestFlowCrosses(t *testing.T) {
	conn := serve(t, grpcx.Server{}, handlers{do: func(ctx context.Context, _ string) (string, error) {
		left, ok := flow.Remaining(ctx)
		return fmt.Sprintf("%s %v %d %d", flow.Label(ctx, "tier"), ok && left > 0 && left <= 2*time.Second, flow.Attempt(ctx), len(flow.TraceID(ctx))), nil
	}}, grpcx.Client{})
	ctx := flow.WithAttempt(flow.WithLabels(t.Context(), map[string]string{"tier": "premium"}), 1)
	ctx = metadata.AppendToOutgoingContext(ctx, "baggage", "sf.tier=forged", "x-own", "kept")
	if got, err := call(ctx, conn, ""); err != nil || got != "premium true 1 32" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestExpiredWorkIsNotDone sends a call whose time is over on arrival.
func TestExpiredWorkIsNotDone(t *testing.T) {
	opts := grpcx.Server{Service: "s"}
	opts.Observe.Log = quiet
	srv := grpc.NewServer(append([]grpc.ServerOption{grpc.ChainUnaryInterceptor(
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			ctx, cancel := context.WithDeadline(ctx, time.Now().Add(-time.Millisecond))
			defer cancel()
			return next(ctx, req)
		})}, opts.Options()...)...)
	done := false
	srv.RegisterService(&desc, handlers{do: func(context.Context, string) (string, error) { done = true; return "", nil }})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	defer srv.Stop()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = call(t.Context(), conn, "")
	if e := grpcx.FromError(err); e.Kind() != errs.Timeout || done {
		t.Errorf("%v, done %v", err, done)
	}
}

func TestRetries(t *testing.T) {
	for _, c := range []struct {
		name   string
		client grpcx.Client
		err    error
		opts   []grpc.CallOption
		ctx    func(context.Context) context.Context
		calls  int32
	}{
		{"not idempotent", grpcx.Client{Policy: quick}, errs.New(errs.Unavailable, "x", "no"), nil, nil, 1},
		{"named", grpcx.Client{Policy: quick, Idempotent: []string{"test.Service/Do"}}, errs.New(errs.Unavailable, "x", "no"), nil, nil, 3},
		{"named with a slash", grpcx.Client{Policy: quick, Idempotent: []string{unaryMethod}}, errs.New(errs.Unavailable, "x", "no"), nil, nil, 3},
		{"whole service", grpcx.Client{Policy: quick, Idempotent: []string{"test.Service/*"}}, errs.New(errs.Timeout, "x", "no"), nil, nil, 3},
		{"call option", grpcx.Client{Policy: quick}, errs.New(errs.BadGateway, "x", "no"), []grpc.CallOption{grpcx.Idempotent()}, nil, 3},
		{"cannot be cured", grpcx.Client{Policy: quick}, errs.New(errs.Invalid, "x", "no"), []grpc.CallOption{grpcx.Idempotent()}, nil, 1},
		{"a layer above retries", grpcx.Client{Policy: quick}, errs.New(errs.Unavailable, "x", "no"), []grpc.CallOption{grpcx.Idempotent()},
			func(ctx context.Context) context.Context { return flow.WithAttempt(ctx, 1) }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var calls atomic.Int32
			rec := new(recorder)
			c.client.Observe = rec.sinks()
			conn := serve(t, grpcx.Server{}, handlers{do: func(ctx context.Context, _ string) (string, error) {
				calls.Add(1)
				return "", c.err
			}}, c.client)
			ctx := t.Context()
			if c.ctx != nil {
				ctx = c.ctx(ctx)
			}
			_, err := call(ctx, conn, "", c.opts...)
			if calls.Load() != c.calls || errs.KindOf(err) != errs.KindOf(c.err) {
				t.Errorf("%d calls, want %d; %v", calls.Load(), c.calls, err)
			}
			if spans := rec.ended(trace.SpanKindClient); len(spans) != int(c.calls) {
				t.Errorf("%d spans", len(spans))
			}
		})
	}
}

// TestUnsentIsTriedAgain: nobody listens at first, so that a call which must
// not be made twice may still be tried twice.
func TestUnsentIsTriedAgain(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	rec := new(recorder)
	var dials atomic.Int32
	client := grpcx.Client{Service: "a", Target: "b", Observe: rec.sinks(),
		Policy: resilience.Policy{Timeout: 5 * time.Second, Retry: retry.Policy{Max: 8, Base: 100 * time.Millisecond, Cap: 200 * time.Millisecond}}}
	conn, err := grpc.NewClient(l.Addr().String(), append(client.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			if dials.Add(1) <= 2 {
				return nil, errors.New("connection refused: secret-host")
			}
			return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		}))...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	srv := grpc.NewServer(grpcx.Server{Observe: rec.sinks()}.Options()...)
	var calls atomic.Int32
	srv.RegisterService(&desc, handlers{do: func(ctx context.Context, in string) (string, error) { calls.Add(1); return in, nil }})
	go srv.Serve(l)
	defer srv.Stop()
	if got, err := call(t.Context(), conn, "hello"); err != nil || got != "hello" || calls.Load() != 1 {
		t.Errorf("%q, %v, %d calls", got, err, calls.Load())
	}
	if n := len(rec.ended(trace.SpanKindClient)); n < 2 {
		t.Errorf("%d spans", n)
	}
}

func TestNobodyThere(t *testing.T) {
	client := grpcx.Client{Service: "a", Target: "b", Policy: quick}
	client.Observe.Log = quiet
	conn, err := grpc.NewClient("127.0.0.1:1", append(client.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = call(t.Context(), conn, "")
	e := errs.From(err)
	if e.Kind() != errs.Unavailable || e.Remote() || strings.Contains(e.Message(), "127.0.0.1") || status.Code(err) != codes.Unavailable {
		t.Errorf("%v: %q remote %v, %v", e.Kind(), e.Message(), e.Remote(), status.Code(err))
	}
	if c := e.Chain(); len(c) != 1 || c[0].Service != "a" || c[0].Op != "b test.Service/Do" {
		t.Errorf("chain %+v", c)
	}
}

func TestWhatTripsTheBreaker(t *testing.T) {
	policy := resilience.Policy{Breaker: breaker.Classic()} // more than 5 in a row
	for _, k := range kinds {
		t.Run(k.ID(), func(t *testing.T) {
			var calls atomic.Int32
			conn := serve(t, grpcx.Server{}, handlers{do: func(context.Context, string) (string, error) {
				calls.Add(1)
				return "", errs.New(k, "x", "no")
			}}, grpcx.Client{Target: "s", Policy: policy})
			var err error
			for range 10 {
				_, err = call(t.Context(), conn, "")
			}
			trips := k.Fault() == errs.Callee
			if want := map[bool]int32{true: 6, false: 10}[trips]; calls.Load() != want {
				t.Errorf("%d of 10 calls got through, want %d", calls.Load(), want)
			}
			if open := errors.Is(err, breaker.ErrOpen); open != trips {
				t.Errorf("open %v: %v", open, err)
			}
		})
	}
	t.Run("caller cancels", func(t *testing.T) {
		entered := make(chan struct{})
		conn := serve(t, grpcx.Server{}, handlers{do: func(ctx context.Context, in string) (string, error) {
			entered <- struct{}{}
			<-ctx.Done()
			return "", ctx.Err()
		}}, grpcx.Client{Target: "s", Policy: policy})
		for i := range 10 {
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-entered; cancel() }()
			if _, err := call(ctx, conn, "wait"); errs.KindOf(err) != errs.Canceled || errors.Is(err, breaker.ErrOpen) {
				t.Fatalf("call %d: %v", i, err)
			}
		}
	})
}

func TestPushback(t *testing.T) {
	for trailer, want := range map[string]time.Duration{"1500": 1500 * time.Millisecond, "-1": 0, "x": 0, "4000000000": time.Hour, "": 0} {
		conn := serve(t, grpcx.Server{}, handlers{do: func(ctx context.Context, _ string) (string, error) {
			_ = grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", trailer))
			return "", errs.New(errs.TooMany, "x", "later")
		}}, grpcx.Client{})
		if _, err := call(t.Context(), conn, ""); errs.From(err).RetryDelay() != want {
			t.Errorf("%q: wait %v, want %v", trailer, errs.From(err).RetryDelay(), want)
		}
	}
	conn := serve(t, grpcx.Server{}, handlers{do: func(context.Context, string) (string, error) {
		return "", errs.New(errs.TooMany, "x", "later").RetryAfter(2 * time.Second)
	}}, grpcx.Client{})
	var md metadata.MD
	_, err := call(t.Context(), conn, "", grpc.Trailer(&md))
	if got := md.Get("grpc-retry-pushback-ms"); len(got) != 1 || got[0] != "2000" || errs.From(err).RetryDelay() != 2*time.Second {
		t.Errorf("trailer %q, %v", got, errs.From(err).RetryDelay())
	}
}

// TestDeclaredIdempotent reads idempotency_level from a compiled-in .proto.
func TestDeclaredIdempotent(t *testing.T) {
	file := &descriptorpb.FileDescriptorProto{
		Name: proto.String("grpcx_test.proto"), Package: proto.String("test"), Syntax: proto.String("proto3"),
		Dependency: []string{"google/protobuf/wrappers.proto"},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("Service"), Method: []*descriptorpb.MethodDescriptorProto{{
			Name: proto.String("Do"), InputType: proto.String(".google.protobuf.StringValue"), OutputType: proto.String(".google.protobuf.StringValue"),
			Options: &descriptorpb.MethodOptions{IdempotencyLevel: descriptorpb.MethodOptions_NO_SIDE_EFFECTS.Enum()},
		}}}},
	}
	d, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	if got := grpcx.Declared(d, "test.Service/Do"); !got {
		t.Error("NO_SIDE_EFFECTS is not read")
	}
	for _, m := range []string{"test.Service/Undo", "", "x", "/", "test.Service"} {
		if grpcx.Declared(d, m) {
			t.Errorf("%q is declared idempotent", m)
		}
	}
}

func TestStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := new(recorder)
		var calls atomic.Int32
		conn := serve(t, grpcx.Server{Service: "s", Observe: rec.sinks()}, handlers{follow: func(in string, s grpc.ServerStream) error {
			calls.Add(1)
			for i := range 3 {
				if err := s.SendMsg(wrapperspb.String(fmt.Sprintf("%d %s", i, flow.Label(s.Context(), "tier")))); err != nil {
					return err
				}
			}
			switch in {
			case "fail":
				return errs.New(errs.Unavailable, "follow", "no more")
			case "panic":
				panic("hidden")
			case "wait":
				<-s.Context().Done()
				return s.Context().Err()
			}
			return nil
		}}, grpcx.Client{Service: "c", Target: "s", Observe: rec.sinks(), Policy: resilience.Policy{AttemptTimeout: 50 * time.Millisecond, Timeout: 50 * time.Millisecond, Idempotent: true}})

		read := func(ctx context.Context, in string) (got string, err error) {
			s, err := open(flow.WithLabels(ctx, map[string]string{"tier": "gold"}), conn, in)
			for err == nil {
				m := new(text)
				if err = s.RecvMsg(m); err == nil {
					got += m.Value + " "
				}
			}
			return got, err
		}
		for _, c := range []struct {
			in   string
			kind errs.Kind
			want otelcodes.Code
		}{{"good", 0, otelcodes.Unset}, {"fail", errs.Unavailable, otelcodes.Error}, {"panic", errs.Internal, otelcodes.Error}} {
			before := calls.Load()
			got, err := read(t.Context(), c.in)
			if got != "0 gold 1 gold 2 gold " {
				t.Errorf("%s: messages %q", c.in, got)
			}
			if c.in == "good" && err != io.EOF || c.in != "good" && (errs.KindOf(err) != c.kind || !errs.From(err).Remote()) {
				t.Errorf("%s: %v", c.in, err)
			}
			if calls.Load() != before+1 {
				t.Errorf("%s: a stream was repeated", c.in)
			}
		}
		for _, s := range rec.ended(trace.SpanKindClient) {
			if s.ends != 1 || s.attr("rpc.method") != "Follow" {
				t.Errorf("span ended %d times, %q", s.ends, s.attr("rpc.method"))
			}
		}

		// A stream outlives the policy's limits and ends with its context.
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		begin := time.Now()
		if _, err := read(ctx, "wait"); errs.KindOf(err) != errs.Timeout || time.Since(begin) < 250*time.Millisecond {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
	})
}
