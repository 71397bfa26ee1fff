package vitals

import (
	"slices"
	"time"
)

// window is how many points a trend is made of, for 105 pairs. With 15, two
// points that are far off do not move the median slope.
const window = 15

// point is a value at a time.
type point struct {
	at time.Time
	v  float64
}

// series keeps the lowest value of each of the last spans of time: work that
// comes and goes does not touch it, what stays does. It allocates nothing.
type series struct {
	points [window]point // in order; the last n are in use
	n      int
	low    point
	since  time.Time
}

// add takes a value and says whether a span is complete.
func (s *series) add(now time.Time, v float64, span time.Duration) bool {
	if s.since.IsZero() {
		s.since, s.low = now, point{now, v}
	} else if v <= s.low.v {
		s.low = point{now, v}
	}
	if now.Sub(s.since) < span-span/20 { // beats come a little early
		return false
	}
	copy(s.points[:], s.points[1:])
	s.points[window-1] = s.low
	s.n = min(s.n+1, window)
	s.since, s.low = now, point{now, v}
	return true
}

func (s *series) all() []point { return s.points[window-s.n:] }

// trend is how a series went.
type trend struct {
	perMinute float64 // Theil-Sen: the median of the slopes between all pairs of points
	up        float64 // the share of steps that went up, of all
	rise      float64 // from the first point to the last
}

// trendOf is the trend of points, which are at most window. It allocates nothing.
func trendOf(points []point) trend {
	if len(points) < 2 {
		return trend{}
	}
	var room [window * (window - 1) / 2]float64
	slopes := room[:0]
	up := 0
	for i, p := range points {
		for _, q := range points[i+1:] {
			if d := q.at.Sub(p.at); d > 0 {
				slopes = append(slopes, (q.v-p.v)/d.Minutes())
			}
		}
		if i > 0 && p.v > points[i-1].v {
			up++
		}
	}
	if len(slopes) == 0 {
		return trend{}
	}
	slices.Sort(slopes)
	return trend{
		perMinute: slopes[len(slopes)/2],
		up:        float64(up) / float64(len(points)-1),
		rise:      points[len(points)-1].v - points[0].v,
	}
}

// mostly is how many steps of a series have to go up: two thirds.
const mostly = 0.66

// growing says whether the window grew, of which there have to be n points.
func (s *series) growing(n int) (trend, bool) {
	if s.n < n {
		return trend{}, false
	}
	t := trendOf(s.all())
	return t, t.perMinute > 0 && t.up >= mostly
}
