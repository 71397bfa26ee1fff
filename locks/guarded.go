package locks

import (
	"sync"
	"sync/atomic"
)

// Guarded is a value that can be reached only while its lock is held. The zero
// value holds the zero T. Do not copy it after the first use.
//
// It guards what a T is made of, not what a T points at: a pointer, map or slice
// taken out of With, Read or Load is no longer guarded, and Go cannot forbid that.
// Keep them inside With, or guard values that are replaced as a whole and never changed.
//
// With and Read hold the lock while fn runs and give it back when fn panics. Do not
// call a method of the same Guarded in fn: it would wait for itself, which Check reports.
type Guarded[T any] struct {
	Name string // as of Mutex

	mu    sync.RWMutex
	mark  atomic.Pointer[mark]
	value T
}

// With calls fn with the value, which it may change. No other call runs meanwhile.
func (g *Guarded[T]) With(fn func(v *T)) {
	g.lock()
	defer g.unlock()
	fn(&g.value)
}

// Read calls fn with a copy of the value, while others read but nobody writes. What
// a T points at must not be changed in fn.
func (g *Guarded[T]) Read(fn func(v T)) {
	g.rlock()
	defer g.runlock()
	fn(g.value)
}

// Load returns a copy of the value.
func (g *Guarded[T]) Load() T {
	g.rlock()
	v := g.value
	g.runlock()
	return v
}

// Store replaces the value.
func (g *Guarded[T]) Store(v T) { g.Swap(v) }

// Swap replaces the value and returns the former one.
func (g *Guarded[T]) Swap(v T) (old T) {
	g.lock()
	old, g.value = g.value, v
	g.unlock()
	return old
}

func (g *Guarded[T]) lock() {
	if active.Load() == nil && g.mu.TryLock() {
		return
	}
	lockSlow(marked(&g.mark, g.Name, 0, true), writing, &g.mu)
}

func (g *Guarded[T]) unlock() {
	if c := active.Load(); c != nil {
		c.unlock(marked(&g.mark, g.Name, 0, true), writing, &g.mu)
		return
	}
	g.mu.Unlock()
}

func (g *Guarded[T]) rlock() {
	if active.Load() == nil && g.mu.TryRLock() {
		return
	}
	lockSlow(marked(&g.mark, g.Name, 0, true), reading, (*reader)(&g.mu))
}

func (g *Guarded[T]) runlock() {
	if c := active.Load(); c != nil {
		c.unlock(marked(&g.mark, g.Name, 0, true), reading, (*reader)(&g.mu))
		return
	}
	g.mu.RUnlock()
}
