// Package red counts requests, errors and durations from spans: the series
// that OpenTelemetry's span metrics connector makes, under its names.
//
//	var f red.Fold
//	f.Add(spans)               // as batches arrive
//	samples := f.Flush(now)    // each second
//
// The series are
//
//	traces_span_metrics_calls_total
//	traces_span_metrics_duration_milliseconds_bucket, _sum, _count
//
// with labels service_name, service_version, span_name, span_kind and
// status_code. It reads no clock and keeps nothing but the counters: where the
// samples go is the caller's affair.
package red

import (
	"cmp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/server/store"
)

// The names of the series.
const (
	Calls          = "traces_span_metrics_calls_total"
	DurationBucket = "traces_span_metrics_duration_milliseconds_bucket"
	DurationSum    = "traces_span_metrics_duration_milliseconds_sum"
	DurationCount  = "traces_span_metrics_duration_milliseconds_count"
)

// Other is the span_name, and in need the service_name, of what did not fit
// MaxSeries.
const Other = "(other)"

// bounds are the connector's default buckets, in milliseconds.
var bounds = [...]float64{2, 4, 6, 8, 10, 50, 100, 200, 400, 800, 1000, 1400, 2000, 5000, 10000, 15000}

var boundTexts = func() (t [len(bounds)]string) {
	for i, b := range bounds {
		t[i] = strconv.FormatFloat(b, 'f', -1, 64)
	}
	return t
}()

const (
	// repeat is how often a series that does not change is written again, so
	// that a query that looks back 30 s finds two points.
	repeat = 15 * time.Second
	// idle is how long a series may stand still before it is forgotten and
	// its place free.
	idle = time.Hour
)

// Fold is the counters. The zero value is ready; set the field before the
// first Add. It is safe for concurrent use.
type Fold struct {
	// MaxSeries bounds how many combinations of labels are told apart; 0 means
	// 2000, of 19 series each. The rest is counted by service under span_name
	// "(other)", and after a tenth more of that under service_name "(other)"
	// too.
	MaxSeries int

	mu      sync.Mutex
	series  map[key]*counter
	crowded int // series with Other
	last    time.Time
	lost    uint64
}

type key struct {
	service, version, name string
	kind                   store.Kind
	failed                 bool
}

type counter struct {
	labels  [len(bounds) + 4][]store.Label // calls, sum, count, +Inf, buckets
	buckets [len(bounds) + 1]uint64
	count   uint64
	sum     float64

	written uint64    // count at the last write
	at      time.Time // of the last write; zero if never
	changed time.Time // the last write that differed
}

// Add counts spans.
func (f *Fold) Add(spans []store.Span) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.series == nil {
		f.series = make(map[key]*counter)
	}
	for i := range spans {
		s := &spans[i]
		c := f.counter(key{s.Service, s.Version, s.Name, s.Kind, s.Error})
		ms := float64(s.Duration) / float64(time.Millisecond)
		b, _ := slices.BinarySearchFunc(bounds[:], ms, func(bound, ms float64) int { return cmp.Compare(bound, ms) })
		c.buckets[b]++
		c.count++
		c.sum += ms
	}
}

func (f *Fold) counter(k key) *counter {
	if c := f.series[k]; c != nil {
		return c
	}
	limit := f.MaxSeries
	if limit <= 0 {
		limit = 2000
	}
	if len(f.series)-f.crowded >= limit {
		f.lost++
		k.version, k.name = "", Other
		if f.crowded >= limit/10 {
			k.service = Other
		}
		if c := f.series[k]; c != nil {
			return c
		}
		f.crowded++
	}
	c := &counter{}
	f.series[k] = c
	return c
}

// Overflow is how many spans were counted under "(other)".
func (f *Fold) Overflow() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lost
}

// Flush returns the samples to write now: every series that changed since the
// last Flush, and the others every 15 s. Counters only grow; they start again
// from nothing with the process, as PromQL's rate expects. A new series begins
// with a zero just before its first value, so that rate sees the first calls.
// Call it with times that do not go back.
func (f *Fold) Flush(now time.Time) []store.Sample {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.last
	if before.IsZero() || now.Sub(before) > repeat || !before.Before(now) {
		before = now.Add(-time.Second)
	}
	f.last = now
	var out []store.Sample
	for k, c := range f.series {
		fresh := c.at.IsZero()
		switch changed := c.count != c.written; {
		case changed:
			c.changed = now
		case now.Sub(c.changed) > idle:
			if k.name == Other {
				f.crowded--
			}
			delete(f.series, k)
			continue
		case now.Sub(c.at) < repeat:
			continue
		}
		if fresh {
			c.label(k)
			out = (&counter{labels: c.labels}).write(out, before)
		}
		out = c.write(out, now)
		c.written, c.at = c.count, now
	}
	return out
}

// write appends the counter's samples.
func (c *counter) write(out []store.Sample, at time.Time) []store.Sample {
	out = append(out,
		store.Sample{Labels: c.labels[0], At: at, Value: float64(c.count)},
		store.Sample{Labels: c.labels[1], At: at, Value: c.sum},
		store.Sample{Labels: c.labels[2], At: at, Value: float64(c.count)},
		store.Sample{Labels: c.labels[3], At: at, Value: float64(c.count)})
	below := uint64(0)
	for i := range bounds {
		below += c.buckets[i]
		out = append(out, store.Sample{Labels: c.labels[4+i], At: at, Value: float64(below)})
	}
	return out
}

// label makes the label sets once; samples share them.
func (c *counter) label(k key) {
	status := "STATUS_CODE_UNSET"
	if k.failed {
		status = "STATUS_CODE_ERROR"
	}
	set := func(name, le string) []store.Label {
		l := []store.Label{{Name: "__name__", Value: name}}
		if le != "" {
			l = append(l, store.Label{Name: "le", Value: le})
		}
		l = append(l, store.Label{Name: "service_name", Value: k.service})
		if k.version != "" {
			l = append(l, store.Label{Name: "service_version", Value: k.version})
		}
		return append(l, store.Label{Name: "span_kind", Value: kindText(k.kind)},
			store.Label{Name: "span_name", Value: k.name}, store.Label{Name: "status_code", Value: status})
	}
	c.labels[0], c.labels[1], c.labels[2] = set(Calls, ""), set(DurationSum, ""), set(DurationCount, "")
	c.labels[3] = set(DurationBucket, "+Inf")
	for i, t := range boundTexts {
		c.labels[4+i] = set(DurationBucket, t)
	}
}

func kindText(k store.Kind) string {
	switch k {
	case store.KindInternal:
		return "SPAN_KIND_INTERNAL"
	case store.KindServer:
		return "SPAN_KIND_SERVER"
	case store.KindClient:
		return "SPAN_KIND_CLIENT"
	case store.KindProducer:
		return "SPAN_KIND_PRODUCER"
	case store.KindConsumer:
		return "SPAN_KIND_CONSUMER"
	}
	return "SPAN_KIND_UNSPECIFIED"
}
