package service

import (
	"fmt"
	"net"
	"net/http"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/retry"
	"github.com/surefoot-go/surefoot/supervise"
)

// debugAddr is where to listen for Debug: on this machine only, unless a host is
// named.
func debugAddr(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host != "" {
		return addr
	}
	return net.JoinHostPort("127.0.0.1", port)
}

// debugHandler answers on Debug. It does without net/http/pprof, which would
// register the same for everybody in http.DefaultServeMux.
func (s *Service) debugHandler() http.Handler {
	x := httpx.Server{Service: s.Name, Observe: s.sinks}
	mux := http.NewServeMux()
	add := func(pattern string, fn func(http.ResponseWriter, *http.Request) error) {
		mux.Handle(pattern, sameOrigin(x.Handle(pattern, fn)))
	}
	add("GET /debug/breakers", func(w http.ResponseWriter, _ *http.Request) error {
		return httpx.Write(w, http.StatusOK, s.board.List())
	})
	add("PUT /debug/breakers", s.force)
	add("GET /debug/goroutines", func(w http.ResponseWriter, _ *http.Request) error {
		return httpx.Write(w, http.StatusOK, supervise.Goroutines())
	})
	add("GET /debug/door", func(w http.ResponseWriter, _ *http.Request) error {
		if door := s.Door(); door != nil {
			return httpx.Write(w, http.StatusOK, door.Snapshot())
		}
		return errs.New(errs.NotFound, "service.Debug", "this service has no door")
	})
	add("GET /debug/config", func(w http.ResponseWriter, _ *http.Request) error {
		if s.Config == nil {
			return errs.New(errs.NotFound, "service.Debug", "this service has no Config")
		}
		return httpx.Write(w, http.StatusOK, s.Config.Status())
	})
	add("GET /debug/discovery", func(w http.ResponseWriter, _ *http.Request) error {
		if s.Registry == nil {
			return errs.New(errs.NotFound, "service.Debug", "this service has no Registry")
		}
		return httpx.Write(w, http.StatusOK, s.Discovery().Status())
	})
	add("GET /debug/vitals", s.debugVitals)
	add("GET /debug/vitals/trace", func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Disposition", `attachment; filename="trace"`)
		return errs.Wrap(s.vitals.WriteTrace(w), "service.Trace")
	})
	add("GET /debug/locks", debugLocks)
	add("GET /debug/pprof/{profile}", profile)
	return mux
}

// sameOrigin keeps web pages from reaching a port of the machine they are
// looked at on.
func sameOrigin(h http.Handler) http.Handler { return http.NewCrossOriginProtection().Handler(h) }

// force takes a decision away from a breaker, or gives it back.
func (s *Service) force(w http.ResponseWriter, r *http.Request) error {
	const op = "service.Force"
	in, err := httpx.Read[struct {
		Target string            `json:"target"`
		Forced resilience.Forced `json:"forced"`
	}](r)
	if err != nil {
		return errs.Wrap(err, op)
	}
	if err := s.board.Force(in.Target, in.Forced); err != nil {
		return errs.Wrap(err, op)
	}
	s.sinks.Log.WarnContext(r.Context(), "breaker forced", "target", in.Target, "forced", in.Forced.String(), "by", r.RemoteAddr)
	return httpx.Write(w, http.StatusOK, s.board.List())
}

// profile writes a profile of package runtime/pprof, as go tool pprof reads it;
// "profile" is of the processor and "trace" for go tool trace, both for
// ?seconds=.
func profile(w http.ResponseWriter, r *http.Request) error {
	const op = "service.Profile"
	name := r.PathValue("profile")
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name))
	start, stop := pprof.StartCPUProfile, pprof.StopCPUProfile
	length := 30 * time.Second
	switch name {
	case "profile":
	case "trace":
		start, stop, length = trace.Start, trace.Stop, time.Second
	default:
		p := pprof.Lookup(name)
		if p == nil {
			return errs.New(errs.NotFound, op, "there is no such profile")
		}
		debug, _ := strconv.Atoi(r.FormValue("debug")) // 0 when absent or wrong
		if debug > 0 {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Header().Del("Content-Disposition")
		}
		return errs.Wrap(p.WriteTo(w, debug), op)
	}
	if n, err := strconv.Atoi(r.FormValue("seconds")); err == nil && n > 0 {
		length = time.Duration(min(n, 300)) * time.Second
	}
	if err := start(w); err != nil {
		return errs.New(errs.Conflict, op, "a profile is being taken already").Because(err)
	}
	defer stop()
	return errs.Wrap(retry.Wait(r.Context(), length), op)
}
