package service

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/supervise"
)

// Readiness says whether to send requests to a service, as /readyz writes it.
type Readiness struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons"` // why not
	// Degraded is what does not work but is no reason to turn requests away, such
	// as a worker that is being restarted: the other instances have the same
	// trouble more often than not, and one outage must not take them all off.
	Degraded []string `json:"degraded,omitempty"`
}

// Readiness says whether the service can do its work right now, as /readyz
// does: it has started and is not stopping, each Worker that Announces has been
// ready once, no Dependency fails but Optional ones, and Ready says so. It blocks for at most 1s.
func (s *Service) Readiness(ctx context.Context) Readiness {
	r := Readiness{Reasons: []string{}}
	switch s.state.Load() {
	case starting:
		r.Reasons = append(r.Reasons, "starting")
	case draining:
		r.Reasons = append(r.Reasons, "draining")
	default:
		s.workers(&r)
		s.dependencies(&r)
		s.listed(&r)
		if s.Ready != nil {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if err := s.Ready(ctx); err != nil {
				s.sinks.Log.WarnContext(ctx, "not ready", "err", err)
				r.Reasons = append(r.Reasons, errs.From(err).Message())
			}
		}
	}
	r.Ready = len(r.Reasons) == 0
	return r
}

// Check is nil if the service is ready, and otherwise an error of Kind
// errs.Unavailable that says why not: what a gRPC health service asks, see
// grpcx.Serving.Ready.
func (s *Service) Check(ctx context.Context) error {
	r := s.Readiness(ctx)
	if r.Ready {
		return nil
	}
	return errs.New(errs.Unavailable, "service.Check", "not ready: "+strings.Join(r.Reasons, ", "))
}

// workers adds what the workers say.
func (s *Service) workers(r *Readiness) {
	run := s.running.Load()
	if run == nil {
		return
	}
	run.mu.Lock()
	defer run.mu.Unlock()
	for _, w := range run.workers.Status() {
		if w.State == supervise.Running || w.State == supervise.Done {
			delete(run.warming, w.Name)
			continue
		}
		what := "worker " + w.Name + " is " + w.State.String()
		if run.warming[w.Name] {
			r.Reasons = append(r.Reasons, what)
		} else {
			r.Degraded = append(r.Degraded, what)
		}
	}
}

// announcing is the full names of the workers that say when they are ready.
func announcing(path string, workers []supervise.Worker, into map[string]bool) {
	for _, w := range workers {
		name := w.Name
		if path != "" {
			name = path + "/" + name
		}
		if w.Announces {
			into[name] = true
		}
		if w.Tree != nil {
			announcing(name, w.Tree.Workers, into)
		}
	}
}

// health says that the process lives; an orchestrator restarts it otherwise.
func health(w http.ResponseWriter) {
	say(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
}

// readiness says whether to send requests here.
func (s *Service) readiness(w http.ResponseWriter, r *http.Request) {
	is := s.Readiness(r.Context())
	status := http.StatusOK
	if !is.Ready {
		status = http.StatusServiceUnavailable
	}
	body, _ := json.Marshal(is) // strings only: it always can be
	say(w, status, errs.TypeJSON, append(body, '\n'))
}

func say(w http.ResponseWriter, status int, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the prober may be gone
}
