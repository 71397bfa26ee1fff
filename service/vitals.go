package service

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/locks"
	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/vitals"
)

// Watch returns what watches this process while Run runs: its Findings, which
// are none before and after, and its Do, by which findings name requests. HTTP
// handlers have that already, a gRPC server gets it by its field Watch:
//
//	grpcx.Server{Service: s.Name, Observe: s.Observe(), Door: s.Door(), Watch: s.Watch()}
func (s *Service) Watch() *vitals.Watch { return &s.vitals }

// watchVitals watches this process until the returned function is called, which
// waits for the end of it and so for the last report.
func (s *Service) watchVitals(life context.Context) (end func()) {
	if s.Vitals.Every < 0 {
		return func() {}
	}
	s.vitals.Settings, s.vitals.Observe, s.vitals.Version = s.Vitals, s.sinks, s.version()
	ctx, cancel := context.WithCancel(life)
	t := safe.Go(ctx, "vitals", s.vitals.Run)
	return func() {
		cancel()
		if err := t.Wait(); err != nil {
			s.sinks.Log.Warn("vitals ended badly", "err", err)
		}
	}
}

// traced lets findings name a request that left a goroutine behind.
func (s *Service) traced(fn func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) (err error) {
		s.vitals.Do(r.Context(), func(ctx context.Context) { err = fn(w, under(r, ctx)) })
		return err
	}
}

func (s *Service) tracedHandler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.vitals.Do(r.Context(), func(ctx context.Context) { h.ServeHTTP(w, under(r, ctx)) })
	})
}

// under is r with ctx, without a copy if it has it.
func under(r *http.Request, ctx context.Context) *http.Request {
	if r.Context() == ctx {
		return r
	}
	return r.WithContext(ctx)
}

// checkLocks checks locks until the returned function is called, if that is
// asked for.
func (s *Service) checkLocks() (end func()) {
	if s.Locks.IsZero() {
		return func() {}
	}
	c := s.Locks
	if c.Report == nil {
		c.Report = (&lockLog{log: s.sinks.Log}).report
	}
	return locks.Check(c)
}

// lockLog writes problems of locks to the log, each once, as package locks tells
// them, and not too many.
type lockLog struct {
	log   *slog.Logger
	mu    sync.Mutex
	since time.Time
	n     int
	held  int
}

const lockLogMost = 10 // in a minute

func (l *lockLog) report(p locks.Problem) {
	l.mu.Lock()
	now := time.Now()
	if now.Sub(l.since) >= time.Minute {
		l.since, l.n = now, 0
	}
	if l.n++; l.n > lockLogMost {
		l.held++
		l.mu.Unlock()
		return
	}
	held := l.held
	l.held = 0
	l.mu.Unlock()
	a := []slog.Attr{slog.String("surefoot.lock.problem", p.Kind), slog.String("surefoot.lock", p.Name)}
	if p.Other != "" {
		a = append(a, slog.String("surefoot.lock.other", p.Other))
	}
	if p.For > 0 {
		a = append(a, slog.Float64("surefoot.lock.for_s", p.For.Seconds()))
	}
	if held > 0 {
		a = append(a, slog.Int("held_back", held))
	}
	for i, s := range p.Stacks[:min(len(p.Stacks), 2)] {
		key := [...]string{"surefoot.lock.stack", "surefoot.lock.other_stack"}[i]
		a = append(a, slog.String(key, s.Text+"\n"+s.Trace))
	}
	l.log.LogAttrs(context.Background(), slog.LevelError, p.Text, a...)
}

// debugVitals answers what is wrong, and with what figures.
func (s *Service) debugVitals(w http.ResponseWriter, _ *http.Request) error {
	found := s.vitals.Findings()
	if found == nil {
		found = []vitals.Finding{}
	}
	return httpx.Write(w, http.StatusOK, struct {
		Findings []vitals.Finding `json:"findings"`
		Last     vitals.Sample    `json:"last"`
	}{found, s.vitals.Last()})
}

// debugLocks answers which locks are waited for and what is wrong with them.
func debugLocks(w http.ResponseWriter, _ *http.Request) error {
	return httpx.Write(w, http.StatusOK, struct {
		Contended []locks.Contention `json:"contended"`
		Problems  []locks.Problem    `json:"problems"`
		Limited   locks.Limits       `json:"limited"` // what a search for problems may have missed
	}{append([]locks.Contention{}, locks.Contended()...), append([]locks.Problem{}, locks.Problems()...), locks.Limited()})
}
