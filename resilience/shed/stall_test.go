package shed_test

import (
	"testing"
	"time"
)

// For five seconds nothing is answered before its caller gives up, after two;
// then all is as before. What was learned in vain is forgotten within a
// second.
func TestStall(t *testing.T) {
	const s = time.Second
	for _, load := range []float64{0.3, 0.6, 0.8} {
		e := story{
			load: load, length: 20 * s, from: 11 * s, deadline: 2 * s, workers: 1e5,
			slower: func(at time.Duration) float64 {
				if at >= 5*s && at < 10*s {
					return 101
				}
				return 1
			},
		}.tell(t)
		e.log(t)
		if share := float64(e.good) / float64(e.came); share < 0.95 {
			t.Errorf("at load %v %.3f of the requests from a second after the stall were served, want 0.95", load, share)
		}
	}
}
