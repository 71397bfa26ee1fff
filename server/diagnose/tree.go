package diagnose

import (
	"cmp"
	"slices"

	"github.com/surefoot-go/surefoot/server/store"
)

// tree is one trace with its calls in order.
type tree struct {
	spans  []span
	parent []int // -1 for a root
	kids   [][]int
	bad    []bool // it or something below it failed
}

// longTrace is the number of spans from which orphans are left alone: to find
// their place costs the square.
const longTrace = 5000

// plant orders the spans of a trace. A span whose parent never arrived, below a
// call to its service that no span answers, hangs below that call: the span in
// between died with its process or is still running.
func plant(spans []span, target func(*span) string) *tree {
	slices.SortStableFunc(spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.dur, a.dur), slices.Compare(a.id[:], b.id[:]))
	})
	t := &tree{spans: spans, parent: make([]int, len(spans)), kids: make([][]int, len(spans)), bad: make([]bool, len(spans))}
	at := make(map[store.SpanID]int, len(spans))
	for i := range spans {
		at[spans[i].id] = i
	}
	for i := range spans {
		t.parent[i] = -1
		if p, ok := at[spans[i].parent]; ok && p != i {
			t.parent[i] = p
		}
	}
	t.uncircle()
	answered := make([]bool, len(spans))
	for i := range spans {
		if p := t.parent[i]; p >= 0 {
			answered[p] = true
		}
	}
	if len(spans) <= longTrace {
		t.adopt(answered, target)
	}
	for i := range spans {
		if p := t.parent[i]; p >= 0 {
			t.kids[p] = append(t.kids[p], i)
		}
	}
	for i := range spans {
		for n := i; spans[i].failed && n >= 0 && !t.bad[n]; n = t.parent[n] {
			t.bad[n] = true
		}
	}
	return t
}

// uncircle cuts circles, which a sender may name, at one of their spans.
func (t *tree) uncircle() {
	seen := make([]int, len(t.parent)) // the walk that came by first, from 1
	for i := range t.parent {
		for n := i; seen[n] == 0; {
			seen[n] = i + 1
			p := t.parent[n]
			if p < 0 {
				break
			}
			if seen[p] == i+1 {
				t.parent[n] = -1
				break
			}
			n = p
		}
	}
}

// adopt finds a place for spans whose parent is missing.
func (t *tree) adopt(answered []bool, target func(*span) string) {
	const slack = int64(1e9) // clocks differ
	for o := range t.spans {
		orphan := &t.spans[o]
		if t.parent[o] >= 0 || orphan.parent.IsZero() {
			continue
		}
		for i := range t.spans {
			s := &t.spans[i]
			if !s.out() || answered[i] || s.service == orphan.service || target(s) != orphan.service ||
				orphan.start < s.start-slack || orphan.start > s.start+s.dur+slack || t.under(i, o) {
				continue
			}
			t.parent[o] = i
			break
		}
	}
}

// under tells whether i is o or below it.
func (t *tree) under(i, o int) bool {
	for ; i >= 0; i = t.parent[i] {
		if i == o {
			return true
		}
	}
	return false
}

// blame is where a failure or lost time leads.
type blame struct {
	name, version string
	at            int // the span that shows it
	weight        float64
	slow          bool // it took too long
	refused       bool // seen only by a breaker that refused the call
}

// blames returns who is at fault for what failed in t, one entry for each
// deepest failing span.
func (t *tree) blames(target func(*span) string, resolve func(from, name string) string) (out []blame) {
	for i := range t.spans {
		s := &t.spans[i]
		if !s.failed || slices.ContainsFunc(t.kids[i], func(k int) bool { return t.bad[k] }) {
			continue
		}
		out = append(out, t.origin(i, target, resolve))
	}
	return out
}

func (t *tree) origin(i int, target func(*span) string, resolve func(from, name string) string) blame {
	s := &t.spans[i]
	if s.refused != "" {
		return blame{name: resolve(s.service, s.refused), at: i, weight: .5, refused: true}
	}
	gaveUp := len(t.kids[i]) > 0 && !slices.ContainsFunc(t.kids[i], func(k int) bool { return !t.spans[k].canceled })
	if len(t.kids[i]) > 0 && (s.timedOut || gaveUp) {
		b := t.slowest(i, target)
		b.weight, b.slow = 1, true
		return b
	}
	if !s.out() {
		return blame{name: s.service, version: s.version, at: i, weight: 1}
	}
	name := target(s)
	if name == "" {
		return blame{name: s.service, version: s.version, at: i, weight: 1}
	}
	b := blame{name: name, at: i, weight: 1, slow: s.timedOut, refused: s.rejected}
	if len(t.kids[i]) > 0 || s.rejected { // it was answered well: the way there and back is at fault, perhaps
		b.weight = .5
	}
	return b
}

// slowest returns whose own time is the longest in the part of the tree under i.
func (t *tree) slowest(i int, target func(*span) string) blame {
	best, most := blame{}, int64(-1)
	todo := []int{i}
	for len(todo) > 0 {
		n := todo[0]
		todo = append(todo[1:], t.kids[n]...)
		if name, own := t.own(n, target); own > most {
			best, most = blame{name: name, at: n}, own
			if s := &t.spans[n]; s.service == name {
				best.version = s.version
			}
		}
	}
	return best
}

// own returns the time span i took itself and whose time that is: a service's
// own work, or, of a call, the wait for the callee that the callee's spans do
// not account for.
func (t *tree) own(i int, target func(*span) string) (name string, ns int64) {
	s := &t.spans[i]
	if s.out() {
		name, ns = target(s), s.dur
		if name == "" {
			name = s.service
		}
		if s.kind == store.KindProducer {
			return name, ns
		}
		longest := int64(0)
		for _, k := range t.kids[i] { // another clock: only lengths compare
			longest = max(longest, t.spans[k].dur)
		}
		return name, max(ns-longest, 0)
	}
	end := s.start
	covered := int64(0)
	for _, k := range t.kids[i] { // in order of start
		c := &t.spans[k]
		if c.kind == store.KindConsumer {
			continue
		}
		from, to := max(c.start, end), min(c.start+c.dur, s.start+s.dur)
		if to > from {
			covered += to - from
			end = to
		}
	}
	return s.service, s.dur - covered
}
