package main

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	failsafe "github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/hedgepolicy"

	"github.com/surefoot-go/surefoot/resilience/hedge"
	"github.com/surefoot-go/surefoot/resilience/retry"
)

// tails is one story of hedging: 200 calls a second to a target with any number
// of places, whose work takes 5 to 15ms, and for one call in 50 20 times that.
// In the middle third of the story, if it ails, all work takes 10 times as long.
type tails struct {
	ails   bool
	length time.Duration
}

var tailStories = []struct {
	name string
	tails
}{
	{caseTail, tails{length: 60 * time.Second}},
	{caseSick, tails{ails: true, length: 60 * time.Second}},
}

// asker makes one call.
type asker func(ctx context.Context, a attempt)

func alone() asker { return func(ctx context.Context, a attempt) { _ = a(ctx) } }

// hedged is ours on a retry budget, as in a Guard.
func hedged() asker {
	var h hedge.Hedge
	var b retry.Budget
	return func(ctx context.Context, a attempt) {
		b.Call(time.Now(), retry.Policy{})
		_, _ = hedge.Do(ctx, &h, hedge.Call[struct{}]{Take: func() bool { return b.Take(time.Now(), retry.Policy{}) }},
			func(ctx context.Context, _ int) (struct{}, error) { return struct{}{}, a(ctx) })
	}
}

func failsafeHedge(p hedgepolicy.HedgePolicy[any]) asker {
	x := failsafe.With(failsafe.Policy[any](p))
	return func(ctx context.Context, a attempt) {
		_ = x.WithContext(ctx).RunWithExecution(func(e failsafe.Execution[any]) error { return a(e.Context()) })
	}
}

var askers = []struct {
	name string
	open func() asker
}{
	{self, hedged},
	{"failsafe-go, after the 95th percentile", func() asker { return failsafeHedge(hedgepolicy.NewWithDelayQuantile[any](0.95, 1000, 100)) }},
	{"failsafe-go, after 15ms", func() asker { return failsafeHedge(hedgepolicy.NewWithDelay[any](15 * time.Millisecond)) }},
	{"none", alone},
}

// tell runs in a bubble.
func (s tails) tell(t *testing.T, seed uint64, open func() asker) (f figure) {
	t.Helper()
	f = figure{Seed: seed, Values: map[string]float64{}}
	bubble(t, func() {
		r := rand.New(rand.NewPCG(seed, 17))
		ask := open()
		var mu sync.Mutex
		var took []time.Duration
		tries := 0
		begin := time.Now()
		try := func(ctx context.Context) error {
			mu.Lock()
			tries++
			long := 5*time.Millisecond + time.Duration(r.Int64N(int64(10*time.Millisecond)))
			if r.IntN(50) == 0 {
				long *= 20
			}
			mu.Unlock()
			if at := time.Since(begin); s.ails && at > s.length/3 && at < s.length*2/3 {
				long *= 10
			}
			t := time.NewTimer(long)
			defer t.Stop()
			select {
			case <-t.C:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		arrivals := rand.New(rand.NewPCG(seed, 19))
		var wg sync.WaitGroup
		for next := time.Duration(0); ; {
			next += time.Duration(arrivals.ExpFloat64() / 200 * 1e9)
			if next > s.length {
				break
			}
			time.Sleep(next - time.Since(begin))
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				at := time.Now()
				ask(ctx, try)
				mu.Lock()
				took = append(took, time.Since(at))
				mu.Unlock()
			})
		}
		wg.Wait()
		slices.Sort(took)
		n := len(took)
		for name, at := range map[string]int{"p50": n / 2, "p95": n * 95 / 100, "p99": n * 99 / 100, "p99.9": n * 999 / 1000} {
			f.Values[name] = float64(took[at]) / 1e6
		}
		f.Values["attempts"] = float64(tries) / float64(n)
	})
	return f
}
