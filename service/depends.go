package service

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/supervise"
)

// Dependency is something the service cannot work without, or badly, such as its
// database. It is asked in the background, never by a probe.
type Dependency struct {
	Name string // for people, such as "database"; required
	// Check says what is wrong, nil meaning nothing; ctx ends after Every and 5s at
	// most. The error's public message is shown on /readyz. It must not ask other
	// services, or one outage takes all callers off; unless Optional.
	Check func(ctx context.Context) error
	// Optional makes a failure a reason of Readiness.Degraded, not one to turn
	// requests away.
	Optional bool
	// Every is the pause between two checks, a quarter more or less, so that many
	// processes do not ask together; 0 or negative means 5s.
	Every time.Duration
}

func (d Dependency) every() time.Duration {
	if d.Every <= 0 {
		return 5 * time.Second
	}
	return d.Every
}

// depends is what is known of the Dependencies.
type depends struct {
	mu  sync.Mutex
	why []string // by index; "" means nothing is wrong
}

func (s *Service) checkDepends() error {
	seen := map[string]bool{}
	for i, d := range s.Depends {
		if d.Name == "" || d.Check == nil || seen[d.Name] {
			return fmt.Errorf("service: Depends[%d] %q needs a Name of its own and a Check", i, d.Name)
		}
		seen[d.Name] = true
	}
	return nil
}

// watchDepends asks each dependency now and then, until ctx ends.
func (s *Service) watchDepends() []supervise.Worker {
	s.depends.why = make([]string, len(s.Depends))
	for i := range s.depends.why {
		s.depends.why[i] = "not checked yet"
	}
	var out []supervise.Worker
	for i, d := range s.Depends {
		out = append(out, supervise.Worker{Name: "dependency " + d.Name, Run: func(ctx context.Context) error {
			timer := time.NewTimer(0)
			defer timer.Stop()
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-timer.C:
				}
				s.look(ctx, i, d)
				timer.Reset(time.Duration(float64(d.every()) * (0.75 + rand.Float64()/2)))
			}
		}})
	}
	return out
}

func (s *Service) look(ctx context.Context, i int, d Dependency) {
	limit, cancel := context.WithTimeout(ctx, min(d.every(), 5*time.Second))
	defer cancel()
	err := safe.Call(func() error { return d.Check(limit) })
	if ctx.Err() != nil {
		return // the service stops
	}
	why := ""
	if err != nil {
		why = errs.From(err).Message()
	}
	s.depends.mu.Lock()
	before := s.depends.why[i]
	s.depends.why[i] = why
	s.depends.mu.Unlock()
	switch {
	case why == before:
	case err != nil:
		s.sinks.Log.WarnContext(ctx, "dependency fails", "dependency", d.Name, "optional", d.Optional, "err", err)
	case before != "":
		s.sinks.Log.InfoContext(ctx, "dependency works", "dependency", d.Name)
	}
}

// dependencies adds what does not work.
func (s *Service) dependencies(r *Readiness) {
	s.depends.mu.Lock()
	defer s.depends.mu.Unlock()
	for i, why := range s.depends.why {
		if why == "" {
			continue
		}
		d := s.Depends[i]
		if text := d.Name + ": " + why; d.Optional {
			r.Degraded = append(r.Degraded, text)
		} else {
			r.Reasons = append(r.Reasons, text)
		}
	}
}
