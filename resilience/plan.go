package resilience

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/surefoot-go/surefoot/resilience/hedge"
	"github.com/surefoot-go/surefoot/resilience/retry"
)

// plan is a Policy made ready for calls. Only its cache changes.
type plan struct {
	policy  Policy // defaults filled in
	rules          // for calls that no Method speaks for
	methods []method

	mu    sync.Mutex // of writers
	known atomic.Pointer[map[string]*rules]
}

type method struct {
	pattern string
	rules
}

// rules are what one call follows.
type rules struct {
	timeout, attempt time.Duration // not positive: none
	retry            retry.Policy
	hedge            *hedge.Hedge // nil: off
	idempotent       bool
	limited          bool // by any of the Guard's limits
	rate             bool
	bulkhead         bool
	adaptive         bool
}

// compile makes the plan of p. hedgeOf returns the hedge for a pattern, "" being
// the Policy's own: it outlives the plan, since it remembers latencies.
func compile(p Policy, hedgeOf func(pattern string, s hedge.Settings) *hedge.Hedge) *plan {
	p = p.OrDefault()
	c := &plan{policy: p}
	c.rules = rules{
		timeout: p.Timeout, attempt: p.AttemptTimeout, retry: p.Retry, idempotent: p.Idempotent,
		rate: p.Rate.PerSecond > 0, bulkhead: p.Bulkhead.Max > 0, adaptive: p.Adaptive.Max > 0,
	}
	c.limited = c.rate || c.bulkhead || c.adaptive
	if p.Hedge.Max > 0 {
		c.hedge = hedgeOf("", p.Hedge)
	}
	for _, m := range p.Methods {
		r := c.rules
		if m.Timeout != 0 {
			r.timeout = m.Timeout
		}
		if m.AttemptTimeout != 0 {
			r.attempt = m.AttemptTimeout
		}
		if m.Retry != nil {
			r.retry = m.Retry.OrDefault()
			r.retry.Budget, r.retry.Reserve, r.retry.Window = p.Retry.Budget, p.Retry.Reserve, p.Retry.Window
		}
		if m.Hedge != nil {
			r.hedge = nil
			if s := asked(*m.Hedge); s.Max > 0 {
				r.hedge = hedgeOf(m.Pattern, s)
			}
		}
		if m.Idempotent != nil {
			r.idempotent = *m.Idempotent
		}
		c.methods = append(c.methods, method{m.Pattern, r})
	}
	return c
}

// Bounds on what a plan remembers. A name beyond them is matched anew each time.
const (
	maxKnown = 256 // names
	maxName  = 256 // bytes
)

// find returns the rules for calls of that name.
func (c *plan) find(name string) *rules {
	if len(c.methods) == 0 || name == "" {
		return &c.rules
	}
	known := c.known.Load()
	if known != nil {
		if r := (*known)[name]; r != nil {
			return r
		}
	}
	r := &c.rules
	for i := range c.methods {
		if matches(c.methods[i].pattern, name) {
			r = &c.methods[i].rules
			break
		}
	}
	if len(name) <= maxName && (known == nil || len(*known) < maxKnown) {
		c.learn(name, r)
	}
	return r
}

func (c *plan) learn(name string, r *rules) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := make(map[string]*rules, 8)
	if known := c.known.Load(); known != nil {
		if len(*known) >= maxKnown {
			return
		}
		for k, v := range *known {
			next[k] = v
		}
	}
	next[strings.Clone(name)] = r
	c.known.Store(&next)
}

// matches says whether pattern, in which * stands for any run of characters,
// is all of name. It takes time in proportion to the product of their lengths
// at worst, and no memory.
func matches(pattern, name string) bool {
	p, n := 0, 0
	star, mark := -1, 0 // the last *, and how much of name it stands for
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case p < len(pattern) && pattern[p] == name[n]:
			p++
			n++
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
