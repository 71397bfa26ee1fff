package service

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/observe"
)

// handler is all the service answers to over HTTP.
func (s *Service) handler() http.Handler {
	x := s.Server
	if x.Service == "" {
		x.Service = s.Name
	}
	x.Observe = fill(x.Observe, s.sinks)
	for _, r := range s.paths {
		r.h = r.make(x)
	}
	lost := x.Handle("(no route)", s.lost)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.state.Load() == draining {
			w.Header().Set("Connection", "close") // the client's next request goes elsewhere
		}
		_, pattern := s.mux.Handler(r)
		switch {
		case pattern != "":
			s.mux.ServeHTTP(w, r)
		case r.URL.Path == "/healthz": // unless the service has its own
			s.health(w, r)
		case r.URL.Path == "/readyz":
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

// health says that the process lives; an orchestrator restarts it otherwise.
func (s *Service) health(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") }

// readiness says whether to send requests here.
func (s *Service) readiness(w http.ResponseWriter, r *http.Request) {
	switch s.state.Load() {
	case starting:
		say(w, http.StatusServiceUnavailable, "starting")
		return
	case draining:
		say(w, http.StatusServiceUnavailable, "draining")
		return
	}
	if s.Ready != nil {
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if err := s.Ready(ctx); err != nil {
			s.sinks.Log.WarnContext(ctx, "not ready", "err", err)
			say(w, http.StatusServiceUnavailable, "not ready: "+errs.From(err).Message())
			return
		}
	}
	say(w, http.StatusOK, "ready")
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // the prober may be gone
}

// server is the http.Server of a service: its limits keep slow strangers from
// holding connections.
func (s *Service) server(base context.Context) *http.Server {
	h := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second, // 1 MiB, the default MaxBody, at 35 kB/s
		IdleTimeout:       2 * time.Minute,  // longer than httpx.Client's 90s: the client closes first
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(s.sinks.Log.Handler(), slog.LevelWarn),
	}
	if s.Server.MaxBody < 0 {
		h.ReadTimeout = 0 // bodies without limit take as long as they take
	}
	return h
}
