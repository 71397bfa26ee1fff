package coord

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// untilClose ends the streams of clients when over ends and refuses new ones
// then. Without it a single open watch holds up etcd's graceful stop until its
// limit of 5 s.
func untilClose(over context.Context) grpc.ServerOption {
	return grpc.ChainStreamInterceptor(func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		stopping := status.Error(codes.Unavailable, "the server is stopping")
		if over.Err() != nil {
			return stopping
		}
		ctx, cancel := context.WithCancel(ss.Context())
		defer cancel()
		defer context.AfterFunc(over, cancel)()
		err := handler(srv, stream{ss, ctx})
		if over.Err() != nil {
			return stopping
		}
		return err
	})
}

// stream is a client's stream with a context that ends sooner.
type stream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s stream) Context() context.Context { return s.ctx }
