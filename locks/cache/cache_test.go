package cache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/locks/cache"
	"github.com/surefoot-go/surefoot/safe"
)

// slow answers "v<key>" after a second.
func slow(loads *atomic.Int64) func(context.Context, int) (string, error) {
	return func(ctx context.Context, key int) (string, error) {
		loads.Add(1)
		select {
		case <-time.After(time.Second): // fake time
			return fmt.Sprint("v", key), nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

func TestOneLoadForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var loads atomic.Int64
		c := cache.Cache[int, string]{Load: slow(&loads)}
		defer c.Close()
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				if v, err := c.Get(t.Context(), i%2); err != nil || v != fmt.Sprint("v", i%2) {
					t.Errorf("%q, %v", v, err)
				}
			})
		}
		wg.Wait()
		if s := c.Stats(); loads.Load() != 2 || s.Shared != 98 || s.Misses != 100 || s.Loads != 2 || s.Len != 2 || s.Loading != 2*time.Second {
			t.Errorf("%d loads, %+v", loads.Load(), s)
		}
	})
}

// Who leaves ends his own wait only; the last one ends the load.
func TestLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Int64
		c := cache.Cache[int, string]{Load: func(ctx context.Context, _ int) (string, error) {
			select {
			case <-time.After(3 * time.Second):
				return "v", nil
			case <-ctx.Done():
				ended.Add(1)
				return "", ctx.Err()
			}
		}}
		defer c.Close()
		why := errors.New("the browser went away")
		get := func(after time.Duration, key int) (v string, err error) {
			ctx, cancel := context.WithTimeoutCause(t.Context(), after, why)
			defer cancel()
			return c.Get(ctx, key)
		}
		var wg sync.WaitGroup
		wg.Go(func() { // the one that began it
			if _, err := get(time.Second, 1); err != why {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if v, err := get(time.Minute, 1); v != "v" || err != nil {
				t.Errorf("%q, %v", v, err)
			}
		})
		wg.Go(func() {
			if _, err := get(2*time.Second, 2); err != why {
				t.Error(err)
			}
		})
		wg.Wait()
		if ended.Load() != 1 { // that of 2
			t.Errorf("%d loads were canceled", ended.Load())
		}
		if v, err := get(time.Minute, 2); v != "v" || err != nil {
			t.Errorf("after it was canceled: %q, %v", v, err)
		}
	})
}

func TestFailures(t *testing.T) {
	boom := errors.New("boom")
	quiet := safe.WithPanics(t.Context(), func(context.Context, string, *safe.Panic) {})
	table := []struct {
		name string
		load func(context.Context, int) (string, error)
		cost func(int, string) int
		want func(error) bool
	}{
		{"error", func(context.Context, int) (string, error) { return "x", boom }, nil, func(err error) bool { return err == boom }},
		{"panic", func(context.Context, int) (string, error) { panic("p") }, nil, func(err error) bool { p, ok := errors.AsType[*safe.Panic](err); return ok && p.Value == "p" }},
		{"Goexit", func(context.Context, int) (string, error) { runtime.Goexit(); return "", nil }, nil, func(err error) bool { return errors.Is(err, safe.ErrGoexit) }},
		{"panic in Cost", func(context.Context, int) (string, error) { return "v", nil }, func(int, string) int { panic("c") }, func(err error) bool { _, ok := errors.AsType[*safe.Panic](err); return ok }},
		{"no Load", nil, nil, func(err error) bool { return strings.Contains(err.Error(), "no Load") }},
		{"too slow", func(ctx context.Context, _ int) (string, error) { <-ctx.Done(); return "", ctx.Err() }, nil, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
		{"too slow and deaf", func(context.Context, int) (string, error) { time.Sleep(time.Hour); return "v", nil }, nil, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := cache.Cache[int, string]{Load: c.load, Cost: c.cost}
				defer k.Close()
				var wg sync.WaitGroup
				started := time.Now()
				for range 3 {
					wg.Go(func() {
						if v, err := k.Get(context.WithoutCancel(quiet), 1); v != "" || err == nil || !c.want(err) {
							t.Errorf("%q, %v", v, err)
						}
					})
				}
				wg.Wait()
				if took := time.Since(started); took > 31*time.Second {
					t.Errorf("took %v", took)
				}
				if v, ok := k.Lookup(1); ok {
					t.Errorf("kept %q", v)
				}
			})
		})
	}
}

// versions answers 1, 2, 3... and fails when told to.
type versions struct {
	n    atomic.Int64
	fail atomic.Bool
}

func (v *versions) load(context.Context, string) (int64, error) {
	n := v.n.Add(1)
	if v.fail.Load() {
		return 0, io.ErrUnexpectedEOF
	}
	return n, nil
}

func TestAge(t *testing.T) {
	type step struct {
		after time.Duration
		fail  bool
		want  string // value or error
	}
	eof := io.ErrUnexpectedEOF.Error()
	table := []struct {
		name  string
		cache *cache.Cache[string, int64]
		steps []step
	}{
		{"a minute, less a tenth at most", &cache.Cache[string, int64]{}, []step{{0, false, "1"}, {54 * time.Second, false, "1"}, {6 * time.Second, false, "2"}}},
		{"TTL", &cache.Cache[string, int64]{TTL: time.Second, Jitter: -1}, []step{{0, false, "1"}, {999 * time.Millisecond, false, "1"}, {time.Millisecond, false, "2"}}},
		{"for ever", &cache.Cache[string, int64]{TTL: -1}, []step{{0, false, "1"}, {10000 * time.Hour, true, "1"}}},
		{"an error is not remembered", &cache.Cache[string, int64]{}, []step{{0, true, eof}, {0, false, "2"}}},
		{"unless asked", &cache.Cache[string, int64]{Negative: time.Second}, []step{{0, true, eof}, {999 * time.Millisecond, false, eof}, {time.Millisecond, false, "2"}}},
		{"stale", &cache.Cache[string, int64]{TTL: time.Minute, Stale: time.Hour}, []step{{0, false, "1"}, {time.Minute, true, "1"}, {58 * time.Minute, true, "1"}, {0, false, "4"}}},
		{"too stale", &cache.Cache[string, int64]{TTL: time.Minute, Stale: time.Hour}, []step{{0, false, "1"}, {2 * time.Hour, true, eof}}},
		{"stale without asking again", &cache.Cache[string, int64]{TTL: time.Minute, Stale: time.Hour, Negative: time.Minute},
			[]step{{0, false, "1"}, {time.Minute, true, "1"}, {59 * time.Second, false, "1"}, {time.Second, false, "3"}}},
		{"ahead of time", &cache.Cache[string, int64]{TTL: time.Minute, Jitter: -1, Refresh: 10 * time.Second},
			[]step{{0, false, "1"}, {49 * time.Second, false, "1"}, {time.Second, false, "1"}, {0, false, "2"}, {59 * time.Second, false, "2"}, {0, false, "3"}}},
		{"ahead of time, but it fails", &cache.Cache[string, int64]{TTL: time.Minute, Jitter: -1, Refresh: 10 * time.Second},
			[]step{{0, false, "1"}, {51 * time.Second, true, "1"}, {time.Second, true, "1"}, {7 * time.Second, true, "1"}, {time.Second, true, eof}, {0, false, "5"}}},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var src versions
				k := c.cache
				k.Load = src.load
				defer k.Close()
				for i, s := range c.steps {
					time.Sleep(s.after) // fake time
					src.fail.Store(s.fail)
					v, err := k.Get(t.Context(), "k")
					got := fmt.Sprint(v)
					if err != nil {
						got = err.Error()
					}
					synctest.Wait()
					if got != s.want {
						t.Fatalf("step %d: %s, want %s", i, got, s.want)
					}
				}
			})
		})
	}
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var loads atomic.Int64
		c := cache.Cache[int, string]{Load: slow(&loads)}
		c.Set(1, "one")
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if _, err := c.Get(t.Context(), 2); err != cache.ErrClosed {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		c.Close()
		wg.Wait()
		if v, err := c.Get(t.Context(), 1); v != "one" || err != nil {
			t.Errorf("%q, %v", v, err)
		}
		if _, err := c.Get(t.Context(), 3); err != cache.ErrClosed {
			t.Error(err)
		}
		c.Close()
	})
}

// What is set or deleted while it is loaded is not overwritten by the load.
func TestSetWhileLoading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var loads atomic.Int64
		c := cache.Cache[int, string]{Load: slow(&loads)}
		defer c.Close()
		var wg sync.WaitGroup
		for key := range 2 {
			wg.Go(func() {
				if v, err := c.Get(t.Context(), key); err != nil || v != fmt.Sprint("v", key) {
					t.Errorf("%q, %v", v, err)
				}
			})
		}
		synctest.Wait()
		c.Set(0, "mine")
		c.Delete(1)
		wg.Wait()
		if v, ok := c.Lookup(0); v != "mine" || !ok {
			t.Errorf("%q, %v", v, ok)
		}
		if v, ok := c.Lookup(1); ok {
			t.Errorf("%q", v)
		}
	})
}

func TestBound(t *testing.T) {
	c := cache.Cache[int, string]{Max: 100, Cost: func(_ int, s string) int { return len(s) }}
	c.Set(0, strings.Repeat("x", 101)) // costs too much
	for i := range 1000 {
		c.Set(i, strings.Repeat("x", i%30))
		if s := c.Stats(); s.Cost > 100 {
			t.Fatalf("%+v", s)
		}
	}
	big := cache.Cache[int, int]{Max: 5000}
	for i := range 100_000 {
		big.Set(i, i)
	}
	if s := big.Stats(); s.Len > 5000 || s.Len < 4900 || s.Evicted != int64(100_000-s.Len) {
		t.Errorf("%+v", s)
	}
}

func TestHitAllocatesNothing(t *testing.T) {
	c := cache.Cache[string, int]{}
	c.Set("k", 1)
	if n := testing.AllocsPerRun(100, func() { _, _ = c.Get(t.Context(), "k") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzModel runs a sequence of calls beside a plain map that never forgets: what the cache
// has is what the map has.
func FuzzModel(f *testing.F) {
	f.Add([]byte("agd,sffjlkq..dasg"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		model := map[byte]int{}
		loaded := 0
		c := cache.Cache[byte, int]{Max: 5, TTL: -1, Load: func(_ context.Context, k byte) (int, error) {
			loaded++
			if k == 7 {
				return 0, io.EOF
			}
			if _, ok := model[k]; !ok {
				model[k] = loaded
			}
			return model[k], nil
		}}
		for i, op := range ops {
			k := op % 8
			switch op >> 3 % 4 {
			case 0:
				c.Set(k, i)
				model[k] = i
			case 1:
				c.Delete(k)
				delete(model, k)
			case 2:
				if v, ok := c.Lookup(k); ok && v != model[k] {
					t.Fatalf("%d: %d, want %d", k, v, model[k])
				}
			default:
				_, had := c.Lookup(k)
				before := loaded
				v, err := c.Get(t.Context(), k)
				if had != (loaded == before) || err == nil && v != model[k] || err != nil && k != 7 {
					t.Fatalf("%d: %d, %v, want %d", k, v, err, model[k])
				}
			}
			if n := c.Stats().Len; n > 5 {
				t.Fatalf("%d entries", n)
			}
		}
	})
}

// Everything at once, for the race detector.
func TestAtOnce(t *testing.T) {
	var n atomic.Int64
	c := cache.Cache[int, int]{Max: 50, TTL: time.Millisecond, Refresh: time.Millisecond / 2, Stale: time.Millisecond, Negative: time.Microsecond,
		Load: func(ctx context.Context, k int) (int, error) {
			if n.Add(1)%5 == 0 {
				return 0, io.EOF
			}
			return k, nil
		}}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 1000 {
				k := (i*g + i) % 100
				ctx, cancel := context.WithCancel(t.Context())
				if i%7 == 0 {
					cancel()
				}
				if v, err := c.Get(ctx, k); err == nil && v != k {
					t.Errorf("%d: %d", k, v)
				}
				cancel()
				if i%11 == 0 {
					c.Delete(k)
				}
				if i%13 == 0 {
					c.Set(k, k)
				}
				_ = c.Stats()
			}
		})
	}
	wg.Wait()
	c.Close()
}
