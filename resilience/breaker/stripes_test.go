package breaker_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/resilience/breaker"
)

// Successes that count without the lock count as those under it: two breakers
// hear of the same outcomes, one by its permits and one by Record.
func TestSuccessesCountWithoutTheLock(t *testing.T) {
	opened := 0
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 5))
			s := breaker.Settings{Interval: time.Duration(1+r.IntN(10)) * time.Second, MinCalls: 3 + r.IntN(20), Timeout: time.Hour}
			fast, slow := breaker.New(s), breaker.New(s)
			bad := r.Float64() * 0.6
			for range 2000 {
				time.Sleep(time.Duration(r.ExpFloat64() * float64(20*time.Millisecond)))
				if r.IntN(500) == 0 {
					s.Interval = time.Duration(1+r.IntN(10)) * time.Second
					fast.Set(s)
					slow.Set(s)
				}
				o := breaker.Success
				switch {
				case r.Float64() < bad:
					o = breaker.Failure
				case r.IntN(10) == 0:
					o = breaker.Answered
				}
				p, err := fast.Allow()
				if err != nil {
					break
				}
				p.Done(o, nil)
				slow.Record(o, nil)
				a, b := fast.State(), slow.State()
				if r.IntN(20) == 0 {
					sa, sb := fast.Snapshot(), slow.Snapshot()
					if sa.Counts != sb.Counts || sa.Consecutive != sb.Consecutive {
						t.Fatalf("seed %d: %+v and %+v", seed, sa, sb)
					}
				}
				if a != b {
					t.Fatalf("seed %d: %v and %v", seed, a, b)
				}
			}
			if fast.State() == breaker.Open {
				opened++
			}
		})
	}
	t.Logf("%d of 300 opened", opened)
	if opened < 50 || opened > 250 {
		t.Error("too little happened")
	}
}

// None is lost, also when everybody counts at once.
func TestSuccessesOfManyGoroutines(t *testing.T) {
	var b breaker.Breaker
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 2000 {
				p, _ := b.Allow()
				o := breaker.Success
				if g == 0 && i%2 == 0 {
					o = breaker.Failure
				}
				p.Done(o, nil)
			}
		})
	}
	wg.Wait()
	if c := b.Snapshot().Counts; c.Successes != 31000 || c.Failures != 1000 {
		t.Errorf("counts %+v", c)
	}
}
