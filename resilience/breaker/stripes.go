package breaker

import (
	"sync/atomic"
	"unsafe"
)

// stripes count the successes of a closed breaker under the rule Windowed
// without a lock, each goroutine on a cache line that others seldom touch: a
// success opens nothing, so the machine need not hear of it before a failure
// comes, the window turns, or somebody looks.
//
// A success that was on its way here while the breaker opened may be counted
// in its next window; it takes a goroutine that sleeps between two instructions
// for as long as the breaker stays open.
type stripes [8]struct {
	n atomic.Uint64
	_ [56]byte // the rest of a cache line
}

func (s *stripes) add() {
	var here byte // the stack is the goroutine's own
	s[uint64(uintptr(unsafe.Pointer(&here)))>>11*0x9e3779b97f4a7c15>>61].n.Add(1)
}

// take empties the stripes.
func (s *stripes) take() (n uint64) {
	for i := range s {
		if s[i].n.Load() != 0 {
			n += s[i].n.Swap(0)
		}
	}
	return n
}
