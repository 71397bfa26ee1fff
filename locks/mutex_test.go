package locks_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/locks"
)

// waits returns what is counted under a name.
func waits(name string) locks.Contention {
	for _, c := range locks.Contended() {
		if c.Name == name {
			return c
		}
	}
	return locks.Contention{}
}

func TestContended(t *testing.T) {
	for _, on := range []bool{false, true} {
		t.Run(fmt.Sprint("checked=", on), func(t *testing.T) {
			if on {
				checked(t, locks.Checks{Order: true})
			}
			m := locks.Mutex{Name: t.Name()}
			rw := locks.RWMutex{Name: t.Name() + " rw"}
			for range 100 {
				m.Lock()
				m.Unlock()
				rw.RLock()
				rw.RUnlock()
				rw.Lock()
				rw.Unlock()
			}
			if c := waits(m.Name); c.Waits != 0 {
				t.Errorf("waited for a free lock: %+v", c)
			}
			m.Lock()
			rw.Lock()
			var wg sync.WaitGroup
			started := time.Now()
			wg.Go(func() { m.Lock(); m.Unlock() })
			wg.Go(func() { rw.RLock(); rw.RUnlock() })
			for stacks := ""; !strings.Contains(stacks, "[sync.Mutex.Lock") || !strings.Contains(stacks, "[sync.RWMutex.RLock"); {
				buf := make([]byte, 1<<20)
				stacks = string(buf[:runtime.Stack(buf, true)])
			}
			m.Unlock()
			rw.Unlock()
			wg.Wait()
			for _, name := range []string{m.Name, rw.Name} {
				c := waits(name)
				if c.Waits != 1 || c.Wait <= 0 || c.Wait != c.Longest || c.Wait > time.Since(started) {
					t.Errorf("%+v", c)
				}
			}
		})
	}
}

// However many names there are, 1024 are told apart. It is the last test, as the
// names stay.
func TestZNamesAreBounded(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 3000 {
		m := locks.Mutex{Name: fmt.Sprint("lock of user ", i)}
		m.Lock()
		wg.Go(func() { m.Lock(); m.Unlock() })
		for range 3 {
			runtime.Gosched()
		}
		m.Unlock()
	}
	wg.Wait()
	if all := locks.Contended(); len(all) > 1024 {
		t.Errorf("%d names", len(all))
	}
}

func TestExclusion(t *testing.T) {
	for _, on := range []bool{false, true} {
		if on {
			checked(t, locks.Checks{Order: true})
		}
		var m locks.Mutex
		var rw locks.RWMutex
		a, b := 0, 0
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 200 {
					m.Lock()
					a++
					m.Unlock()
					rw.RLock()
					_ = b
					rw.RUnlock()
					rw.Lock()
					b++
					rw.Unlock()
					if m.TryLock() {
						m.Unlock()
					}
					if rw.TryRLock() {
						rw.RUnlock()
					}
					if rw.TryLock() {
						rw.Unlock()
					}
				}
			})
		}
		wg.Wait()
		if a != 1600 || b != 1600 {
			t.Errorf("%d, %d", a, b)
		}
	}
}

// What is not checked allocates nothing.
func TestAllocations(t *testing.T) {
	if locks.Problems() != nil {
		t.Skip("built with checks")
	}
	var m locks.Mutex
	var rw locks.RWMutex
	var g locks.Guarded[int]
	table := map[string]func(){
		"Mutex":   func() { m.Lock(); m.Unlock() },
		"RWMutex": func() { rw.Lock(); rw.Unlock(); rw.RLock(); rw.RUnlock() },
		"RLocker": func() { l := rw.RLocker(); l.Lock(); l.Unlock() },
		"Guarded": func() { g.With(func(n *int) { *n++ }); g.Store(g.Load()) },
	}
	for name, fn := range table {
		if n := testing.AllocsPerRun(100, fn); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkChecked(b *testing.B) {
	for name, c := range map[string]locks.Checks{"order": {Order: true, Hold: -1, Wait: -1}, "all": {Order: true, Owner: true}} {
		b.Run(name, func(b *testing.B) {
			checked(b, c)
			var outer, inner locks.Mutex
			b.ReportAllocs()
			for b.Loop() {
				outer.Lock()
				inner.Lock()
				inner.Unlock()
				outer.Unlock()
			}
		})
	}
}
