// Package service is the life of one process: it starts, serves, drains and
// stops, with every guard rail on.
//
//	func main() {
//		s := &service.Service{Name: "hello", Addr: ":8080", Telemetry: telemetry.OTLP{}}
//		s.HandleFunc("GET /hello/{name}", func(w http.ResponseWriter, r *http.Request) error {
//			return httpx.Write(w, http.StatusOK, "hello, "+r.PathValue("name"))
//		})
//		os.Exit(s.Main())
//	}
//
// That program survives panics, answers with structured errors, refuses
// expired work and passes deadlines on, sends traces, metrics and logs, and on
// SIGTERM finishes what it has begun before it goes.
//
// It is not a framework: handlers are net/http handlers, clients are
// *http.Client, and each part works without this package (see httpx,
// resilience, module telemetry).
package service

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/surefoot-go/surefoot/canary"
	"github.com/surefoot-go/surefoot/config"
	"github.com/surefoot-go/surefoot/discovery"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/locks"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/balance"
	"github.com/surefoot-go/surefoot/resilience/shed"
	"github.com/surefoot-go/surefoot/supervise"
	"github.com/surefoot-go/surefoot/vitals"
)

// Telemetry builds the sinks the service reports to. telemetry.OTLP is one.
type Telemetry interface {
	// Start must not wait for a collector. stop flushes within ctx; it is
	// called once, last of all.
	Start(ctx context.Context, r observe.Resource) (sinks observe.Sinks, stop func(ctx context.Context) error, err error)
}

// Server is something else that serves beside HTTP, such as a gRPC server.
type Server interface {
	// Serve blocks until ctx ends, then finishes what is under way and returns
	// nil. If it returns before, the service stops.
	//
	// A Server that also has a method Listen(context.Context) error gets it
	// called first, so that a taken port is known before the service is ready.
	Serve(ctx context.Context) error
}

// Worker is work that runs as long as the service does, such as settling an
// outbox. If it fails or panics it is run again, after 100ms at first and 30s at
// most, for as long as it takes; only with Restart.Max set is it given up, and
// that stops the service. If it returns nil it is done.
type Worker = supervise.Worker

// Service is one process. Set the fields first, then register handlers, then
// call Main, or Run, once. Only Name is required. A Service must not be copied.
type Service struct {
	Name      string // service.name
	Version   string // service.version; empty means the main module's version or revision, as built
	Namespace string // service.namespace
	Instance  string // service.instance.id; empty means host name and process id
	Addr      string // of the HTTP listener, host:port; empty means ":8080"

	// Telemetry sends what the service reports; nil means the process-wide
	// OpenTelemetry providers and slog.Default.
	Telemetry Telemetry
	// Server holds the settings for handlers. Its Service and, field by field,
	// its Observe are filled in if empty.
	Server httpx.Server

	// Shed says how requests are admitted when there are more than the service
	// can do; the zero value admits by priority and learns how many that is, a
	// negative Max admits all. See Door, and httpx.Server.Classify in Server for
	// who sets priorities.
	Shed shed.Settings
	// Clients bounds what slow clients may hold.
	Clients Clients
	// Vitals says what this process reports of itself, such as goroutines that
	// leak and memory that grows: as log records and under /debug/vitals. It is on;
	// a negative Every turns it off. See package vitals.
	Vitals vitals.Settings
	// Locks turns on the checks of package locks for the whole process while Run
	// runs, if anything in it is set; the zero value leaves them as they are. With
	// a nil Report each problem is one log record with the attribute
	// surefoot.lock.problem, ten a minute at most.
	Locks locks.Checks
	// Debug is where to answer questions of the service's operators, host:port,
	// on this machine only unless a host is named; "" means nowhere. GET
	// /debug/breakers lists the guards of Client and PUT {"target","forced"}
	// forces one ("open", "closed", "auto"); GET /debug/goroutines counts them by
	// name, /debug/door shows the Door, /debug/vitals what is wrong with the process,
	// /debug/vitals/trace the last execution trace that was kept for it (see
	// Vitals.Trace), /debug/config which settings are in force and refused (no
	// values), /debug/discovery which instances are known, /debug/locks which locks are waited for and what is wrong with
	// them, and /debug/pprof/ has runtime profiles.
	Debug string

	// Drain is how long the service goes on serving after it was told to stop,
	// with /readyz saying 503, so that load balancers turn away first; 0 means
	// 3s, negative means none. Kubernetes takes a few seconds to spread the
	// news of a terminating pod.
	Drain time.Duration
	// StopLimit is how long requests and workers may take to finish after
	// that; 0 or negative means 15s. What is left then has its context ended
	// and its connections cut. Drain, StopLimit and the flush of telemetry (5s)
	// fit in the 30s Kubernetes gives.
	StopLimit time.Duration

	Workers []Worker // told to stop after all requests have ended, the last one first
	Servers []Server
	// Config is the settings that may change while the service runs; nil means that
	// none do. Its empty fields are filled in; Run loads it before anything is
	// served, fails if files or environment are wrong, and keeps it. Every service
	// has the keys of docs/config.md in it: log, sampling, door, client/<target>,
	// balance/<target>; and the canary routes, see Routes.
	Config *config.Config
	// Registry is where the service is listed while it is ready, and where Client
	// finds others; nil means nowhere. Being invisible makes the service degraded,
	// not unready: those who know it may go on.
	Registry *Registry
	// Depends is what the service needs, asked in the background. What fails is
	// among the reasons of /readyz, and so is what was not asked yet.
	Depends []Dependency
	// Ready says whether the service can do its work right now; nil means
	// always. /readyz asks it, with 1s to answer; it must not call other
	// services, or one outage takes all callers off.
	Ready func(ctx context.Context) error
	// Listener takes the place of listening on Addr; Run closes it.
	Listener net.Listener

	once  sync.Once
	sinks observe.Sinks
	stop  func(context.Context) error
	err   error // of Telemetry.Start
	mux   http.ServeMux
	paths []*route
	ran   atomic.Bool
	state atomic.Int32

	doorOnce sync.Once
	door     *shed.Door
	board    resilience.Board
	running  atomic.Pointer[running]
	debug    net.Listener
	vitals   vitals.Watch

	dials     observe.Dials
	routes    canary.Table
	hot       hot
	depends   depends
	foundOnce sync.Once
	found     *discovery.Source
}

const (
	starting int32 = iota
	ready
	draining
)

// flushLimit bounds the last flush of telemetry.
const flushLimit = 5 * time.Second

func (s *Service) drain() time.Duration {
	if s.Drain == 0 {
		return 3 * time.Second
	}
	return max(s.Drain, 0)
}

func (s *Service) stopLimit() time.Duration {
	if s.StopLimit <= 0 {
		return 15 * time.Second
	}
	return s.StopLimit
}

func (s *Service) addr() string {
	if s.Addr == "" {
		return ":8080"
	}
	return s.Addr
}

func (s *Service) version() string {
	if s.Version != "" {
		return s.Version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, set := range info.Settings {
		if set.Key == "vcs.revision" {
			return set.Value
		}
	}
	return ""
}

// Observe returns where the service reports to, for what is built before Run,
// such as a gRPC server. The first call starts Telemetry; if that fails Run
// says so. Safe for concurrent use.
func (s *Service) Observe() observe.Sinks {
	s.once.Do(func() {
		if s.Telemetry != nil {
			s.sinks, s.stop, s.err = s.Telemetry.Start(context.Background(),
				observe.Resource{Name: s.Name, Version: s.version(), Namespace: s.Namespace, Instance: s.instance(), Dials: &s.dials})
		}
		s.sinks = s.sinks.OrDefault()
	})
	return s.sinks
}

// Log is the service's logger.
func (s *Service) Log() *slog.Logger { return s.Observe().Log }

// Client returns an HTTP client for one target, under policy p; the zero Policy
// is resilience.Default. Keep it: breaker, retry budget and connections live in
// it. Its requests carry the trace, the labels and the time left of their
// context.
//
// With Registry a URL whose host is target, such as http://payment/charges, goes
// to one of its instances, of the version that Routes says for the user in the
// context (its labels, and the label "user" as the key); another host is called
// as it is.
func (s *Service) Client(target string, p resilience.Policy) *http.Client {
	c := httpx.Client{Service: s.Name, Target: target, Policy: p, Observe: s.Observe(), Board: &s.board}
	if s.Registry == nil {
		return c.HTTP()
	}
	plain := c
	direct := sync.OnceValue(func() http.RoundTripper { return plain.New() })
	c.Lane = s.lane(target)
	c.Balancer = s.Discovery().Balancer(target, balance.Settings{})
	s.OnBalance(target, c.Balancer.Tune)
	return &http.Client{Transport: &chooser{target: target, balanced: c.New(), direct: direct}}
}

// lane names the version of target for a call.
func (s *Service) lane(target string) func(context.Context) string {
	return func(ctx context.Context) string {
		if s.routes.Pick(target, nil, "") == "" {
			return "" // no route, so nobody's labels matter
		}
		labels := flow.Labels(ctx)
		return s.routes.Pick(target, labels, labels[flow.LabelUser])
	}
}

// HandleFunc serves requests that match pattern, as http.ServeMux understands
// it, with fn under httpx.Server.Handle; the pattern is the operation's name.
// It panics on a pattern that is wrong or conflicts with another.
func (s *Service) HandleFunc(pattern string, fn func(w http.ResponseWriter, r *http.Request) error) {
	s.add(pattern, func(h httpx.Server) http.Handler { return h.Handle(pattern, s.traced(fn)) })
}

// Handle is HandleFunc for a handler that answers for its own errors, also for
// a whole mux of another library. One made by httpx.Server would report each
// request twice: give its function to HandleFunc.
func (s *Service) Handle(pattern string, h http.Handler) {
	s.add(pattern, func(x httpx.Server) http.Handler { return x.Wrap(pattern, s.tracedHandler(h)) })
}

// route is a handler that is made when the service starts, when it is known
// where to report to.
type route struct {
	pattern string
	make    func(httpx.Server) http.Handler
	h       http.Handler
}

func (r *route) ServeHTTP(w http.ResponseWriter, req *http.Request) { r.h.ServeHTTP(w, req) }

func (s *Service) add(pattern string, make func(httpx.Server) http.Handler) {
	r := &route{pattern: pattern, make: make}
	s.mux.Handle(pattern, r)
	s.paths = append(s.paths, r)
}
