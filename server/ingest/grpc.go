package ingest

import (
	"context"
	"math"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // registers gzip: every OTLP exporter offers it
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/surefoot-go/surefoot/errs"
)

// RegisterGRPC registers the three OTLP services. The server should have been
// made with GRPCOptions.
//
// The services take a request as a message of unknown fields, so that its
// nesting is looked at before anything decodes it.
func (r *Receiver) RegisterGRPC(s *grpc.Server) {
	for service, sig := range map[string]*signal{
		"opentelemetry.proto.collector.trace.v1.TraceService":     traces,
		"opentelemetry.proto.collector.metrics.v1.MetricsService": metrics,
		"opentelemetry.proto.collector.logs.v1.LogsService":       logs,
	} {
		s.RegisterService(&grpc.ServiceDesc{
			ServiceName: service,
			HandlerType: (*any)(nil),
			Methods:     []grpc.MethodDesc{{MethodName: "Export", Handler: handler(r, sig, "/"+service+"/Export")}},
		}, r)
	}
}

// GRPCOptions are what a server must have to take what Receiver takes and no
// more: messages up to MaxBody (gRPC counts them unpacked), at most 100
// requests at once on a connection, dead and idle connections closed.
func (r *Receiver) GRPCOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(int(min(r.maxBody(), math.MaxInt32))),
		grpc.MaxConcurrentStreams(100),
		grpc.MaxHeaderListSize(16 << 10),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second, MaxConnectionIdle: 15 * time.Minute}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	}
}

func handler(r *Receiver, sig *signal, method string) grpc.MethodHandler {
	export := func(ctx context.Context, req any) (any, error) {
		body := []byte(req.(*emptypb.Empty).ProtoReflect().GetUnknown())
		out, err := r.export(ctx, sig, body, protobuf)
		if err != nil {
			return nil, grpcError(err)
		}
		resp := &emptypb.Empty{}
		resp.ProtoReflect().SetUnknown(out)
		return resp, nil
	}
	return func(_ any, ctx context.Context, dec func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
		req := &emptypb.Empty{}
		if err := dec(req); err != nil {
			r.n.bad.Add(1)
			return nil, status.Error(codes.InvalidArgument, "the request is not valid OTLP: not a protobuf message")
		}
		if interceptor == nil {
			return export(ctx, req)
		}
		return interceptor(ctx, req, &grpc.UnaryServerInfo{Server: r, FullMethod: method}, export)
	}
}

// grpcError is err as OTLP wants it: what may be sent again says when.
func grpcError(err error) error {
	e := errs.From(err)
	st := status.New(codes.Code(e.Kind().GRPC()), e.Message())
	if d := e.RetryDelay(); d > 0 {
		if with, derr := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(d)}); derr == nil {
			st = with
		}
	}
	return st.Err()
}
