package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/breaker"
	"github.com/surefoot-go/surefoot/resilience/hedge"
	"github.com/surefoot-go/surefoot/resilience/limit"
	"github.com/surefoot-go/surefoot/resilience/retry"
	"github.com/surefoot-go/surefoot/safe"
)

// Policies without chance, to name exact times.
var (
	steady = resilience.Policy{Idempotent: true, Retry: retry.Policy{Jitter: -1}}
	down   = errs.New(errs.Unavailable, "test", "down")
)

func TestPresetsAreTheDocumentedOnes(t *testing.T) {
	if got := resilience.Default(); !reflect.DeepEqual(got, resilience.Policy{}) {
		t.Errorf("Default is %+v, want the zero Policy", got)
	}
	p := resilience.Default().OrDefault()
	if p.Timeout != 10*time.Second || p.AttemptTimeout != 2*time.Second || p.Idempotent ||
		p.Hedge.Max > 0 || p.Rate.PerSecond > 0 || p.Bulkhead.Max > 0 || p.Adaptive.Max > 0 {
		t.Errorf("defaults are %+v", p)
	}
	c := resilience.Classic()
	want := resilience.Policy{
		Timeout: -1, AttemptTimeout: 2 * time.Second,
		Retry:   retry.Policy{Max: 3, Base: time.Second, Cap: 5 * time.Second, Factor: 2, Jitter: -1, Budget: -1},
		Breaker: breaker.Settings{Rule: breaker.Consecutive, MaxRequests: 3, Interval: 10 * time.Second, Timeout: time.Minute, Failures: 5},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("Classic is %+v, want %+v", c, want)
	}
}

func TestDo(t *testing.T) {
	hang := func(ctx context.Context, try int) error { <-ctx.Done(); return ctx.Err() }
	always := func(err error) func(context.Context, int) error {
		return func(context.Context, int) error { return err }
	}
	once := func(err error) func(context.Context, int) error {
		return func(_ context.Context, try int) error {
			if try == 0 {
				return err
			}
			return nil
		}
	}
	for name, tt := range map[string]struct {
		p     resilience.Policy
		ctx   func(context.Context) (context.Context, context.CancelFunc)
		fn    func(ctx context.Context, try int) error
		kind  errs.Kind
		ok    bool
		tries int
		took  time.Duration
		count breaker.Counts
	}{
		"success": {p: steady, fn: always(nil), ok: true, tries: 1, count: breaker.Counts{Successes: 1}},
		"second try cures": {p: steady, fn: once(down), ok: true, tries: 2, took: 100 * time.Millisecond,
			count: breaker.Counts{Successes: 1, Failures: 1}},
		"three further tries": {p: steady, fn: always(down), kind: errs.Unavailable, tries: 4, took: 700 * time.Millisecond,
			count: breaker.Counts{Failures: 4}},
		"not idempotent": {fn: once(down), kind: errs.Unavailable, tries: 1, count: breaker.Counts{Failures: 1}},
		"a foreign error": {p: steady, fn: once(errors.New("driver: bad connection")), ok: true, tries: 2, took: 100 * time.Millisecond,
			count: breaker.Counts{Successes: 1, Failures: 1}},
		"the caller's mistake": {p: steady, fn: once(errs.New(errs.Invalid, "test", "no")), kind: errs.Invalid, tries: 1,
			count: breaker.Counts{Answered: 1}},
		"our mistake": {p: steady, fn: once(errs.New(errs.Internal, "test", "no")), kind: errs.Internal, tries: 1,
			count: breaker.Counts{Failures: 1}},
		"over a limit": {p: steady, fn: once(errs.New(errs.TooMany, "test", "no")), ok: true, tries: 2, took: 100 * time.Millisecond,
			count: breaker.Counts{Ignored: 1, Successes: 1}},
		"shed, obeys the delay": {p: steady, fn: once(down.RetryAfter(time.Second)), ok: true, tries: 2, took: 1100 * time.Millisecond,
			count: breaker.Counts{Ignored: 1, Successes: 1}},
		"shed for longer than anybody waits": {p: steady, fn: once(down.RetryAfter(time.Minute)), kind: errs.Unavailable, tries: 1,
			count: breaker.Counts{Ignored: 1}},
		"each try has its limit": {p: steady, fn: hang, kind: errs.Timeout, tries: 4, took: 8700 * time.Millisecond,
			count: breaker.Counts{Failures: 4}},
		"all tries have a limit": {p: resilience.Policy{Idempotent: true, Timeout: 3 * time.Second, Retry: retry.Policy{Jitter: -1}},
			fn: hang, kind: errs.Timeout, tries: 2, took: 3 * time.Second, count: breaker.Counts{Failures: 2}},
		"no limit but the caller's": {p: resilience.Policy{Timeout: -1, AttemptTimeout: -1},
			ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeout(ctx, time.Hour)
			},
			fn: hang, kind: errs.Timeout, tries: 1, took: time.Hour, count: breaker.Counts{Failures: 1}},
		"a caller in a hurry": {p: steady,
			ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeout(ctx, 199*time.Millisecond)
			}, fn: hang, kind: errs.Timeout, tries: 1, took: 199 * time.Millisecond, count: breaker.Counts{Ignored: 1}},
		"time out by another name": {p: resilience.Policy{}, fn: func(ctx context.Context, _ int) error {
			<-ctx.Done()
			return errors.New("use of closed connection")
		}, kind: errs.Timeout, tries: 1, took: 2 * time.Second, count: breaker.Counts{Failures: 1}},
		"canceled by the caller": {p: steady,
			ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(ctx)
				time.AfterFunc(time.Second, cancel)
				return ctx, cancel
			}, fn: hang, kind: errs.Canceled, tries: 1, took: time.Second, count: breaker.Counts{Ignored: 1}},
		"expired before": {p: steady,
			ctx: func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, -1) },
			fn:  hang, kind: errs.Timeout},
		"a layer above retries": {p: steady,
			ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
				return flow.WithAttempt(ctx, 1), func() {}
			}, fn: once(down), kind: errs.Unavailable, tries: 1, count: breaker.Counts{Failures: 1}},
		"panic": {p: steady, fn: func(context.Context, int) error { panic("secret") }, kind: errs.Internal, tries: 1,
			count: breaker.Counts{Ignored: 1}},
		"classic, down": {p: func() resilience.Policy { p := resilience.Classic(); p.Idempotent = true; return p }(),
			fn: always(down), kind: errs.Unavailable, tries: 4, took: 7 * time.Second, count: breaker.Counts{Failures: 4}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if tt.ctx != nil {
					var cancel context.CancelFunc
					ctx, cancel = tt.ctx(ctx)
					defer cancel()
				}
				g := resilience.New("target", tt.p, observe.Sinks{})
				start, tries := time.Now(), 0
				v, err := resilience.Do(ctx, g, func(ctx context.Context) (int, error) {
					tries++
					if want := max(tries-1, flow.Attempt(t.Context())); flow.Attempt(ctx) != want && name != "a layer above retries" {
						t.Errorf("try %d is marked %d", tries, flow.Attempt(ctx))
					}
					return tries, tt.fn(ctx, tries-1)
				})
				if took := time.Since(start); tries != tt.tries || took != tt.took {
					t.Errorf("%d tries in %v, want %d in %v", tries, took, tt.tries, tt.took)
				}
				if (err == nil) != tt.ok || err != nil && errs.KindOf(err) != tt.kind {
					t.Errorf("error %v, want ok=%v %v", err, tt.ok, tt.kind.ID())
				}
				if tries > 0 && name != "panic" && v != tries {
					t.Errorf("value %d, want the last try's %d", v, tries)
				}
				if got := g.Snapshot().Counts; got != tt.count {
					t.Errorf("counts %+v, want %+v", got, tt.count)
				}
			})
		})
	}
}

func TestPanicStaysInTheLog(t *testing.T) {
	g := resilience.New("target", resilience.Policy{}, observe.Sinks{})
	_, err := resilience.Do(t.Context(), g, func(context.Context) (int, error) { panic("secret") })
	if p, ok := errors.AsType[*safe.Panic](err); !ok || p.Value != "secret" {
		t.Errorf("the log cannot see the panic in %v", err)
	}
	if errs.From(err).Message() == "" || errs.From(err).Message() == "secret" {
		t.Errorf("message %q", errs.From(err).Message())
	}
}

func TestBreakerRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := resilience.New("bank", steady, observe.Sinks{})
		calls := 0
		call := func() error {
			_, err := resilience.Do(t.Context(), g, func(context.Context) (int, error) { calls++; return 0, down })
			return err
		}
		for g.State() != breaker.Open {
			call()
		}
		calls, start := 0, time.Now()
		err := call()
		if e := errs.From(err); e.Kind() != errs.Unavailable || e.Code() != "breaker_open" || !errors.Is(err, breaker.ErrOpen) {
			t.Errorf("refused with %v", err)
		} else if d := e.RetryDelay(); d <= 0 || d > 1250*time.Millisecond {
			t.Errorf("says to come back after %v", d)
		}
		if calls != 0 || time.Since(start) != 0 {
			t.Errorf("an open breaker made %d calls and took %v", calls, time.Since(start))
		}
	})
}

func TestFallback(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tt := range map[string]struct {
		ctx  context.Context
		err  error
		want string
		fell bool
	}{
		"not needed":           {want: "real"},
		"down":                 {err: down, want: "substitute", fell: true},
		"foreign":              {err: errors.New("?"), want: "substitute", fell: true},
		"over a limit":         {err: errs.New(errs.TooMany, "test", "no"), want: "substitute", fell: true},
		"the caller's mistake": {err: errs.New(errs.Conflict, "test", "no"), want: "real"},
		"nobody waits":         {ctx: canceled},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.ctx == nil {
				tt.ctx = t.Context()
			}
			g := resilience.New("target", resilience.Policy{}, observe.Sinks{})
			fell := false
			v, err := resilience.Do(tt.ctx, g,
				func(context.Context) (string, error) { return "real", tt.err },
				resilience.Fallback(func(ctx context.Context, err error) (string, error) {
					fell = true
					if err != tt.err || ctx != tt.ctx {
						t.Errorf("fallback got %v", err)
					}
					return "substitute", nil
				}))
			if v != tt.want || fell != tt.fell || fell && err != nil {
				t.Errorf("got %q, %v, fell back: %v", v, err, fell)
			}
		})
	}
}

func TestFallbackHasTimeLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := resilience.New("target", resilience.Policy{}, observe.Sinks{})
		_, err := resilience.Do(t.Context(), g,
			func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() },
			resilience.Fallback(func(ctx context.Context, err error) (int, error) { return 0, ctx.Err() }))
		if err != nil {
			t.Errorf("fallback began with %v", err)
		}
		_, err = resilience.Do(t.Context(), g,
			func(ctx context.Context) (int, error) { return 0, down },
			resilience.Fallback(func(ctx context.Context, err error) (int, error) { panic("boom") }))
		if p, ok := errors.AsType[*safe.Panic](err); !ok {
			t.Errorf("a panic in the fallback gave %v", p)
		}
	})
}

func TestIdempotentForOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, policy := range []bool{false, true} {
			g := resilience.New("target", resilience.Policy{Idempotent: policy}, observe.Sinks{})
			tries := 0
			resilience.Do(t.Context(), g, func(context.Context) (int, error) { tries++; return 0, down }, resilience.Idempotent[int](!policy))
			if repeated := tries > 1; repeated == policy {
				t.Errorf("policy %v, option %v: %d tries", policy, !policy, tries)
			}
		}
	})
}

// A held value keeps its ctx after Do; a replaced one is dropped and its ctx ends.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ctxs []context.Context
		var dropped []int
		var done context.CancelFunc
		g := resilience.New("target", steady, observe.Sinks{})
		v, err := resilience.Do(t.Context(), g, func(ctx context.Context) (int, error) {
			ctxs = append(ctxs, ctx)
			if len(ctxs) < 3 {
				return len(ctxs), down
			}
			return len(ctxs), nil
		}, resilience.Hold(func(v int, release context.CancelFunc) int { done = release; return v * 10 },
			func(v int) { dropped = append(dropped, v) }))
		if v != 30 || err != nil || fmt.Sprint(dropped) != "[1 2]" {
			t.Fatalf("got %d, %v, dropped %v", v, err, dropped)
		}
		if ctxs[0].Err() == nil || ctxs[1].Err() == nil || ctxs[2].Err() != nil {
			t.Errorf("ctxs ended with %v, %v, %v; want only the last alive", ctxs[0].Err(), ctxs[1].Err(), ctxs[2].Err())
		}
		done()
		if ctxs[2].Err() == nil {
			t.Error("release did not end the ctx")
		}
	})
}

func TestSetWhileCallsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := resilience.New("target", steady, observe.Sinks{})
		tries := 0
		fail := func(context.Context) (int, error) { tries++; return 0, down }
		resilience.Do(t.Context(), g, fail)
		p := steady
		p.Retry.Max = 1
		g.Set(p)
		resilience.Do(t.Context(), g, fail)
		if tries != 4+2 {
			t.Errorf("%d tries, want 4 under the old policy and 2 under the new", tries)
		}
		if g.Policy().Retry.Max != 1 || g.Name() != "target" {
			t.Errorf("policy %+v of %q", g.Policy(), g.Name())
		}
	})
}

func TestSuccessAllocatesLittle(t *testing.T) {
	none := resilience.Policy{Timeout: -1, AttemptTimeout: -1}
	all := resilience.Policy{
		Idempotent: true, Rate: limit.RateSettings{PerSecond: 1e9, Burst: 1e9}, Bulkhead: limit.BulkheadSettings{Max: 100},
		Adaptive: limit.AdaptiveSettings{Max: 100}, Methods: []resilience.Method{{Pattern: "GET /a/*", Idempotent: new(false)}},
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	quick := func(context.Context) (int, error) { return 1, nil }
	waits := func(ctx context.Context) (int, error) { ctx.Done(); return 1, nil }
	opts := []resilience.Option[int]{resilience.Named[int]("GET /a/b"),
		resilience.Fallback(func(context.Context, error) (int, error) { return 0, nil })}
	for name, tt := range map[string]struct {
		p    resilience.Policy
		fn   func(context.Context) (int, error)
		most float64
	}{
		"no time limit":      {none, quick, 0},                                // called without a deadline
		"default":            {resilience.Policy{Idempotent: true}, quick, 1}, // the lazy context
		"all, not hedged":    {all, quick, 1},
		"default, real Done": {resilience.Policy{Idempotent: true}, waits, 6}, // 5 are the standard library's
	} {
		g, ctx := resilience.New("target", tt.p, observe.Sinks{}), ctx
		if tt.most == 0 {
			ctx = t.Context()
		}
		if n := testing.AllocsPerRun(1000, func() { resilience.Do(ctx, g, tt.fn, opts...) }); n > tt.most {
			t.Errorf("%s: %v allocations, want at most %v", name, n, tt.most)
		}
	}
}

func BenchmarkDo(b *testing.B) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	quick := func(context.Context) (int, error) { return 1, nil }
	waits := func(ctx context.Context) (int, error) { ctx.Done(); return 1, nil }
	other := resilience.Fallback(func(context.Context, error) (int, error) { return 0, nil })
	for _, c := range []struct {
		name string
		p    resilience.Policy
		fn   func(context.Context) (int, error)
	}{
		{"without-timeouts", resilience.Policy{Idempotent: true, Timeout: -1, AttemptTimeout: -1}, quick},
		{"default", resilience.Policy{Idempotent: true}, quick},
		{"default-done", resilience.Policy{Idempotent: true}, waits},
		{"bulkhead", resilience.Policy{Idempotent: true, Bulkhead: limit.BulkheadSettings{Max: 100}}, quick},
		{"adaptive", resilience.Policy{Idempotent: true, Adaptive: limit.AdaptiveSettings{Max: 100}}, quick},
		{"hedge", resilience.Policy{Idempotent: true, Hedge: hedge.Settings{Max: 1, Delay: time.Minute}}, quick},
	} {
		g := resilience.New("target", c.p, observe.Sinks{})
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				resilience.Do(ctx, g, c.fn, other)
			}
		})
	}
}
