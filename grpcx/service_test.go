package grpcx_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/surefoot-go/surefoot/grpcx"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// A service without generated code: one unary method, one stream.
const (
	unaryMethod  = "/test.Service/Do"
	streamMethod = "/test.Service/Follow"
)

type handlers struct {
	do     func(ctx context.Context, in string) (string, error)
	follow func(in string, s grpc.ServerStream) error
}

type text = wrapperspb.StringValue

var desc = grpc.ServiceDesc{
	ServiceName: "test.Service",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Do", Handler: func(srv any, ctx context.Context, dec func(any) error, next grpc.UnaryServerInterceptor) (any, error) {
		in := new(text)
		if err := dec(in); err != nil {
			return nil, err
		}
		return next(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: unaryMethod}, func(ctx context.Context, req any) (any, error) {
			out, err := srv.(handlers).do(ctx, req.(*text).Value)
			return wrapperspb.String(out), err
		})
	}}},
	Streams: []grpc.StreamDesc{{StreamName: "Follow", ServerStreams: true, ClientStreams: true, Handler: func(srv any, s grpc.ServerStream) error {
		in := new(text)
		if err := s.RecvMsg(in); err != nil {
			return err
		}
		return srv.(handlers).follow(in.Value, s)
	}}},
}

// serve runs h behind s in memory and returns a connection to it made by c.
func serve(t testing.TB, s grpcx.Server, h handlers, c grpcx.Client, more ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	if s.Observe.Log == nil {
		s.Observe.Log = quiet
	}
	if c.Observe.Log == nil {
		c.Observe.Log = quiet
	}
	l := bufconn.Listen(1 << 20)
	srv := grpc.NewServer(s.Options()...)
	srv.RegisterService(&desc, h)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	opts := append(c.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	conn, err := grpc.NewClient("passthrough:///shop.test:9090", append(opts, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		srv.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return conn
}

func call(ctx context.Context, conn grpc.ClientConnInterface, in string, opts ...grpc.CallOption) (string, error) {
	out := new(text)
	err := conn.Invoke(ctx, unaryMethod, wrapperspb.String(in), out, opts...)
	return out.Value, err
}

func open(ctx context.Context, conn grpc.ClientConnInterface, in string) (grpc.ClientStream, error) {
	s, err := conn.NewStream(ctx, &desc.Streams[0], streamMethod)
	if err != nil {
		return nil, err
	}
	if err := s.SendMsg(wrapperspb.String(in)); err != nil && err != io.EOF { // the reason for that is in RecvMsg
		return nil, err
	}
	return s, s.CloseSend()
}
