package service

import (
	"context"
	"log/slog"
	"net"
	"net/http"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/observe"
)

// handler is all the service answers to over HTTP.
func (s *Service) handler() http.Handler {
	x := s.Server
	if x.Service == "" {
		x.Service = s.Name
	}
	x.Observe = fill(x.Observe, s.sinks)
	x.Door = s.Door()
	var mux http.ServeMux
	whole := false // somebody answers for every path
	for _, r := range s.paths {
		r.h = r.make(x)
		mux.Handle(r.pattern, r.h)
		whole = whole || r.pattern == "/"
	}
	if !whole {
		mux.Handle("/", s.others(x))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.state.Load() == draining {
			w.Header().Set("Connection", "close") // the client's next request goes elsewhere
		}
		mux.ServeHTTP(w, r)
	})
}

// others answers what no pattern of the service matches.
func (s *Service) others(x httpx.Server) http.Handler {
	x.Door = nil // it costs less to answer than to ask
	lost := x.Handle("(no route)", s.lost)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Pattern = "" // "/" is not the service's
		switch r.URL.Path {
		case "/healthz":
			health(w)
		case "/readyz":
			s.readiness(w, r)
		default:
			lost.ServeHTTP(w, r)
		}
	})
}

func fill(o, from observe.Sinks) observe.Sinks {
	if o.Tracer == nil {
		o.Tracer = from.Tracer
	}
	if o.Meter == nil {
		o.Meter = from.Meter
	}
	if o.Log == nil {
		o.Log = from.Log
	}
	return o
}

// lost answers a request that no pattern matches, in the service's own shape
// instead of the mux's plain text.
func (s *Service) lost(w http.ResponseWriter, r *http.Request) error {
	const op = "service.route"
	said := verdict{header: http.Header{}}
	h, _ := s.mux.Handler(r)
	h.ServeHTTP(&said, r)
	if said.status != http.StatusMethodNotAllowed {
		return errs.New(errs.NotFound, op, "there is nothing at this path")
	}
	w.Header().Set("Allow", said.header.Get("Allow"))
	return errs.New(errs.Invalid, op, "this path does not take the method "+knownMethod(r.Method)).Status(said.status)
}

// knownMethod keeps what a stranger typed out of messages.
func knownMethod(m string) string {
	switch m {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE":
		return m
	}
	return "it was sent with"
}

// verdict takes what the mux would answer, and throws the body away.
type verdict struct {
	header http.Header
	status int
}

func (v *verdict) Header() http.Header         { return v.header }
func (v *verdict) Write(p []byte) (int, error) { return len(p), nil }
func (v *verdict) WriteHeader(status int)      { v.status = status }

// server is the http.Server of a service: its limits keep slow strangers from
// holding connections.
func (s *Service) server(base context.Context) *http.Server {
	c := s.Clients.OrDefault()
	return &http.Server{
		Handler:           c.guarded(s.handler()),
		ReadHeaderTimeout: off(c.Header),
		WriteTimeout:      off(c.Stall), // until the guard extends it
		IdleTimeout:       off(c.Idle),
		MaxHeaderBytes:    c.MaxHeader,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(s.sinks.Log.Handler(), slog.LevelWarn),
	}
}
