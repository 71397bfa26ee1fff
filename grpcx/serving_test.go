package grpcx_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/grpcx"
	"github.com/surefoot-go/surefoot/resilience"
)

func TestLanes(t *testing.T) {
	conns := map[string]grpc.ClientConnInterface{}
	for _, v := range []string{"v1", "v2"} {
		conns[v] = serve(t, grpcx.Server{}, handlers{
			do:     func(context.Context, string) (string, error) { return v, nil },
			follow: func(_ string, s grpc.ServerStream) error { return s.SendMsg(wrapperspb.String(v)) },
		}, grpcx.Client{Lane: v})
	}
	lanes := grpcx.Lanes(conns, func(ctx context.Context) string { return flow.Label(ctx, "lane") })
	for lane, want := range map[string]string{"v1": "v1", "v2": "v2", "": "v1", "v9": "v1"} {
		ctx := flow.WithLabels(t.Context(), map[string]string{"lane": lane})
		got, err := call(ctx, lanes, "")
		if err != nil || got != want {
			t.Errorf("lane %q: %q, %v", lane, got, err)
		}
		s, err := open(ctx, lanes, "")
		if err != nil {
			t.Fatal(err)
		}
		m := new(text)
		if err := s.RecvMsg(m); err != nil || m.Value != want {
			t.Errorf("lane %q: stream %q, %v", lane, m.Value, err)
		}
	}
}

func TestServing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opts := grpcx.Server{}
	opts.Observe.Log = quiet
	srv := grpc.NewServer(opts.Options()...)
	entered := make(chan struct{})
	release := make(chan struct{})
	srv.RegisterService(&desc, handlers{do: func(ctx context.Context, in string) (string, error) {
		close(entered)
		<-release
		return in, nil
	}})
	ctx, stop := context.WithCancel(t.Context())
	s := grpcx.Listener("", srv)
	s.Listener = l
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()

	client := grpcx.Client{Policy: resilience.Policy{Timeout: -1, AttemptTimeout: -1}}
	client.Observe.Log = quiet
	conn, err := grpc.NewClient(l.Addr().String(), append(client.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if h, err := healthgrpc.NewHealthClient(conn).Check(t.Context(), &healthgrpc.HealthCheckRequest{}); err != nil || h.Status != healthgrpc.HealthCheckResponse_SERVING {
		t.Errorf("health %v, %v", h, err)
	}
	answered := make(chan error, 1)
	go func() { _, err := call(context.Background(), conn, "x"); answered <- err }()
	<-entered
	stop()
	select {
	case err := <-served:
		t.Fatalf("stopped over a call under way: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if err := <-answered; err != nil {
		t.Errorf("the call under way: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("served: %v", err)
	}

	taken, _ := net.Listen("tcp", "127.0.0.1:0")
	defer taken.Close()
	err = grpcx.Listener(taken.Addr().String(), grpc.NewServer()).Serve(t.Context())
	if e := errs.From(err); e.Code() != "address_in_use" || !strings.Contains(e.Message(), taken.Addr().String()) {
		t.Errorf("taken port: %v", err)
	}
}

func TestServingCutsOffWhatDoesNotEnd(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opts := grpcx.Server{}
	opts.Observe.Log = quiet
	srv := grpc.NewServer(opts.Options()...)
	entered := make(chan struct{})
	srv.RegisterService(&desc, handlers{do: func(ctx context.Context, in string) (string, error) {
		close(entered)
		<-ctx.Done()
		return "", ctx.Err()
	}})
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- (&grpcx.Serving{Server: srv, Listener: l, StopLimit: 30 * time.Millisecond}).Serve(ctx)
	}()
	client := grpcx.Client{Target: "s"}
	client.Observe.Log = quiet
	conn, err := grpc.NewClient(l.Addr().String(), append(client.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answered := make(chan error, 1)
	go func() { _, err := call(context.Background(), conn, "x"); answered <- err }()
	<-entered
	stop()
	if err := <-served; err != nil {
		t.Errorf("served: %v", err)
	}
	if err := <-answered; errs.KindOf(err) != errs.Unavailable {
		t.Errorf("the call cut off: %v", err)
	}
}
