//go:build zrpc

package main

import (
	"context"
	"io"
	"net"

	"github.com/zeromicro/go-zero/core/conf"
	"github.com/zeromicro/go-zero/core/logx"
	"github.com/zeromicro/go-zero/zrpc"
	"google.golang.org/grpc"

	"github.com/surefoot-go/surefoot/safe"
)

// zrpcServer is go-zero's gRPC server with its own defaults, its log discarded.
func zrpcServer(share float64) start {
	return func(ctx context.Context, l net.Listener) (server, error) {
		_, flush := global(share)
		var c zrpc.RpcServerConf
		if err := conf.FillDefault(&c); err != nil {
			return server{}, err
		}
		c.Name, c.ListenOn = "bench", l.Addr().String()
		c.Telemetry.Disabled, c.DevServer.Enabled = true, false
		if err := l.Close(); err != nil { // it listens itself
			return server{}, err
		}
		discard := logx.NewWriter(io.Discard)
		logx.SetWriter(discard)
		s, err := zrpc.NewServer(c, func(s *grpc.Server) { s.RegisterService(&orders, struct{}{}) })
		if err != nil {
			return server{}, err
		}
		logx.SetWriter(discard)
		safe.Go(ctx, "go-zero", func(context.Context) error {
			s.Start()
			return nil
		})
		return server{addr: c.ListenOn, stop: func() {
			s.Stop()
			flush()
		}}, waitFor(c.ListenOn)
	}
}
