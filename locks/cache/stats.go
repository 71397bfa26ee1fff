package cache

import (
	"sync/atomic"
	"time"
)

// counts are the figures of one shard.
type counts struct {
	hits, misses, shared, loads, failures, stale, evicted, loading atomic.Int64
}

// Stats are the figures of a cache since it began.
type Stats struct {
	Hits     int64         // Gets answered at once
	Misses   int64         // Gets that were not
	Shared   int64         // misses that joined a load under way
	Loads    int64         // calls of Load
	Failures int64         // that failed, panicked or were canceled
	Stale    int64         // Gets and loads answered with a value past its time
	Evicted  int64         // entries forgotten, or not kept, for want of room
	Loading  time.Duration // time taken by Load, in all
	Len      int           // entries now, those past their time and remembered errors among them
	Cost     int           // of them
}

// Stats returns the figures. They are not taken at one instant.
func (c *Cache[K, V]) Stats() Stats {
	c.init()
	var t Stats
	for _, s := range c.shards {
		n := &s.count
		t.Hits += n.hits.Load()
		t.Misses += n.misses.Load()
		t.Shared += n.shared.Load()
		t.Loads += n.loads.Load()
		t.Failures += n.failures.Load()
		t.Stale += n.stale.Load()
		t.Evicted += n.evicted.Load()
		t.Loading += time.Duration(n.loading.Load())
		s.mu.RLock()
		t.Len += len(s.entries)
		t.Cost += s.policy.cost
		s.mu.RUnlock()
	}
	return t
}
