package resilience

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/surefoot-go/surefoot/resilience/breaker"
	"github.com/surefoot-go/surefoot/resilience/hedge"
	"github.com/surefoot-go/surefoot/resilience/retry"
)

// Validate says what in p makes no sense, by the field's name; nil if nothing.
// A Guard takes such a Policy all the same: it falls back on the nearest thing
// that does. Ask before a Policy that came from outside is put in force.
func (p Policy) Validate() error {
	c := checks{}
	c.retry("Retry", p.Retry)
	c.hedge("Hedge", p.Hedge)
	b := p.Breaker
	c.expect(b.Rule == breaker.Windowed || b.Rule == breaker.Consecutive || b.Rule == breaker.Ratio || b.Rule == breaker.Off,
		"Breaker.Rule", "is %d, which is none of the rules", b.Rule)
	c.share("Breaker.FailureShare", b.FailureShare)
	c.finite("Rate.PerSecond", p.Rate.PerSecond)
	c.most("Bulkhead.Max", p.Bulkhead.Max, maxPlaces)
	c.most("Bulkhead.Queue", p.Bulkhead.Queue, maxPlaces)
	c.most("Adaptive.Max", p.Adaptive.Max, maxPlaces)
	c.most("Adaptive.Queue", p.Adaptive.Queue, maxPlaces)
	if a := p.Adaptive; a.Max > 0 {
		c.expect(a.Min <= a.Max, "Adaptive.Min", "is %d and above Max, %d", a.Min, a.Max)
		c.expect(a.Start <= a.Max, "Adaptive.Start", "is %d and above Max, %d", a.Start, a.Max)
	}
	c.most("Methods: their number", len(p.Methods), maxMethods)
	seen := make(map[string]bool)
	for i, m := range p.Methods[:min(len(p.Methods), maxMethods)] {
		field := fmt.Sprintf("Methods[%d]", i)
		c.expect(sensible(m.Pattern), field+".Pattern",
			`is %.64q; want "METHOD /path", "package.Service/Method" or "*", at most %d bytes`, m.Pattern, maxName)
		c.expect(!seen[m.Pattern], field+".Pattern", "is %.64q, which an earlier one is already", m.Pattern)
		seen[m.Pattern] = true
		if m.Retry != nil {
			c.retry(field+".Retry", *m.Retry)
		}
		if m.Hedge != nil {
			c.hedge(field+".Hedge", *m.Hedge)
		}
	}
	return errors.Join(c.errs...)
}

// Beyond these a number is a slip of the pen.
const (
	maxTries   = 100
	maxHedges  = 10
	maxPlaces  = 1e6
	maxMethods = 1000
)

// checks collects what is wrong.
type checks struct{ errs []error }

func (c *checks) expect(ok bool, field, format string, args ...any) {
	if !ok {
		c.errs = append(c.errs, fmt.Errorf("resilience: Policy.%s "+format, append([]any{field}, args...)...))
	}
}

func (c *checks) most(field string, n, limit int) {
	c.expect(n <= limit, field, "is %d; at most %d", n, limit)
}

func (c *checks) finite(field string, v float64) {
	c.expect(!math.IsNaN(v) && !math.IsInf(v, 0), field, "is %v, not a number to reckon with", v)
}

func (c *checks) share(field string, v float64) {
	c.expect(v <= 1 && !math.IsInf(v, 0), field, "is %v; a share is at most 1", v)
}

func (c *checks) retry(field string, p retry.Policy) {
	c.most(field+".Max", p.Max, maxTries)
	c.finite(field+".Factor", p.Factor)
	c.share(field+".Jitter", p.Jitter)
	c.finite(field+".Budget", p.Budget)
}

func (c *checks) hedge(field string, s hedge.Settings) {
	c.most(field+".Max", s.Max, maxHedges)
	c.expect(s.Quantile >= 0 && s.Quantile < 1, field+".Quantile", "is %v; want 0, or more and below 1", s.Quantile)
}

// sensible says whether a name of a method can look like pattern.
func sensible(pattern string) bool {
	if pattern == "*" {
		return true
	}
	if pattern == "" || len(pattern) > maxName || strings.ContainsFunc(pattern, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return false
	}
	if method, path, ok := strings.Cut(pattern, " "); ok { // HTTP
		return method != "" && strings.ToUpper(method) == method &&
			(strings.HasPrefix(path, "/") || strings.HasPrefix(path, "*")) && !strings.Contains(path, " ")
	}
	service, method, ok := strings.Cut(pattern, "/")
	return ok && service != "" && method != "" && !strings.Contains(method, "/")
}
