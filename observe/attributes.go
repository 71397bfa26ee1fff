package observe

import (
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Attributes keeps the attribute sets of a metric by what they are made of, so
// that recording with one again costs no allocation. It keeps 1000 and makes
// others anew each time. The zero value works; it is safe for concurrent use
// and must not be copied.
type Attributes[K comparable] struct {
	sets atomic.Pointer[map[K]Set]
	mu   sync.Mutex
}

// Set is one set of attributes, ready to be given to an instrument.
type Set struct {
	Record []metric.RecordOption // for a histogram
	Add    []metric.AddOption    // for a counter
}

// maxSets bounds the memory of an Attributes: a label that a stranger invents
// must not fill it.
const maxSets = 1000

// Of returns the set of key, made with make the first time.
func (a *Attributes[K]) Of(key K, make func(K) []attribute.KeyValue) Set {
	if m := a.sets.Load(); m != nil {
		if s, ok := (*m)[key]; ok {
			return s
		}
	}
	o := metric.WithAttributeSet(attribute.NewSet(make(key)...))
	s := Set{[]metric.RecordOption{o}, []metric.AddOption{o}}
	a.keep(key, s)
	return s
}

// keep replaces the map by one with s in it: readers need no lock.
func (a *Attributes[K]) keep(key K, s Set) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.sets.Load()
	next := make(map[K]Set)
	if old != nil {
		if len(*old) >= maxSets {
			return
		}
		for k, v := range *old {
			next[k] = v
		}
	}
	next[key] = s
	a.sets.Store(&next)
}

// Names keeps the number of values of a label within bounds: the first 100 are
// known, all later ones are not. The zero value works; it is safe for concurrent
// use and must not be copied.
type Names struct {
	known atomic.Pointer[map[string]struct{}]
	mu    sync.Mutex
}

const maxNames = 100

// Known says whether name is one of the first 100 it was asked for.
func (n *Names) Known(name string) bool {
	if m := n.known.Load(); m != nil {
		if _, ok := (*m)[name]; ok {
			return true
		}
		if len(*m) >= maxNames {
			return false
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	next := map[string]struct{}{name: {}}
	if m := n.known.Load(); m != nil {
		for k := range *m {
			next[k] = struct{}{}
		}
	}
	if len(next) > maxNames {
		return false
	}
	n.known.Store(&next)
	return true
}
