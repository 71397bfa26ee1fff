package locks

import (
	"container/list"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"

	"github.com/surefoot-go/surefoot/locks/cache"
)

// store is what the caches have in common; get loads on a miss.
type store interface{ get(key int) int }

type oursCache struct{ cache.Cache[int, int] }

func (c *oursCache) get(k int) int { v, _ := c.Get(context.Background(), k); return v }

type otterCache struct {
	*otter.Cache[int, int]
	load otter.LoaderFunc[int, int]
}

func (c otterCache) get(k int) int { v, _ := c.Get(context.Background(), k, c.load); return v }

// lru is what one writes by hand: a list, a map, a mutex and a singleflight.Group.
type lru struct {
	mu    sync.Mutex
	max   int
	by    map[int]*list.Element
	list  list.List
	group singleflight.Group
	load  func(int) int
}

func (c *lru) get(k int) int {
	c.mu.Lock()
	if e := c.by[k]; e != nil {
		c.list.MoveToFront(e)
		c.mu.Unlock()
		return e.Value.([2]int)[1]
	}
	c.mu.Unlock()
	v, _, _ := c.group.Do(fmt.Sprint(k), func() (any, error) {
		v := c.load(k)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.by[k] == nil {
			c.by[k] = c.list.PushFront([2]int{k, v})
			if c.list.Len() > c.max {
				delete(c.by, c.list.Remove(c.list.Back()).([2]int)[0])
			}
		}
		return v, nil
	})
	return v.(int)
}

func caches(size int, load func(int) int) map[string]store {
	return map[string]store{
		"surefoot": &oursCache{cache.Cache[int, int]{Max: size, TTL: -1, Load: func(_ context.Context, k int) (int, error) { return load(k), nil }}},
		"otter": otterCache{otter.Must(&otter.Options[int, int]{MaximumSize: size}),
			func(_ context.Context, k int) (int, error) { return load(k), nil }},
		"lru": &lru{max: size, by: map[int]*list.Element{}, load: load},
	}
}

var libraries = []string{"surefoot", "otter", "lru"}

// traces are sequences of keys with a fixed seed.
func traces() map[string][]int {
	const n = 300_000
	r := rand.New(rand.NewPCG(1, 2))
	out := map[string][]int{}
	for _, s := range []float64{1.01, 1.2} {
		z := rand.NewZipf(r, s, 1, 100_000)
		var keys []int
		for range n {
			keys = append(keys, int(z.Uint64()))
		}
		out[fmt.Sprint("zipf ", s)] = keys
	}
	// A working set, and now and then a scan of keys that never come back.
	z, next := rand.NewZipf(r, 1.01, 1, 5_000), 1_000_000
	var keys []int
	for len(keys) < n {
		for range 10_000 {
			keys = append(keys, int(z.Uint64()))
		}
		for range 5_000 {
			keys = append(keys, next)
			next++
		}
	}
	out["scans"] = keys
	var loop []int
	for i := range n {
		loop = append(loop, i%6000)
	}
	out["loop of 6000"] = loop
	return out
}

// TestHitRatio prints the part of hits, and holds ours against plain LRU.
func TestHitRatio(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes minutes under the race detector; the second pass does it without")
	}
	const size = 4000
	for name, keys := range traces() {
		ratio := map[string]float64{}
		for _, lib := range libraries {
			misses := 0
			c := caches(size, func(k int) int { misses++; return k })[lib]
			for _, k := range keys {
				if c.get(k) != k {
					t.Fatal("wrong value")
				}
			}
			ratio[lib] = 1 - float64(misses)/float64(len(keys))
		}
		t.Logf("%-13s surefoot %.3f  otter %.3f  lru %.3f", name, ratio["surefoot"], ratio["otter"], ratio["lru"])
		if ratio["surefoot"] < ratio["lru"]-0.005 {
			t.Errorf("%s: worse than LRU", name)
		}
	}
}

func BenchmarkCache(b *testing.B) {
	all := traces()
	for _, trace := range []struct {
		name string
		keys []int
		size int
	}{{"hits", all["zipf 1.2"], 200_000}, {"zipf", all["zipf 1.01"], 4000}} {
		for _, lib := range libraries {
			b.Run(trace.name+"/"+lib, func(b *testing.B) {
				c := caches(trace.size, func(k int) int { return k })[lib]
				for _, k := range trace.keys {
					c.get(k)
				}
				b.ReportAllocs()
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for i := rand.IntN(len(trace.keys)); pb.Next(); i++ {
						c.get(trace.keys[i%len(trace.keys)])
					}
				})
			})
		}
	}
}
