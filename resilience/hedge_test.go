package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
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

// doubled asks again after 100ms, and never retries.
var doubled = resilience.Policy{
	Idempotent: true, Hedge: hedge.Settings{Max: 1, Delay: 100 * time.Millisecond}, Retry: retry.Policy{Max: -1},
}

// slow answers after d, or when it is ended.
func slow(ctx context.Context, d time.Duration, err error) error {
	if werr := retry.Wait(ctx, d); werr != nil {
		return werr
	}
	return err
}

func TestHedge(t *testing.T) {
	type script []struct {
		after time.Duration
		err   error
	}
	for name, tt := range map[string]struct {
		policy func(p *resilience.Policy)
		opts   []resilience.Option[int]
		ctx    func(context.Context) context.Context
		script script // by try, the last for all further ones
		v      int    // which try's value; -1 either
		kind   errs.Kind
		took   time.Duration
		marks  []int // of the tries, in the order of their starts
		counts breaker.Counts
		hedges hedge.Counts
	}{
		"fast": {script: script{{}}, v: 0, marks: []int{0}, counts: breaker.Counts{Successes: 1}},
		"the second is faster": {script: script{{time.Second, nil}, {10 * time.Millisecond, nil}}, v: 1, took: 110 * time.Millisecond,
			marks: []int{0, 1}, counts: breaker.Counts{Successes: 1}, hedges: hedge.Counts{Further: 1, Won: 1}},
		"the first is faster after all": {script: script{{150 * time.Millisecond, nil}, {time.Second, nil}}, v: 0, took: 150 * time.Millisecond,
			marks: []int{0, 1}, counts: breaker.Counts{Successes: 1}, hedges: hedge.Counts{Further: 1}},
		"success wins, not completion": {script: script{{300 * time.Millisecond, nil}, {10 * time.Millisecond, down}}, v: 0, took: 300 * time.Millisecond,
			marks: []int{0, 1}, counts: breaker.Counts{Successes: 1}, hedges: hedge.Counts{Further: 1}},
		"no other try can cure": {script: script{{time.Second, nil}, {10 * time.Millisecond, errs.New(errs.Invalid, "t", "no")}}, v: 1, kind: errs.Invalid,
			took: 110 * time.Millisecond, marks: []int{0, 1}, counts: breaker.Counts{Answered: 1}, hedges: hedge.Counts{Further: 1}},
		"both fail": {script: script{{300 * time.Millisecond, down}, {10 * time.Millisecond, down}}, v: 0, kind: errs.Unavailable,
			took: 300 * time.Millisecond, marks: []int{0, 1}, counts: breaker.Counts{Failures: 1}, hedges: hedge.Counts{Further: 1}},
		"not idempotent": {policy: func(p *resilience.Policy) { p.Idempotent = false }, script: script{{time.Second, nil}}, took: time.Second,
			marks: []int{0}, counts: breaker.Counts{Successes: 1}},
		"idempotent by option": {policy: func(p *resilience.Policy) { p.Idempotent = false }, opts: []resilience.Option[int]{resilience.Idempotent[int](true)},
			script: script{{time.Second, nil}, {}}, v: 1, took: 100 * time.Millisecond,
			marks: []int{0, 1}, counts: breaker.Counts{Successes: 1}, hedges: hedge.Counts{Further: 1, Won: 1}},
		"not idempotent by option": {opts: []resilience.Option[int]{resilience.Idempotent[int](false)}, script: script{{time.Second, nil}}, took: time.Second,
			marks: []int{0}, counts: breaker.Counts{Successes: 1}},
		"idempotent by method": {policy: func(p *resilience.Policy) {
			p.Idempotent = false
			p.Methods = []resilience.Method{{Pattern: "GET *", Idempotent: new(true)}}
		}, opts: []resilience.Option[int]{resilience.Named[int]("GET /v1")}, script: script{{time.Second, nil}, {}}, v: 1, took: 100 * time.Millisecond,
			marks: []int{0, 1}, counts: breaker.Counts{Successes: 1}, hedges: hedge.Counts{Further: 1, Won: 1}},
		"off for a method": {policy: func(p *resilience.Policy) {
			p.Methods = []resilience.Method{{Pattern: "GET *", Hedge: &hedge.Settings{}}}
		}, opts: []resilience.Option[int]{resilience.Named[int]("GET /v1")}, script: script{{time.Second, nil}}, took: time.Second,
			marks: []int{0}, counts: breaker.Counts{Successes: 1}},
		"a layer above retries": {ctx: func(ctx context.Context) context.Context { return flow.WithAttempt(ctx, 1) },
			script: script{{time.Second, nil}}, took: time.Second, marks: []int{1}, counts: breaker.Counts{Successes: 1}},
		"no budget": {policy: func(p *resilience.Policy) { p.Retry.Reserve = -1 }, script: script{{time.Second, nil}}, took: time.Second,
			marks: []int{0}, counts: breaker.Counts{Successes: 1}, hedges: hedge.Counts{Refused: 1}},
		"two further": {policy: func(p *resilience.Policy) { p.Hedge.Max = 2 }, script: script{{time.Second, nil}, {time.Second, nil}, {}}, v: 2,
			took: 200 * time.Millisecond, marks: []int{0, 1, 2}, counts: breaker.Counts{Successes: 1}, hedges: hedge.Counts{Further: 2, Won: 1}},
		"each try has its own time": {policy: func(p *resilience.Policy) { p.AttemptTimeout = 150 * time.Millisecond },
			script: script{{time.Second, nil}, {120 * time.Millisecond, nil}}, v: 1, took: 220 * time.Millisecond,
			marks: []int{0, 1}, counts: breaker.Counts{Successes: 1}, hedges: hedge.Counts{Further: 1, Won: 1}},
		"all tries time out": {policy: func(p *resilience.Policy) { p.AttemptTimeout = 150 * time.Millisecond },
			script: script{{time.Second, nil}}, v: 0, kind: errs.Timeout, took: 250 * time.Millisecond,
			marks: []int{0, 1}, counts: breaker.Counts{Failures: 1}, hedges: hedge.Counts{Further: 1}},
		"retried, and hedged again": {policy: func(p *resilience.Policy) { p.Retry = retry.Policy{Max: 1, Base: -1} },
			script: script{{120 * time.Millisecond, down}, {20 * time.Millisecond, down}, {time.Second, nil}, {}}, v: 3, took: 220 * time.Millisecond,
			marks: []int{0, 1, 1, 2}, counts: breaker.Counts{Failures: 1, Successes: 1}, hedges: hedge.Counts{Further: 2, Won: 1}},
		"canceled by the caller": {ctx: func(ctx context.Context) context.Context {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(150*time.Millisecond, cancel)
			return ctx
		}, script: script{{time.Second, nil}}, v: -1, kind: errs.Canceled, took: 150 * time.Millisecond,
			marks: []int{0, 1}, counts: breaker.Counts{Ignored: 1}, hedges: hedge.Counts{Further: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, ctx := doubled, t.Context()
				if tt.policy != nil {
					tt.policy(&p)
				}
				if tt.ctx != nil {
					ctx = tt.ctx(ctx)
				}
				g := resilience.New("target", p, observe.Sinks{})
				var mu sync.Mutex
				var marks []int
				start := time.Now()
				v, err := resilience.Do(ctx, g, func(ctx context.Context) (int, error) {
					mu.Lock()
					n := len(marks)
					marks = append(marks, flow.Attempt(ctx))
					mu.Unlock()
					s := tt.script[min(n, len(tt.script)-1)]
					return n, slow(ctx, s.after, s.err)
				}, tt.opts...)
				if took := time.Since(start); v != tt.v && tt.v >= 0 || took != tt.took || !slices.Equal(marks, tt.marks) {
					t.Errorf("try %d in %v, marked %v; want try %d in %v, marked %v", v, took, marks, tt.v, tt.took, tt.marks)
				}
				if ok := tt.kind == errs.Internal; ok != (err == nil) || !ok && errs.KindOf(err) != tt.kind {
					t.Errorf("error %v, want %v", err, tt.kind)
				}
				s := g.Snapshot()
				if s.Counts != tt.counts {
					t.Errorf("counts %+v, want %+v", s.Counts, tt.counts)
				}
				if s.Hedge != tt.hedges {
					t.Errorf("hedges %+v, want %+v", s.Hedge, tt.hedges)
				}
			})
		})
	}
}

// A target that comes back gets no double calls.
func TestNoHedgeWhileTheBreakerTriesTheTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := resilience.New("target", doubled, observe.Sinks{})
		for g.State() != breaker.Open {
			resilience.Do(t.Context(), g, func(context.Context) (int, error) { return 0, down })
		}
		time.Sleep(time.Second)
		tries := 0
		resilience.Do(t.Context(), g, func(ctx context.Context) (int, error) { tries++; return 0, slow(ctx, time.Second, nil) })
		if tries != 1 || g.Snapshot().Hedge.Refused != 1 {
			t.Errorf("%d tries, hedges %+v", tries, g.Snapshot().Hedge)
		}
	})
}

// The winner's ctx lives until it is released; the losers' end at once, and
// their values are dropped.
func TestHedgeHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		ctxs := map[int]context.Context{}
		var dropped []int
		var done context.CancelFunc
		p := doubled
		p.Hedge.Max = 2
		g := resilience.New("target", p, observe.Sinks{})
		v, err := resilience.Do(t.Context(), g, func(ctx context.Context) (int, error) {
			mu.Lock()
			n := len(ctxs)
			ctxs[n] = ctx
			mu.Unlock()
			if n == 1 {
				return 1, slow(ctx, 10*time.Millisecond, down)
			}
			return n, slow(ctx, time.Duration(900-400*n)*time.Millisecond, nil)
		}, resilience.Hold(func(v int, release context.CancelFunc) int { done = release; return v * 10 },
			func(v int) { mu.Lock(); dropped = append(dropped, v); mu.Unlock() }))
		slices.Sort(dropped)
		if v != 20 || err != nil || fmt.Sprint(dropped) != "[0 1]" {
			t.Fatalf("got %d, %v, dropped %v", v, err, dropped)
		}
		if ctxs[0].Err() == nil || ctxs[1].Err() == nil || ctxs[2].Err() != nil {
			t.Errorf("ctxs ended with %v, %v, %v; want only the winner's alive", ctxs[0].Err(), ctxs[1].Err(), ctxs[2].Err())
		}
		done()
		if ctxs[2].Err() == nil {
			t.Error("release did not end the winner's ctx")
		}
	})
}

// However the tries end, places come back and no goroutine stays.
func TestHedgedPermitsComeBack(t *testing.T) {
	p := doubled
	p.Bulkhead, p.Adaptive = limit.BulkheadSettings{Max: 10}, limit.AdaptiveSettings{Max: 10}
	for name, fn := range map[string]func(ctx context.Context, n int) error{
		"first panics":  func(ctx context.Context, n int) error { slow(ctx, 200*time.Millisecond, nil); panic(n) },
		"second panics": func(ctx context.Context, n int) error { slow(ctx, time.Duration(1-n)*time.Second, nil); panic(n) },
		"first Goexits": func(ctx context.Context, n int) error {
			slow(ctx, time.Duration(150+n*999)*time.Millisecond, nil)
			runtime.Goexit()
			return nil
		},
		"second Goexits": func(ctx context.Context, n int) error {
			slow(ctx, time.Duration(1-n)*time.Second, nil)
			runtime.Goexit()
			return nil
		},
		"both succeed":    func(ctx context.Context, n int) error { return slow(ctx, 110*time.Millisecond, nil) },
		"the caller goes": func(ctx context.Context, n int) error { <-ctx.Done(); return errors.New("gone") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := resilience.New("target", p, observe.Sinks{})
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				if name == "the caller goes" {
					time.AfterFunc(300*time.Millisecond, cancel)
				}
				defer cancel()
				var tries atomic.Int32
				var group safe.Group
				group.Go(ctx, func(context.Context) error {
					_, err := resilience.Do(ctx, g, func(ctx context.Context) (int, error) { return 0, fn(ctx, int(tries.Add(1))-1) })
					return err
				})
				_ = group.Wait()
				s := g.Snapshot()
				if tries.Load() != 2 || s.Bulkhead.Running+s.Bulkhead.Waiting+s.Adaptive.Running+s.Adaptive.Waiting != 0 || s.Bulkhead.Strays+s.Adaptive.Strays != 0 {
					t.Errorf("after %d tries: %+v, %+v", tries.Load(), s.Bulkhead, s.Adaptive)
				}
				if c := s.Counts; c.Successes+c.Failures+c.Answered+c.Ignored != 1 {
					t.Errorf("counts %+v, want one call", c)
				}
			})
		})
	}
}
