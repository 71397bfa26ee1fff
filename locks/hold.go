package locks

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// settle is how long after checks began a goroutine may still be between
// having seen them off and having its lock.
const settle = time.Second

// checker watches all locks while checks are on.
type checker struct {
	Checks
	gen    uint64 // grows with each checker
	began  time.Time
	start  bool // on since the process began
	graph  graph
	found  problems
	shards [64]shard
}

// shard holds what some of the goroutines hold.
type shard struct {
	mu sync.Mutex
	by map[uint64]*goroutine
}

type goroutine struct {
	holds     []*hold
	unchecked int // it is in Report
}

// hold is one lock held by one goroutine.
type hold struct {
	k     *mark
	how   mode
	g     uint64
	at    time.Time
	stack stack
	timer *time.Timer
	over  atomic.Bool // unlocked
	doubt atomic.Bool // perhaps another goroutine has unlocked it
}

func newChecker(c Checks, gen uint64, start bool) *checker {
	return &checker{Checks: c, gen: gen, began: time.Now(), start: start}
}

func (c *checker) shard(g uint64) *shard { return &c.shards[g%uint64(len(c.shards))] }

// get returns goroutine g, made when there is none. The shard is locked.
func (s *shard) get(g uint64) *goroutine {
	at := s.by[g]
	if at == nil {
		if s.by == nil {
			s.by = map[uint64]*goroutine{}
		}
		at = new(goroutine)
		s.by[g] = at
	}
	return at
}

// drop forgets goroutine g when nothing is known of it. The shard is locked.
func (s *shard) drop(g uint64) {
	if at := s.by[g]; at != nil && len(at.holds) == 0 && at.unchecked == 0 {
		delete(s.by, g)
	}
}

// held returns what goroutine g surely holds, and false when g is not to be checked.
func (c *checker) held(g uint64) ([]*hold, bool) {
	s := c.shard(g)
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.by[g]
	if at == nil {
		return nil, true
	}
	holds := make([]*hold, 0, len(at.holds))
	for _, h := range at.holds {
		if !h.doubt.Load() {
			holds = append(holds, h)
		}
	}
	return holds, at.unchecked == 0
}

// unchecked stops checking goroutine g until the returned function is called.
func (c *checker) unchecked(g uint64) (end func()) {
	s := c.shard(g)
	add := func(n int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.get(g).unchecked += n
		s.drop(g)
	}
	add(1)
	return func() { add(-1) }
}

// lock locks l and learns from it, before it waits.
func (c *checker) lock(k *mark, how mode, l under) {
	g := goroutineID()
	held, ok := c.held(g)
	if !ok {
		l.Lock()
		return
	}
	at := callers(3)
	if c.Order {
		c.examine(&taking{g: g, k: k, how: how, stack: at, held: held})
	}
	if !l.TryLock() {
		c.wait(k, how, l, g, at)
	}
	c.took(k, how, g, at)
}

// tried learns from a lock that a TryLock has got. Who does not wait cannot deadlock, so there is
// no order to learn; but it may be waited for.
func (c *checker) tried(k *mark, how mode) {
	g := goroutineID()
	if _, ok := c.held(g); ok {
		c.took(k, how, g, callers(3))
	}
}

// wait locks l, which another goroutine holds, and reports when it takes long.
func (c *checker) wait(k *mark, how mode, l under, g uint64, at stack) {
	start := time.Now()
	if c.Wait > 0 {
		timer := time.AfterFunc(c.Wait, func() { c.waited(k, how, g, at, start) })
		defer timer.Stop()
	}
	l.Lock()
	k.count.waited(time.Since(start))
}

// waited reports a wait that takes longer than it should.
func (c *checker) waited(k *mark, how mode, g uint64, at stack, start time.Time) {
	var holders []*hold
	k.mu.Lock()
	if k.gen == c.gen {
		holders = slices.Clone(k.reads)
		if k.writer != nil {
			holders = append(holders, k.writer)
		}
	}
	k.mu.Unlock()
	p := Problem{Kind: KindWait, Name: k.name, For: time.Since(start)}
	holder := "unknown"
	if len(holders) > 0 {
		holder = holders[0].stack.site()
	}
	c.report(p, func(p *Problem) {
		p.Text = "waited " + p.For.String() + " for " + k.name + " at " + at.site() + ", locked at " + holder
		p.Stacks = []Stack{{goroutineText(g, how.wants(), k), at.String()}}
		for _, h := range holders[:min(len(holders), 8)] {
			p.Stacks = append(p.Stacks, Stack{goroutineText(h.g, h.how.verb(), k), h.stack.String()})
		}
	}, at.site(), holder)
}

// took remembers that goroutine g holds k from now on.
func (c *checker) took(k *mark, how mode, g uint64, at stack) {
	h := &hold{k: k, how: how, g: g, at: time.Now(), stack: at}
	if c.Hold > 0 {
		h.timer = time.AfterFunc(c.Hold, func() {
			if !h.over.Load() && !h.doubt.Load() {
				c.long(h, time.Since(h.at), "is held for ")
			}
		})
	}
	k.mu.Lock()
	if k.gen < c.gen {
		k.gen, k.writer, k.reads, k.clean, k.handed = c.gen, nil, nil, c.start, false
	}
	if k.gen == c.gen {
		if how == writing {
			k.writer = h
			k.clean = k.clean || time.Since(c.began) > settle
		} else {
			k.reads = append(k.reads, h)
		}
	}
	k.mu.Unlock()

	s := c.shard(g)
	s.mu.Lock()
	defer s.mu.Unlock()
	at2 := s.get(g)
	at2.holds = append(at2.holds, h)
}

// unlock unlocks l and forgets that it was held.
func (c *checker) unlock(k *mark, how mode, l under) {
	g := goroutineID()
	h, handed := c.release(k, how, g)
	if h == nil {
		l.Unlock() // was locked before checks began, or in Report
		return
	}
	h.over.Store(true)
	took := time.Since(h.at)
	s := c.shard(h.g)
	s.mu.Lock()
	if at := s.by[h.g]; at != nil {
		if i := slices.Index(at.holds, h); i >= 0 {
			at.holds = slices.Delete(at.holds, i, i+1)
		}
		s.drop(h.g)
	}
	s.mu.Unlock()
	l.Unlock()
	if h.g == g && h.timer != nil {
		if h.timer.Stop() && took > c.Hold {
			c.long(h, took, "was held for ") // the timer is late
		}
	}
	if handed && c.Owner {
		c.owner(h, g)
	}
}

// release takes the hold that goroutine g ends by unlocking k off k. It is nil when
// k was locked unchecked. handed says that another goroutine had locked it.
func (c *checker) release(k *mark, how mode, g uint64) (h *hold, handed bool) {
	_, checked := c.held(g)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gen != c.gen {
		return nil, false
	}
	if how == writing {
		h, k.writer = k.writer, nil
		handed = h != nil && h.g != g
		k.handed = k.handed || handed
		return h, handed
	}
	for i, r := range slices.Backward(k.reads) {
		if r.g == g {
			k.reads = slices.Delete(k.reads, i, i+1)
			return r, false
		}
	}
	if len(k.reads) == 0 || !checked {
		return nil, false
	}
	// One of the readers has handed its lock to g, or g had it before checks
	// began. Which one it was can be told when there is only one.
	if len(k.reads) > 1 || !k.clean {
		for _, r := range k.reads {
			r.doubt.Store(true)
		}
	}
	h = k.reads[0]
	k.reads = slices.Delete(k.reads, 0, 1)
	k.handed = k.handed || k.clean
	return h, k.clean
}

// long reports a lock held for longer than it should be.
func (c *checker) long(h *hold, took time.Duration, verb string) {
	c.report(Problem{Kind: KindHold, Name: h.k.name, For: took}, func(p *Problem) {
		p.Text = h.k.name + " " + verb + took.String() + ", locked at " + h.stack.site()
		p.Stacks = []Stack{{goroutineText(h.g, h.how.verb(), h.k), h.stack.String()}}
	}, h.stack.site())
}

// owner reports a lock unlocked by another goroutine than locked it.
func (c *checker) owner(h *hold, g uint64) {
	at := callers(4)
	c.report(Problem{Kind: KindOwner, Name: h.k.name}, func(p *Problem) {
		p.Text = h.k.name + " was unlocked at " + at.site() + " by another goroutine than locked it at " + h.stack.site()
		p.Stacks = []Stack{
			{goroutineText(g, "unlocks", h.k), at.String()},
			{goroutineText(h.g, "locked", h.k), h.stack.String()},
		}
	}, at.site(), h.stack.site())
}

func goroutineText(g uint64, verb string, k *mark) string {
	return "goroutine " + number(g) + " " + verb + " " + k.name
}
