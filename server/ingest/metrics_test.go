package ingest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/surefoot-go/surefoot/server/store"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// lines writes samples as Prometheus' text format does, sorted.
func lines(samples []store.Sample) string {
	var out []string
	for _, s := range samples {
		var b strings.Builder
		name := ""
		for _, l := range s.Labels {
			if l.Name == "__name__" {
				name = l.Value
				continue
			}
			fmt.Fprintf(&b, " %s=%s", l.Name, l.Value)
		}
		at := ""
		if d := s.At.Sub(noon); d != 0 {
			at = " at " + d.String()
		}
		out = append(out, fmt.Sprintf("%s%s %g%s", name, b.String(), s.Value, at))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func export(t *testing.T, r *Receiver, fill func(pmetric.MetricSlice)) (samples []store.Sample, rejected int64, why string, err error) {
	t.Helper()
	md := pmetric.NewMetrics()
	fill(md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics())
	sink := &seriesSink{}
	if r.Series == nil {
		r.Series = sink
	} else if s, ok := r.Series.(*seriesSink); ok {
		s.samples = nil
		sink = s
	}
	r.Now = func() time.Time { return noon }
	body, merr := pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
	if merr != nil {
		t.Fatal(merr)
	}
	out, err := r.export(t.Context(), metrics, body, protobuf)
	if err != nil {
		return nil, 0, "", err
	}
	resp := pmetricotlp.NewExportResponse()
	if err := resp.UnmarshalProto(out); err != nil {
		t.Fatal(err)
	}
	return sink.samples, resp.PartialSuccess().RejectedDataPoints(), resp.PartialSuccess().ErrorMessage(), nil
}

func add(ms pmetric.MetricSlice, name, unit string) pmetric.Metric {
	m := ms.AppendEmpty()
	m.SetName(name)
	m.SetUnit(unit)
	return m
}

func stampAt(d time.Duration) pcommon.Timestamp { return pcommon.NewTimestampFromTime(noon.Add(d)) }

func TestTranslation(t *testing.T) {
	cumulative := pmetric.AggregationTemporalityCumulative
	cases := []struct {
		name     string
		fill     func(pmetric.MetricSlice)
		want     string
		rejected int64
	}{
		{"gauge", func(ms pmetric.MetricSlice) {
			p := add(ms, "system.memory.usage", "By").SetEmptyGauge().DataPoints().AppendEmpty()
			p.SetTimestamp(stampAt(0))
			p.SetDoubleValue(1.5)
			p.Attributes().PutStr("state", "free")
			p.Attributes().PutStr("empty", "")
		}, "system_memory_usage_bytes service_name=unknown_service state=free 1.5", 0},
		{"ratio", func(ms pmetric.MetricSlice) {
			add(ms, "cpu.utilization", "1").SetEmptyGauge().DataPoints().AppendEmpty().SetDoubleValue(0.5)
		}, "cpu_utilization_ratio service_name=unknown_service 0.5", 0},
		{"counter", func(ms pmetric.MetricSlice) {
			s := add(ms, "surefoot.retry.attempts", "{attempt}").SetEmptySum()
			s.SetIsMonotonic(true)
			s.SetAggregationTemporality(cumulative)
			s.DataPoints().AppendEmpty().SetIntValue(7)
		}, "surefoot_retry_attempts_total service_name=unknown_service 7", 0},
		{"up and down", func(ms pmetric.MetricSlice) {
			s := add(ms, "queue.size", "").SetEmptySum()
			s.SetAggregationTemporality(cumulative)
			s.DataPoints().AppendEmpty().SetIntValue(-7)
		}, "queue_size service_name=unknown_service -7", 0},
		{"histogram", func(ms pmetric.MetricSlice) {
			h := add(ms, "http.server.request.duration", "s").SetEmptyHistogram()
			h.SetAggregationTemporality(cumulative)
			p := h.DataPoints().AppendEmpty()
			p.ExplicitBounds().FromRaw([]float64{0.005, 1})
			p.BucketCounts().FromRaw([]uint64{1, 2, 3})
			p.SetCount(6)
			p.SetSum(9.5)
		}, `http_server_request_duration_seconds_bucket le=+Inf service_name=unknown_service 6
http_server_request_duration_seconds_bucket le=0.005 service_name=unknown_service 1
http_server_request_duration_seconds_bucket le=1 service_name=unknown_service 3
http_server_request_duration_seconds_count service_name=unknown_service 6
http_server_request_duration_seconds_sum service_name=unknown_service 9.5`, 0},
		{"histogram whose buckets do not fit", func(ms pmetric.MetricSlice) {
			h := add(ms, "h", "").SetEmptyHistogram()
			h.SetAggregationTemporality(cumulative)
			p := h.DataPoints().AppendEmpty()
			p.ExplicitBounds().FromRaw([]float64{1})
			p.BucketCounts().FromRaw([]uint64{1, 2, 3})
		}, "", 1},
		{"summary", func(ms pmetric.MetricSlice) {
			p := add(ms, "rpc", "ms").SetEmptySummary().DataPoints().AppendEmpty()
			p.SetCount(3)
			p.SetSum(30)
			q := p.QuantileValues().AppendEmpty()
			q.SetQuantile(0.5)
			q.SetValue(9)
		}, `rpc_milliseconds quantile=0.5 service_name=unknown_service 9
rpc_milliseconds_count service_name=unknown_service 3
rpc_milliseconds_sum service_name=unknown_service 30`, 0},
		{"no temporality", func(ms pmetric.MetricSlice) {
			add(ms, "x", "").SetEmptySum().DataPoints().AppendEmpty()
			add(ms, "y", "")
		}, "", 1},
		{"bad names", func(ms pmetric.MetricSlice) {
			add(ms, "", "").SetEmptyGauge().DataPoints().AppendEmpty()
			p := add(ms, "9 lives!", "").SetEmptyGauge().DataPoints().AppendEmpty()
			p.Attributes().PutStr("a.b", "1")
			p.Attributes().PutStr("a_b", "2")
			p.Attributes().PutStr("__name__", "x")
			p.Attributes().PutStr("service.name", "not me")
			p.Attributes().PutStr("\xff", "y")
			p.Attributes().PutStr("", "z")
		}, "_9_lives a_b=1;2 service_name=unknown_service 0", 1},
		{"times", func(ms pmetric.MetricSlice) {
			ps := add(ms, "x", "").SetEmptyGauge().DataPoints()
			for i, at := range []pcommon.Timestamp{0, stampAt(time.Minute), 1, stampAt(time.Hour), math.MaxUint64} {
				p := ps.AppendEmpty()
				p.SetTimestamp(at)
				p.SetIntValue(int64(i))
			}
		}, "x service_name=unknown_service 0\nx service_name=unknown_service 1 at 1m0s", 3},
		{"stale", func(ms pmetric.MetricSlice) {
			p := add(ms, "x", "").SetEmptyGauge().DataPoints().AppendEmpty()
			p.SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
		}, "x service_name=unknown_service NaN", 0},
	}
	for _, c := range cases {
		samples, rejected, why, err := export(t, &Receiver{}, c.fill)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := lines(samples); got != c.want || rejected != c.rejected {
			t.Errorf("%s\n got %s\nwant %s\n%d rejected: %s", c.name, got, c.want, rejected, why)
		}
	}
}

// A resource becomes labels and one target_info.
func TestResource(t *testing.T) {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	for k, v := range map[string]string{"service.name": "order", "service.version": "v2", "service.instance.id": "i", "service.namespace": "shop", "host.name": "h"} {
		rm.Resource().Attributes().PutStr(k, v)
	}
	p := add(rm.ScopeMetrics().AppendEmpty().Metrics(), "x", "").SetEmptyGauge().DataPoints().AppendEmpty()
	p.Attributes().PutStr("service.name", "somebody else")
	tr := translator{r: &Receiver{}, now: noon}
	tr.metrics(md)
	want := `target_info host_name=h service_instance_id=i service_name=order service_namespace=shop service_version=v2 1
x service_instance_id=i service_name=order service_namespace=shop service_version=v2 0`
	if got := lines(tr.samples); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// The counts of an exponential histogram come back in the bucket that holds
// their values, at every scale.
func TestExponential(t *testing.T) {
	for scale := int32(-12); scale <= 21; scale++ {
		base := math.Pow(2, math.Pow(2, float64(-scale)))
		for _, v := range []float64{1e-9, 0.001, 0.3, 1, 1.5, 2, 1000, 1e9, 1e15} {
			// The bucket of v: (base^i, base^(i+1)].
			i := int64(math.Ceil(math.Log2(v)*math.Pow(2, float64(scale)))) - 1
			if i > math.MaxInt32 || i < math.MinInt32 {
				continue
			}
			upper := upperExp(i, scale)
			exact := math.Ceil(float64(i+1) * math.Pow(2, float64(-scale)))
			want := int(min(max(exact, minExp), maxExp))
			if upper != want {
				t.Errorf("scale %d (base %g), value %g in bucket %d: 2^%d, want 2^%d", scale, base, v, i, upper, want)
			}
		}
	}
	samples, _, _, err := export(t, &Receiver{}, func(ms pmetric.MetricSlice) {
		h := add(ms, "lat", "s").SetEmptyExponentialHistogram()
		h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		p := h.DataPoints().AppendEmpty()
		p.SetScale(1)
		p.SetZeroCount(2)
		p.Positive().SetOffset(-1)
		p.Positive().BucketCounts().FromRaw([]uint64{1, 10, 100}) // (0.71,1] (1,1.41] (1.41,2]
		p.Negative().BucketCounts().FromRaw([]uint64{5})
		p.SetCount(118)
		p.SetSum(150)
	})
	if err != nil {
		t.Fatal(err)
	}
	got := lines(samples)
	for _, want := range []string{"le=0 service_name=unknown_service 7\n", "le=0.5 service_name=unknown_service 7\n", "le=1 service_name=unknown_service 8\n",
		"le=2 service_name=unknown_service 118\n", "le=4 service_name=unknown_service 118\n", "le=+Inf service_name=unknown_service 118\n", "lat_seconds_count service_name=unknown_service 118", "lat_seconds_sum service_name=unknown_service 150"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

type failing struct{ seriesSink }

func (*failing) Put(context.Context, []store.Sample) (int, error) { return 0, errors.New("no") }

// Differences become sums; a request that the store refused is not counted,
// and the series are bounded.
func TestDeltas(t *testing.T) {
	r := &Receiver{}
	send := func(v int64, at time.Duration, n int) (string, int64, error) {
		samples, rejected, _, err := export(t, r, func(ms pmetric.MetricSlice) {
			s := add(ms, "calls", "").SetEmptySum()
			s.SetIsMonotonic(true)
			s.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
			for i := range n {
				p := s.DataPoints().AppendEmpty()
				p.SetTimestamp(stampAt(at))
				p.SetIntValue(v)
				if n > 1 {
					p.Attributes().PutInt("n", int64(i))
				}
			}
		})
		if n > 1 {
			return "", rejected, err
		}
		return lines(samples), rejected, err
	}
	for i, want := range []string{"2", "4 at 1s", "6 at 2s"} {
		if got, _, err := send(2, time.Duration(i)*time.Second, 1); err != nil || got != "calls_total service_name=unknown_service "+want {
			t.Errorf("%q, want %s, %v", got, want, err)
		}
	}
	if got, _, _ := send(1, 0, 1); got != "calls_total service_name=unknown_service 7 at 2.001s" {
		t.Errorf("a late difference: %q", got)
	}
	good := r.Series
	r.Series = &failing{}
	if _, _, err := send(100, 3*time.Second, 1); err == nil {
		t.Error("the store's refusal is lost")
	}
	r.Series = good
	if got, _, err := send(1, 4*time.Second, 1); err != nil || got != "calls_total service_name=unknown_service 8 at 4s" {
		t.Errorf("after a refusal: %q, %v", got, err)
	}
	if _, rejected, err := send(1, 0, maxDeltas+9); err != nil || rejected != 10 {
		t.Errorf("%d of too many series are rejected, %v", rejected, err)
	}
	if len(r.deltas.sums) > maxDeltas {
		t.Errorf("%d series", len(r.deltas.sums))
	}
}
