package grpcx_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/grpcx"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/retry"
)

// What must never cross a wire: it is in causes, log values, panics and DSNs.
const (
	private = "hunter2"
	dsn     = "postgres://root:" + private + "@db.internal:5432/bank"

	wireTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	wireParent = "00-" + wireTrace + "-00f067aa0ba902b7-01"
)

// oneTry makes each call one try, and no breaker matters in so few.
var oneTry = resilience.Policy{Retry: retry.Policy{Max: -1}, AttemptTimeout: 5 * time.Second, Timeout: 5 * time.Second}

// A lab is the services A(HTTP) -> B(gRPC) -> C(HTTP) -> D, on real connections
// of the loopback, each of them tapped.
type lab struct {
	t       *testing.T
	taps    map[string]*tap // by the service that listens
	address map[string]string
	err     error      // what A's handler got from B
	code    codes.Code // what grpc's own package reads in it
	retry   string     // the Retry-After of A
	got     []string   // the messages A had before its stream failed
	stream  string     // "", "server", "client" or "bidi": how A asks B
	c       resilience.Policy
}

func newLab(t *testing.T) *lab {
	return &lab{t: t, taps: map[string]*tap{}, address: map[string]string{}, c: oneTry}
}

// serveHTTP runs h as one of the services.
func (l *lab) serveHTTP(name string, h http.Handler) {
	at := listenTapped(l.t)
	l.taps[name], l.address[name] = at, at.Addr().String()
	srv := &http.Server{Handler: h}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(at) }()
	l.t.Cleanup(func() {
		srv.Close()
		<-done
	})
}

// serveGRPC runs h as one of the services, behind opts.
func (l *lab) serveGRPC(name string, h labHandlers, opts ...grpc.ServerOption) {
	at := listenTapped(l.t)
	l.taps[name], l.address[name] = at, at.Addr().String()
	srv := grpc.NewServer(opts...)
	srv.RegisterService(labDesc(name), h)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(at) }()
	l.t.Cleanup(func() {
		srv.Stop()
		<-done
	})
}

func (l *lab) guarded(name string) []grpc.ServerOption {
	return grpcx.Server{Service: name, Observe: observe.Sinks{Log: quiet}}.Options()
}

// grpcTo returns what calls a service over gRPC.
func (l *lab) grpcTo(from, to string, p resilience.Policy) *grpc.ClientConn {
	conn, err := grpc.NewClient("passthrough:///"+l.address[to], append(
		grpcx.Client{Service: from, Target: to, Policy: p, Observe: observe.Sinks{Log: quiet}}.DialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { conn.Close() })
	return conn
}

// httpTo returns what calls a service over HTTP.
func (l *lab) httpTo(from, to string, p resilience.Policy) func(context.Context) error {
	client := httpx.Client{Service: from, Target: to, Policy: p, Observe: observe.Sinks{Log: quiet}}.HTTP()
	l.t.Cleanup(client.CloseIdleConnections)
	return func(ctx context.Context) error {
		_, err := httpx.JSON[any](ctx, client, "POST", "http://"+l.address[to]+"/", nil)
		return err
	}
}

// build starts C, B and A in front of D, which listens already, and returns the
// URL of A. overGRPC says how C asks D.
func (l *lab) build(a httpx.Server, overGRPC bool) string {
	l.t.Helper()
	ask := l.httpTo("c", "d", l.c)
	if overGRPC {
		conn := l.grpcTo("c", "d", l.c)
		ask = func(ctx context.Context) error { return invoke(ctx, conn, "d") }
	}
	l.buildAsking(a, ask)
	return "http://" + l.address["a"] + "/"
}

func (l *lab) buildAsking(a httpx.Server, ask func(context.Context) error) {
	l.serveHTTP("c", httpx.Server{Service: "c", Observe: observe.Sinks{Log: quiet}}.Handle("c.Reserve",
		func(_ http.ResponseWriter, r *http.Request) error { return errs.Wrap(ask(r.Context()), "c.Reserve") }))
	askC := l.httpTo("b", "c", oneTry)
	l.serveGRPC("b", labHandlers{
		do: askC,
		stream: func(s grpc.ServerStream) error { // three messages, then the failure
			for _, m := range []string{"one", "two", "three"} {
				if err := s.SendMsg(wrapperspb.String(m)); err != nil {
					return err
				}
			}
			return askC(s.Context())
		},
		upload: func(s grpc.ServerStream) error {
			for range 3 {
				if err := s.RecvMsg(new(text)); err != nil {
					return err
				}
			}
			return askC(s.Context())
		},
	}, l.guarded("b")...)
	conn := l.grpcTo("a", "b", oneTry)
	a.Service, a.Observe.Log = "a", quiet
	l.serveHTTP("a", a.Handle("a.Buy", func(_ http.ResponseWriter, r *http.Request) error {
		err := l.asB(r.Context(), conn)
		st, _ := status.FromError(err)
		l.err, l.code = err, st.Code()
		return errs.Wrap(err, "a.Buy")
	}))
}

// asB asks B in the way of the test.
func (l *lab) asB(ctx context.Context, conn *grpc.ClientConn) error {
	if l.stream == "" {
		return invoke(ctx, conn, "b")
	}
	desc := labDesc("b")
	i := slices.IndexFunc(desc.Streams, func(d grpc.StreamDesc) bool { return d.StreamName == l.stream })
	s, err := conn.NewStream(ctx, &desc.Streams[i], "/lab.b/"+l.stream)
	if err != nil {
		return err
	}
	sent := 1
	if l.stream != "server" {
		sent = 3
	}
	for range sent {
		if err := s.SendMsg(wrapperspb.String("from a")); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	if l.stream != "bidi" { // half-closed or not, the failure comes
		if err := s.CloseSend(); err != nil {
			return err
		}
	}
	for {
		m := new(text)
		if err := s.RecvMsg(m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		l.got = append(l.got, m.Value)
	}
}

func invoke(ctx context.Context, conn *grpc.ClientConn, to string) error {
	return conn.Invoke(ctx, "/lab."+to+"/Do", wrapperspb.String("x"), new(text))
}

// ask is a user's request; it returns what A answered.
func (l *lab) ask(url string, header http.Header) (*errs.Error, *http.Response, string) {
	l.t.Helper()
	req, err := http.NewRequest("POST", url, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("Traceparent", wireParent)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	resp, err := client.Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	l.retry = resp.Header.Get("Retry-After")
	return errs.Decode(raw, resp.StatusCode, resp.Header.Get("Content-Type")), resp, string(raw)
}

// quietWires fails the test if something private was on a wire. D's own is its
// own business where D is a stranger.
func (l *lab) quietWires(except ...string) {
	l.t.Helper()
	for name, at := range l.taps {
		if slices.Contains(except, name) {
			continue
		}
		heard := at.heard()
		for _, bad := range []string{private, "postgres", "goroutine ", "conform", ".go:", "panic", "runtime.", "dial tcp", "connection refused", "<html>"} {
			if i := strings.Index(heard, bad); i >= 0 {
				l.t.Errorf("%q was on the wire of %s: ...%q...", bad, name, heard[max(i-80, 0):min(i+80, len(heard))])
			}
		}
	}
}

// labHandlers are a gRPC service of the lab: one unary method, one stream of
// each kind.
type labHandlers struct {
	do     func(context.Context) error
	stream func(grpc.ServerStream) error
	upload func(grpc.ServerStream) error
}

func labDesc(name string) *grpc.ServiceDesc {
	first := func(handle func(labHandlers) func(grpc.ServerStream) error) grpc.StreamHandler {
		return func(srv any, s grpc.ServerStream) error {
			if err := s.RecvMsg(new(text)); err != nil {
				return err
			}
			return handle(srv.(labHandlers))(s)
		}
	}
	return &grpc.ServiceDesc{
		ServiceName: "lab." + name,
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Do", Handler: func(srv any, ctx context.Context, dec func(any) error, next grpc.UnaryServerInterceptor) (any, error) {
			in := new(text)
			if err := dec(in); err != nil {
				return nil, err
			}
			handle := func(ctx context.Context, _ any) (any, error) {
				if err := srv.(labHandlers).do(ctx); err != nil {
					return nil, err
				}
				return wrapperspb.String("done"), nil
			}
			if next == nil {
				return handle(ctx, in)
			}
			return next(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: "/lab." + name + "/Do"}, handle)
		}}},
		Streams: []grpc.StreamDesc{
			{StreamName: "server", ServerStreams: true, Handler: first(func(h labHandlers) func(grpc.ServerStream) error { return h.stream })},
			{StreamName: "client", ClientStreams: true, Handler: func(srv any, s grpc.ServerStream) error { return srv.(labHandlers).upload(s) }},
			{StreamName: "bidi", ServerStreams: true, ClientStreams: true, Handler: first(func(h labHandlers) func(grpc.ServerStream) error { return h.stream })},
		},
	}
}

// refused returns an address nobody listens on.
func refused(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// rough serves each connection with handle and closes it.
func (l *lab) rough(name string, handle func(net.Conn)) {
	at := listenTapped(l.t)
	l.taps[name], l.address[name] = at, at.Addr().String()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := at.Accept()
			if err != nil {
				return
			}
			handle(c)
			c.Close()
		}
	}()
	l.t.Cleanup(func() {
		at.Close()
		<-done
	})
}
