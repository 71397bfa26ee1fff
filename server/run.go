package server

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/server/api"
	"github.com/surefoot-go/surefoot/server/console"
)

// run starts the loops, then the servers, calls ready, waits for ctx or for a
// part to fail, and ends everything in the reverse order.
func (p *plane) run(ctx context.Context, ready func()) (err error) {
	defer func() { err = errors.Join(err, p.close()) }()
	// Loops outlive the servers: what a server has taken is still folded.
	loops, endLoops := context.WithCancel(context.WithoutCancel(ctx))
	failed := make(chan error, 1)
	fail := func(name string) func(error) {
		return func(err error) {
			if err == nil {
				return
			}
			select {
			case failed <- errs.New(errs.Internal, "server."+name, "a part of the control plane failed: "+name).Because(err):
			default: // the first one is the news
			}
		}
	}
	var looping []*safe.Task
	for _, l := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"watch", p.watch.run}, {"doctor", p.ward.run}, {"releases", p.releases.run}, {"pushes", p.pushes.run},
		{"series", p.writeSamples}, {"catalog", p.watchCatalog}, {"overview", p.publish}, {"coordination", p.keeper.run},
	} {
		looping = append(looping, safe.Go(loops, "server."+l.name, l.run, fail(l.name)))
	}
	servers := p.servers(fail)
	p.live.ready.Store(true)
	p.addrs = Addrs{Addr: p.api.Addr().String(), OTLPGRPC: p.otlpGRPC.Addr().String(), OTLPHTTP: p.otlpHTTP.Addr().String(), Etcd: p.etcdAddr(), Dir: p.Dir}
	ready()

	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	p.live.ready.Store(false)
	p.hub.Close()
	for _, s := range servers {
		s.stop()
	}
	for _, s := range servers {
		_ = s.task.Wait() // failed has had its error
	}
	endLoops()
	for _, l := range looping {
		_ = l.Wait()
	}
	return err
}

// etcdAddr is where services reach the config centre.
func (p *plane) etcdAddr() string {
	if len(p.EtcdCluster) > 0 {
		return strings.Join(p.EtcdCluster, ",")
	}
	return p.keeper.settings.Client
}

// running is a server that can be stopped.
type running struct {
	task *safe.Task
	stop func() // returns when requests in flight have ended, or after drain
}

func (p *plane) servers(fail func(string) func(error)) []running {
	a := p.newAPI()
	mux := http.NewServeMux()
	h := a.Handler()
	for _, path := range []string{"/api/", "/healthz", "/readyz"} {
		mux.Handle(path, h)
	}
	mux.Handle("/", console.Handler())
	var hosts []string
	if host, _, err := net.SplitHostPort(p.Addr); err == nil && loopback(host) {
		hosts = api.LocalHosts()
	}
	return []running{
		p.serveHTTP("api", p.api, patient(api.Guard(mux, hosts, a.Refuse)), fail),
		p.serveHTTP("otlp-http", p.otlpHTTP, p.receiver.HTTPServer(), fail),
		p.serveGRPC(fail),
	}
}

func (p *plane) newAPI() *api.API {
	return &api.API{
		Version: p.Version, Live: p.live, Spans: p.spans.Spans(), Logs: p.spans.Logs(), Series: p.series,
		Incidents: p.watch, Catalog: p.shelf, Routes: p.routes, Settings: p.routes, Centre: p.centre, Hub: p.hub,
		// One line for each look at the console is noise; what fails is not.
		Observe: observe.Sinks{Log: slog.New(atLeast{p.Log.Handler(), slog.LevelWarn})},
	}
}

// patient serves with limits against slow and greedy clients. Streams of
// events set their own write deadlines.
func patient(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      45 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
	}
}

func (p *plane) serveHTTP(name string, ln net.Listener, srv *http.Server, fail func(string) func(error)) running {
	srv.ErrorLog = log.New(quiet{p.Log}, "", 0)
	task := safe.Go(context.Background(), "server."+name, func(context.Context) error {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}, fail(name))
	return running{task, func() {
		ctx, cancel := context.WithTimeout(context.Background(), drain)
		defer cancel()
		if srv.Shutdown(ctx) != nil {
			_ = srv.Close() // those that are left have had their time
		}
	}}
}

func (p *plane) serveGRPC(fail func(string) func(error)) running {
	srv := grpc.NewServer(append(p.receiver.GRPCOptions(), grpc.UnaryInterceptor(p.surviving))...)
	p.receiver.RegisterGRPC(srv)
	task := safe.Go(context.Background(), "server.otlp-grpc", func(context.Context) error {
		return srv.Serve(p.otlpGRPC)
	}, fail("otlp-grpc"))
	return running{task, func() {
		var once sync.Once
		t := time.AfterFunc(drain, func() { once.Do(srv.Stop) })
		defer t.Stop()
		srv.GracefulStop()
	}}
}

// surviving turns a panic in a handler into an error: gRPC would end the
// process.
func (p *plane) surviving(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	err = safe.Call(func() (err error) {
		resp, err = next(ctx, req)
		return err
	})
	if panicked, ok := errors.AsType[*safe.Panic](err); ok {
		p.Log.Error("a panic while taking telemetry", "err", panicked)
		return nil, status.Error(codes.Internal, "the request could not be handled")
	}
	return resp, err
}

// publish sends an overview to the console each second.
func (p *plane) publish(ctx context.Context) error {
	a := p.newAPI()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if o, err := a.Overview(ctx, now); err == nil {
				p.hub.State("overview", o)
			}
		}
	}
}

// writeSamples writes the derived series.
func (p *plane) writeSamples(ctx context.Context) error {
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-p.samples:
			_, err := p.series.Put(ctx, s)
			if err != nil && !failing && ctx.Err() == nil {
				p.Log.Error("series derived from spans cannot be kept; will try again each second", "err", err)
			}
			failing = err != nil
		}
	}
}

// atLeast is a log handler with a level of its own.
type atLeast struct {
	slog.Handler
	level slog.Level
}

func (h atLeast) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.level && h.Handler.Enabled(ctx, l)
}

func (h atLeast) WithAttrs(a []slog.Attr) slog.Handler {
	return atLeast{h.Handler.WithAttrs(a), h.level}
}
func (h atLeast) WithGroup(n string) slog.Handler { return atLeast{h.Handler.WithGroup(n), h.level} }

// quiet is where net/http complains about its clients.
type quiet struct{ log *slog.Logger }

func (q quiet) Write(b []byte) (int, error) {
	q.log.Debug("http: " + string(b))
	return len(b), nil
}
