package locks

import (
	"hash/maphash"
	"sync"
)

// parts is how many locks a Map has.
const parts = 64

// Map is a map for many goroutines with an atomic Compute. The zero value is empty
// and ready. Do not copy it after the first use. It is not bounded: package cache is.
//
// It is 64 maps with a lock each: as fast as sync.Map or faster, without its allocation for
// a write. Reads of github.com/puzpuzpuz/xsync/v4 take half the time; see docs/locks.md.
type Map[K comparable, V any] struct {
	once sync.Once
	seed maphash.Seed
	part []part[K, V]
}

type part[K comparable, V any] struct {
	mu sync.RWMutex
	m  map[K]V
	_  [64]byte // keeps neighbours off one cache line
}

func (m *Map[K, V]) at(key K) *part[K, V] {
	m.once.Do(m.init)
	return &m.part[maphash.Comparable(m.seed, key)%parts]
}

func (m *Map[K, V]) init() {
	m.seed = maphash.MakeSeed()
	m.part = make([]part[K, V], parts)
	for i := range m.part {
		m.part[i].m = map[K]V{}
	}
}

// Load returns the value of key, and whether there is one.
func (m *Map[K, V]) Load(key K) (v V, ok bool) {
	p := m.at(key)
	p.mu.RLock()
	v, ok = p.m[key]
	p.mu.RUnlock()
	return v, ok
}

// Store sets the value of key.
func (m *Map[K, V]) Store(key K, v V) {
	p := m.at(key)
	p.mu.Lock()
	p.m[key] = v
	p.mu.Unlock()
}

// Delete removes key and returns the value it had, and whether it had one.
func (m *Map[K, V]) Delete(key K) (v V, ok bool) {
	p := m.at(key)
	p.mu.Lock()
	v, ok = p.m[key]
	delete(p.m, key)
	p.mu.Unlock()
	return v, ok
}

// LoadOrStore returns the value of key, which is v when there was none; loaded says
// that there was one.
func (m *Map[K, V]) LoadOrStore(key K, v V) (actual V, loaded bool) {
	p := m.at(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	if old, ok := p.m[key]; ok {
		return old, true
	}
	p.m[key] = v
	return v, false
}

// Compute replaces the value of key by what fn makes of it, or deletes it when keep
// is false, and returns what is there afterwards. fn is called once, while
// no other call changes the key; it must not use the Map. When it panics nothing is changed.
func (m *Map[K, V]) Compute(key K, fn func(old V, ok bool) (v V, keep bool)) (v V, ok bool) {
	p := m.at(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	old, ok := p.m[key]
	v, keep := fn(old, ok)
	if !keep {
		delete(p.m, key)
		var none V
		return none, false
	}
	p.m[key] = v
	return v, true
}

// Range calls fn for each key until it returns false. It takes a copy of a part of the
// map at a time, so fn may use the Map; what changes meanwhile may be seen or not.
func (m *Map[K, V]) Range(fn func(key K, v V) bool) {
	m.once.Do(m.init)
	type pair struct {
		key K
		v   V
	}
	var all []pair
	for i := range m.part {
		p := &m.part[i]
		all = all[:0]
		p.mu.RLock()
		for k, v := range p.m {
			all = append(all, pair{k, v})
		}
		p.mu.RUnlock()
		for _, kv := range all {
			if !fn(kv.key, kv.v) {
				return
			}
		}
	}
}

// Len returns the number of keys; it is not of one instant while others write.
func (m *Map[K, V]) Len() int {
	m.once.Do(m.init)
	n := 0
	for i := range m.part {
		p := &m.part[i]
		p.mu.RLock()
		n += len(p.m)
		p.mu.RUnlock()
	}
	return n
}
