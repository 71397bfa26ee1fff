package retry_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/resilience/retry"
)

func TestBudget(t *testing.T) {
	t0 := time.Unix(1000, 0)
	var p retry.Policy
	var b retry.Budget
	take := func(now time.Time) (n int) {
		for b.Take(now, p) {
			n++
		}
		return n
	}
	if got := take(t0); got != 10 {
		t.Errorf("an idle target gets %d further tries, want the reserve of 10", got)
	}
	for range 1000 {
		b.Call(t0, p)
	}
	if got := b.Left(t0, p); got != 100 {
		t.Errorf("Left = %d, want 100", got)
	}
	if got := take(t0); got != 100 {
		t.Errorf("1000 calls pay for %d further tries, want 100", got)
	}
	if got := take(t0.Add(9 * time.Second)); got != 0 {
		t.Errorf("%d further tries within the window, want 0", got)
	}
	if got := take(t0.Add(10 * time.Second)); got != 10 {
		t.Errorf("%d further tries a window later, want 10", got)
	}
	if !b.Take(t0, retry.Policy{Budget: -1}) || b.Left(t0, retry.Policy{Budget: -1}) >= 0 {
		t.Error("a negative Budget is a bound")
	}
	if b.Take(t0.Add(time.Hour), retry.Policy{Reserve: -1}) {
		t.Error("a negative Reserve grants a try")
	}
}

// Whatever the order and times of calls: the further tries granted in any span
// of nine tenths of a window stay within the reserve plus the share of the
// calls in the window before them.
func TestBudgetIsNeverOverdrawn(t *testing.T) {
	type event struct {
		at  time.Duration
		try bool
	}
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 7))
		p := retry.Policy{Budget: r.Float64(), Reserve: r.IntN(20) + 1, Window: time.Duration(r.Int64N(int64(20*time.Second))) + time.Millisecond}
		t0 := time.Unix(1000, 0)
		var b retry.Budget
		var log []event
		var now time.Duration
		for range 3000 {
			now += time.Duration(r.ExpFloat64() * float64(p.Window) / 300)
			if r.IntN(3) == 0 {
				b.Call(t0.Add(now), p)
				log = append(log, event{now, false})
			} else if b.Take(t0.Add(now), p) {
				log = append(log, event{now, true})
			}
		}
		span := p.Window * 9 / 10
		for i, last := range log {
			if !last.try {
				continue
			}
			tries, calls := 0, 0
			for j := i; j >= 0 && last.at-log[j].at <= p.Window; j-- {
				switch {
				case !log[j].try:
					calls++
				case last.at-log[j].at < span:
					tries++
				}
			}
			if limit := float64(p.Reserve) + p.Budget*float64(calls); float64(tries) > limit+1e-9 {
				t.Fatalf("seed %d: %d further tries within %v, limit %.1f", seed, tries, span, limit)
			}
		}
	}
}

// An outage of a target under 100 calls a second costs it a tenth more load,
// not three times more.
func TestBudgetBoundsAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b retry.Budget
		down := errors.New("down")
		const calls = 6000
		var tries atomic.Int64
		var all sync.WaitGroup
		for range calls {
			all.Go(func() {
				retry.Do(t.Context(), retry.Policy{}, &b, func(context.Context, int) (int, error) { tries.Add(1); return 0, down })
			})
			time.Sleep(10 * time.Millisecond)
		}
		all.Wait()
		amplification := float64(tries.Load()) / calls
		t.Logf("amplification %.3f", amplification)
		if amplification > 1.12 {
			t.Errorf("an outage is amplified %.3f times, want at most 1.12", amplification)
		}
	})
}

func TestBudgetAllocatesNothing(t *testing.T) {
	var b retry.Budget
	now := time.Now()
	if n := testing.AllocsPerRun(100, func() {
		b.Call(now, retry.Policy{})
		b.Take(now, retry.Policy{})
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
