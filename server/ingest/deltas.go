package ingest

import (
	"strings"
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/server/store"
)

// deltas turns differences into sums, since Prometheus keeps sums. The sums
// begin at zero with the process, which PromQL's rate takes for the restart
// that it is.
type deltas struct {
	mu   sync.Mutex
	sums map[string]*sum
}

type sum struct {
	value float64
	at    time.Time // of the last point, so that resends and late points do not move time back
	used  time.Time
}

const (
	maxDeltas = 20_000           // series; about 10 MB
	idleDelta = 30 * time.Minute // a series without points is forgotten after this, when the place is needed
)

// apply replaces the differences among t's samples by sums and returns what
// makes the new sums the current ones. The caller holds mu until then.
func (d *deltas) apply(t *translator) (commit func()) {
	if d.sums == nil {
		d.sums = make(map[string]*sum)
	}
	next := make(map[string]*sum, len(t.deltas))
	drop := make(map[int]bool)
	for _, i := range t.deltas {
		s := &t.samples[i]
		k := seriesKey(s.Labels)
		n := next[k]
		if n == nil {
			n = &sum{}
			if old := d.sums[k]; old != nil {
				*n = *old
			} else if len(d.sums)+len(next) >= maxDeltas && !d.evict(t.now) {
				drop[i] = true
				continue
			}
			next[k] = n
		}
		n.value += s.Value
		n.used = t.now
		if !s.At.After(n.at) {
			s.At = n.at.Add(time.Millisecond)
		}
		n.at = s.At
		s.Value = n.value
	}
	if len(drop) > 0 {
		kept := t.samples[:0]
		for i, s := range t.samples {
			if !drop[i] {
				kept = append(kept, s)
			}
		}
		t.samples = kept
		t.refused.add(reasonDeltas, min(int64(len(drop)), t.points))
		t.points = max(0, t.points-int64(len(drop)))
	}
	return func() {
		for k, n := range next {
			d.sums[k] = n
		}
	}
}

// evict forgets idle series; false if there were none.
func (d *deltas) evict(now time.Time) bool {
	found := false
	for k, s := range d.sums {
		if now.Sub(s.used) > idleDelta {
			delete(d.sums, k)
			found = true
		}
	}
	return found
}

func seriesKey(labels []store.Label) string {
	var b strings.Builder
	for _, l := range labels {
		b.WriteString(l.Name)
		b.WriteByte(0)
		b.WriteString(l.Value)
		b.WriteByte(0)
	}
	return b.String()
}
