package hedge_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/surefoot-go/surefoot/resilience/hedge"
	"github.com/surefoot-go/surefoot/safe"
)

const ms = time.Millisecond

// step is how one try goes: it takes wait, or ends with its context before.
type step struct {
	wait time.Duration
	err  error
	deaf bool // does not obey its context
}

// plays returns a call whose try n goes as steps[n] says; its value is n.
func plays(steps []step, ended *atomic.Int64) func(context.Context, int) (int, error) {
	return func(ctx context.Context, n int) (int, error) {
		defer ended.Add(1)
		s := steps[n]
		if s.deaf {
			time.Sleep(s.wait)
			return n, s.err
		}
		t := time.NewTimer(s.wait)
		defer t.Stop()
		select {
		case <-t.C:
			return n, s.err
		case <-ctx.Done():
			return n, ctx.Err()
		}
	}
}

var errDown = errors.New("down")

func TestDo(t *testing.T) {
	fixed := hedge.Settings{Delay: 10 * ms, Max: 2}
	for name, tt := range map[string]struct {
		s     hedge.Settings
		steps []step
		final error
		limit time.Duration // of the caller
		value int
		err   error
		took  time.Duration
		made  uint64 // further tries
	}{
		"fast":                           {s: fixed, steps: []step{{wait: 9 * ms}}, took: 9 * ms},
		"slow, the second is faster":     {s: fixed, steps: []step{{wait: time.Hour}, {wait: 3 * ms}}, value: 1, took: 13 * ms, made: 1},
		"slow, the third is faster":      {s: fixed, steps: []step{{wait: time.Hour}, {wait: time.Hour}, {wait: 3 * ms}}, value: 2, took: 23 * ms, made: 2},
		"slow, still the first":          {s: fixed, steps: []step{{wait: 15 * ms}, {wait: time.Hour}}, took: 15 * ms, made: 1},
		"never more than Max":            {s: fixed, steps: []step{{wait: 99 * ms}, {wait: time.Hour}, {wait: time.Hour}}, took: 99 * ms, made: 2},
		"fails before the delay":         {s: fixed, steps: []step{{wait: 5 * ms, err: errDown}}, err: errDown, took: 5 * ms},
		"first success, not first end":   {s: fixed, steps: []step{{wait: 30 * ms}, {wait: 1 * ms, err: errDown}, {wait: time.Hour}}, took: 30 * ms, made: 2},
		"first try fails late":           {s: fixed, steps: []step{{wait: 12 * ms, err: errDown}, {wait: 50 * ms}}, value: 1, took: 60 * ms, made: 1},
		"all fail: the first one's":      {s: fixed, steps: []step{{wait: 12 * ms, err: errDown}, {wait: 50 * ms, err: io.EOF}}, err: errDown, took: 60 * ms, made: 1},
		"final error of the first":       {s: fixed, final: errDown, steps: []step{{wait: 12 * ms, err: errDown}, {wait: time.Hour}}, err: errDown, took: 12 * ms, made: 1},
		"final error of the second":      {s: fixed, final: errDown, steps: []step{{wait: time.Hour}, {wait: ms, err: errDown}}, value: 1, err: errDown, took: 11 * ms, made: 1},
		"a deaf loser is waited for":     {s: fixed, steps: []step{{wait: time.Second, deaf: true}, {wait: 3 * ms}}, value: 1, took: time.Second, made: 1},
		"the caller's time is up":        {s: fixed, limit: 25 * ms, steps: []step{{wait: time.Hour}, {wait: time.Hour}, {wait: time.Hour}}, err: context.DeadlineExceeded, took: 25 * ms, made: 2},
		"no time for a second":           {s: fixed, limit: 10 * ms, steps: []step{{wait: time.Hour}}, err: context.DeadlineExceeded, took: 10 * ms},
		"off":                            {s: hedge.Settings{Delay: 10 * ms, Max: -1}, steps: []step{{wait: time.Second}}, took: time.Second},
		"one more by default":            {s: hedge.Settings{Delay: 10 * ms}, steps: []step{{wait: 99 * ms}, {wait: time.Hour}}, took: 99 * ms, made: 1},
		"at once":                        {s: hedge.Settings{Delay: -1, Max: 2}, steps: []step{{wait: 9 * ms}, {wait: 9 * ms}, {wait: ms}}, value: 2, took: ms, made: 2},
		"nothing known, so no delay yet": {steps: []step{{wait: time.Second}}, took: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if tt.limit > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.limit)
					defer cancel()
				}
				h := hedge.New(tt.s)
				var ended atomic.Int64
				c := hedge.Call[int]{Final: func(err error) bool { return tt.final != nil && err == tt.final }}
				begin := time.Now()
				v, err := hedge.Do(ctx, h, c, plays(tt.steps, &ended))
				if v != tt.value || err != tt.err || time.Since(begin) != tt.took || h.Counts().Further != tt.made {
					t.Errorf("%d, %v after %v with %+v; want %d, %v after %v", v, err, time.Since(begin), h.Counts(), tt.value, tt.err, tt.took)
				}
				if n := ended.Load(); n != int64(tt.made)+1 {
					t.Errorf("%d of %d tries have returned when Do has", n, tt.made+1)
				}
			})
		})
	}
}

// Whatever the tries do: no more of them than Max and the budget allow, the
// answer is the first success if there is one, every value is returned or
// dropped once, every context ends, and Do returns when it should.
func TestProperties(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var won, further uint64
	for range 3000 {
		most, purse := rnd.IntN(5), rnd.IntN(5)
		s := hedge.Settings{Delay: 10 * ms, Max: most}
		if most == 0 {
			s.Max = -1
		}
		steps := make([]step, most+1)
		for i := range steps {
			steps[i].wait = time.Duration(rnd.IntN(60))*ms + time.Duration(i+1)*time.Microsecond // no ties
			if rnd.IntN(2) == 0 {
				steps[i].err = fmt.Errorf("try %d failed", i)
			}
		}
		made := min(most, purse) + 1
		value, want, at := 0, steps[0].err, steps[0].wait
		if steps[0].err != nil && steps[0].wait < 10*ms {
			made = 1
		}
		begun, success := 0, time.Duration(math.MaxInt64)
		for i := range made {
			start := time.Duration(i) * 10 * ms
			if start > success || i > 0 && start > steps[0].wait {
				break
			}
			begun++
			if end := start + steps[i].wait; steps[i].err != nil {
				at = max(at, end)
			} else if end < success {
				value, want, success = i, nil, end
			}
		}
		if want == nil {
			at = success
		} else {
			at = 0
			for i := range begun {
				at = max(at, time.Duration(i)*10*ms+steps[i].wait)
			}
		}
		synctest.Test(t, func(t *testing.T) {
			h := hedge.New(s)
			var ended atomic.Int64
			var mu sync.Mutex
			var ctxs []context.Context
			values := map[int]int{}
			play := plays(steps, &ended)
			var release context.CancelFunc
			left := purse
			begin := time.Now()
			v, err := hedge.Do(t.Context(), h, hedge.Call[int]{
				Take: func() bool { left--; return left >= 0 },
				Drop: func(v int) { mu.Lock(); values[v]++; mu.Unlock() },
				Keep: func(v int, r context.CancelFunc) int { release = r; return v },
			}, func(ctx context.Context, n int) (int, error) {
				mu.Lock()
				ctxs = append(ctxs, ctx)
				mu.Unlock()
				return play(ctx, n)
			})
			values[v]++
			if v != value || (err == nil) != (want == nil) || err != nil && err != want || time.Since(begin) != at {
				t.Fatalf("%+v, purse %d, %+v: got %d, %v after %v, want %d, %v after %v", s, purse, steps, v, err, time.Since(begin), value, want, at)
			}
			if int(ended.Load()) != begun || int(h.Counts().Further) != begun-1 {
				t.Fatalf("%+v, purse %d, %+v: %d tries, want %d", s, purse, steps, ended.Load(), begun)
			}
			for n := range begun {
				if values[n] != 1 {
					t.Fatalf("value of try %d returned or dropped %d times", n, values[n])
				}
			}
			open := 0
			for _, ctx := range ctxs {
				if ctx.Err() == nil {
					open++
				}
			}
			if open != 1 {
				t.Fatalf("%d contexts are open, want the answer's", open)
			}
			release()
			for _, ctx := range ctxs {
				if ctx.Err() == nil {
					t.Fatal("a context is open after release")
				}
			}
			won += h.Counts().Won
			further += h.Counts().Further
		})
	}
	t.Logf("%d further tries, %d of 3000 calls won by one", further, won)
}

func TestPanics(t *testing.T) {
	old := slog.Default()
	defer slog.SetDefault(old)
	var log bytes.Buffer
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	for name, bad := range map[string]int{"first try": 0, "second try": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := hedge.New(hedge.Settings{Delay: 10 * ms})
				v, err := hedge.Do(t.Context(), h, hedge.Call[int]{}, func(ctx context.Context, n int) (int, error) {
					time.Sleep(20 * ms)
					if n == bad {
						panic("boom")
					}
					return n, nil
				})
				if v != 1-bad || err != nil {
					t.Errorf("the other try's answer is lost: %d, %v", v, err)
				}
				_, err = hedge.Do(t.Context(), h, hedge.Call[int]{}, func(context.Context, int) (int, error) { panic("boom") })
				if _, ok := errors.AsType[*safe.Panic](err); !ok {
					t.Errorf("got %v", err)
				}
				v, err = hedge.Do(t.Context(), h, hedge.Call[int]{Take: func() bool { panic("boom") }}, func(context.Context, int) (int, error) {
					time.Sleep(20 * ms)
					return 7, nil
				})
				if v != 7 || err != nil || h.Counts().Refused != 1 {
					t.Errorf("Take panics: %d, %v, %+v", v, err, h.Counts())
				}
			})
		})
	}
}

func TestGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wg sync.WaitGroup
		var ended atomic.Bool
		h := hedge.New(hedge.Settings{Delay: 10 * ms})
		wg.Go(func() {
			hedge.Do(t.Context(), h, hedge.Call[int]{}, func(ctx context.Context, n int) (int, error) {
				if n == 0 {
					time.Sleep(20 * ms)
					runtime.Goexit()
				}
				<-ctx.Done()
				ended.Store(true)
				return 0, ctx.Err()
			})
		})
		wg.Wait()
		if !ended.Load() {
			t.Error("the second try was left behind")
		}
	})
}

// A panic in the caller's own Final goes to the caller, and leaves nobody behind.
func TestFinalPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Int64
		h := hedge.New(hedge.Settings{Delay: 10 * ms})
		defer func() {
			if recover() == nil || ended.Load() != 2 {
				t.Errorf("%d of 2 tries ended", ended.Load())
			}
		}()
		hedge.Do(t.Context(), h, hedge.Call[int]{Final: func(error) bool { panic("boom") }},
			plays([]step{{wait: 20 * ms, err: errDown}, {wait: time.Hour}}, &ended))
	})
}

// The delay by quantile: 5 % more load, and the tail is gone.
func TestQuantile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(3, 4))
		var h hedge.Hedge
		const calls = 20000
		var plain, hedged []time.Duration
		for range calls {
			lat := func() time.Duration { // 10 ms, and every fiftieth a second
				if rnd.IntN(50) == 0 {
					return time.Second
				}
				return time.Duration(5+rnd.ExpFloat64()*5) * ms
			}
			steps := []step{{wait: lat()}, {wait: lat()}}
			plain = append(plain, steps[0].wait)
			begin := time.Now()
			var ended atomic.Int64
			if _, err := hedge.Do(t.Context(), &h, hedge.Call[int]{}, plays(steps, &ended)); err != nil {
				t.Fatal(err)
			}
			hedged = append(hedged, time.Since(begin))
		}
		slices.Sort(plain)
		slices.Sort(hedged)
		share := float64(h.Counts().Further) / calls
		d, _ := h.Delay()
		t.Logf("p99 %v -> %v, p99.9 %v -> %v, further tries %.1f %%, delay %v (p95 %v)", plain[calls*99/100], hedged[calls*99/100],
			plain[calls*999/1000], hedged[calls*999/1000], 100*share, d, plain[calls*95/100])
		if share < 0.03 || share > 0.065 || hedged[calls*99/100] > 100*ms {
			t.Error("want about 5 % further tries and a p99 under 100ms")
		}
	})
}

// Against a sort of the same numbers: never below, and at most a sixteenth above.
func TestQuantileIsExactToASixteenth(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		n := 100 + rnd.IntN(924)
		h := hedge.New(hedge.Settings{Quantile: 0.01 + 0.98*rnd.Float64(), Floor: -1})
		var all []time.Duration
		for range n {
			d := time.Duration(math.Exp(rnd.Float64()*25)) * time.Microsecond / 100
			all = append(all, d)
			h.Observe(d)
		}
		h.Set(h.Settings())
		slices.Sort(all)
		exact := all[int(math.Ceil(h.Settings().Quantile*float64(n)))-1]
		got, ok := h.Delay()
		if !ok || got < exact || float64(got-2*time.Microsecond) > float64(exact)*(1+1.0/16) {
			t.Fatalf("quantile %.3f of %d: %v, exactly %v", h.Settings().Quantile, n, got, exact)
		}
	}
}

func TestForgetsAndFloors(t *testing.T) {
	var h hedge.Hedge
	feed := func(n int, d time.Duration) {
		for range n {
			h.Observe(d)
		}
	}
	feed(99, time.Second)
	if _, ok := h.Delay(); ok {
		t.Error("99 latencies are too few")
	}
	feed(1, time.Second)
	if d, ok := h.Delay(); !ok || d < time.Second || d > 1063*ms {
		t.Errorf("delay %v", d)
	}
	feed(2048, time.Microsecond)
	if d, _ := h.Delay(); d != ms {
		t.Errorf("delay %v, want the floor", d)
	}
	feed(3000, 30*time.Hour)
	feed(100, -1)
	if d, _ := h.Delay(); d < 19*time.Hour || d > 20*time.Hour {
		t.Errorf("delay %v, want the longest there is", d)
	}
	h.Set(hedge.Settings{Delay: 5 * ms})
	if d, ok := h.Delay(); !ok || d != 5*ms {
		t.Errorf("fixed delay %v", d)
	}
	h.Set(hedge.Settings{MinCalls: 1 << 40})
	if _, ok := h.Delay(); !ok {
		t.Error("more latencies wanted than are remembered: must not mean never")
	}
}

func TestDefaultsAreTheDocumentedOnes(t *testing.T) {
	want := hedge.Settings{Max: 1, Quantile: 0.95, Floor: ms, MinCalls: 100}
	for _, s := range []hedge.Settings{{}, {Quantile: math.NaN()}, {Quantile: 1}, {MinCalls: -1}} {
		if got := s.OrDefault(); got != want {
			t.Errorf("%+v means %+v, want %+v", s, got, want)
		}
	}
	if got := new(hedge.Hedge).Settings(); got != want {
		t.Errorf("zero Hedge follows %+v", got)
	}
	if n := unsafe.Sizeof(hedge.Hedge{}); n > 3<<10 {
		t.Errorf("%d bytes, the doc says less than 3 KiB", n)
	}
}

func TestConcurrentUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hedge.New(hedge.Settings{MinCalls: 10})
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				for n := range 100 {
					var ended atomic.Int64
					slow := time.Duration(1+(i*n)%40) * ms
					hedge.Do(t.Context(), h, hedge.Call[int]{}, plays([]step{{wait: slow}, {wait: 5 * ms}}, &ended))
					if n == 50 {
						h.Set(hedge.Settings{MinCalls: 10, Max: i%3 - 1})
					}
				}
			})
		}
		wg.Wait()
	})
}

func fast(context.Context, int) (int, error) { return 1, nil }

func TestAllocations(t *testing.T) {
	ctx := t.Context()
	var learning hedge.Hedge
	armed := hedge.New(hedge.Settings{Delay: time.Hour})
	for _, tt := range []struct {
		h    *hedge.Hedge
		want float64
	}{{&learning, 0}, {hedge.New(hedge.Settings{Max: -1}), 0}, {armed, 5}} {
		if got := testing.AllocsPerRun(90, func() {
			hedge.Do(ctx, tt.h, hedge.Call[int]{}, fast)
		}); got > tt.want {
			t.Errorf("%+v: %v allocations, want %v", tt.h.Settings(), got, tt.want)
		}
	}
	before := runtime.NumGoroutine()
	for range 1000 {
		hedge.Do(ctx, armed, hedge.Call[int]{}, func(context.Context, int) (int, error) {
			if n := runtime.NumGoroutine(); n > before {
				t.Fatalf("%d goroutines beside a fast try", n-before)
			}
			return 1, nil
		})
	}
}

func BenchmarkFast(b *testing.B) {
	ctx := b.Context()
	for name, h := range map[string]*hedge.Hedge{
		"off": hedge.New(hedge.Settings{Max: -1}), "armed": hedge.New(hedge.Settings{Delay: time.Hour}),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				hedge.Do(ctx, h, hedge.Call[int]{}, fast)
			}
		})
	}
}

func BenchmarkObserve(b *testing.B) {
	var h hedge.Hedge
	for i := 0; b.Loop(); i++ {
		h.Observe(time.Duration(i%1000) * ms)
	}
}
