package locks_test

import (
	"sync"
	"testing"

	"github.com/surefoot-go/surefoot/locks"
)

func TestGuarded(t *testing.T) {
	var g locks.Guarded[map[string]int]
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			g.With(func(m *map[string]int) {
				if *m == nil {
					*m = map[string]int{}
				}
				(*m)["n"]++
			})
			g.Read(func(m map[string]int) { _ = m["n"] })
		})
	}
	wg.Wait()
	if old := g.Swap(nil); old["n"] != 50 || g.Load() != nil {
		t.Errorf("%v, %v", old, g.Load())
	}

	// A panic gives the lock back.
	func() {
		defer func() { _ = recover() }()
		g.With(func(m *map[string]int) { (*m)["nil"] = 1 })
	}()
	g.Store(map[string]int{"a": 1})
	if g.Load()["a"] != 1 {
		t.Error(g.Load())
	}
}

// Guarded values are checked as other locks are.
func TestGuardedIsChecked(t *testing.T) {
	f := checked(t, locks.Checks{Order: true})
	a, b := locks.Guarded[int]{Name: "a"}, locks.Guarded[int]{Name: "b"}
	do(func() { a.With(func(*int) { b.Store(1) }) }, func() { b.With(func(*int) { a.Store(1) }) })
	if got := f.kinds(); got != "order a<b" {
		t.Errorf("found %q", got)
	}
}
