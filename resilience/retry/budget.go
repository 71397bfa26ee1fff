package retry

import (
	"sync"
	"time"
)

// slots is how finely a Window is cut: a call is forgotten after one Window,
// give or take a tenth of it.
const slots = 10

// Budget counts the first tries and the further tries to one target, and
// refuses a further try that the policy's share does not cover. The zero value
// is ready to use. A Budget is safe for concurrent use, reads no clock and
// starts no goroutine; share one among all callers of a target.
type Budget struct {
	mu    sync.Mutex
	epoch time.Time
	width time.Duration
	head  int64 // number of the newest slot
	ring  [slots]struct{ calls, tries int64 }
	calls int64 // sums over ring
	tries int64
}

// Call counts a first try at time now.
func (b *Budget) Call(now time.Time, p Policy) {
	if p.Budget < 0 {
		return
	}
	window := p.Window
	if window <= 0 {
		window = Policy{}.OrDefault().Window
	}
	b.mu.Lock()
	i := b.turn(now, window)
	b.ring[i].calls++
	b.calls++
	b.mu.Unlock()
}

// Take asks for one further try at time now and reports whether it is granted.
func (b *Budget) Take(now time.Time, p Policy) bool {
	p = p.OrDefault()
	if p.Budget < 0 {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	i := b.turn(now, p.Window)
	if !(b.left(p) >= 1) { // also when it is NaN
		return false
	}
	b.ring[i].tries++
	b.tries++
	return true
}

// Left is how many further tries Take would grant at time now; with a negative
// p.Budget there is no bound and Left is negative.
func (b *Budget) Left(now time.Time, p Policy) int {
	p = p.OrDefault()
	if p.Budget < 0 {
		return -1
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn(now, p.Window)
	return int(max(b.left(p), 0))
}

func (b *Budget) left(p Policy) float64 {
	return float64(max(p.Reserve, 0)) + p.Budget*float64(b.calls) - float64(b.tries)
}

// turn drops what is older than a window and returns the index of now's slot.
// Time that runs backwards counts into the newest slot.
func (b *Budget) turn(now time.Time, window time.Duration) int64 {
	width := max(window/slots, 1)
	if b.epoch.IsZero() || width != b.width {
		// A changed window forgets: its slots would mean another time.
		b.ring, b.calls, b.tries, b.head = [slots]struct{ calls, tries int64 }{}, 0, 0, 0
		b.epoch, b.width = now, width
	}
	slot := int64(now.Sub(b.epoch) / width)
	for n := 0; b.head < slot; n++ {
		if n == slots {
			b.head = slot
			break
		}
		b.head++
		old := &b.ring[b.head%slots]
		b.calls -= old.calls
		b.tries -= old.tries
		old.calls, old.tries = 0, 0
	}
	return b.head % slots
}
