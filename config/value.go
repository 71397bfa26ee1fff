package config

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Value is a setting that may change while it is read. The zero value holds the
// zero T and never changes; Bind makes one that does. It is safe for concurrent
// use and must not be copied.
type Value[T any] struct {
	now atomic.Pointer[T]

	mu  sync.Mutex
	fns []*func(before, after T)
}

// Fixed returns a Value that holds v, for tests and for code that has no Config.
func Fixed[T any](v T) *Value[T] {
	x := new(Value[T])
	x.now.Store(&v)
	return x
}

// Get returns the value in force: one atomic load and a copy of T, no
// allocation. What T points to (lists, maps) is shared and must not be changed.
func (v *Value[T]) Get() T {
	if p := v.now.Load(); p != nil {
		return *p
	}
	var zero T
	return zero
}

// Load is Get without the copy, for a large T. What it points to must not be
// changed.
func (v *Value[T]) Load() *T {
	if p := v.now.Load(); p != nil {
		return p
	}
	return new(T)
}

// OnChange has fn called after each change, by the goroutine of Config's Load and
// then by that of its Run, in order. A panic in fn is logged and changes nothing. stop ends it; a call under way may
// still finish.
func (v *Value[T]) OnChange(fn func(before, after T)) (stop func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := &fn
	v.fns = append(v.fns, p)
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.fns = slices.DeleteFunc(v.fns, func(q *func(T, T)) bool { return q == p })
	}
}

// swap puts next in place and returns what calls those who want to know.
func (v *Value[T]) swap(next T) (tell []func()) {
	before := v.Get()
	v.now.Store(&next)
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, fn := range v.fns {
		tell = append(tell, func() { (*fn)(before, next) })
	}
	return tell
}
