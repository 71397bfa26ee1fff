package grpcx_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/surefoot-go/surefoot/grpcx"
)

// gRPC's health service says what the service itself does, past a full door.
func TestHealthFollowsReady(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpcx.Server{Door: full(t)}
	s.Observe.Log = quiet
	var ready atomic.Bool
	serving := grpcx.Serving{Server: grpc.NewServer(s.Options()...), Listener: l, Ready: func(context.Context) error {
		if !ready.Load() {
			return errors.New("warming up")
		}
		return nil
	}}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serving.Serve(ctx) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	watch, err := healthgrpc.NewHealthClient(conn).Watch(t.Context(), &healthgrpc.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []healthgrpc.HealthCheckResponse_ServingStatus{healthgrpc.HealthCheckResponse_NOT_SERVING, healthgrpc.HealthCheckResponse_SERVING} {
		for {
			got, err := watch.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if got.Status == want {
				break
			}
		}
		ready.Store(true)
	}
	stop()
	conn.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
