//go:build zrpc

package main

import (
	"context"

	"github.com/zeromicro/go-zero/core/conf"
	"github.com/zeromicro/go-zero/zrpc"
	"google.golang.org/grpc"
	gstatus "google.golang.org/grpc/status"
)

// zrpcCells are the experiments of go-zero's gRPC half, by line.
var zrpcCells = map[string]experiment{
	"cancel-trips":       cancelGRPC(zrpcDial),
	"4xx-trips":          faultGRPC(zrpcDial),
	"error-text":         leaksError(zrpcGRPC),
	"panic-value":        leaksPanic(zrpcGRPC),
	"deadline-forwarded": forwards(zrpcGRPC),
	"expired-work":       worksLate(zrpcGRPC),
}

func zrpcDial(l *lab, addr string) grpc.ClientConnInterface {
	var c zrpc.RpcClientConf
	l.must(conf.FillDefault(&c))
	c.Endpoints = []string{addr}
	client, err := zrpc.NewClient(c)
	l.must(err)
	silenceGozero()
	l.later(func() { client.Conn().Close() })
	return client.Conn()
}

func zrpcGRPC(l *lab, work func(ctx context.Context) error) peer {
	var c zrpc.RpcServerConf
	l.must(conf.FillDefault(&c))
	c.Name = "lab"
	c.DevServer.Enabled = false
	lis := l.listen()
	c.ListenOn = lis.Addr().String()
	lis.Close()
	s, err := zrpc.NewServer(c, func(s *grpc.Server) {
		s.RegisterService(trial(func(ctx context.Context, _ string) (string, error) { return "", work(ctx) }), nil)
	})
	l.must(err)
	silenceGozero()
	l.serve(func() error { s.Start(); return nil }, s.Stop)
	conn, plain := zrpcDial(l, c.ListenOn), l.dial(c.ListenOn, grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	l.must(func() error { // until it listens
		_, err := plain.NewStream(l.ctx, &grpc.StreamDesc{}, procedure)
		return err
	}())
	return peer{
		wire: "zrpc",
		call: func(ctx context.Context) error { return invoke(ctx, conn) },
		look: func() string { return gstatus.Convert(invoke(l.ctx, plain)).String() },
		late: func() { l.rawGRPC(c.ListenOn, "1n") },
	}
}
