package peers

import (
	"context"
	"testing"
	"time"

	"github.com/avast/retry-go/v4"
	"github.com/cenkalti/backoff/v5"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
	"github.com/failsafe-go/failsafe-go/budget"
	"github.com/failsafe-go/failsafe-go/bulkhead"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/fallback"
	"github.com/failsafe-go/failsafe-go/ratelimiter"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/failsafe-go/failsafe-go/timeout"
	"github.com/sony/gobreaker/v2"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/breaker"
	"github.com/surefoot-go/surefoot/resilience/limit"
	ourretry "github.com/surefoot-go/surefoot/resilience/retry"
)

// libraries run one after the other, so that they meet the same machine.
type libraries []struct {
	name string
	call func()
}

func (l libraries) serial(b *testing.B) {
	for _, lib := range l {
		b.Run(lib.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				lib.call()
			}
		})
	}
}

func (l libraries) parallel(b *testing.B) {
	for _, lib := range l {
		b.Run(lib.name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					lib.call()
				}
			})
		})
	}
}

func works() (int, error) { return 1, nil }

// theirs is failsafe-go's breaker with the same rule as ours: half of at least
// 10 calls in 10s.
func theirs() circuitbreaker.CircuitBreaker[int] {
	return circuitbreaker.NewBuilder[int]().WithFailureRateThreshold(0.5, 10, 10*time.Second).WithDelay(time.Second).Build()
}

// BenchmarkBreaker is one successful call through a closed breaker, or one
// refused by an open one. gobreaker counts whole intervals where ours and
// failsafe-go roll a window; gobreaker-rolling rolls too.
func BenchmarkBreaker(b *testing.B) {
	ours := breaker.New(breaker.Settings{})
	classic := breaker.New(breaker.Classic())
	fixed := gobreaker.NewCircuitBreaker[int](gobreaker.Settings{Interval: 10 * time.Second})
	rolling := gobreaker.NewCircuitBreaker[int](gobreaker.Settings{Interval: 10 * time.Second, BucketPeriod: time.Second})
	safe := failsafe.With[int](theirs())
	closed := libraries{
		{"surefoot", func() { breaker.Do(ours, works) }},
		{"surefoot-classic", func() { breaker.Do(classic, works) }},
		{"gobreaker", func() { fixed.Execute(works) }},
		{"gobreaker-rolling", func() { rolling.Execute(works) }},
		{"failsafe-go", func() { safe.Get(works) }},
	}
	b.Run("closed", closed.serial)
	b.Run("closed-parallel", closed.parallel)

	down := func() (int, error) { return 0, errDown }
	oursOpen := breaker.New(breaker.Settings{Timeout: time.Hour})
	theirsOpen := gobreaker.NewCircuitBreaker[int](gobreaker.Settings{Timeout: time.Hour})
	for range 20 {
		breaker.Do(oursOpen, down)
		theirsOpen.Execute(down)
	}
	cb := circuitbreaker.NewBuilder[int]().WithDelay(time.Hour).Build()
	cb.Open()
	safeOpen := failsafe.With[int](cb)
	if _, err := breaker.Do(oursOpen, works); err == nil {
		b.Fatal("ours is not open")
	}
	open := libraries{
		{"surefoot", func() { breaker.Do(oursOpen, works) }},
		{"gobreaker", func() { theirsOpen.Execute(works) }},
		{"failsafe-go", func() { safeOpen.Get(works) }},
	}
	b.Run("open", open.serial)
	b.Run("open-parallel", open.parallel)
}

// BenchmarkRetry is a call that succeeds at once. A budget is ours by default;
// of the others only failsafe-go has one.
func BenchmarkRetry(b *testing.B) {
	ctx := context.Background()
	fn := func(context.Context, int) (int, error) { return 1, nil }
	var purse ourretry.Budget
	unbudgeted := ourretry.Policy{Budget: -1}
	plain := failsafe.With[int](retrypolicy.NewBuilder[int]().WithBackoff(100*time.Millisecond, 5*time.Second).Build())
	budgeted := failsafe.With[int](retrypolicy.NewBuilder[int]().WithBackoff(100*time.Millisecond, 5*time.Second).WithBudget(budget.New()).Build())
	b.Run("success", libraries{
		{"surefoot", func() { ourretry.Do(ctx, unbudgeted, nil, fn) }},
		{"failsafe-go", func() { plain.Get(works) }},
		{"cenkalti-backoff", func() { backoff.Retry(ctx, works) }},
		{"avast-retry-go", func() { retry.DoWithData(works, retry.Context(ctx)) }},
	}.serial)
	b.Run("success-budget", libraries{
		{"surefoot", func() { ourretry.Do(ctx, ourretry.Policy{}, &purse, fn) }},
		{"failsafe-go", func() { budgeted.Get(works) }},
	}.serial)
}

// BenchmarkRate is one call that a rate limit lets through.
func BenchmarkRate(b *testing.B) {
	ours := limit.NewRate(limit.RateSettings{PerSecond: 1e9, Burst: 1 << 30})
	std := rate.NewLimiter(1e9, 1<<30)
	safe := ratelimiter.NewBursty[int](1<<30, time.Second)
	allowed := libraries{
		{"surefoot", func() { ours.Allow() }},
		{"x-time-rate", func() { std.Allow() }},
		{"failsafe-go", func() { safe.TryAcquirePermit() }},
	}
	b.Run("allowed", allowed.serial)
	b.Run("allowed-parallel", allowed.parallel)
}

// BenchmarkBulkhead takes one of 100 places and gives it back.
func BenchmarkBulkhead(b *testing.B) {
	ctx := context.Background()
	ours := limit.NewBulkhead(limit.BulkheadSettings{Max: 100})
	std := semaphore.NewWeighted(100)
	safe := bulkhead.New[int](100)
	free := libraries{
		{"surefoot", func() {
			p, _ := ours.Acquire(ctx)
			p.Release()
		}},
		{"x-sync-semaphore", func() {
			if std.Acquire(ctx, 1) == nil {
				std.Release(1)
			}
		}},
		{"failsafe-go", func() {
			if safe.AcquirePermit(ctx) == nil {
				safe.ReleasePermit()
			}
		}},
	}
	b.Run("free", free.serial)
	b.Run("free-parallel", free.parallel)
}

// BenchmarkAdaptive takes a place and hands it back as a success to learn from.
func BenchmarkAdaptive(b *testing.B) {
	ctx := context.Background()
	var ours limit.Adaptive
	safe := adaptivelimiter.NewWithDefaults[int]()
	free := libraries{
		{"surefoot", func() {
			if p, err := ours.Acquire(ctx); err == nil {
				p.Done(limit.Success)
			}
		}},
		{"failsafe-go", func() {
			if p, err := safe.AcquirePermit(ctx); err == nil {
				p.Record()
			}
		}},
	}
	b.Run("free", free.serial)
	b.Run("free-parallel", free.parallel)
}

// BenchmarkPolicies is a no-op inside fallback, retry, budget, breaker and a
// time limit for each try, with the ctx of a request that has a deadline and
// can be canceled. hand-written-loop has two of the five only.
func BenchmarkPolicies(b *testing.B) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	guard := resilience.New("bench", resilience.Policy{Idempotent: true}, observe.Sinks{})
	other := resilience.Fallback(func(context.Context, error) (int, error) { return 0, nil })
	noop := func(context.Context) (int, error) { return 1, nil }
	exec := failsafe.With(
		fallback.NewWithResult(0),
		retrypolicy.NewBuilder[int]().WithBackoff(100*time.Millisecond, 5*time.Second).WithBudget(budget.New()).Build(),
		theirs(),
		timeout.New[int](2*time.Second))
	five := libraries{
		{"surefoot", func() { resilience.Do(ctx, guard, noop, other) }},
		{"failsafe-go", func() {
			exec.WithContext(ctx).GetWithExecution(func(e failsafe.Execution[int]) (int, error) { return noop(e.Context()) })
		}},
		{"hand-written-loop", func() { loop(ctx, noop) }},
	}
	b.Run("five", five.serial)
	b.Run("five-parallel", five.parallel)
}

// loop is what people write without a library: retry and a time limit for each
// try, with neither breaker nor budget nor fallback.
func loop(ctx context.Context, fn func(context.Context) (int, error)) (v int, err error) {
	for n := range 4 {
		v, err = func() (int, error) {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			return fn(ctx)
		}()
		if err == nil || n == 3 || ctx.Err() != nil {
			break
		}
		if ourretry.Wait(ctx, 100*time.Millisecond<<n) != nil {
			break
		}
	}
	return v, err
}
