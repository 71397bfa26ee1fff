package knee_test

import (
	"math"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/resilience/internal/knee"
)

// A target of n places that each take 20 ms: beyond n calls at once the mean
// latency grows in proportion (Little's law). The Finder sees only that.
func TestFinds(t *testing.T) {
	for _, c := range []struct {
		name   string
		places int
		start  int
	}{
		{"from ten times too low", 100, 10},
		{"from about right", 100, 100},
		{"from ten times too high", 100, 1000},
		{"a small target", 5, 64},
	} {
		t.Run(c.name, func(t *testing.T) {
			var f knee.Finder
			f.Start(c.start, 1, 10000)
			const work = 20 * time.Millisecond
			now := int64(0)
			for range 20000 {
				took := time.Duration(float64(work) * max(1, float64(f.Limit())/float64(c.places)))
				now += int64(took) / int64(f.Limit()) // as many end as are let in
				f.Blocked(1)
				f.Done(now, took, true)
			}
			if share := float64(f.Limit()) / float64(c.places); share < 0.85 || share > 1.5 {
				t.Errorf("limit %d for %d places", f.Limit(), c.places)
			}
			if got := float64(f.Mean()) / float64(work); math.IsNaN(got) || got < 0.9 || got > 1.6 {
				t.Errorf("mean latency %v of calls that take %v", f.Mean(), work)
			}
		})
	}
}

// A limit that nobody reaches teaches nothing and moves nowhere.
func TestIdleTeachesNothing(t *testing.T) {
	var f knee.Finder
	f.Start(64, 1, 10000)
	for i := range 5000 {
		f.Done(int64(i)*int64(time.Millisecond), 20*time.Millisecond, true)
	}
	if f.Limit() < 32 || f.Limit() > 128 {
		t.Errorf("limit %d from 64 without a call that found no room", f.Limit())
	}
}

// Calls that end for lack of capacity bring the limit down, to its bound at the
// least, and Bound takes it up again.
func TestInVain(t *testing.T) {
	var f knee.Finder
	f.Start(100, 7, 1000)
	now := int64(0)
	for range 20000 {
		now += int64(time.Millisecond)
		f.Blocked(1)
		f.Done(now, 20*time.Millisecond, false)
	}
	if f.Limit() < 7 || f.Limit() > 14 { // it tries twice the knee while that seems far away
		t.Errorf("limit %d, want 7 to 14", f.Limit())
	}
	f.Bound(50, 60)
	f.Climb(now + int64(time.Minute))
	if f.Limit() < 50 || f.Limit() > 60 {
		t.Errorf("limit %d, want 50 to 60", f.Limit())
	}
}
