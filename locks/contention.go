package locks

import (
	"cmp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// maxNames bounds the names that are told apart.
const maxNames = 1024

// others is the name that stands for those beyond maxNames.
const others = "(others)"

// A mark is what is known of a lock that was waited for or checked. Nothing but
// the lock points to its mark for long, so it goes when the lock does.
type mark struct {
	id    uint64   // of this lock
	class uint64   // of the locks of its Name; id when it has none
	name  string   // as it is told
	rank  int      // as of Mutex
	rw    bool     // it can be locked for reading
	count *counter // of its name

	// What checks know; see hold.go.
	mu     sync.Mutex
	gen    uint64 // the checker that the rest belongs to
	writer *hold
	reads  []*hold
	clean  bool // every reader is in reads
	handed bool // was unlocked by another goroutine: who holds it cannot be told
}

// counter adds up the waits for the locks of a name.
type counter struct {
	name                 string
	class                uint64
	waits, wait, longest atomic.Uint64
}

func (c *counter) waited(d time.Duration) {
	n := uint64(max(d, 0))
	c.waits.Add(1)
	c.wait.Add(n)
	for {
		old := c.longest.Load()
		if n <= old || c.longest.CompareAndSwap(old, n) {
			return
		}
	}
}

// registry holds the counters of all names. Like everything process-wide in this
// package it is there by decision 0010.
var registry struct {
	mu     sync.RWMutex
	byName map[string]*counter
}

var lastID atomic.Uint64

// marked returns the mark at p and makes it when there is none.
func marked(p *atomic.Pointer[mark], name string, rank int, rw bool) *mark {
	if k := p.Load(); k != nil {
		return k
	}
	k := &mark{id: lastID.Add(1), name: name, rank: rank, rw: rw}
	k.class = k.id
	if name == "" {
		k.name = callers(2).site()
	}
	k.count = counted(k.name)
	if name != "" && k.count.name == name {
		k.class = k.count.class
	}
	if !p.CompareAndSwap(nil, k) {
		return p.Load()
	}
	return k
}

// counted returns the counter of a name.
func counted(name string) *counter {
	registry.mu.RLock()
	c := registry.byName[name]
	registry.mu.RUnlock()
	if c != nil {
		return c
	}
	registry.mu.Lock()
	defer registry.mu.Unlock()
	if registry.byName == nil {
		registry.byName = map[string]*counter{others: {name: others}}
	}
	if c := registry.byName[name]; c != nil {
		return c
	}
	if len(registry.byName) >= maxNames {
		return registry.byName[others]
	}
	c = &counter{name: name, class: lastID.Add(1)}
	registry.byName[name] = c
	return c
}

// Contention is how long goroutines have waited for the locks of a name. Every
// wait is counted, from the failed attempt to the lock; locks that were free cost
// and count nothing.
type Contention struct {
	Name    string        `json:"name"`      // Name of the locks, or the place where an unnamed one was first waited for
	Waits   uint64        `json:"waits"`     // how often
	Wait    time.Duration `json:"waitNs"`    // how long in all
	Longest time.Duration `json:"longestNs"` // the longest wait
}

// Contended returns the names that were waited for since the process began, the
// longest total first. It tells at most 1024 names; later ones are added up as "(others)".
func Contended() []Contention {
	registry.mu.RLock()
	defer registry.mu.RUnlock()
	var all []Contention
	for _, c := range registry.byName {
		if n := c.waits.Load(); n > 0 {
			all = append(all, Contention{c.name, n, time.Duration(c.wait.Load()), time.Duration(c.longest.Load())})
		}
	}
	slices.SortFunc(all, func(a, b Contention) int {
		return cmp.Or(cmp.Compare(b.Wait, a.Wait), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// mode is how a lock is held or wanted.
type mode bool

const (
	reading mode = false
	writing mode = true
)

func (w mode) verb() string {
	if w == reading {
		return "reads under"
	}
	return "holds"
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }
