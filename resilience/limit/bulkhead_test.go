package limit_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/resilience/limit"
)

func TestBulkheadDefaultsAreTheDocumentedOnes(t *testing.T) {
	zero := limit.BulkheadSettings{Max: -1, Queue: -1, MaxWait: time.Second}
	if got := new(limit.Bulkhead).Settings(); got != zero {
		t.Errorf("got %+v, want %+v", got, zero)
	}
	if got := limit.NewBulkhead(limit.BulkheadSettings{}).Settings(); got != zero {
		t.Errorf("got %+v, want %+v", got, zero)
	}
}

func TestBulkheadWithoutLimit(t *testing.T) {
	var b limit.Bulkhead
	for range 1000 {
		p, err := b.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p.Release()
	}
}

func TestBulkheadRefusesAtOnceWithoutQueue(t *testing.T) {
	b := limit.NewBulkhead(limit.BulkheadSettings{Max: 200})
	var ps []limit.Permit
	for range 200 {
		p, err := b.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	if _, err := b.Acquire(t.Context()); err != limit.ErrLimit {
		t.Fatalf("got %v, want ErrLimit", err)
	}
	if s := b.Snapshot(); s.Running != 200 || s.Refused != 1 {
		t.Errorf("snapshot %+v", s)
	}
	for _, p := range ps {
		if !p.Release() {
			t.Fatal("a first release was refused")
		}
	}
	for _, p := range ps {
		if p.Release() {
			t.Fatal("a second release was taken")
		}
	}
	if s := b.Snapshot(); s.Running != 0 || s.Strays != 200 {
		t.Errorf("snapshot %+v", s)
	}
}

// A permit released twice must not free the place that another call has since.
func TestBulkheadStrayReleaseFreesNobodysPlace(t *testing.T) {
	b := limit.NewBulkhead(limit.BulkheadSettings{Max: 1})
	old, _ := b.Acquire(t.Context())
	old.Release()
	held, _ := b.Acquire(t.Context())
	old.Release()
	if _, err := b.Acquire(t.Context()); err != limit.ErrLimit {
		t.Fatalf("a stray release freed a place: %v", err)
	}
	if !held.Release() {
		t.Error("the holder's release was refused")
	}
}

func TestBulkheadQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := limit.NewBulkhead(limit.BulkheadSettings{Max: 1, Queue: 3, MaxWait: time.Second})
		first, _ := b.Acquire(t.Context())
		var order []int
		ended, cancel := context.WithCancel(t.Context())
		errs := make([]error, 5)
		var wg sync.WaitGroup
		for i := range 5 {
			ctx := t.Context()
			if i == 1 {
				ctx = ended
			}
			wg.Go(func() {
				var p limit.Permit
				p, errs[i] = b.Acquire(ctx)
				if errs[i] == nil {
					order = append(order, i)
					time.Sleep(100 * time.Millisecond)
					p.Release()
				}
			})
			synctest.Wait()
		}
		if s := b.Snapshot(); s.Waiting != 3 || s.Refused != 2 {
			t.Errorf("snapshot %+v, want 3 waiting and 2 refused", s)
		}
		cancel()
		synctest.Wait()
		first.Release()
		wg.Wait()
		if want := []int{0, 2}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
		if errs[1] != context.Canceled || errs[3] != limit.ErrLimit || errs[4] != limit.ErrLimit {
			t.Errorf("errors %v", errs)
		}

		held, _ := b.Acquire(t.Context())
		begin := time.Now()
		if _, err := b.Acquire(t.Context()); err != limit.ErrLimit || time.Since(begin) != time.Second {
			t.Errorf("got %v after %v, want ErrLimit after 1s", err, time.Since(begin))
		}
		held.Release()
		if s := b.Snapshot(); s.Running != 0 || s.Waiting != 0 {
			t.Errorf("snapshot %+v, want nobody", s)
		}
	})
}

func TestBulkheadSetWhileInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := limit.NewBulkhead(limit.BulkheadSettings{Max: 4, Queue: 10, MaxWait: time.Minute})
		var ps []limit.Permit
		for range 4 {
			p, _ := b.Acquire(t.Context())
			ps = append(ps, p)
		}
		var in atomic.Int32
		for range 6 {
			go func() {
				if _, err := b.Acquire(t.Context()); err == nil {
					in.Add(1)
				}
			}()
		}
		step := func(what string, want int32) {
			t.Helper()
			synctest.Wait()
			if got := in.Load(); got != want {
				t.Errorf("%s: %d of those who waited are in, want %d", what, got, want)
			}
		}
		step("full", 0)
		b.Set(limit.BulkheadSettings{Max: 2, Queue: 10, MaxWait: time.Minute})
		ps[0].Release()
		ps[1].Release()
		step("two places fewer", 0)
		ps[2].Release()
		step("one freed", 1)
		b.Set(limit.BulkheadSettings{Max: 5, Queue: 10, MaxWait: time.Minute})
		step("three places more", 4)
		b.Set(limit.BulkheadSettings{})
		step("no limit", 6)
	})
}

func TestPermitsCannotLeak(t *testing.T) {
	b := limit.NewBulkhead(limit.BulkheadSettings{Max: 2})
	a := limit.NewAdaptive(limit.AdaptiveSettings{Start: 2, Max: 2})
	for name, do := range map[string]func(context.Context, func() error) error{"bulkhead": b.Do, "adaptive": a.Do} {
		for what, end := range map[string]func() error{
			"panic":  func() error { panic("boom") },
			"goexit": func() error { runtime.Goexit(); return nil },
			"error":  func() error { return errors.New("no") },
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				for range 10 { // more often than there are places
					done := make(chan struct{})
					go func() {
						defer close(done)
						defer func() { _ = recover() }()
						_ = do(context.Background(), end)
					}()
					<-done
				}
				if err := do(t.Context(), func() error { return nil }); err != nil {
					t.Errorf("a place was lost: %v", err)
				}
			})
		}
	}
}

// Callers that come, wait, give up, release twice, and settings that change: at
// no time are there more calls than the highest limit, and in the end no place
// is lost and none was won.
func TestBulkheadProperty(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			const most = 12
			b := limit.NewBulkhead(limit.BulkheadSettings{Max: 4, Queue: 20, MaxWait: 5 * time.Millisecond})
			var running, peak atomic.Int32
			var wg sync.WaitGroup
			for i := range uint64(40) {
				rnd := rand.New(rand.NewPCG(seed, i))
				wg.Go(func() {
					for range 200 {
						time.Sleep(time.Duration(rnd.ExpFloat64() * 1e6))
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rnd.ExpFloat64()*5e6))
						p, err := b.Acquire(ctx)
						if err == nil {
							if n := running.Add(1); n > peak.Load() {
								peak.Store(n)
							}
							time.Sleep(time.Duration(rnd.ExpFloat64() * 5e5))
							running.Add(-1)
							p.Release()
							if rnd.IntN(4) == 0 {
								p.Release()
							}
						}
						cancel()
					}
				})
			}
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(seed, 99))
				for range 100 {
					time.Sleep(time.Duration(rnd.ExpFloat64() * 3e6))
					b.Set(limit.BulkheadSettings{Max: 1 + rnd.IntN(most), Queue: rnd.IntN(20), MaxWait: 5 * time.Millisecond})
				}
			})
			wg.Wait()
			if peak.Load() > most {
				t.Errorf("%d calls at once, want at most %d", peak.Load(), most)
			}
			b.Set(limit.BulkheadSettings{Max: 7})
			if s := b.Snapshot(); s.Running != 0 || s.Waiting != 0 {
				t.Errorf("snapshot %+v, want nobody", s)
			}
			for i := range 8 {
				if _, err := b.Acquire(t.Context()); (err == nil) != (i < 7) {
					t.Errorf("place %d of 7: %v", i+1, err)
				}
			}
		})
	}
}

// The same on real threads, for the race detector and the free list.
func TestBulkheadOnRealThreads(t *testing.T) {
	b := limit.NewBulkhead(limit.BulkheadSettings{Max: 3, Queue: 2, MaxWait: time.Millisecond})
	var running, over atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5000 {
				p, err := b.Acquire(context.Background())
				if err != nil {
					continue
				}
				if running.Add(1) > 3 {
					over.Add(1)
				}
				running.Add(-1)
				p.Release()
				p.Release()
			}
		})
	}
	wg.Wait()
	if over.Load() > 0 {
		t.Errorf("%d times more than 3 calls at once", over.Load())
	}
	if s := b.Snapshot(); s.Running != 0 || s.Waiting != 0 {
		t.Errorf("snapshot %+v, want nobody", s)
	}
}

func TestConcurrencyLimitsAllocateNothing(t *testing.T) {
	b := limit.NewBulkhead(limit.BulkheadSettings{Max: 2})
	a := limit.NewAdaptive(limit.AdaptiveSettings{})
	ctx := context.Background()
	for name, call := range map[string]func(){
		"bulkhead": func() {
			p, _ := b.Acquire(ctx)
			p.Release()
		},
		"bulkhead do": func() { _ = b.Do(ctx, func() error { return nil }) },
		"adaptive": func() {
			p, _ := a.Acquire(ctx)
			p.Done(limit.Success)
		},
		"adaptive do": func() { _ = a.Do(ctx, func() error { return nil }) },
	} {
		if n := testing.AllocsPerRun(1000, call); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
}

// As many callers as places: none is ever refused, wherever the free place is.
func TestBulkheadRefusesOnlyWhenFull(t *testing.T) {
	for _, n := range []int{1, 2, 5, 9, 40} {
		b := limit.NewBulkhead(limit.BulkheadSettings{Max: n})
		var refused atomic.Int64
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				for range 20000 / n {
					p, err := b.Acquire(t.Context())
					if err != nil {
						refused.Add(1)
						continue
					}
					runtime.Gosched()
					p.Release()
				}
			})
		}
		wg.Wait()
		if got := b.Snapshot(); refused.Load() != 0 || got != (limit.BulkheadSnapshot{}) {
			t.Errorf("%d callers of %d places: %d refused, %+v", n, n, refused.Load(), got)
		}
	}
}

func TestTry(t *testing.T) {
	var free limit.Bulkhead
	if p, ok := free.Try(); !ok || !p.Release() {
		t.Error("no limit, and no place")
	}
	b := limit.NewBulkhead(limit.BulkheadSettings{Max: 1})
	p, ok := b.Try()
	if _, again := b.Try(); !ok || again || b.Snapshot().Refused != 0 {
		t.Errorf("%v, %v, %+v", ok, again, b.Snapshot())
	}
	p.Release()
	var a limit.Adaptive
	trial, ok := a.Try()
	if s := a.Snapshot(); !ok || s.Running != 1 || !trial.Done(limit.Success) || trial.Done(limit.Success) {
		t.Errorf("%v, %+v", ok, s)
	}
}
