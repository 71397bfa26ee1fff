package resilience_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/breaker"
	"github.com/surefoot-go/surefoot/resilience/hedge"
	"github.com/surefoot-go/surefoot/resilience/limit"
	"github.com/surefoot-go/surefoot/resilience/retry"
	"github.com/surefoot-go/surefoot/safe"
)

// The order of the policies, read off what reaches which of them.
func TestOrderOfThePolicies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		span := &spySpan{}
		var mu sync.Mutex
		var order []string
		say := func(s string) { mu.Lock(); order = append(order, s); mu.Unlock() }
		p := resilience.Policy{
			Idempotent: true, AttemptTimeout: 300 * time.Millisecond,
			Retry:    retry.Policy{Max: 5, Base: -1, Reserve: 2, Budget: 1e-9},
			Breaker:  breaker.Settings{MinCalls: 2, Timeout: time.Hour},
			Hedge:    hedge.Settings{Max: 1, Delay: 100 * time.Millisecond},
			Bulkhead: limit.BulkheadSettings{Max: 1},
		}
		g := resilience.New("target", p, silent)
		ctx := trace.ContextWithSpan(t.Context(), span)
		// The first try is late: hedged after 100ms, and the further try finds the
		// bulkhead full, so limit is inside hedge; its time is up at 300ms. The
		// failure counts once: breaker is outside hedge. The second try: the budget
		// is used up by hedge and retry. The breaker opens.
		_, err := resilience.Do(ctx, g, func(ctx context.Context) (int, error) {
			say("attempt")
			<-ctx.Done()
			return 0, ctx.Err()
		}, resilience.Fallback(func(ctx context.Context, err error) (int, error) {
			say("fallback")
			return 0, err
		}))
		if errs.KindOf(err) != errs.Timeout {
			t.Errorf("error %v", err)
		}
		got := strings.Join(span.events, ", ")
		want := "surefoot.hedge further, surefoot.limit.refused bulkhead, surefoot.retry, " +
			"surefoot.hedge refused, surefoot.breaker.change, surefoot.retry.refused, surefoot.fallback"
		if got != want {
			t.Errorf("events\n%s, want\n%s", got, want)
		}
		if !slices.Equal(order, []string{"attempt", "attempt", "fallback"}) {
			t.Errorf("order %v", order)
		}
		if c := g.Snapshot().Counts; c.Failures != 2 {
			t.Errorf("counts %+v, want a failure for each try, not for each hedge", c)
		}
		// An open breaker answers before any limit is asked, and fallback after it.
		span.events = nil
		resilience.Do(ctx, g, func(context.Context) (int, error) { return 0, nil },
			resilience.Fallback(func(context.Context, error) (int, error) { return 0, nil }))
		if got := strings.Join(span.events, ", "); got != "surefoot.breaker.rejected, surefoot.fallback" {
			t.Errorf("events %s", got)
		}
	})
}

// Whatever happens, in whatever order, and however policies change meanwhile:
// places come back, the budget holds, tries and waits are bounded.
func TestWhateverHappens(t *testing.T) {
	var sum struct{ calls, tries, over, open, ok int }
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 11))
			const reserve, share, window = 20, 0.2, time.Hour
			policy := func() resilience.Policy {
				p := resilience.Policy{
					Timeout: time.Duration(1+r.IntN(5)) * time.Second, AttemptTimeout: time.Duration(1+r.IntN(20)) * 100 * time.Millisecond,
					Idempotent: r.IntN(4) > 0,
					Retry:      retry.Policy{Max: r.IntN(4) - 1, Base: time.Duration(r.IntN(300)) * time.Millisecond, Reserve: reserve, Budget: share, Window: window},
					Hedge:      hedge.Settings{Max: r.IntN(3), Delay: time.Duration(1+r.IntN(200)) * time.Millisecond},
					Breaker:    breaker.Settings{Rule: breaker.Rule(r.IntN(3) - 1)},
				}
				if r.IntN(2) > 0 {
					p.Bulkhead = limit.BulkheadSettings{Max: 1 + r.IntN(10), Queue: r.IntN(5), MaxWait: time.Duration(r.IntN(1000)) * time.Millisecond}
				}
				if r.IntN(2) > 0 {
					p.Rate = limit.RateSettings{PerSecond: float64(5 + r.IntN(100)), Burst: r.IntN(10), MaxWait: time.Duration(r.IntN(500)) * time.Millisecond}
				}
				if r.IntN(2) > 0 {
					p.Adaptive = limit.AdaptiveSettings{Max: 1 + r.IntN(20), Queue: r.IntN(5)}
				}
				if r.IntN(2) > 0 {
					p.Methods = []resilience.Method{{Pattern: "GET *", Idempotent: new(true), Retry: &retry.Policy{Max: 3, Budget: -1}}}
				}
				return p
			}
			g := resilience.New("target", policy(), silent)
			var mu sync.Mutex
			tries, running := 0, 0
			var tasks []*safe.Task
			const calls = 150
			for range calls {
				time.Sleep(time.Duration(r.ExpFloat64() * float64(20*time.Millisecond)))
				switch r.IntN(20) {
				case 0:
					g.Set(policy())
				case 1:
					g.Force(resilience.Forced(r.IntN(3)))
				}
				n, kind, leave, mine := r.Uint64(), r.IntN(8), time.Duration(r.IntN(6000))*time.Millisecond, 0
				tasks = append(tasks, safe.Go(t.Context(), "call", func(ctx context.Context) error {
					ctx, cancel := context.WithTimeout(ctx, leave)
					defer cancel()
					start := time.Now()
					_, err := resilience.Do(ctx, g, func(ctx context.Context) (int, error) {
						mu.Lock()
						tries++
						mine++
						running++
						d := time.Duration((n+uint64(mine)*7919)%700) * time.Millisecond
						mu.Unlock()
						defer func() { mu.Lock(); running--; mu.Unlock() }()
						if until, ok := ctx.Deadline(); !ok || time.Until(until) > 5*time.Second {
							t.Errorf("seed %d: a try with too much time", seed)
						}
						err := slow(ctx, d, nil)
						switch kind {
						case 0:
							panic("boom")
						case 1:
							runtime.Goexit()
						case 2:
							return 0, errs.New(errs.Invalid, "t", "no")
						case 3:
							return 0, down.RetryAfter(d)
						case 4, 5:
							return 0, errors.New("foreign")
						}
						return 0, err
					}, resilience.Named[int]("GET /x"))
					if took := time.Since(start); took > min(leave, 5*time.Second) {
						t.Errorf("seed %d: a call took %v of %v", seed, took, leave)
					}
					mu.Lock()
					defer mu.Unlock()
					// At most 3 further tries, each with at most 2 hedges.
					if mine > 4*3 {
						t.Errorf("seed %d: %d tries", seed, mine)
					}
					sum.calls++
					sum.tries += mine
					switch {
					case err == nil:
						sum.ok++
					case errors.Is(err, limit.ErrLimit):
						sum.over++
					case errors.Is(err, breaker.ErrOpen):
						sum.open++
					}
					return nil
				}))
			}
			for _, task := range tasks {
				_ = task.Wait()
			}
			synctest.Wait()
			s := g.Snapshot()
			if s.Bulkhead.Running+s.Bulkhead.Waiting+s.Adaptive.Running+s.Adaptive.Waiting != 0 || s.Bulkhead.Strays+s.Adaptive.Strays != 0 || running != 0 {
				t.Errorf("seed %d: %d run on, %+v, %+v", seed, running, s.Bulkhead, s.Adaptive)
			}
			if most := calls + reserve + int(share*calls); tries > most {
				t.Errorf("seed %d: %d tries of %d calls, the budget allows %d", seed, tries, calls, most)
			}
		})
	}
	t.Logf("%+v", sum)
	if sum.ok < 500 || sum.over < 500 || sum.open < 500 || sum.tries < sum.ok+500 {
		t.Error("too little happened")
	}
}

// A further try never begins at or after the deadline, and there are at most
// Max of them.
func TestWaitsEndBeforeTheDeadline(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 12))
			left := time.Duration(1 + r.IntN(int(3*time.Second)))
			p := resilience.Policy{Timeout: left, AttemptTimeout: -1, Idempotent: true, Breaker: breaker.Settings{Rule: breaker.Off},
				Retry: retry.Policy{Max: r.IntN(8), Base: time.Duration(r.IntN(int(time.Second))), Budget: -1}}
			g := resilience.New("target", p, observe.Sinks{})
			start, tries := time.Now(), 0
			resilience.Do(t.Context(), g, func(ctx context.Context) (int, error) {
				if tries++; time.Since(start) >= left {
					t.Errorf("seed %d: try %d begins %v after the deadline", seed, tries, time.Since(start)-left)
				}
				time.Sleep(time.Duration(r.IntN(int(100 * time.Millisecond))))
				return 0, down
			})
			if most := 1 + p.OrDefault().Retry.Max; tries > most {
				t.Errorf("seed %d: %d tries, at most %d", seed, tries, most)
			}
		})
	}
}
