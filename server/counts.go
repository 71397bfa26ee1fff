package server

import (
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/server/ingest"
	"github.com/surefoot-go/surefoot/server/push"
	"github.com/surefoot-go/surefoot/server/store"
)

const (
	mostCounted = 4096             // instances; calls of more are not counted
	idleCounted = 10 * time.Minute // without a call, an instance is forgotten
	countWindow = time.Minute      // what "before a push" means, up to twice that
)

// counts are the calls that each instance of each service has answered, by its
// own spans. A push is judged by them. It is safe for concurrent use.
type counts struct {
	mu    sync.Mutex
	seen  map[who]*tally
	swept time.Time
}

type who struct{ service, instance string }

type tally struct {
	total, lately, before push.Count // since the start, in this window, in the one before
	window, at            time.Time
}

// Add implements ingest.Counter.
func (c *counts) Add(spans []store.Span) { c.add(time.Now(), spans) }

func (c *counts) add(now time.Time, spans []store.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = make(map[who]*tally)
	}
	c.sweep(now)
	for i := range spans {
		s := &spans[i]
		if s.Kind != store.KindServer || s.Instance == "" {
			continue
		}
		k := who{s.Service, s.Instance}
		t := c.seen[k]
		if t == nil {
			if len(c.seen) >= mostCounted {
				continue
			}
			t = &tally{window: now}
			c.seen[k] = t
		}
		t.roll(now)
		t.at = now
		for _, n := range []*push.Count{&t.total, &t.lately} {
			n.Calls++
			n.Time += s.Duration
			if s.Error {
				n.Errors++
			}
		}
	}
}

func (t *tally) roll(now time.Time) {
	switch d := now.Sub(t.window); {
	case d >= 2*countWindow:
		t.before, t.lately, t.window = push.Count{}, push.Count{}, now
	case d >= countWindow:
		t.before, t.lately, t.window = t.lately, push.Count{}, now
	}
}

func (c *counts) sweep(now time.Time) {
	if now.Sub(c.swept) < countWindow {
		return
	}
	c.swept = now
	for k, t := range c.seen {
		if now.Sub(t.at) > idleCounted {
			delete(c.seen, k)
		}
	}
}

// of are the totals of a service's instances, and all that they answered in the
// last one or two minutes.
func (c *counts) of(service string, now time.Time) (totals map[string]push.Count, lately push.Count) {
	c.mu.Lock()
	defer c.mu.Unlock()
	totals = make(map[string]push.Count)
	for k, t := range c.seen {
		if k.service != service {
			continue
		}
		t.roll(now)
		totals[k.instance] = t.total
		for _, n := range []push.Count{t.lately, t.before} {
			lately.Calls += n.Calls
			lately.Errors += n.Errors
			lately.Time += n.Time
		}
	}
	return totals, lately
}

// counters tells several of the same spans.
type counters []ingest.Counter

// Add implements ingest.Counter.
func (all counters) Add(spans []store.Span) {
	for _, c := range all {
		c.Add(spans)
	}
}
