package locks_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/surefoot-go/surefoot/locks"
)

// FuzzMap runs a sequence of calls beside a plain map.
func FuzzMap(f *testing.F) {
	f.Add([]byte("hello, world: any bytes are calls"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		var m locks.Map[byte, int]
		model := map[byte]int{}
		same := func(v int, ok bool, want int, had bool) {
			if v != want || ok != had {
				t.Fatalf("%d, %v; want %d, %v", v, ok, want, had)
			}
		}
		for i, op := range ops {
			k := op % 8
			want, had := model[k]
			switch op >> 3 % 6 {
			case 0:
				m.Store(k, i)
				model[k] = i
			case 1:
				v, ok := m.Delete(k)
				same(v, ok, want, had)
				delete(model, k)
			case 2:
				v, ok := m.LoadOrStore(k, i)
				if !had {
					want, model[k] = i, i
				}
				same(v, ok, want, had)
			case 3, 4:
				keep := op>>3%6 == 3
				v, ok := m.Compute(k, func(old int, ok bool) (int, bool) {
					same(old, ok, want, had)
					return old + i, keep
				})
				if keep {
					model[k] = want + i
				} else {
					delete(model, k)
				}
				same(v, ok, model[k], keep)
			default:
				v, ok := m.Load(k)
				same(v, ok, want, had)
			}
			if m.Len() != len(model) {
				t.Fatalf("%d keys, want %d", m.Len(), len(model))
			}
		}
		n := 0
		m.Range(func(k byte, v int) bool {
			want, had := model[k]
			same(v, true, want, had)
			n++
			return true
		})
		if n != len(model) {
			t.Fatalf("%d keys", n)
		}
	})
}

func TestMapAtOnce(t *testing.T) {
	var m locks.Map[string, int]
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 500 {
				m.Compute(fmt.Sprint(i%10), func(n int, _ bool) (int, bool) { return n + 1, true })
				m.Load("3")
				if i%100 == 0 {
					m.Range(func(k string, _ int) bool { _, ok := m.Load(k); return ok })
				}
			}
		})
	}
	wg.Wait()
	if v, _ := m.Load("3"); v != 400 || m.Len() != 10 {
		t.Errorf("%d of %d", v, m.Len())
	}

	func() {
		defer func() { _ = recover() }()
		m.Compute("3", func(int, bool) (int, bool) { panic("p") })
	}()
	if v, _ := m.Load("3"); v != 400 {
		t.Errorf("a panic changed it: %d", v)
	}
	if n := testing.AllocsPerRun(100, func() { m.Store("3", 1); m.Load("3") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
