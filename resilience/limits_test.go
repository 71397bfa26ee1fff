package resilience_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/breaker"
	"github.com/surefoot-go/surefoot/resilience/limit"
	"github.com/surefoot-go/surefoot/safe"
)

// What is over a limit is refused: nothing is sent, it says nothing about the
// target, it is not tried again, and the caller is told when to come back.
func TestOverLimit(t *testing.T) {
	for name, tt := range map[string]struct {
		p     resilience.Policy
		busy  int           // calls under way, each for 10s
		began int           // calls that have begun and ended
		took  time.Duration // until the answer
		delay time.Duration // told
	}{
		"rate":                  {p: resilience.Policy{Rate: limit.RateSettings{PerSecond: 0.5}}, began: 1, delay: 2 * time.Second},
		"rate, slow as ever":    {p: resilience.Policy{Rate: limit.RateSettings{PerSecond: 0.001}}, began: 1, delay: 5 * time.Second},
		"bulkhead":              {p: resilience.Policy{Bulkhead: limit.BulkheadSettings{Max: 2}}, busy: 2, delay: 100 * time.Millisecond},
		"bulkhead, with queue":  {p: resilience.Policy{Bulkhead: limit.BulkheadSettings{Max: 2, Queue: 1}}, busy: 2, took: time.Second, delay: 100 * time.Millisecond},
		"bulkhead, queue full":  {p: resilience.Policy{Bulkhead: limit.BulkheadSettings{Max: 2, Queue: 1, MaxWait: time.Minute}}, busy: 3, delay: 100 * time.Millisecond},
		"bulkhead, no time":     {p: resilience.Policy{Timeout: 300 * time.Millisecond, Bulkhead: limit.BulkheadSettings{Max: 2, Queue: 9}}, busy: 2, took: 300 * time.Millisecond, delay: 100 * time.Millisecond},
		"adaptive":              {p: resilience.Policy{Adaptive: limit.AdaptiveSettings{Max: 2}}, busy: 2, delay: 100 * time.Millisecond},
		"adaptive, inside all":  {p: resilience.Policy{Adaptive: limit.AdaptiveSettings{Max: 2}, Rate: limit.RateSettings{PerSecond: 100, Burst: 9}, Bulkhead: limit.BulkheadSettings{Max: 9}}, busy: 2, delay: 100 * time.Millisecond},
		"rate, inside bulkhead": {p: resilience.Policy{Rate: limit.RateSettings{PerSecond: 0.1, Burst: 3}, Bulkhead: limit.BulkheadSettings{Max: 9}}, busy: 3, delay: 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.p.Idempotent, tt.p.AttemptTimeout = true, -1
				if tt.p.Timeout == 0 {
					tt.p.Timeout = -1
				}
				busy := tt.p
				busy.Timeout = -1
				g := resilience.New("ledger-db", busy, observe.Sinks{})
				for range tt.began {
					resilience.Do(t.Context(), g, func(context.Context) (int, error) { return 0, nil })
				}
				var group safe.Group
				for range tt.busy {
					group.Go(t.Context(), func(ctx context.Context) error {
						_, err := resilience.Do(ctx, g, func(ctx context.Context) (int, error) { return 0, slow(ctx, 10*time.Second, nil) })
						return err
					})
				}
				synctest.Wait()
				g.Set(tt.p)
				before, start := g.Snapshot(), time.Now()
				_, err := resilience.Do(t.Context(), g, func(context.Context) (int, error) { t.Error("it was sent"); return 0, nil })
				e := errs.From(err)
				if !errors.Is(err, limit.ErrLimit) || e.Kind() != errs.TooMany || e.Code() != "over_limit" {
					t.Fatalf("answered %v", err)
				}
				if took := time.Since(start); took != tt.took || e.RetryDelay().Round(time.Millisecond) != tt.delay {
					t.Errorf("after %v, told to wait %v; want %v and %v", took, e.RetryDelay(), tt.took, tt.delay)
				}
				if strings.Contains(e.Message(), "ledger") || len(e.Details()) > 0 {
					t.Errorf("strangers read %q", e.Message())
				}
				after := g.Snapshot()
				before.Counts.Ignored++
				if after.Counts != before.Counts {
					t.Errorf("counts %+v, want %+v", after.Counts, before.Counts)
				}
				if n := after.Rate.Refused + after.Bulkhead.Refused + after.Adaptive.Refused; n != 1 {
					t.Errorf("%d refusals are counted: %+v, %+v, %+v", n, after.Rate, after.Bulkhead, after.Adaptive)
				}
				_ = group.Wait()
				if s := g.Snapshot(); s.Bulkhead.Running != 0 || s.Adaptive.Running != 0 {
					t.Errorf("%+v, %+v after all have ended", s.Bulkhead, s.Adaptive)
				}
			})
		})
	}
}

// Over-limit calls do not keep a probing breaker from closing, nor open it.
func TestOverLimitIsNeutral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := resilience.Policy{Rate: limit.RateSettings{PerSecond: 20, MaxWait: -1}, Breaker: breaker.Settings{Ramp: -1}}
		g := resilience.New("target", p, observe.Sinks{})
		for range 1000 {
			resilience.Do(t.Context(), g, func(context.Context) (int, error) { return 0, nil })
		}
		if g.State() != breaker.Closed {
			t.Fatal("local refusals opened the breaker")
		}
		for g.State() != breaker.Open {
			time.Sleep(50 * time.Millisecond)
			resilience.Do(t.Context(), g, func(context.Context) (int, error) { return 0, down })
		}
		for start := time.Now(); g.State() != breaker.Closed; {
			time.Sleep(10 * time.Millisecond)
			resilience.Do(t.Context(), g, func(context.Context) (int, error) { return 0, nil })
			if time.Since(start) > 2*time.Second {
				t.Fatalf("still %v: %+v", g.State(), g.Snapshot().Counts)
			}
		}
	})
}

func TestOverLimitFallsBack(t *testing.T) {
	g := resilience.New("target", resilience.Policy{Rate: limit.RateSettings{PerSecond: 1e-3}}, observe.Sinks{})
	call := func() int {
		v, _ := resilience.Do(t.Context(), g, func(context.Context) (int, error) { return 1, nil },
			resilience.Fallback(func(context.Context, error) (int, error) { return 2, nil }))
		return v
	}
	if a, b := call(), call(); a != 1 || b != 2 {
		t.Errorf("got %d, then %d", a, b)
	}
}

// A caller who leaves while he waits for a place is told so, holds nothing, and
// is no refusal.
func TestCallerLeavesTheQueue(t *testing.T) {
	for name, p := range map[string]resilience.Policy{
		"bulkhead": {Bulkhead: limit.BulkheadSettings{Max: 1, Queue: 5, MaxWait: time.Minute}},
		"rate":     {Rate: limit.RateSettings{PerSecond: 0.1, MaxWait: time.Minute}, Bulkhead: limit.BulkheadSettings{Max: 5}},
		"adaptive": {Adaptive: limit.AdaptiveSettings{Max: 1, Queue: 5, MaxWait: time.Minute}, Bulkhead: limit.BulkheadSettings{Max: 5}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p.Timeout, p.AttemptTimeout = -1, -1
				g := resilience.New("target", p, observe.Sinks{})
				var group safe.Group
				group.Go(t.Context(), func(ctx context.Context) error {
					_, err := resilience.Do(ctx, g, func(ctx context.Context) (int, error) { return 0, slow(ctx, 5*time.Second, nil) })
					return err
				})
				synctest.Wait()
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				_, err := resilience.Do(ctx, g, func(context.Context) (int, error) { t.Error("it was sent"); return 0, nil })
				if errs.KindOf(err) != errs.Canceled {
					t.Errorf("answered %v", err)
				}
				s := g.Snapshot()
				if n := s.Rate.Refused + s.Bulkhead.Refused + s.Adaptive.Refused; n != 0 {
					t.Errorf("%d refusals", n)
				}
				_ = group.Wait()
				s = g.Snapshot()
				if s.Bulkhead.Running+s.Bulkhead.Waiting+s.Adaptive.Running+s.Adaptive.Waiting != 0 {
					t.Errorf("%+v, %+v after all have ended", s.Bulkhead, s.Adaptive)
				}
			})
		})
	}
}

// What the adaptive limit hears of a call.
func TestAdaptiveLearns(t *testing.T) {
	late := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for name, tt := range map[string]struct {
		fn   func(ctx context.Context) error
		less bool // the limit falls
	}{
		"success":              {fn: func(ctx context.Context) error { return slow(ctx, time.Millisecond, nil) }},
		"a try's timeout":      {fn: late, less: true},
		"asked to come later":  {fn: func(ctx context.Context) error { return slow(ctx, time.Millisecond, down.RetryAfter(time.Millisecond)) }, less: true},
		"over a limit, no say": {fn: func(ctx context.Context) error { return slow(ctx, time.Millisecond, errs.New(errs.TooMany, "t", "no")) }},
		"failure":              {fn: func(ctx context.Context) error { return slow(ctx, time.Millisecond, down) }},
		"panic":                {fn: func(context.Context) error { panic("boom") }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := resilience.New("target", resilience.Policy{AttemptTimeout: 10 * time.Millisecond, Breaker: breaker.Settings{Rule: breaker.Off},
					Adaptive: limit.AdaptiveSettings{Max: 100, Start: 50}}, observe.Sinks{})
				for range 200 {
					var group safe.Group
					for range 40 {
						group.Go(t.Context(), func(ctx context.Context) error {
							_, err := resilience.Do(ctx, g, func(ctx context.Context) (int, error) { return 0, tt.fn(ctx) })
							return err
						})
					}
					_ = group.Wait()
				}
				if n := g.Snapshot().Adaptive.Limit; (n < 25) != tt.less {
					t.Errorf("the limit is %d", n)
				}
			})
		})
	}
}

// However a call ends, its place comes back.
func TestPermitsComeBack(t *testing.T) {
	p := resilience.Policy{Bulkhead: limit.BulkheadSettings{Max: 3}, Adaptive: limit.AdaptiveSettings{Max: 3}, Breaker: breaker.Settings{Rule: breaker.Off}}
	for name, fn := range map[string]func(ctx context.Context) error{
		"success": func(ctx context.Context) error { return nil },
		"failure": func(ctx context.Context) error { return down },
		"panic":   func(ctx context.Context) error { panic("boom") },
		"Goexit":  func(ctx context.Context) error { runtime.Goexit(); return nil },
		"timeout": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := resilience.New("target", p, observe.Sinks{})
				for range 10 {
					var group safe.Group
					group.Go(t.Context(), func(ctx context.Context) error {
						_, err := resilience.Do(ctx, g, func(ctx context.Context) (int, error) { return 0, fn(ctx) })
						return err
					})
					_ = group.Wait()
				}
				s := g.Snapshot()
				if s.Bulkhead != (limit.BulkheadSnapshot{}) || s.Adaptive.Running != 0 || s.Adaptive.Refused+s.Adaptive.Strays != 0 {
					t.Errorf("%+v, %+v", s.Bulkhead, s.Adaptive)
				}
			})
		})
	}
}
