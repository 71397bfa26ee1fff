package load

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// Stats is what a run has come to so far.
type Stats struct {
	Sent     int64            // requests that left
	Dropped  int64            // arrivals dropped by the generator itself: MaxInFlight were out
	InFlight int64            // without an answer yet
	Accepted int64            // answered 201
	Pending  int64            // of them with status payment_pending
	Statuses map[string]int64 // accepted orders by the status they were answered with
	Refused  map[string]int64 // the others by error id, "http_<status>", "timeout" or "no_answer"
	P50, P99 time.Duration    // of all answers and timeouts, within 10 %
	Max      time.Duration
}

// Stats returns the state of this moment. The caller owns the maps.
func (g *Generator) Stats() (s Stats) {
	g.book.Read(func(b book) {
		s = b.stats
		s.Statuses, s.Refused = maps.Clone(s.Statuses), maps.Clone(s.Refused)
		s.P50, s.P99, s.Max = b.latency.quantile(0.5), b.latency.quantile(0.99), b.latency.max
	})
	return s
}

// String is s in one line, for people.
func (s Stats) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d sent, %d accepted", s.Sent, s.Accepted)
	for i, k := range slices.Sorted(maps.Keys(s.Statuses)) {
		fmt.Fprintf(&b, "%s%s %d", sep(i, " (", ", "), k, s.Statuses[k])
	}
	if len(s.Statuses) > 0 {
		b.WriteByte(')')
	}
	for _, k := range slices.Sorted(maps.Keys(s.Refused)) {
		fmt.Fprintf(&b, ", %s %d", k, s.Refused[k])
	}
	fmt.Fprintf(&b, ", %d dropped by the generator; p50 %s, p99 %s, max %s", s.Dropped, ms(s.P50), ms(s.P99), ms(s.Max))
	return b.String()
}

func sep(i int, first, other string) string {
	if i == 0 {
		return first
	}
	return other
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) }

// histogram counts durations in buckets that grow by 10 %, from 0.1 ms to over
// a minute.
type histogram struct {
	buckets [150]int64
	count   int64
	max     time.Duration
}

const (
	smallest = float64(100 * time.Microsecond)
	growth   = 1.1
)

func (h *histogram) add(d time.Duration) {
	i := 0
	if f := float64(d) / smallest; f > 1 {
		i = min(int(math.Ceil(math.Log(f)/math.Log(growth))), len(h.buckets)-1)
	}
	h.buckets[i]++
	h.count++
	h.max = max(h.max, d)
}

// quantile returns the upper end of the bucket that holds the q-th value.
func (h *histogram) quantile(q float64) time.Duration {
	rank := int64(math.Ceil(q * float64(h.count)))
	for i, n := range h.buckets {
		if rank -= n; rank <= 0 && h.count > 0 {
			return min(h.max, time.Duration(smallest*math.Pow(growth, float64(i))))
		}
	}
	return 0
}
