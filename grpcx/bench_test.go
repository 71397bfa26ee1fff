package grpcx_test

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/grpcx"
)

// What the guard rails cost a call in memory, without telemetry installed:
//
//	go test -run '^$' -bench . -benchmem ./grpcx
func BenchmarkCall(b *testing.B) {
	b.Run("bare", func(b *testing.B) {
		l := bufconn.Listen(1 << 20)
		srv := grpc.NewServer()
		srv.RegisterService(&bare, handlers{do: echo})
		go srv.Serve(l)
		defer srv.Stop()
		conn, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		run(b, conn)
	})
	b.Run("guarded", func(b *testing.B) {
		run(b, serve(b, grpcx.Server{Service: "s"}, handlers{do: echo}, grpcx.Client{Target: "s"}))
	})
}

func run(b *testing.B, conn *grpc.ClientConn) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := call(context.Background(), conn, "hello"); err != nil {
			b.Fatal(err)
		}
	}
}

// bare is desc for a server without interceptors.
var bare = grpc.ServiceDesc{ServiceName: desc.ServiceName, HandlerType: desc.HandlerType, Methods: []grpc.MethodDesc{{
	MethodName: "Do", Handler: func(srv any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := new(text)
		if err := dec(in); err != nil {
			return nil, err
		}
		out, err := srv.(handlers).do(ctx, in.Value)
		return &text{Value: out}, err
	}}}}

func BenchmarkStatus(b *testing.B) {
	err := errs.New(errs.Conflict, "stock.Take", "sold out").ID("out_of_stock").Detail("sku 7").At(errs.Border{Service: "stock", Op: "stock.Take"})
	b.ReportAllocs()
	for b.Loop() {
		if grpcx.FromError(grpcx.ToStatus(err).Err()) == nil {
			b.Fatal("nil")
		}
	}
}
