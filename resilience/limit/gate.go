package limit

import (
	"context"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// gate is a counting semaphore whose units are slots on lock-free free lists,
// with a queue behind them. A slot's generation makes a permit good for exactly
// one release. The zero gate has no slots.
//
// There are several lists, and each slot belongs to one, so that goroutines on
// different cores seldom touch the same memory: each begins at a list of its own.
type gate struct {
	busy  atomic.Int64 // callers in the queue or about to enter it, and slots to retire: then releases settle under mu
	_     [64]byte     // what is above seldom changes
	lists [lists]list

	mu      sync.Mutex
	open    bool // there is no limit now: whoever waits goes through with noSlot
	total   int  // slots in circulation: free, held, or owed
	owed    int  // slots to retire when they come back
	made    uint32
	retired []uint32
	head    *waiter // oldest
	tail    *waiter
	waiting int
	chunks  [maxChunks][]slot // written before the index of any slot in it is published

	refused, strays atomic.Uint64
}

// list is the free slots of one list.
type list struct {
	word atomic.Uint64 // tag<<indexBits | index of the first free slot; 0 is none
	_    [56]byte      // the rest of a cache line
}

const (
	lists      = 8
	perLine    = 4 // slots in a cache line, which are of one list
	indexBits  = 20
	indexMask  = 1<<indexBits - 1
	maxSlots   = indexMask - 63
	firstChunk = 64
	maxChunks  = indexBits - 6
)

// slot is one unit.
type slot struct {
	state atomic.Uint64 // generation<<32 | index of the free slot behind this one
	index uint32
}

// gen is the generation; it changes only when the slot is given back.
func (s *slot) gen() uint32 { return uint32(s.state.Load() >> 32) }

// noSlot is what those get who waited when the limit was lifted.
var noSlot = new(slot)

type waiter struct {
	got        chan *slot // holds 1
	prev, next *waiter
	queued     bool
}

func (g *gate) slot(i uint32) *slot {
	c := bits.Len32((i+firstChunk-1)/firstChunk) - 1
	return &g.chunks[c][i-1-(firstChunk<<c-firstChunk)]
}

// pop takes a free slot, nil if there is none.
func (g *gate) pop() *slot {
	var here byte // the stack is the goroutine's own, so it says where to begin
	home := uint64(uintptr(unsafe.Pointer(&here))) >> 11 * 0x9e3779b97f4a7c15 >> 61
	if s, _ := g.popFrom(home); s != nil {
		return s
	}
	// That each list was empty when it was looked at proves nothing: slots come
	// and go. That none has changed until all were seen does.
	for {
		var seen [lists]uint64
		for i := range uint64(lists) {
			k := (home + i) % lists
			s, w := g.popFrom(k)
			if s != nil {
				return s
			}
			seen[k] = w
		}
		same := true
		for k := range seen {
			same = same && g.lists[k].word.Load() == seen[k]
		}
		if same {
			return nil
		}
	}
}

// popFrom takes a free slot from one list; nil, and the list's word, if it has
// none.
func (g *gate) popFrom(k uint64) (*slot, uint64) {
	word := &g.lists[k].word
	for {
		w := word.Load()
		i := uint32(w & indexMask)
		if i == 0 {
			return nil, w
		}
		s := g.slot(i)
		// The tag makes the swap fail if s was taken and freed in between.
		if word.CompareAndSwap(w, (w>>indexBits+1)<<indexBits|s.state.Load()&indexMask) {
			return s, w
		}
	}
}

// push makes s free if it is of generation gen, which ends that.
func (g *gate) push(s *slot, gen uint32) bool {
	word := &g.lists[(s.index-1)/perLine%lists].word
	w := word.Load()
	if !s.state.CompareAndSwap(s.state.Load()&indexMask|uint64(gen)<<32, uint64(gen+1)<<32|w&indexMask) {
		return false
	}
	for !word.CompareAndSwap(w, (w>>indexBits+1)<<indexBits|uint64(s.index)) {
		w = word.Load()
		s.state.Store(uint64(gen+1)<<32 | w&indexMask)
	}
	return true
}

// try takes a slot if nobody waits for one.
func (g *gate) try() *slot {
	if g.busy.Load() != 0 {
		return nil
	}
	return g.pop()
}

// release gives a slot back if it is still that of generation gen.
func (g *gate) release(s *slot, gen uint32) bool {
	if !g.push(s, gen) {
		g.strays.Add(1)
		return false
	}
	// Whoever queues counts itself in busy first and looks for a free slot
	// then: either it sees this one, or this sees it.
	if g.busy.Load() != 0 {
		g.mu.Lock()
		g.settle()
		g.mu.Unlock()
	}
	return true
}

// settle retires the slots owed and hands free ones to those who wait, oldest
// first. mu is held.
func (g *gate) settle() {
	for g.owed > 0 || g.head != nil {
		s := g.pop()
		if s == nil {
			return
		}
		if g.owed > 0 {
			g.owed--
			g.total--
			g.retired = append(g.retired, s.index)
			g.busy.Add(-1)
			continue
		}
		w := g.head
		g.remove(w)
		w.got <- s
	}
}

func (g *gate) remove(w *waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		g.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		g.tail = w.prev
	}
	w.queued = false
	g.waiting--
	g.busy.Add(-1)
}

// resize sets how many slots there are. Slots beyond that are retired as they
// come back. A negative n lifts the limit.
func (g *gate) resize(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = n < 0
	for g.open && g.head != nil {
		w := g.head
		g.remove(w)
		w.got <- noSlot
	}
	n = min(max(n, 0), maxSlots)
	want := n - (g.total - g.owed)
	for ; want < 0; want++ {
		g.owed++
		g.busy.Add(1)
	}
	for ; want > 0; want-- {
		if g.owed > 0 {
			g.owed--
			g.busy.Add(-1)
			continue
		}
		g.total++
		s := g.fresh()
		g.push(s, s.gen())
	}
	g.settle()
}

// fresh is a slot that was retired or never used. mu is held.
func (g *gate) fresh() *slot {
	if n := len(g.retired); n > 0 {
		i := g.retired[n-1]
		g.retired = g.retired[:n-1]
		return g.slot(i)
	}
	g.made++
	c := bits.Len32((g.made+firstChunk-1)/firstChunk) - 1
	if g.chunks[c] == nil {
		g.chunks[c] = make([]slot, firstChunk<<c)
	}
	s := g.slot(g.made)
	s.index = g.made
	return s
}

// wait queues for a slot: at most queue callers at once, each for at most d.
func (g *gate) wait(ctx context.Context, queue int, d time.Duration) (*slot, error) {
	if queue <= 0 || d <= 0 {
		g.refused.Add(1)
		return nil, ErrLimit
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	g.mu.Lock()
	if g.open {
		g.mu.Unlock()
		return noSlot, nil
	}
	g.busy.Add(1)
	if g.head == nil && g.owed == 0 {
		if s := g.pop(); s != nil { // freed meanwhile
			g.busy.Add(-1)
			g.mu.Unlock()
			return s, nil
		}
	}
	if g.waiting >= queue {
		g.busy.Add(-1)
		g.mu.Unlock()
		g.refused.Add(1)
		return nil, ErrLimit
	}
	w := &waiter{got: make(chan *slot, 1), prev: g.tail, queued: true}
	if g.tail != nil {
		g.tail.next = w
	} else {
		g.head = w
	}
	g.tail = w
	g.waiting++
	g.mu.Unlock()

	t := time.NewTimer(d)
	defer t.Stop()
	var err error
	select {
	case s := <-w.got:
		return s, nil
	case <-t.C:
		err = ErrLimit
	case <-ctx.Done():
		err = ctx.Err()
	}
	g.mu.Lock()
	if w.queued {
		g.remove(w)
		g.mu.Unlock()
	} else { // it came at the same moment
		g.mu.Unlock()
		s := <-w.got
		if err == ErrLimit || s == noSlot {
			return s, nil
		}
		g.release(s, s.gen())
	}
	if err == ErrLimit {
		g.refused.Add(1)
	}
	return nil, err
}

// counts says how many slots are held, how many callers wait and how many slots
// there are to be.
func (g *gate) counts() (held, waiting, total int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	free := 0
	for k := range g.lists {
		free += g.free(k)
	}
	free = min(free, g.total)
	return g.total - free, g.waiting, g.total - g.owed
}

// free says how many slots one list holds. mu is held.
func (g *gate) free(k int) (n int) {
	for range 8 { // a list that changes while it is walked is walked again
		w := g.lists[k].word.Load()
		n = 0
		for i := uint32(w & indexMask); i != 0 && n < g.total; i = uint32(g.slot(i).state.Load() & indexMask) {
			n++
		}
		if g.lists[k].word.Load() == w {
			break
		}
	}
	return n
}
