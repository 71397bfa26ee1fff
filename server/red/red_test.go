package red_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/server/red"
	"github.com/surefoot-go/surefoot/server/store"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func span(service, name string, d time.Duration, failed bool) store.Span {
	return store.Span{Resource: store.Resource{Service: service, Version: "v1"}, Name: name, Kind: store.KindServer, Duration: d, Error: failed}
}

// values writes samples of one name as "labels value", sorted.
func values(samples []store.Sample, name string) string {
	var out []string
	for _, s := range samples {
		var b strings.Builder
		match := false
		for i, l := range s.Labels {
			if i > 0 && s.Labels[i-1].Name >= l.Name {
				panic("labels are not sorted")
			}
			if l.Name == "__name__" {
				match = l.Value == name
				continue
			}
			fmt.Fprintf(&b, "%s=%s ", l.Name, l.Value)
		}
		if match {
			out = append(out, fmt.Sprintf("%s%g %v", b.String(), s.Value, s.At.Sub(noon)))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func TestFold(t *testing.T) {
	var f red.Fold
	f.Add([]store.Span{span("order", "POST /orders", 2*time.Millisecond, false), span("order", "POST /orders", 30*time.Millisecond, false), span("order", "POST /orders", time.Minute, true)})
	out := f.Flush(noon)
	labels := "service_name=order service_version=v1 span_kind=SPAN_KIND_SERVER span_name=POST /orders status_code="
	want := labels + "STATUS_CODE_ERROR 0 -1s\n" + labels + "STATUS_CODE_ERROR 1 0s\n" + labels + "STATUS_CODE_UNSET 0 -1s\n" + labels + "STATUS_CODE_UNSET 2 0s"
	if got := values(out, red.Calls); got != want {
		t.Errorf("calls\n%s\nwant\n%s", got, want)
	}
	buckets := values(out, red.DurationBucket)
	for _, want := range []string{"le=2 " + labels + "STATUS_CODE_UNSET 1 0s", "le=10 " + labels + "STATUS_CODE_UNSET 1 0s", "le=50 " + labels + "STATUS_CODE_UNSET 2 0s",
		"le=15000 " + labels + "STATUS_CODE_UNSET 2 0s", "le=+Inf " + labels + "STATUS_CODE_UNSET 2 0s", "le=15000 " + labels + "STATUS_CODE_ERROR 0 0s", "le=+Inf " + labels + "STATUS_CODE_ERROR 1 0s"} {
		if !strings.Contains(buckets, want) {
			t.Errorf("no %q in\n%s", want, buckets)
		}
	}
	if got := values(out, red.DurationSum); !strings.Contains(got, "UNSET 32 0s") || !strings.Contains(got, "ERROR 60000 0s") {
		t.Errorf("sums\n%s", got)
	}
	if got := values(out, red.DurationCount); !strings.Contains(got, "UNSET 2 0s") {
		t.Errorf("counts\n%s", got)
	}

	if out := f.Flush(noon.Add(time.Second)); len(out) != 0 {
		t.Errorf("nothing changed, yet %d samples", len(out))
	}
	f.Add([]store.Span{span("order", "POST /orders", time.Millisecond, false)})
	if got := values(f.Flush(noon.Add(2*time.Second)), red.Calls); got != labels+"STATUS_CODE_UNSET 3 2s" {
		t.Errorf("one changed: %s", got)
	}
	if got := values(f.Flush(noon.Add(15*time.Second)), red.Calls); got != labels+"STATUS_CODE_ERROR 1 15s" {
		t.Errorf("repeated: %s", got)
	}
	if out := f.Flush(noon.Add(3 * time.Hour)); len(out) != 0 {
		t.Errorf("idle series are still written: %d", len(out))
	}
}

// However many names come, the series are bounded and no span is lost.
func TestOverflow(t *testing.T) {
	f := red.Fold{MaxSeries: 50}
	const spans = 3000
	for i := range spans {
		f.Add([]store.Span{span(fmt.Sprint("s", i%100), fmt.Sprint("/user/", i), time.Millisecond, false)})
	}
	series, total, other := 0, 0.0, 0.0
	for _, s := range f.Flush(noon) {
		if s.Labels[0].Value != red.Calls || s.At != noon {
			continue
		}
		series++
		total += s.Value
		if slices.Contains(s.Labels, store.Label{Name: "span_name", Value: red.Other}) {
			other += s.Value
		}
	}
	if series > 56 || total != spans || uint64(other) != f.Overflow() {
		t.Errorf("%d series, %g spans, %g of them other, overflow %d", series, total, other, f.Overflow())
	}
	if out := f.Flush(noon.Add(2 * time.Hour)); len(out) != 0 {
		t.Errorf("%d samples", len(out))
	}
	f.Add([]store.Span{span("new", "/", time.Millisecond, false)})
	if got := values(f.Flush(noon.Add(3*time.Hour)), red.Calls); !strings.Contains(got, "service_name=new") {
		t.Errorf("idle series did not make room: %s", got)
	}
}

func BenchmarkAdd(b *testing.B) {
	var f red.Fold
	spans := make([]store.Span, 512)
	for i := range spans {
		spans[i] = span("order", fmt.Sprint("op", i%20), time.Duration(i)*time.Millisecond, i%50 == 0)
	}
	b.ReportAllocs()
	for b.Loop() {
		f.Add(spans)
	}
	b.ReportMetric(float64(b.N*len(spans))/b.Elapsed().Seconds(), "spans/s")
}

func ExampleFold() {
	var f red.Fold
	f.Add([]store.Span{{Resource: store.Resource{Service: "order"}, Name: "POST /orders", Kind: store.KindServer, Duration: 30 * time.Millisecond}})
	now := time.Unix(1_800_000_000, 0)
	for _, s := range f.Flush(now) {
		if s.At.Equal(now) && s.Labels[0].Value == red.Calls {
			fmt.Println(s.Labels[0].Value, s.Value)
		}
	}
	// Output: traces_span_metrics_calls_total 1
}
