package hedge

import (
	"math"
	"math/bits"
	"time"
)

// sketch counts durations by size, to a sixteenth: the latest 1024 to 2047 of
// them. Whole halves are forgotten, so the tail is not rounded away.
type sketch struct {
	now, old   [buckets]uint16
	nowN, oldN int
}

const (
	half    = 1024
	buckets = 528 // up to 2^36 µs, 19 h; longer ones count as that long
)

func (s *sketch) total() int { return s.nowN + s.oldN }

func (s *sketch) add(d time.Duration) {
	if s.nowN == half {
		s.old, s.oldN = s.now, s.nowN
		s.now, s.nowN = [buckets]uint16{}, 0
	}
	s.now[bucket(d)]++
	s.nowN++
}

// quantile is a duration that at least a share q of those counted did not
// exceed, and at most a sixteenth longer than the least such; 0 of nothing.
func (s *sketch) quantile(q float64) time.Duration {
	rank := int(math.Ceil(q * float64(s.total())))
	for i := range s.now {
		if rank -= int(s.now[i]) + int(s.old[i]); rank <= 0 && s.total() > 0 {
			return edge(i)
		}
	}
	return 0
}

// bucket is where d counts: by the microsecond below 32 µs, then 16 to an octave.
func bucket(d time.Duration) int {
	us := uint64(max(d, 0) / time.Microsecond)
	e := max(bits.Len64(us)-5, 0)
	return min(16*e+int(us>>e), buckets-1)
}

// edge is the first duration too long for bucket i.
func edge(i int) time.Duration {
	e := max(i/16-1, 0)
	return time.Duration(i-16*e+1) << e * time.Microsecond
}
