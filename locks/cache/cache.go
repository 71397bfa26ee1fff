// Package cache keeps what is dear to load, loads each key once at a time however many
// ask for it, and forgets by age and by size.
//
//	users := cache.Cache[int, User]{Load: db.User, Max: 50_000, TTL: time.Minute}
//	u, err := users.Get(ctx, 7)
//
// A caller whose context ends stops waiting; the load goes on for the others, and is
// canceled when the last one has left. A panic in Load is an error for all who wait.
//
// It is small: one policy (S3-FIFO), locks in 16 parts, no goroutine but the loads. Where
// hits must cost 25 ns instead of 60, loads take no longer than a microsecond, or each
// entry has an age of its own, take github.com/maypok86/otter/v2: docs/locks.md has
// both side by side. It is not for values that must be the same in all processes
// at once, and not a place to keep the only copy of something.
package cache

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/locks"
	"github.com/surefoot-go/surefoot/safe"
)

// ErrClosed is the error of a Get that would load after Close.
var ErrClosed = errors.New("cache: closed")

// errNoLoad is the error of a Get that would load without a Load.
var errNoLoad = errors.New("cache: no Load")

// Cache is a bounded map that loads what it does not have. The zero value needs no
// more than Load. Set the fields before the first use and do not copy it afterwards.
// All methods may be called at the same time.
type Cache[K comparable, V any] struct {
	// Load fetches the value of a key, with the values of the context of the
	// caller that asked first. It runs in a goroutine of its own and should end when ctx does.
	// Nil means that only Set adds values.
	Load func(ctx context.Context, key K) (V, error)

	Name     string         // of its locks and loads in reports; "" means "cache"
	Max      int            // bound on the sum of Cost; 0 means 10000. More than that is evicted, the least useful first
	Cost     func(K, V) int // at least 1; nil means 1 for each. One that costs more than Max is not kept
	TTL      time.Duration  // how long a value is good; 0 means 1m, negative means for ever
	Jitter   float64        // part of the TTL that is taken off by chance, so that not all expire at once; 0 means 0.1, negative means none
	Refresh  time.Duration  // who asks in this last part of a value's time has it loaded anew, and does not wait; 0 means none
	Stale    time.Duration  // how long after its time a value still serves when Load fails; 0 means not at all
	Negative time.Duration  // how long an error is remembered, and Load not called; 0 means not at all
	Timeout  time.Duration  // longest Load; 0 means 30s, negative means no limit

	once   sync.Once
	born   time.Time
	seed   maphash.Seed
	shards []*shard[K, V]
	loads  sync.WaitGroup
}

// shard is the part of a cache for some of the keys.
type shard[K comparable, V any] struct {
	mu      locks.RWMutex
	entries map[K]*entry[K, V]
	flights map[K]*flight[V]
	running map[*flight[V]]struct{} // flights, and those that were dropped
	policy  policy[K, V]
	closed  bool
	count   counts
}

// flight is one Load and those who wait for it.
type flight[V any] struct {
	ctx     context.Context // ends with the load, or early to cancel it
	cancel  context.CancelCauseFunc
	done    chan struct{}
	waiting int
	dropped bool // its result is not kept: the key was set or deleted meanwhile
	value   V    // good when done
	err     error
}

func (c *Cache[K, V]) init() {
	c.once.Do(func() {
		c.born = time.Now()
		c.seed = maphash.MakeSeed()
		limit := cmp.Or(c.Max, 10000)
		n := 1
		if limit >= 1024 && c.Cost == nil {
			n = 16 // so that a part has 64 entries at least
		}
		for range n {
			c.shards = append(c.shards, &shard[K, V]{
				mu:      locks.RWMutex{Name: cmp.Or(c.Name, "cache")},
				entries: map[K]*entry[K, V]{},
				flights: map[K]*flight[V]{},
				running: map[*flight[V]]struct{}{},
				policy:  policy[K, V]{max: max(1, limit/n)},
			})
		}
	})
}

// now is the time since the cache began, in nanoseconds.
func (c *Cache[K, V]) now() int64 { return int64(time.Since(c.born)) }

func (c *Cache[K, V]) at(key K) (*shard[K, V], uint64) {
	c.init()
	h := maphash.Comparable(c.seed, key)
	return c.shards[h%uint64(len(c.shards))], h
}

// Get returns the value of key. When there is none that is good it waits for Load,
// which runs once for all who ask for the key meanwhile. The error is that of Load
// (a *safe.Panic when it panicked), the cause of ctx when that ends first, that of Timeout, or ErrClosed.
func (c *Cache[K, V]) Get(ctx context.Context, key K) (V, error) {
	s, h := c.at(key)
	now := c.now()
	s.mu.RLock()
	if e := s.entries[key]; e != nil && (now < e.expires || now < e.retry) {
		v, err := e.value, e.err
		again := c.Refresh > 0 && err == nil && now >= e.refresh.Load() && now < e.expires
		late := now >= e.expires // until retry
		e.touch()
		s.mu.RUnlock()
		s.count.hits.Add(1)
		if late {
			s.count.stale.Add(1)
		}
		if again {
			c.refresh(ctx, s, h, key)
		}
		return v, err
	}
	s.mu.RUnlock()
	s.count.misses.Add(1)
	if ctx.Err() != nil {
		var none V
		return none, context.Cause(ctx)
	}
	f, v, err := c.join(ctx, s, h, key)
	if f == nil {
		return v, err
	}
	return c.await(ctx, s, key, f)
}

// join takes part in the load of key and begins it if need be. Without a flight it
// returns what came in the meantime.
func (c *Cache[K, V]) join(ctx context.Context, s *shard[K, V], h uint64, key K) (f *flight[V], v V, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[key]; e != nil && c.now() < e.expires {
		return nil, e.value, e.err
	}
	if f = s.flights[key]; f != nil {
		f.waiting++
		s.count.shared.Add(1)
		return f, v, nil
	}
	switch {
	case s.closed:
		return nil, v, ErrClosed
	case c.Load == nil:
		return nil, v, errNoLoad
	}
	return c.begin(ctx, s, h, key), v, nil
}

// begin starts a load that one waits for. The shard is locked.
func (c *Cache[K, V]) begin(ctx context.Context, s *shard[K, V], h uint64, key K) *flight[V] {
	f := &flight[V]{done: make(chan struct{}), waiting: 1}
	ctx = context.WithoutCancel(ctx)
	end := func() {}
	if d := cmp.Or(c.Timeout, 30*time.Second); d > 0 {
		ctx, end = context.WithTimeout(ctx, d)
	}
	f.ctx, f.cancel = context.WithCancelCause(ctx)
	s.flights[key], s.running[f] = f, struct{}{}
	s.count.loads.Add(1)
	c.loads.Add(1)
	started := c.now()
	safe.Go(f.ctx, cmp.Or(c.Name, "cache"), func(ctx context.Context) (err error) {
		f.value, err = c.Load(ctx, key)
		return err
	}, func(err error) {
		defer c.loads.Done()
		defer end()
		s.count.loading.Add(c.now() - started)
		c.finish(s, h, key, f, err)
	})
	return f
}

// finish keeps what a load has brought and tells those who wait.
func (c *Cache[K, V]) finish(s *shard[K, V], h uint64, key K, f *flight[V], err error) {
	cost := 0
	if err == nil {
		cost, err = c.cost(key, f.value)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer f.cancel(nil)
	defer close(f.done)
	delete(s.running, f)
	if s.flights[key] == f {
		delete(s.flights, key)
	}
	if f.err = err; err == nil {
		if !f.dropped {
			c.keep(s, h, key, f.value, nil, cost)
		}
		return
	}
	if context.Cause(f.ctx) == ErrClosed {
		f.err = ErrClosed
	}
	var none V
	f.value = none
	s.count.failures.Add(1)
	if !f.dropped {
		if v, ok := c.stale(s, h, key, err); ok {
			f.value, f.err = v, nil
		}
	}
}

// cost asks for the cost of a value; its panic is an error.
func (c *Cache[K, V]) cost(key K, v V) (n int, err error) {
	if c.Cost == nil {
		return 1, nil
	}
	err = safe.Call(func() error { n = max(1, c.Cost(key, v)); return nil })
	return n, err
}

// stale returns the value that serves although Load failed with err, and remembers
// the failure if asked to. The shard is locked.
func (c *Cache[K, V]) stale(s *shard[K, V], h uint64, key K, err error) (v V, ok bool) {
	now := c.now()
	e := s.entries[key]
	if e != nil && e.err == nil && now < e.expires { // it was loaded ahead of time
		e.refresh.Store(now + int64(c.Refresh/4))
		return e.value, true
	}
	if e != nil && e.err == nil && c.Stale > 0 && now < e.expires+int64(c.Stale) {
		if c.Negative > 0 {
			e.retry = min(now+int64(c.Negative), e.expires+int64(c.Stale))
		}
		s.count.stale.Add(1)
		return e.value, true
	}
	if c.Negative > 0 && !errors.Is(err, context.Canceled) {
		var none V
		c.keep(s, h, key, none, err, 1)
	}
	return v, false
}

// keep puts a value, or an error to be remembered, into place. The shard is locked.
func (c *Cache[K, V]) keep(s *shard[K, V], h uint64, key K, v V, err error, cost int) {
	e := s.entries[key]
	if cost > s.policy.max {
		if e != nil {
			s.remove(e)
		}
		s.count.evicted.Add(1)
		return
	}
	if e == nil {
		e = &entry[K, V]{key: key, hash: h}
		s.entries[key] = e
		s.policy.add(e, cost)
	} else {
		s.policy.resize(e, cost)
	}
	now := c.now()
	e.value, e.err, e.retry = v, err, 0
	ttl := cmp.Or(c.TTL, time.Minute)
	switch {
	case err != nil:
		e.expires = now + int64(c.Negative)
	case ttl < 0:
		e.expires = never
	default:
		e.expires = now + int64(float64(ttl)*(1-max(0, min(cmp.Or(c.Jitter, 0.1), 1))*rand.Float64()))
	}
	e.refresh.Store(e.expires - int64(c.Refresh))
	for s.policy.cost > s.policy.max {
		s.count.evicted.Add(1)
		delete(s.entries, s.policy.evict(now).key)
	}
}

// await waits for a load.
func (c *Cache[K, V]) await(ctx context.Context, s *shard[K, V], key K, f *flight[V]) (v V, err error) {
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-f.ctx.Done():
		err = context.Cause(f.ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-f.done:
		return f.value, f.err
	default:
	}
	f.waiting--
	late := f.ctx.Err() != nil // Load does not end though its time is over
	if f.waiting == 0 || late {
		f.dropped = true
		if s.flights[key] == f {
			delete(s.flights, key)
		}
		f.cancel(context.Canceled)
	}
	if e := s.entries[key]; late && e != nil && e.err == nil && c.now() < e.expires+int64(c.Stale) {
		s.count.stale.Add(1)
		return e.value, nil
	}
	return v, err
}

// refresh loads a value anew that is still good, and lets nobody wait for it.
func (c *Cache[K, V]) refresh(ctx context.Context, s *shard[K, V], h uint64, key K) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[key]
	if e == nil || c.now() < e.refresh.Load() || s.flights[key] != nil || s.closed || c.Load == nil {
		return
	}
	c.begin(ctx, s, h, key) // its one waiter never leaves
}

// Lookup returns the value of key if there is a good one. It does not load.
func (c *Cache[K, V]) Lookup(key K) (v V, ok bool) {
	s, _ := c.at(key)
	now := c.now()
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.entries[key]
	if e == nil || e.err != nil || now >= e.expires {
		return v, false
	}
	e.touch()
	return e.value, true
}

// Set keeps v under key. A load under way for key is not kept.
func (c *Cache[K, V]) Set(key K, v V) {
	s, h := c.at(key)
	cost := 1
	if c.Cost != nil {
		cost = max(1, c.Cost(key, v))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(key)
	c.keep(s, h, key, v, nil, cost)
}

// Delete forgets key. Who waits for a load of it gets what it brings, which is not kept; who
// asks later has it loaded anew.
func (c *Cache[K, V]) Delete(key K) {
	s, _ := c.at(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(key)
	if e := s.entries[key]; e != nil {
		s.remove(e)
	}
}

func (s *shard[K, V]) drop(key K) {
	if f := s.flights[key]; f != nil {
		f.dropped = true
		delete(s.flights, key)
	}
}

func (s *shard[K, V]) remove(e *entry[K, V]) {
	delete(s.entries, e.key)
	s.policy.remove(e)
}

// Close cancels the loads and waits until they have ended. Those who wait for one get
// ErrClosed, as does whoever would begin one later. What is kept can still be had.
func (c *Cache[K, V]) Close() {
	c.init()
	for _, s := range c.shards {
		s.mu.Lock()
		s.closed = true
		for f := range s.running {
			f.cancel(ErrClosed)
		}
		s.mu.Unlock()
	}
	c.loads.Wait()
}
