package grpcx_test

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/surefoot-go/surefoot/grpcx"
	"github.com/surefoot-go/surefoot/resilience/shed"
)

// What a server of ours adds to a call in memory, and what a refusal costs: the
// client is grpc's own.
//
//	go test -run '^$' -bench Server -benchmem ./grpcx
func BenchmarkServer(b *testing.B) {
	full := shed.New(shed.Settings{Max: 1, Queue: -1})
	if _, err := full.Enter(context.Background(), shed.Request{}); err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		server *grpcx.Server
		desc   *grpc.ServiceDesc
	}{
		{"bare", nil, &bare},
		{"guarded", &grpcx.Server{Service: "s", Observe: silent}, &desc},
		{"guarded and admitted", &grpcx.Server{Service: "s", Observe: silent, Door: new(shed.Door)}, &desc},
		{"refused", &grpcx.Server{Service: "s", Observe: silent, Door: full}, &desc},
	} {
		b.Run(c.name, func(b *testing.B) {
			l := bufconn.Listen(1 << 20)
			var opts []grpc.ServerOption
			if c.server != nil {
				opts = c.server.Options()
			}
			srv := grpc.NewServer(opts...)
			srv.RegisterService(c.desc, handlers{do: echo})
			go srv.Serve(l)
			defer srv.Stop()
			conn, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := call(context.Background(), conn, "hello"); (err != nil) != (c.name == "refused") {
					b.Fatal(err)
				}
			}
		})
	}
}
