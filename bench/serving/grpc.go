package main

import (
	"context"
	"net"

	kgrpc "github.com/go-kratos/kratos/v2/transport/grpc"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/surefoot-go/surefoot/grpcx"
	"github.com/surefoot-go/surefoot/resilience/shed"
	"github.com/surefoot-go/surefoot/safe"
)

const grpcMethod = "/bench.Orders/Get"

// orders is what the code generator would write for bench.Orders, whose one
// method takes and gives a string.
var orders = grpc.ServiceDesc{
	ServiceName: "bench.Orders",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Get", Handler: func(srv any, ctx context.Context, dec func(any) error, ic grpc.UnaryServerInterceptor) (any, error) {
		in := new(wrapperspb.StringValue)
		if err := dec(in); err != nil {
			return nil, err
		}
		h := func(_ context.Context, req any) (any, error) {
			return wrapperspb.String(req.(*wrapperspb.StringValue).Value + " paid"), nil
		}
		if ic == nil {
			return h(ctx, in)
		}
		return ic(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: grpcMethod}, h)
	}}},
}

func serveGRPC(l net.Listener, flush func(), opts ...grpc.ServerOption) (server, error) {
	s := grpc.NewServer(opts...)
	s.RegisterService(&orders, struct{}{})
	task := safe.Go(context.Background(), "grpc", func(context.Context) error { return s.Serve(l) })
	return server{addr: l.Addr().String(), stop: func() {
		s.Stop()
		_ = task.Wait()
		flush()
	}}, nil
}

func grpcBare(_ context.Context, l net.Listener) (server, error) {
	return serveGRPC(l, func() {})
}

// grpcOtel is grpc-go with OpenTelemetry's spans and metrics and nothing else.
func grpcOtel(share float64) start {
	return func(_ context.Context, l net.Listener) (server, error) {
		sinks, flush := sinks(share)
		return serveGRPC(l, flush, grpc.StatsHandler(otelgrpc.NewServerHandler(otelgrpc.WithTracerProvider(sinks.Tracer),
			otelgrpc.WithMeterProvider(sinks.Meter), otelgrpc.WithPropagators(propagators))))
	}
}

// grpcOurs has every guard and all telemetry on.
func grpcOurs(share float64) start {
	return func(_ context.Context, l net.Listener) (server, error) {
		sinks, flush := sinks(share)
		return serveGRPC(l, flush, grpcx.Server{Service: "bench", Observe: sinks, Door: new(shed.Door)}.Options()...)
	}
}

func grpcKratos(share float64) start {
	return func(ctx context.Context, l net.Listener) (server, error) {
		guards, flush := kratosGuards(share)
		s := kgrpc.NewServer(kgrpc.Listener(l), kgrpc.Middleware(guards...))
		s.RegisterService(&orders, struct{}{})
		task := safe.Go(ctx, "kratos", s.Start)
		return server{addr: l.Addr().String(), stop: func() {
			_ = s.Stop(ctx)
			_ = task.Wait()
			flush()
		}}, nil
	}
}
