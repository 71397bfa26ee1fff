package peers

import (
	"context"
	"slices"
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

// alternating is serial for costs that are compared by their difference: the
// time of a call is the median of 100 short bursts, each library's turn coming
// in every one, so that a busy moment meets all alike. Garbage collection falls
// outside most bursts; allocs and B say what it costs.
func (l libraries) alternating(b *testing.B, burst int) {
	took := make([][]float64, len(l))
	for range 100 {
		for i, lib := range l {
			began := time.Now()
			for range burst {
				lib.call()
			}
			took[i] = append(took[i], float64(time.Since(began).Nanoseconds())/float64(burst))
		}
	}
	for i, lib := range l {
		slices.Sort(took[i])
		b.Run(lib.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				lib.call()
			}
			b.ReportMetric(took[i][len(took[i])/2], "ns/op")
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

// BenchmarkPolicies is a no-op inside five policies, the same for all: fallback,
// retry, breaker, bulkhead and a time limit for each try, with the ctx of a
// request that has a deadline and can be canceled. Ours and failsafe-go's have
// a retry budget as well, and ours a time limit over all tries. In five fn
// never asks for ctx's Done channel, in five-done it does.
func BenchmarkPolicies(b *testing.B) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	asks := func(ctx context.Context) (int, error) {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		default:
			return 1, nil
		}
	}
	for _, c := range []struct {
		name string
		fn   func(context.Context) (int, error)
	}{{"five", func(context.Context) (int, error) { return 1, nil }}, {"five-done", asks}} {
		guard := resilience.New("bench", resilience.Policy{Idempotent: true, Bulkhead: limit.BulkheadSettings{Max: 100}}, observe.Sinks{})
		other := resilience.Fallback(func(context.Context, error) (int, error) { return 0, nil })
		exec := failsafe.With(
			fallback.NewWithResult(0),
			retrypolicy.NewBuilder[int]().WithBackoff(100*time.Millisecond, 5*time.Second).WithBudget(budget.New()).Build(),
			theirs(),
			bulkhead.New[int](100),
			timeout.New[int](2*time.Second))
		hand := newParts()
		five := libraries{
			{"surefoot", func() { resilience.Do(ctx, guard, c.fn, other) }},
			{"failsafe-go", func() {
				exec.WithContext(ctx).GetWithExecution(func(e failsafe.Execution[int]) (int, error) { return c.fn(e.Context()) })
			}},
			{"by-hand", func() { hand.call(ctx, c.fn) }},
		}
		b.Run(c.name, five.serial)
		b.Run(c.name+"-parallel", five.parallel)
	}
}

// parts are what people put together without one library: the best known
// library for each policy.
type parts struct {
	breaker *gobreaker.CircuitBreaker[int]
	places  *semaphore.Weighted
}

func newParts() *parts {
	return &parts{
		gobreaker.NewCircuitBreaker[int](gobreaker.Settings{Interval: 10 * time.Second, BucketPeriod: time.Second}),
		semaphore.NewWeighted(100),
	}
}

func (p *parts) call(ctx context.Context, fn func(context.Context) (int, error)) (int, error) {
	v, err := retry.DoWithData(func() (int, error) {
		return p.breaker.Execute(func() (int, error) {
			if err := p.places.Acquire(ctx, 1); err != nil {
				return 0, err
			}
			defer p.places.Release(1)
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			return fn(ctx)
		})
	}, retry.Context(ctx), retry.Attempts(4), retry.MaxDelay(5*time.Second))
	if err != nil {
		return 0, nil // the fallback
	}
	return v, nil
}

// BenchmarkDeadline is a context with a deadline that nobody waits for, and one
// whose Done is asked for.
func BenchmarkDeadline(b *testing.B) {
	parent, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	at := time.Now().Add(time.Minute)
	for _, c := range []struct {
		name string
		use  func(context.Context)
	}{{"unused", func(context.Context) {}}, {"done", func(ctx context.Context) { ctx.Done() }}} {
		b.Run(c.name, libraries{
			{"surefoot", func() {
				ctx, cancel := resilience.WithDeadline(parent, at)
				c.use(ctx)
				cancel()
			}},
			{"context", func() {
				ctx, cancel := context.WithDeadline(parent, at)
				c.use(ctx)
				cancel()
			}},
		}.serial)
	}
}
