package main

import (
	"context"
	"io"
	"log"

	"net/http"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	gstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/surefoot-go/surefoot/safe"
)

// silent swallows what net/http says about handlers that panic on purpose.
var silent = log.New(io.Discard, "", 0)

func spawn(fn func()) {
	safe.Go(context.Background(), "lab", func(context.Context) error { fn(); return nil })
}

// procedure is the one method every gRPC and Connect server here has.
const procedure = "/safety.Trial/Do"

type text = wrapperspb.StringValue

// rpc is its handler.
type rpc func(ctx context.Context, in string) (string, error)

// trial is the service as generated code would describe it.
func trial(fn rpc) *grpc.ServiceDesc {
	handle := func(_ any, ctx context.Context, dec func(any) error, via grpc.UnaryServerInterceptor) (any, error) {
		in := new(text)
		if err := dec(in); err != nil {
			return nil, err
		}
		h := func(ctx context.Context, req any) (any, error) {
			out, err := fn(ctx, req.(*text).Value)
			if err != nil {
				return nil, err
			}
			return &text{Value: out}, nil
		}
		if via == nil {
			return h(ctx, in)
		}
		return via(ctx, in, &grpc.UnaryServerInfo{FullMethod: procedure}, h)
	}
	return &grpc.ServiceDesc{ServiceName: "safety.Trial", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Do", Handler: handle}}}
}

// grpc serves fn with a plain grpc.Server and returns its address.
func (l *lab) grpc(fn rpc, opts ...grpc.ServerOption) string {
	lis := l.listen()
	s := grpc.NewServer(opts...)
	s.RegisterService(trial(fn), nil)
	l.serve(func() error { return s.Serve(lis) }, s.Stop)
	return lis.Addr().String()
}

// dial connects to addr.
func (l *lab) dial(addr string, opts ...grpc.DialOption) *grpc.ClientConn {
	conn, err := grpc.NewClient("passthrough:///"+addr, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	l.must(err)
	l.later(func() { conn.Close() })
	return conn
}

// invoke calls the one method.
func invoke(ctx context.Context, conn grpc.ClientConnInterface) error {
	return conn.Invoke(ctx, procedure, &text{Value: "x"}, new(text))
}

// dialer makes a library's gRPC client for the server at addr.
type dialer func(l *lab, addr string) grpc.ClientConnInterface

func cancelGRPC(d dialer) experiment {
	return func(l *lab) answer {
		var arrived atomic.Int64
		var mended atomic.Bool
		here := make(chan struct{}, enough)
		conn := d(l, l.grpc(func(ctx context.Context, _ string) (string, error) {
			arrived.Add(1)
			if !mended.Load() {
				here <- struct{}{}
				<-ctx.Done()
			}
			return "", ctx.Err()
		}))
		open := opens(l, &arrived, canceled(l, here, func(ctx context.Context) { invoke(ctx, conn) }),
			func() { invoke(l.ctx, conn) }, func() { mended.Store(true) })
		return unless(!open, cancelsIgnored, cancelsOpened).over("gRPC")
	}
}

func faultGRPC(d dialer) experiment {
	return func(l *lab) answer {
		var arrived atomic.Int64
		var mended atomic.Bool
		conn := d(l, l.grpc(func(context.Context, string) (string, error) {
			arrived.Add(1)
			if mended.Load() {
				return "", nil
			}
			return "", gstatus.Error(codes.NotFound, "no such order")
		}))
		do := func() { invoke(l.ctx, conn) }
		return unless(!opens(l, &arrived, do, do, func() { mended.Store(true) }), notFoundsFine, notFoundsOpen).over("gRPC")
	}
}

// all joins the experiments of one cell.
func all(parts ...experiment) experiment {
	return func(l *lab) answer {
		var got []answer
		for _, p := range parts {
			got = append(got, p(l))
		}
		return both(got...)
	}
}

// rawGRPC calls the one method with the header grpc-timeout as given, which
// grpc-go itself would not send, and waits for the end of the answer.
func (l *lab) rawGRPC(addr, timeout string) {
	t := &http.Transport{Protocols: new(http.Protocols)}
	t.Protocols.SetUnencryptedHTTP2(true)
	defer t.CloseIdleConnections()
	r, err := http.NewRequestWithContext(l.ctx, http.MethodPost, "http://"+addr+procedure, strings.NewReader("\x00\x00\x00\x00\x00"))
	l.must(err)
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("Te", "trailers")
	r.Header.Set("Grpc-Timeout", timeout)
	resp, err := t.RoundTrip(r)
	if err != nil {
		return // refused with a reset
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}
