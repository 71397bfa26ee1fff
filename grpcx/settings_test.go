package grpcx_test

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/surefoot-go/surefoot/config"
	"github.com/surefoot-go/surefoot/config/drivertest"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/grpcx"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/service"
)

type silence struct{}

func (silence) Start(context.Context, observe.Resource) (observe.Sinks, func(context.Context) error, error) {
	return silent, func(context.Context) error { return nil }, nil
}

// A policy that is changed in the centre reaches the guard of a gRPC client that
// is at work, and a dependency that fails reaches the gRPC health of the service.
func TestServiceSettingsAndHealth(t *testing.T) {
	var centre drivertest.Memory
	failing := make(chan bool, 1)
	s := &service.Service{Name: "hello", Addr: "127.0.0.1:0", Drain: -1, Telemetry: silence{}, Config: &config.Config{Centre: &centre, EnvPrefix: "-"},
		Depends: []service.Dependency{{Name: "database", Every: 20 * time.Millisecond, Check: func(context.Context) error {
			select {
			case <-failing:
				return errs.New(errs.Unavailable, "db", "no connection")
			default:
				return nil
			}
		}}}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(grpcx.Server{Service: "hello", Observe: silent}.Options()...)
	srv.RegisterService(&desc, handlers{do: func(ctx context.Context, _ string) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	}})
	s.Servers = append(s.Servers, &grpcx.Serving{Server: srv, Listener: l, Ready: s.Check})
	conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), append(grpcx.Client{Service: "test", Target: "bank", Board: s.Board(), Observe: silent}.DialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	health := healthpb.NewHealthClient(conn)
	until := func(want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		limit, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		for limit.Err() == nil {
			if got, err := health.Check(limit, &healthpb.HealthCheckRequest{}); err == nil && got.Status == want {
				return
			}
		}
		t.Fatalf("health never became %v", want)
	}
	until(healthpb.HealthCheckResponse_SERVING)
	centre.Commit(map[string][]byte{config.Key("hello", "client/bank"): []byte(`{"timeout": "20ms", "attemptTimeout": "20ms"}`)})
	for quick := time.Duration(0); ; { // by default a try takes 2s
		begin := time.Now()
		_, err := call(t.Context(), conn, "x")
		if quick = time.Since(begin); err != nil && quick < time.Second {
			break
		}
		if quick > 5*time.Second {
			t.Fatal("the policy did not arrive")
		}
	}
	centre.Commit(map[string][]byte{config.Key("hello", "client/bank"): nil})
	stopFailing := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case failing <- true:
			case <-stopFailing:
				return
			}
		}
	}()
	until(healthpb.HealthCheckResponse_NOT_SERVING)
	close(stopFailing)
	<-done
	until(healthpb.HealthCheckResponse_SERVING)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
