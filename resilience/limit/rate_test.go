package limit_test

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/resilience/limit"
)

func TestRateDefaultsAreTheDocumentedOnes(t *testing.T) {
	zero := limit.RateSettings{PerSecond: -1, Burst: 1, MaxWait: time.Second}
	for _, s := range []limit.RateSettings{
		new(limit.Rate).Settings(), limit.NewRate(limit.RateSettings{}).Settings(),
		limit.RateSettings{PerSecond: math.NaN(), Burst: -3}.OrDefault(),
		limit.RateSettings{PerSecond: math.Inf(1)}.OrDefault(),
	} {
		if s != zero {
			t.Errorf("got %+v, want %+v", s, zero)
		}
	}
}

func TestRate(t *testing.T) {
	const ms = time.Millisecond
	for name, tt := range map[string]struct {
		s    limit.RateSettings
		at   []time.Duration // calls
		want string          // y or n for each
	}{
		"no limit":                {limit.RateSettings{}, []time.Duration{0, 0, 0, 0}, "yyyy"},
		"smooth":                  {limit.RateSettings{PerSecond: 10}, []time.Duration{0, 0, 99 * ms, 100 * ms, 150 * ms, 200 * ms}, "ynnyny"},
		"smooth after a pause":    {limit.RateSettings{PerSecond: 10}, []time.Duration{0, 5000 * ms, 5000 * ms, 5100 * ms}, "yyny"},
		"a burst, then the rate":  {limit.RateSettings{PerSecond: 10, Burst: 3}, []time.Duration{0, 0, 0, 0, 100 * ms, 100 * ms}, "yyynyn"},
		"a bucket holds no more":  {limit.RateSettings{PerSecond: 10, Burst: 2}, []time.Duration{9000 * ms, 9000 * ms, 9000 * ms}, "yyn"},
		"it fills step by step":   {limit.RateSettings{PerSecond: 10, Burst: 3}, []time.Duration{0, 0, 0, 200 * ms, 200 * ms, 200 * ms}, "yyyyyn"},
		"a refusal costs nothing": {limit.RateSettings{PerSecond: 1}, []time.Duration{0, 10 * ms, 20 * ms, 900 * ms, 1000 * ms}, "ynnny"},
		"less than one a second":  {limit.RateSettings{PerSecond: 0.1}, []time.Duration{0, 9999 * ms, 10000 * ms}, "yny"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, begin, got := limit.NewRate(tt.s), time.Now(), ""
				for _, at := range tt.at {
					time.Sleep(at - time.Since(begin))
					if r.Allow() {
						got += "y"
					} else {
						got += "n"
					}
				}
				if got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
			})
		})
	}
}

// In any stretch of time T, whatever the callers do, at most Burst + T*rate
// calls start; and callers who always ask get nearly all of them.
func TestRateNeverStartsMoreThanItMay(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			s := limit.RateSettings{PerSecond: math.Exp(rnd.Float64()*12 - 1), Burst: 1 + rnd.IntN(20)}
			r := limit.NewRate(s)
			var started []time.Time
			for range 3000 {
				time.Sleep(time.Duration(rnd.ExpFloat64() / s.PerSecond * 5e8))
				if r.Allow() {
					started = append(started, time.Now())
				}
			}
			for i := range started {
				for j := i; j < len(started); j += 7 {
					most := float64(s.Burst) + started[j].Sub(started[i]).Seconds()*s.PerSecond*1.001 + 0.001
					if n := float64(j - i + 1); n > most {
						t.Fatalf("%+v: %v calls between %d and %d, want at most %.2f", s, n, i, j, most)
					}
				}
			}
		})
	}
}

func TestRateWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := limit.NewRate(limit.RateSettings{PerSecond: 10, Burst: 2})
		begin := time.Now()
		var order []time.Duration
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if err := r.Wait(t.Context()); err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, time.Since(begin).Round(time.Millisecond))
				mu.Unlock()
			})
		}
		wg.Wait()
		for i, at := range order {
			if want := time.Duration(max(i-1, 0)) * 100 * time.Millisecond; at != want {
				t.Errorf("call %d started at %v, want %v", i, at, want)
			}
		}
	})
}

func TestRateWaitGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := limit.NewRate(limit.RateSettings{PerSecond: 1, MaxWait: 3 * time.Second})
		r.Allow()
		begin := time.Now()
		short, cancel := context.WithTimeout(t.Context(), 900*time.Millisecond)
		defer cancel()
		if err := r.Wait(short); err != limit.ErrLimit || time.Since(begin) != 0 {
			t.Errorf("too little time left: %v after %v, want ErrLimit at once", err, time.Since(begin))
		}
		ended, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		if err := r.Wait(ended); err != context.Canceled {
			t.Errorf("canceled: %v", err)
		}
		if d := r.Delay(); d != 900*time.Millisecond {
			t.Errorf("its turn was not given back: next in %v, want 900ms", d)
		}
		if err := r.Wait(ended); err != context.Canceled {
			t.Errorf("canceled before: %v", err)
		}
		for range 3 {
			r.Reserve(time.Hour)
		}
		if err := r.Wait(t.Context()); err != limit.ErrLimit {
			t.Errorf("beyond MaxWait: %v, want ErrLimit", err)
		}
	})
}

func TestRateReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := limit.NewRate(limit.RateSettings{PerSecond: 10})
		a, _ := r.Reserve(0)
		b, ok := r.Reserve(time.Second)
		if a.Delay != 0 || !ok || b.Delay != 100*time.Millisecond {
			t.Errorf("got %v and %v, want now and in 100ms", a.Delay, b.Delay)
		}
		if _, ok := r.Reserve(199 * time.Millisecond); ok {
			t.Error("got a reservation that is too late")
		}
		if a.Cancel() || !b.Cancel() || b.Cancel() {
			t.Error("the last reservation, and only it, may be canceled, and once")
		}
		if d := r.Delay(); d != 100*time.Millisecond {
			t.Errorf("next in %v, want 100ms", d)
		}
		if v, ok := new(limit.Rate).Reserve(0); !ok || v.Delay != 0 || v.Cancel() {
			t.Error("without a limit a reservation is for now")
		}
	})
}

func TestRateSetWhileInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := limit.NewRate(limit.RateSettings{PerSecond: 1})
		r.Allow()
		r.Set(limit.RateSettings{PerSecond: 100})
		if r.Allow() {
			t.Error("what was used was forgotten")
		}
		time.Sleep(time.Second)
		r.Allow()
		if d := r.Delay(); d != 10*time.Millisecond {
			t.Errorf("next in %v, want 10ms", d)
		}
		r.Set(limit.RateSettings{})
		if !r.Allow() || !r.Allow() {
			t.Error("the limit was not lifted")
		}
	})
}

// Many callers at once start exactly as many calls as one may, and those who
// wait start equally many.
func TestRateIsFairInParallel(t *testing.T) {
	r := limit.NewRate(limit.RateSettings{PerSecond: 0.01, Burst: 40000})
	var got [8]int
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range got {
		wg.Go(func() {
			<-start
			for range 10000 {
				if r.Allow() {
					got[i]++
				}
			}
		})
	}
	close(start)
	wg.Wait()
	sum := 0
	for _, n := range got {
		sum += n
	}
	if sum != 40000 {
		t.Errorf("%d calls started, want 40000", sum)
	}

	synctest.Test(t, func(t *testing.T) {
		r := limit.NewRate(limit.RateSettings{PerSecond: 1000})
		var got [10]int
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() {
				for r.Wait(ctx) == nil {
					got[i]++
				}
			})
		}
		wg.Wait()
		for _, n := range got {
			if n < 990 || n > 1010 {
				t.Errorf("of 10000 calls the ten callers made %v, want 1000 each", got)
				break
			}
		}
	})
}

func TestRateAllocatesNothing(t *testing.T) {
	r := limit.NewRate(limit.RateSettings{PerSecond: 1e9, Burst: 1 << 30})
	ctx := context.Background()
	if n := testing.AllocsPerRun(1000, func() {
		r.Allow()
		r.Delay()
		r.Wait(ctx)
		r.Reserve(0)
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
