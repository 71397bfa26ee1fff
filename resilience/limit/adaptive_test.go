package limit_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/resilience/limit"
)

func TestAdaptiveDefaultsAreTheDocumentedOnes(t *testing.T) {
	zero := limit.AdaptiveSettings{Start: 64, Min: 1, Max: 10000, Queue: -1, MaxWait: time.Second}
	if got := new(limit.Adaptive).Settings(); got != zero {
		t.Errorf("got %+v, want %+v", got, zero)
	}
	if got := limit.NewAdaptive(limit.AdaptiveSettings{}).Settings(); got != zero {
		t.Errorf("got %+v, want %+v", got, zero)
	}
	if got := (limit.AdaptiveSettings{Start: 500, Min: 9, Max: 5}).OrDefault(); got.Max != 9 || got.Start != 9 {
		t.Errorf("got %+v, want Max and Start 9", got)
	}
}

// target is a service with some workers, which the limit does not know, and
// callers who come as a Poisson process and go away when refused.
type target struct {
	settings limit.AdaptiveSettings
	load     float64 // calls a second
	length   time.Duration
	from     time.Duration // when judging begins
	workers  func(at time.Duration) int
	work     func(at time.Duration, r *rand.Rand) time.Duration
}

func steady(n int) func(time.Duration) int { return func(time.Duration) int { return n } }

func taking(d time.Duration) func(time.Duration, *rand.Rand) time.Duration {
	return func(time.Duration, *rand.Rand) time.Duration { return d }
}

func exponential(d time.Duration) func(time.Duration, *rand.Rand) time.Duration {
	return func(_ time.Duration, r *rand.Rand) time.Duration { return time.Duration(r.ExpFloat64() * float64(d)) }
}

// run returns calls done a second, their mean latency, calls refused, and the
// limit at the end.
func (g target) run(t *testing.T) (rate float64, latency time.Duration, refused, at int) {
	synctest.Test(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(3, 5))
		a := limit.NewAdaptive(g.settings)
		var mu sync.Mutex
		free := sync.NewCond(&mu)
		busy, done, sum := 0, 0, time.Duration(0)
		begin := time.Now()
		var wg sync.WaitGroup
		for next := time.Duration(0); next < g.length; next += time.Duration(rnd.ExpFloat64() / g.load * 1e9) {
			time.Sleep(next - time.Since(begin))
			work := g.work(next, rnd)
			wg.Go(func() {
				came := time.Now()
				trial, err := a.Acquire(context.Background())
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					if next > g.from {
						refused++
					}
					return
				}
				for busy >= g.workers(time.Since(begin)) {
					free.Wait()
				}
				busy++
				mu.Unlock()
				time.Sleep(work)
				mu.Lock()
				busy--
				free.Signal()
				trial.Done(limit.Success)
				if now := time.Since(begin); now > g.from && now < g.length {
					done++
					sum += time.Since(came)
				}
			})
		}
		wg.Wait()
		rate = float64(done) / (g.length - g.from).Seconds()
		latency = sum / time.Duration(max(done, 1))
		at = a.Snapshot().Limit
	})
	return rate, latency, refused, at
}

func TestAdaptiveFindsWhatTheTargetDoesWell(t *testing.T) {
	const ms, s = time.Millisecond, time.Second
	for name, tt := range map[string]struct {
		target
		rate    float64       // at least
		latency time.Duration // at most
	}{
		"start":         {target{load: 2000, length: 12 * s, from: 3 * s, workers: steady(20), work: taking(20 * ms)}, 960, 32 * ms},
		"10x too low":   {target{settings: limit.AdaptiveSettings{Start: 2}, load: 2000, length: 12 * s, from: 3 * s, workers: steady(20), work: taking(20 * ms)}, 950, 32 * ms},
		"10x too high":  {target{settings: limit.AdaptiveSettings{Start: 200}, load: 2000, length: 12 * s, from: 3 * s, workers: steady(20), work: taking(20 * ms)}, 950, 32 * ms},
		"exponential":   {target{load: 2000, length: 20 * s, from: 3 * s, workers: steady(20), work: exponential(20 * ms)}, 900, 40 * ms},
		"one worker":    {target{load: 400, length: 20 * s, from: 5 * s, workers: steady(1), work: taking(5 * ms)}, 165, 20 * ms},
		"a lot of them": {target{load: 8000, length: 8 * s, from: 3 * s, workers: steady(300), work: taking(50 * ms)}, 5600, 75 * ms},
		"fewer midway":  {target{load: 2000, length: 20 * s, from: 13 * s, workers: func(at time.Duration) int { return map[bool]int{true: 20, false: 7}[at < 10*s] }, work: taking(20 * ms)}, 325, 40 * ms},
		"more midway":   {target{load: 4000, length: 20 * s, from: 13 * s, workers: func(at time.Duration) int { return map[bool]int{true: 20, false: 60}[at < 10*s] }, work: taking(20 * ms)}, 2850, 32 * ms},
		"slower midway": {target{load: 2000, length: 20 * s, from: 13 * s, workers: steady(20), work: func(at time.Duration, _ *rand.Rand) time.Duration {
			return map[bool]time.Duration{true: 20 * ms, false: 60 * ms}[at < 10*s]
		}}, 316, 96 * ms},
		"without a knee": {target{load: 5000, length: 20 * s, from: 10 * s, workers: steady(1e9), work: taking(100 * ms)}, 4900, 101 * ms},
		"half load":      {target{load: 500, length: 10 * s, workers: steady(20), work: taking(20 * ms)}, 475, 21 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			rate, latency, refused, at := tt.run(t)
			t.Logf("%.0f/s, %v each, %d refused, limit %d", rate, latency.Round(ms/10), refused, at)
			if rate < tt.rate {
				t.Errorf("%.0f/s, want %.0f", rate, tt.rate)
			}
			if latency > tt.latency {
				t.Errorf("%v each, want at most %v", latency, tt.latency)
			}
		})
	}
}

// A target that only fails for lack of time gets less and less, down to Min;
// failures of other kinds and calls never sent teach nothing.
func TestAdaptiveOutcomes(t *testing.T) {
	for name, tt := range map[string]struct {
		o    limit.Outcome
		less bool
	}{
		"overload": {limit.Overload, true},
		"ignored":  {limit.Ignored, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := limit.NewAdaptive(limit.AdaptiveSettings{Start: 40, Min: 3})
				begin := time.Now()
				for time.Since(begin) < 5*time.Second {
					var held []limit.Trial
					for {
						p, err := a.Acquire(t.Context())
						if err != nil {
							break
						}
						held = append(held, p)
					}
					time.Sleep(10 * time.Millisecond)
					for _, p := range held {
						p.Done(tt.o)
					}
				}
				if got := a.Snapshot().Limit; (got < 10) != tt.less || got < 3 {
					t.Errorf("limit %d", got)
				}
			})
		})
	}
}

// Whatever latencies and outcomes, the limit stays within its bounds, also when
// those change, and no place is lost or won.
func TestAdaptiveProperty(t *testing.T) {
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			a := limit.NewAdaptive(limit.AdaptiveSettings{Start: 5, Min: 2, Max: 30, Queue: 5, MaxWait: 10 * time.Millisecond})
			var wg sync.WaitGroup
			for i := range uint64(60) {
				rnd := rand.New(rand.NewPCG(seed, i))
				wg.Go(func() {
					for range 200 {
						p, err := a.Acquire(t.Context())
						time.Sleep(time.Duration(rnd.ExpFloat64() * rnd.ExpFloat64() * 5e6))
						if err == nil {
							p.Done(limit.Outcome(rnd.IntN(3)))
							if rnd.IntN(4) == 0 {
								p.Done(limit.Success)
							}
						}
						if n := a.Snapshot().Limit; n < 2 || n > 30 {
							t.Errorf("limit %d", n)
							return
						}
					}
				})
			}
			wg.Go(func() {
				for i := range 20 {
					time.Sleep(50 * time.Millisecond)
					a.Set(limit.AdaptiveSettings{Min: 2 + i%3, Max: 30 - i, Queue: i, MaxWait: 10 * time.Millisecond})
				}
			})
			wg.Wait()
			if s := a.Snapshot(); s.Running != 0 || s.Waiting != 0 {
				t.Errorf("snapshot %+v, want nobody", s)
			}
		})
	}
}
