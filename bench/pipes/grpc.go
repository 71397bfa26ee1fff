package main

import (
	"context"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/surefoot-go/surefoot/safe"
)

const grpcWindow = 4 << 20

var grpcStream = grpc.StreamDesc{StreamName: "Send", ClientStreams: true}

func serveGRPC(ctx context.Context, s setup, take func([]byte)) (string, func(), error) {
	t, err := s.tls()
	if err != nil {
		return "", nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(t)), grpc.InitialWindowSize(grpcWindow), grpc.InitialConnWindowSize(grpcWindow))
	desc := grpcStream
	desc.Handler = func(_ any, stream grpc.ServerStream) error {
		for {
			var m wrapperspb.BytesValue
			if err := stream.RecvMsg(&m); err != nil {
				return err
			}
			take(m.GetValue())
		}
	}
	server.RegisterService(&grpc.ServiceDesc{ServiceName: "bench.Pipe", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{desc}}, struct{}{})
	task := safe.Go(ctx, "grpc", func(context.Context) error { return server.Serve(l) })
	return l.Addr().String(), func() {
		server.Stop()
		<-task.Done()
	}, nil
}

type grpcSender struct {
	conn   *grpc.ClientConn
	stream grpc.ClientStream
	m      wrapperspb.BytesValue
}

func dialGRPC(ctx context.Context, s setup) (sender, error) {
	t, err := s.tls()
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("passthrough:///"+s.Addr, grpc.WithTransportCredentials(credentials.NewTLS(t)),
		grpc.WithInitialWindowSize(grpcWindow), grpc.WithInitialConnWindowSize(grpcWindow))
	if err != nil {
		return nil, err
	}
	stream, err := conn.NewStream(ctx, &grpcStream, "/bench.Pipe/Send")
	if err != nil {
		return nil, err
	}
	return &grpcSender{conn: conn, stream: stream}, nil
}

// Send has marshalled b when it returns.
func (g *grpcSender) Send(_ context.Context, b []byte) error {
	g.m.Value = b
	return g.stream.SendMsg(&g.m)
}

func (g *grpcSender) Flush() error { return nil }

func (g *grpcSender) Close() error {
	_ = g.stream.CloseSend()
	_ = g.stream.RecvMsg(&emptypb.Empty{})
	return g.conn.Close()
}
