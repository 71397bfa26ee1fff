package grpcx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/safe"
)

// Serving runs a gRPC server as a part of a service: it is a service.Server.
type Serving struct {
	Server    *grpc.Server
	Addr      string        // host:port; used when Listener is nil
	Listener  net.Listener  // nil means listen on Addr; Serve closes it
	StopLimit time.Duration // longest graceful stop; 0 means 10s, negative means none
	// Ready says whether the service can do its work right now, such as
	// service.Service.Check; nil means always. It is asked once a second, with 1s
	// to answer, and gRPC's health service says SERVING or NOT_SERVING after it.
	Ready func(ctx context.Context) error
}

// Listener returns srv to be served on addr.
func Listener(addr string, srv *grpc.Server) *Serving { return &Serving{Server: srv, Addr: addr} }

// Serve listens and serves until ctx ends, then stops: health turns to
// NOT_SERVING, no new call is taken, calls under way may finish within
// StopLimit, and what is left is cut off. It returns nil after such a stop, cut
// off or not, and returns only when all handlers have. It registers gRPC's
// health service unless the server has one.
func (s *Serving) Serve(ctx context.Context) error {
	const op = "grpcx.Serve"
	l := s.Listener
	if l == nil {
		var err error
		if l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", s.Addr); err != nil {
			if errors.Is(err, syscall.EADDRINUSE) {
				return errs.New(errs.FailedPrecondition, op,
					fmt.Sprintf("the address %s is taken: stop who uses it, or choose another one", s.Addr)).ID("address_in_use").Because(err)
			}
			return errs.New(errs.FailedPrecondition, op, fmt.Sprintf("the address %s can not be listened on", s.Addr)).Because(err)
		}
	}
	healthy := health.NewServer()
	if _, ok := s.Server.GetServiceInfo()[healthgrpc.Health_ServiceDesc.ServiceName]; !ok {
		healthgrpc.RegisterHealthServer(s.Server, healthy)
	}
	if s.Ready != nil {
		asking, end := context.WithCancel(ctx)
		asked := safe.Go(asking, "grpc health", func(ctx context.Context) error { return s.ask(ctx, healthy) })
		defer func() { end(); <-asked.Done() }()
	}
	serving := safe.Go(ctx, op, func(context.Context) error { return s.Server.Serve(l) })
	select {
	case <-serving.Done():
		return errs.Wrap(serving.Wait(), op)
	case <-ctx.Done():
	}
	healthy.Shutdown()
	limit := s.StopLimit
	if limit == 0 {
		limit = 10 * time.Second
	}
	if limit > 0 {
		cut := time.AfterFunc(limit, s.Server.Stop)
		s.Server.GracefulStop()
		cut.Stop()
	} else {
		s.Server.Stop()
	}
	<-serving.Done()
	return nil
}

// ask keeps the health service up to date until ctx ends.
func (s *Serving) ask(ctx context.Context, healthy *health.Server) error {
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for {
		limited, cancel := context.WithTimeout(ctx, time.Second)
		state := healthgrpc.HealthCheckResponse_SERVING
		if safe.Call(func() error { return s.Ready(limited) }) != nil {
			state = healthgrpc.HealthCheckResponse_NOT_SERVING
		}
		cancel()
		healthy.SetServingStatus("", state) // after Shutdown it does nothing
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil
		}
	}
}
