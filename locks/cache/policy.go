package cache

import (
	"math"
	"sync/atomic"
)

// never is a time that does not come.
const never = math.MaxInt64 / 2

// entry is a value, or an error that is remembered.
type entry[K comparable, V any] struct {
	key     K
	hash    uint64
	value   V
	err     error
	expires int64        // when the value is not good any more
	retry   int64        // until then a stale value serves without a load
	refresh atomic.Int64 // from then on it is loaded ahead of time
	used    atomic.Uint32

	cost       int
	main       bool // in which queue
	prev, next *entry[K, V]
}

// touch notes that the entry was asked for; three times are enough to know.
func (e *entry[K, V]) touch() {
	if n := e.used.Load(); n < 3 {
		e.used.Store(n + 1) // one of several at once may be lost
	}
}

// policy decides what to forget: S3-FIFO (Yang et al., SOSP 2023). New entries wait
// in a small queue, a tenth of all; those asked for again before its end move to the
// main one, which gives each a new round for every time it was used; what fell out of the
// small queue is remembered by its hash, and goes to the main queue when it comes back.
type policy[K comparable, V any] struct {
	max, cost   int
	small, main queue[K, V]
	ghosts      ghosts
}

// add takes in a new entry.
func (p *policy[K, V]) add(e *entry[K, V], cost int) {
	e.cost = cost
	p.cost += cost
	if e.main = p.ghosts.take(e.hash); e.main {
		p.main.push(e)
	} else {
		p.small.push(e)
	}
}

// resize changes the cost of an entry.
func (p *policy[K, V]) resize(e *entry[K, V], cost int) {
	p.cost += cost - e.cost
	p.queue(e).cost += cost - e.cost
	e.cost = cost
}

func (p *policy[K, V]) queue(e *entry[K, V]) *queue[K, V] {
	if e.main {
		return &p.main
	}
	return &p.small
}

func (p *policy[K, V]) remove(e *entry[K, V]) {
	p.cost -= e.cost
	p.queue(e).remove(e)
}

// evict takes the least useful entry out and returns it; there must be one.
func (p *policy[K, V]) evict(now int64) *entry[K, V] {
	for {
		from := &p.main
		if p.main.last == nil || p.small.last != nil && p.small.cost >= max(1, p.max/10) {
			from = &p.small
		}
		e := from.last
		from.remove(e)
		used := e.used.Load()
		switch {
		case now >= e.expires || used == 0 || !e.main && used == 1:
			p.cost -= e.cost
			if !e.main {
				p.ghosts.add(e.hash, max(16, p.main.n+p.small.n))
			}
			return e
		case e.main:
			e.used.Store(used - 1)
		default:
			e.main = true
			e.used.Store(0)
		}
		p.main.push(e)
	}
}

// queue is a list of entries, the newest first.
type queue[K comparable, V any] struct {
	first, last *entry[K, V]
	n, cost     int
}

func (q *queue[K, V]) push(e *entry[K, V]) {
	q.n++
	q.cost += e.cost
	e.prev, e.next = nil, q.first
	if q.first != nil {
		q.first.prev = e
	} else {
		q.last = e
	}
	q.first = e
}

func (q *queue[K, V]) remove(e *entry[K, V]) {
	q.n--
	q.cost -= e.cost
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		q.first = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		q.last = e.prev
	}
	e.prev, e.next = nil, nil
}

// ghosts remembers the hashes of what was forgotten, the latest only.
type ghosts struct {
	turn uint64
	by   map[uint64]uint64 // hash: its turn
	list []uint64          // hashes by turn
}

// add remembers a hash, and no more than limit of them.
func (g *ghosts) add(hash uint64, limit int) {
	if g.by == nil {
		g.by = map[uint64]uint64{}
	}
	g.by[hash] = g.turn + uint64(len(g.list))
	g.list = append(g.list, hash)
	for len(g.list) > limit {
		if old := g.list[0]; g.by[old] == g.turn {
			delete(g.by, old)
		}
		g.list = g.list[1:]
		g.turn++
	}
}

// take reports whether a hash is remembered, and forgets it.
func (g *ghosts) take(hash uint64) bool {
	_, ok := g.by[hash]
	delete(g.by, hash)
	return ok
}
