package locks

import (
	"slices"
	"sync"
)

// Bounds of what is learned and of the search for cycles.
const (
	maxEdges    = 20000 // then the graph is learned anew
	maxVariants = 8     // of an edge, told apart by what else was held
	maxCycle    = 8     // goroutines in a cycle
	maxSteps    = 20000 // of one search
)

// taking is a goroutine about to lock k while it holds others.
type taking struct {
	g     uint64
	k     *mark
	how   mode
	stack stack
	held  []*hold
}

// An edge says that a goroutine held one lock, held[from], while it took another.
type edge struct {
	*taking
	from    int
	problem *Problem // found with it, guarded by the graph
}

func (e *edge) holds() *hold { return e.held[e.from] }

// recursive says that the goroutine takes what it holds.
func (e *edge) recursive() bool { return e.holds().k == e.k }

// strength orders modes: what a reader excludes, a writer does too.
func covers(strong, weak mode) bool { return strong == writing || weak == reading }

// within reports whether whoever could meet b could meet a: a holds no more than b does.
func within(a, b []*hold) bool {
	for _, h := range a {
		if !slices.ContainsFunc(b, func(o *hold) bool { return o.k.id == h.k.id && covers(o.how, h.how) }) {
			return false
		}
	}
	return true
}

// covers reports whether every cycle with o is one with e too.
func (e *edge) covers(o *edge) bool {
	return covers(e.how, o.how) && covers(e.holds().how, o.holds().how) && e.recursive() == o.recursive() &&
		within(e.rest(), o.rest())
}

// rest is what is held besides the lock that the edge begins at.
func (e *edge) rest() []*hold {
	out := make([]*hold, 0, len(e.held))
	out = append(out, e.held[:e.from]...)
	return append(out, e.held[e.from+1:]...)
}

// A party is a goroutine of a possible deadlock: on an edge, or a writer that
// waits for a lock others read under.
type party struct {
	*taking
	from int // index of the lock it is waited for with; -1 for a writer
}

// apart reports whether some lock keeps two parties from being where they are at
// the same time: both hold it, not both for reading. The locks that they are
// waited for with do not count as such.
func apart(a, b party) bool {
	for i, x := range a.held {
		for j, y := range b.held {
			if x.k.id == y.k.id && (x.how == writing || y.how == writing) && !(i == a.from && j == b.from) {
				return true
			}
		}
	}
	return false
}

func anyApart(all []party, p party) bool {
	return slices.ContainsFunc(all, func(o party) bool { return apart(o, p) })
}

// graph is the order in which classes of locks were taken.
type graph struct {
	mu      sync.RWMutex
	edges   int
	out     map[uint64]map[uint64][]*edge // by class held, by class taken
	in      map[uint64][]*edge            // for reading: by class taken
	writers map[uint64][]*taking          // who waited to write, by class
	next    int                           // which variant gives way to a new one
	limits  Limits
}

// Limits counts where checks have come to a bound since they were turned on: a
// possible deadlock may have been missed there. It does not count cycles of more than 8
// goroutines, nor locks that one goroutine locks and another unlocks: they are never judged.
type Limits struct {
	Relearned uint64 `json:"relearned"` // what was learned was forgotten, at 20000 pairs of locks
	Displaced uint64 `json:"displaced"` // a way to take a pair of locks gave way to another, at 8 that differ in what else is held
	Searches  uint64 `json:"searches"`  // searches given up, at 20000 steps
}

// cycle is a possible deadlock.
type cycle struct {
	edges   []*edge
	writers []*taking // who wait between readers
}

// known reports whether all that t says was learned before, and the problems it has part in.
func (gr *graph) known(t *taking, edges []*edge) (all bool, again []*Problem) {
	gr.mu.RLock()
	defer gr.mu.RUnlock()
	if t.writes() && !gr.knownWriter(t) {
		return false, nil
	}
	for _, e := range edges {
		i := slices.IndexFunc(gr.variants(e), func(o *edge) bool { return o.covers(e) })
		if i < 0 {
			return false, nil
		}
		if p := gr.variants(e)[i].problem; p != nil {
			again = append(again, p)
		}
	}
	return true, again
}

// writes says that t may stand between readers.
func (t *taking) writes() bool { return t.k.rw && t.how == writing }

func (gr *graph) variants(e *edge) []*edge { return gr.out[e.holds().k.class][e.k.class] }

func (gr *graph) knownWriter(t *taking) bool {
	return slices.ContainsFunc(gr.writers[t.k.class], func(o *taking) bool { return within(o.held, t.held) })
}

// learn adds t and returns the cycles that it closes.
func (gr *graph) learn(t *taking, edges []*edge) []cycle {
	gr.mu.Lock()
	defer gr.mu.Unlock()
	if gr.out == nil || gr.edges >= maxEdges {
		if gr.out != nil {
			gr.limits.Relearned++
		}
		gr.edges, gr.out = 0, map[uint64]map[uint64][]*edge{}
		gr.in, gr.writers = map[uint64][]*edge{}, map[uint64][]*taking{}
	}
	var found []cycle
	if t.writes() && !gr.knownWriter(t) {
		all := slices.DeleteFunc(gr.writers[t.k.class], func(o *taking) bool { return within(t.held, o.held) })
		gr.writers[t.k.class] = put(gr, all, t)
		for _, e := range gr.in[t.k.class] {
			if c, ok := gr.find(e); ok && e.problem == nil {
				found = append(found, c)
			}
		}
	}
	for _, e := range edges {
		if slices.ContainsFunc(gr.variants(e), func(o *edge) bool { return o.covers(e) }) {
			continue
		}
		from, to := e.holds().k.class, e.k.class
		if gr.out[from] == nil {
			gr.out[from] = map[uint64][]*edge{}
		}
		all := slices.DeleteFunc(gr.out[from][to], func(o *edge) bool { return e.covers(o) })
		gr.out[from][to] = put(gr, all, e)
		if e.how == reading {
			gr.in[to] = append(gr.in[to], e)
		}
		if c, ok := gr.find(e); ok {
			found = append(found, c)
		}
	}
	return found
}

// put adds a variant; when there are too many, one of the others gives way.
func put[T any](gr *graph, all []T, v T) []T {
	gr.edges++
	if len(all) < maxVariants {
		return append(all, v)
	}
	gr.next++
	gr.limits.Displaced++
	all[gr.next%maxVariants] = v
	return all
}

// find looks for a cycle that begins with e.
func (gr *graph) find(e *edge) (cycle, bool) {
	s := search{graph: gr, first: e, path: []*edge{e}}
	p := party{e.taking, e.from}
	switch {
	case e.recursive():
		s.parties = []party{p} // alone
	case e.holds().k.class == e.k.class:
		if apart(p, p) {
			return cycle{}, false
		}
		s.parties = []party{p, p} // two that do the same
	default:
		s.parties = []party{p}
		s.left = gr.distances(e)
		for s.limit = 2; s.limit <= maxCycle; s.limit++ { // the shortest is the one to tell
			if s.from(e) {
				return s.cycle, true
			}
		}
		if s.steps > maxSteps {
			gr.limits.Searches++
		}
		return cycle{}, false
	}
	ok := s.meet(e.k.class, e.how, e.holds().how, func() bool { s.close(); return true })
	return s.cycle, ok
}

// distances returns how many edges it is at least from each class to the one where e
// begins; a class from where there is no way, or none short enough for a cycle, is left out.
func (gr *graph) distances(e *edge) map[uint64]int {
	home := e.holds().k.class
	back := map[uint64][]uint64{}
	seen := map[uint64]bool{e.k.class: true}
	for todo := []uint64{e.k.class}; len(todo) > 0; todo = todo[1:] {
		for to, variants := range gr.out[todo[0]] {
			if len(variants) == 0 {
				continue
			}
			back[to] = append(back[to], todo[0])
			if !seen[to] && to != home {
				seen[to] = true
				todo = append(todo, to)
			}
		}
	}
	left := map[uint64]int{home: 0}
	for todo := []uint64{home}; len(todo) > 0; todo = todo[1:] {
		for _, from := range back[todo[0]] {
			if _, ok := left[from]; !ok && left[todo[0]] < maxCycle {
				left[from] = left[todo[0]] + 1
				todo = append(todo, from)
			}
		}
	}
	return left
}

// search is a walk along edges back to where the first began.
type search struct {
	*graph
	left    map[uint64]int // as of distances
	limit   int            // edges in a cycle
	first   *edge
	path    []*edge
	parties []party
	between []*taking
	steps   int
	cycle   cycle
}

func (s *search) close() {
	s.cycle = cycle{slices.Clone(s.path), slices.Clone(s.between)}
}

// from walks on from the end of e, and reports whether the walk came home.
func (s *search) from(e *edge) bool {
	home := s.first.holds().k.class
	for to, variants := range s.out[e.k.class] {
		left, ok := s.left[to]
		if !ok || len(s.path)+1+left > s.limit || to == e.k.class || to != home && s.visited(to) {
			continue
		}
		for _, n := range variants {
			if s.steps++; s.steps > maxSteps {
				return false
			}
			p := party{n.taking, n.from}
			if anyApart(s.parties, p) {
				continue
			}
			s.parties, s.path = append(s.parties, p), append(s.path, n)
			ok := s.meet(e.k.class, e.how, n.holds().how, func() bool {
				if to != home {
					return s.from(n)
				}
				return s.meet(home, n.how, s.first.holds().how, func() bool { s.close(); return true })
			})
			if ok {
				return true
			}
			s.parties, s.path = s.parties[:len(s.parties)-1], s.path[:len(s.path)-1]
		}
	}
	return false
}

func (s *search) visited(class uint64) bool {
	return slices.ContainsFunc(s.path, func(e *edge) bool { return e.holds().k.class == class })
}

// meet calls next where one that wants a lock must wait for one that holds it. Two
// readers need not, unless a writer waits between them.
func (s *search) meet(class uint64, want, has mode, next func() bool) bool {
	if want == writing || has == writing {
		return next()
	}
	for _, w := range s.writers[class] {
		p := party{w, -1}
		if anyApart(s.parties, p) {
			continue
		}
		s.parties, s.between = append(s.parties, p), append(s.between, w)
		if next() {
			return true
		}
		s.parties, s.between = s.parties[:len(s.parties)-1], s.between[:len(s.between)-1]
	}
	return false
}
