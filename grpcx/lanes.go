package grpcx

import (
	"context"
	"maps"
	"slices"

	"google.golang.org/grpc"
)

// Lanes returns a connection that sends each call over one of conns, the one
// pick names: a canary lane for some users beside the stable one. A call and
// its retries stay in their lane, and each lane has its own breaker.
//
// A name that is not in conns, "" included, means conns[""] where there is one
// and otherwise the first by name: let that be the stable one. conns must not
// be empty. The caller keeps the connections and closes them. For versions that
// come and go, and several instances of each, see Balanced.
func Lanes(conns map[string]grpc.ClientConnInterface, pick func(ctx context.Context) string) grpc.ClientConnInterface {
	if len(conns) == 0 {
		panic("grpcx: Lanes without a connection")
	}
	l := lanes{conns: maps.Clone(conns), pick: pick}
	l.otherwise = l.conns[slices.Min(slices.Collect(maps.Keys(conns)))]
	return l
}

type lanes struct {
	conns     map[string]grpc.ClientConnInterface
	otherwise grpc.ClientConnInterface // "" sorts first
	pick      func(ctx context.Context) string
}

func (l lanes) lane(ctx context.Context) grpc.ClientConnInterface {
	if c, ok := l.conns[l.pick(ctx)]; ok {
		return c
	}
	return l.otherwise
}

func (l lanes) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return l.lane(ctx).Invoke(ctx, method, args, reply, opts...)
}

func (l lanes) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return l.lane(ctx).NewStream(ctx, desc, method, opts...)
}
