package resilience_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/breaker"
	"github.com/surefoot-go/surefoot/resilience/hedge"
	"github.com/surefoot-go/surefoot/resilience/limit"
	"github.com/surefoot-go/surefoot/resilience/retry"
)

// byTimeout tells which Method counted by the deadline a try was given.
func byTimeout(t *testing.T, g *resilience.Guard, name string) time.Duration {
	t.Helper()
	d, err := resilience.Do(t.Context(), g, func(ctx context.Context) (time.Duration, error) {
		d, _ := ctx.Deadline()
		return time.Until(d), nil
	}, resilience.Named[time.Duration](name))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestMethodsByPattern(t *testing.T) {
	const s = time.Second
	synctest.Test(t, func(t *testing.T) {
		p := resilience.Policy{Timeout: time.Minute, AttemptTimeout: 9 * s, Methods: []resilience.Method{
			{Pattern: "GET /v1/orders/*/lines", AttemptTimeout: 1 * s},
			{Pattern: "GET /v1/orders/*", AttemptTimeout: 2 * s},
			{Pattern: "* /health", AttemptTimeout: 3 * s},
			{Pattern: "shop.v1.Orders/Place", AttemptTimeout: 4 * s},
			{Pattern: "shop.v1.Orders/*", AttemptTimeout: 5 * s},
			{Pattern: "shop.*/Get", AttemptTimeout: 6 * s},
			{Pattern: "POST **a*b*", AttemptTimeout: 7 * s},
			{Pattern: "PUT /big", Timeout: 500 * time.Millisecond},
			{Pattern: "PUT /free", Timeout: -1, AttemptTimeout: time.Hour},
		}}
		g := resilience.New("target", p, observe.Sinks{})
		for range 2 { // the second time from memory
			for name, want := range map[string]time.Duration{
				"":                         9 * s,
				"GET /v1/orders/7":         2 * s,
				"GET /v1/orders/":          2 * s,
				"GET /v1/orders/7/lines":   1 * s,
				"GET /v1/orders/7/lines/8": 2 * s,
				"GET /v1/orders":           9 * s,
				"POST /v1/orders/7":        9 * s,
				"PUT /health":              3 * s,
				"PUT /healthy":             9 * s,
				"shop.v1.Orders/Place":     4 * s,
				"shop.v1.Orders/Cancel":    5 * s,
				"shop.v1.Users/Get":        6 * s,
				"shop.v1.Users/Set":        9 * s,
				"POST /xaxbx":              7 * s,
				"POST /xbxa":               9 * s,
				"PUT /big":                 500 * time.Millisecond,
				"PUT /free":                time.Hour,
			} {
				if got := byTimeout(t, g, name); got != want {
					t.Errorf("%q: %v, want %v", name, got, want)
				}
			}
		}
		p.Methods = nil
		g.Set(p)
		if got := byTimeout(t, g, "PUT /health"); got != 9*s {
			t.Errorf("after Set %v", got)
		}
	})
}

// Names that nobody has seen before cost neither memory without bound nor time
// without bound.
func TestMethodsOfManyNames(t *testing.T) {
	p := resilience.Policy{Methods: []resilience.Method{{Pattern: "GET /*a*a*a*a*a*a*a*a*b", AttemptTimeout: time.Second}, {Pattern: "GET /*", AttemptTimeout: time.Hour, Timeout: time.Hour}}}
	g := resilience.New("target", p, observe.Sinks{})
	for i := range 2000 {
		if d := byTimeout(t, g, fmt.Sprintf("GET /%d", i)); d < time.Minute {
			t.Fatalf("name %d: %v", i, d)
		}
	}
	if d := byTimeout(t, g, "GET /"+strings.Repeat("a", 10000)); d < time.Minute {
		t.Errorf("a long one: %v", d)
	}
	fn := func(context.Context) (int, error) { return 1, nil }
	if n := testing.AllocsPerRun(100, func() { resilience.Do(context.Background(), g, fn, resilience.Named[int]("GET /new")) }); n > 1 {
		t.Errorf("%v allocations for a name that is not remembered", n)
	}
}

// Retry, Idempotent and Hedge of a method; budget and breaker stay the target's.
func TestMethodsDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := resilience.Policy{Breaker: breaker.Settings{Rule: breaker.Off}, Retry: retry.Policy{Jitter: -1, Reserve: 5, Budget: 1e-9}, Methods: []resilience.Method{
			{Pattern: "GET *", Idempotent: new(true), Retry: &retry.Policy{Max: 2, Base: time.Second, Jitter: -1, Budget: -1, Window: time.Hour}},
			{Pattern: "PUT *", Idempotent: new(true)},
			{Pattern: "POST *", Idempotent: new(false)},
		}}
		g := resilience.New("target", p, observe.Sinks{})
		call := func(name string) (tries int, took time.Duration) {
			start := time.Now()
			resilience.Do(t.Context(), g, func(context.Context) (int, error) { tries++; return 0, down }, resilience.Named[int](name))
			return tries, time.Since(start)
		}
		for _, tt := range []struct {
			name  string
			tries int
			took  time.Duration
		}{
			{"POST /a", 1, 0},
			{"GET /a", 3, 3 * time.Second},
			{"PUT /a", 4, 700 * time.Millisecond},
			{"GET /a", 1, 0}, // the budget of 5 is spent, whoever asks
			{"PUT /a", 1, 0},
		} {
			if tries, took := call(tt.name); tries != tt.tries || took != tt.took {
				t.Errorf("%s: %d tries in %v, want %d in %v", tt.name, tries, took, tt.tries, tt.took)
			}
		}
	})
}

// A method's hedge learns by itself, and keeps what it knows when the policy is
// replaced.
func TestMethodsHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := resilience.Policy{Idempotent: true, Hedge: hedge.Settings{Max: 1}, Methods: []resilience.Method{
			{Pattern: "GET /slow", Hedge: &hedge.Settings{Max: 1}},
		}}
		g := resilience.New("target", p, observe.Sinks{})
		call := func(name string, took time.Duration) int {
			var tries atomic.Int64
			resilience.Do(t.Context(), g, func(ctx context.Context) (int, error) {
				tries.Add(1)
				return 0, slow(ctx, took, nil)
			}, resilience.Named[int](name))
			return int(tries.Load())
		}
		for range 200 {
			call("GET /slow", time.Second)
			call("GET /fast", 10*time.Millisecond)
		}
		for range 2 {
			if a, b := call("GET /slow", 900*time.Millisecond), call("GET /fast", 900*time.Millisecond); a != 1 || b != 2 {
				t.Errorf("%d tries for the slow method, %d for the fast one", a, b)
			}
			p.Timeout = time.Minute
			g.Set(p)
		}
		p.Hedge, p.Methods = hedge.Settings{}, nil
		g.Set(p)
		if n := call("GET /fast", 900*time.Millisecond); n != 1 {
			t.Errorf("%d tries without hedging", n)
		}
	})
}

func TestValidate(t *testing.T) {
	good := []resilience.Policy{
		{}, resilience.Default(), resilience.Classic(), resilience.Default().OrDefault(), resilience.Classic().OrDefault(), steady, doubled,
		{Methods: []resilience.Method{{Pattern: "*"}, {Pattern: "* *"}, {Pattern: "GET *"}, {Pattern: "GET /a/*"}, {Pattern: "a.B/*"}, {Pattern: "*/Get"}}},
	}
	for _, p := range good {
		if err := p.Validate(); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
	method := func(pattern string) resilience.Policy {
		return resilience.Policy{Methods: []resilience.Method{{Pattern: "* /"}, {Pattern: pattern}}}
	}
	for field, p := range map[string]resilience.Policy{
		"Retry.Max":                {Retry: retry.Policy{Max: 1e6}},
		"Retry.Factor":             {Retry: retry.Policy{Factor: math.Inf(1)}},
		"Retry.Jitter":             {Retry: retry.Policy{Jitter: 100}},
		"Retry.Budget":             {Retry: retry.Policy{Budget: math.NaN()}},
		"Hedge.Max":                {Hedge: hedge.Settings{Max: 1000}},
		"Hedge.Quantile":           {Hedge: hedge.Settings{Quantile: 95}},
		"Breaker.Rule":             {Breaker: breaker.Settings{Rule: 5}},
		"Breaker.FailureShare":     {Breaker: breaker.Settings{FailureShare: 50}},
		"Rate.PerSecond":           {Rate: limit.RateSettings{PerSecond: math.NaN()}},
		"Bulkhead.Max":             {Bulkhead: limit.BulkheadSettings{Max: 1 << 40}},
		"Bulkhead.Queue":           {Bulkhead: limit.BulkheadSettings{Queue: 1 << 40}},
		"Adaptive.Max":             {Adaptive: limit.AdaptiveSettings{Max: 1 << 40}},
		"Adaptive.Min":             {Adaptive: limit.AdaptiveSettings{Min: 11, Max: 10}},
		"Adaptive.Start":           {Adaptive: limit.AdaptiveSettings{Start: 11, Max: 10}},
		"Methods: their number":    {Methods: make([]resilience.Method, 5000)},
		"Methods[0].Retry.Jitter":  {Methods: []resilience.Method{{Pattern: "*", Retry: &retry.Policy{Jitter: 2}}}},
		"Methods[0].Hedge.Max":     {Methods: []resilience.Method{{Pattern: "*", Hedge: &hedge.Settings{Max: 99}}}},
		"Methods[1].Pattern":       method(""),
		"Methods[1].Pattern ":      method("* /"),
		"Methods[1].Pattern  ":     method("get /a"),
		"Methods[1].Pattern is":    method("GET a"),
		`Methods[1].Pattern is "/`: method("/a.B/Get"),
		`Methods[1].Pattern is "a`: method("a.B"),
		`Methods[1].Pattern is "G`: method("GET /a b"),
		`Methods[1].Pattern is "x`: method("x/" + strings.Repeat("y", 1000)),
		`Methods[1].Pattern is "z`: method("z/a\n"),
	} {
		err := p.Validate()
		if err == nil || !strings.Contains(err.Error(), "Policy."+strings.TrimRight(field, " ")) {
			t.Errorf("%s: %v", field, err)
		}
		if err != nil && len(err.Error()) > 5000 && field != "Methods: their number" {
			t.Errorf("%s: %d bytes", field, len(err.Error()))
		}
		// In force all the same, it must not panic, block or retry for ever.
		synctest.Test(t, func(t *testing.T) {
			p.Idempotent = true
			g := resilience.New("target", p, observe.Sinks{})
			for range 3 {
				resilience.Do(t.Context(), g, func(ctx context.Context) (int, error) { return 0, slow(ctx, time.Second, down) }, resilience.Named[int]("GET /a"))
			}
		})
	}
}
