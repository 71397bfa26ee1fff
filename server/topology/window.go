package topology

import "math"

// Buckets is the number of buckets of a Histogram. They grow by the square
// root of two from 0.1 ms, so the last but one ends at 148 s: coarse enough to
// keep for every second of every edge, fine enough that a quantile read from it
// is at most a fifth off (TestQuantileIsCloseEnough).
const Buckets = 42

// Histogram counts calls by duration.
type Histogram [Buckets]uint64

// bounds are the upper bounds of the buckets in nanoseconds; the last is open.
var bounds = func() (b [Buckets]int64) {
	for i := range b {
		b[i] = int64(math.Round(1e5 * math.Pow(2, float64(i)/2)))
	}
	b[Buckets-1] = math.MaxInt64
	return b
}()

// bucket returns the bucket of a duration in nanoseconds.
func bucket(ns int64) int {
	lo, hi := 0, Buckets-1
	for lo < hi {
		mid := (lo + hi) / 2
		if ns <= bounds[mid] {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// Bound returns the upper bound of bucket i in milliseconds, +Inf for the last.
func Bound(i int) float64 {
	if i >= Buckets-1 {
		return math.Inf(1)
	}
	return float64(bounds[i]) / 1e6
}

// Count returns how many calls h holds.
func (h *Histogram) Count() uint64 {
	var n uint64
	for _, c := range h {
		n += c
	}
	return n
}

// Quantile returns the duration in milliseconds that the share q of the calls
// stays within, 0 when there were none. Inside a bucket calls count as evenly
// spread.
func (h *Histogram) Quantile(q float64) float64 {
	n := h.Count()
	if n == 0 {
		return 0
	}
	rank, seen := q*float64(n), 0.0
	for i, c := range h {
		if c == 0 || seen+float64(c) < rank {
			seen += float64(c)
			continue
		}
		lower := 0.0
		if i > 0 {
			lower = Bound(i - 1)
		}
		upper := Bound(i)
		if i == Buckets-1 {
			upper = lower * math.Sqrt2
		}
		return lower + (upper-lower)*(rank-seen)/float64(c)
	}
	return Bound(Buckets - 2)
}

// seconds is how far back a window reaches.
const seconds = 60

type slot struct {
	calls, errors, firsts uint32
	hist                  [Buckets]uint32
}

// window counts calls in slots of one second and keeps their sum. The zero
// value is empty.
type window struct {
	sec                   int64 // newest second counted
	calls, errors, firsts uint64
	hist                  Histogram
	ring                  [seconds]slot
}

func (w *window) advance(sec int64) {
	if sec <= w.sec {
		return
	}
	if sec-w.sec >= seconds {
		*w = window{sec: sec}
		return
	}
	for s := w.sec + 1; s <= sec; s++ {
		old := &w.ring[s%seconds]
		if old.calls == 0 {
			continue
		}
		w.calls -= uint64(old.calls)
		w.errors -= uint64(old.errors)
		w.firsts -= uint64(old.firsts)
		for i, c := range old.hist {
			w.hist[i] -= uint64(c)
		}
		*old = slot{}
	}
	w.sec = sec
}

func (w *window) add(sec int64, bucket int, failed, first bool) {
	w.advance(sec)
	if sec <= w.sec-seconds {
		return // older than the window; only the running totals saw it
	}
	s := &w.ring[sec%seconds]
	s.calls++
	w.calls++
	s.hist[bucket]++
	w.hist[bucket]++
	if failed {
		s.errors++
		w.errors++
	}
	if first {
		s.firsts++
		w.firsts++
	}
}

// rates reads the window at sec for something that has been known since born.
func (w *window) rates(sec, born int64) Rates {
	w.advance(sec)
	if w.calls == 0 {
		return Rates{}
	}
	span := min(max(sec-born, 1), seconds)
	return Rates{
		Rate:       round(float64(w.calls)/float64(span), 1000),
		ErrorShare: round(float64(w.errors)/float64(w.calls), 10000),
		P50:        round(w.hist.Quantile(.5), 100),
		P99:        round(w.hist.Quantile(.99), 100),
	}
}

func round(x, unit float64) float64 { return math.Round(x*unit) / unit }
