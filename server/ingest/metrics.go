package ingest

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/store"
)

var metrics = &signal{name: "metrics", shape: metricsShape, take: (*Receiver).takeMetrics}

const (
	maxLabel   = 1 << 10 // bytes of a label's value
	maxBuckets = 200     // of a histogram point
)

const (
	reasonName    = "with a name that is not usable"
	reasonBuckets = "with buckets that do not fit its bounds"
	reasonUnknown = "of an unknown kind or temporality"
	reasonDeltas  = "of too many delta series; send cumulative ones"
	reasonStore   = "too late, or repeated with another value"
)

// staleNaN marks the end of a series in Prometheus.
var staleNaN = math.Float64frombits(0x7ff0000000000002)

func (r *Receiver) takeMetrics(ctx context.Context, body []byte, enc encoding) ([]byte, error) {
	const op = "ingest.metrics"
	if r.Series == nil {
		return nil, errs.New(errs.Unimplemented, op, "this server does not take metrics")
	}
	t := translator{r: r, now: r.now()}
	err := r.decode(ctx, op, func() error {
		req := pmetricotlp.NewExportRequest()
		if err := unmarshal(req, body, enc); err != nil {
			return err
		}
		t.metrics(req.Metrics())
		return nil
	})
	if err != nil {
		return nil, err
	}
	dropped := 0
	if len(t.deltas) > 0 {
		// Sums of differences are kept only if the store keeps them, so that a
		// request that is sent again is not counted twice.
		r.deltas.mu.Lock()
		defer r.deltas.mu.Unlock()
		commit := r.deltas.apply(&t)
		if dropped, err = r.putSamples(ctx, op, t.samples); err == nil {
			commit()
		}
	} else {
		dropped, err = r.putSamples(ctx, op, t.samples)
	}
	if err != nil {
		return nil, err
	}
	t.refused.add(reasonStore, min(int64(dropped), t.points))
	r.n.points.Add(uint64(max(0, t.points-int64(dropped))))
	r.n.refusedPoints.Add(uint64(t.refused.n))
	r.n.droppedSamples.Add(uint64(dropped))
	resp := pmetricotlp.NewExportResponse()
	if t.refused.n > 0 {
		resp.PartialSuccess().SetRejectedDataPoints(t.refused.n)
		resp.PartialSuccess().SetErrorMessage(t.refused.String())
	}
	return marshal(resp, enc)
}

func (r *Receiver) putSamples(ctx context.Context, op string, samples []store.Sample) (int, error) {
	if len(samples) == 0 {
		return 0, nil
	}
	dropped, err := r.Series.Put(ctx, samples)
	return dropped, r.kept(op, err)
}

// translator turns OTLP metrics into Prometheus samples, after the
// OpenTelemetry specification "Prometheus and OpenMetrics compatibility":
// names get their unit and _total, resource attributes service.* become labels
// and all of them a target_info, histograms become buckets.
type translator struct {
	r       *Receiver
	now     time.Time
	namer   otlptranslator.LabelNamer
	samples []store.Sample
	deltas  []int // samples that are differences, by index
	points  int64 // accepted
	refused refusals

	resource []store.Label
	name     string // of the metric
	delta    bool
}

func (t *translator) metrics(md pmetric.Metrics) {
	for _, rm := range md.ResourceMetrics().All() {
		attrs := rm.Resource().Attributes()
		res := t.r.resource(attrs)
		t.resource = t.resource[:0]
		for _, l := range []store.Label{{Name: "service_instance_id", Value: res.Instance}, {Name: "service_name", Value: res.Service},
			{Name: "service_namespace", Value: res.Namespace}, {Name: "service_version", Value: res.Version}} {
			if l.Value != "" {
				t.resource = append(t.resource, l)
			}
		}
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				t.metric(m)
			}
		}
		if attrs.Len() > 0 {
			t.name, t.delta = otlptranslator.TargetInfoMetricName, false
			t.add(attrs, "", "", "", t.now, 1)
		}
	}
}

func (t *translator) metric(m pmetric.Metric) {
	kind := otlptranslator.Metric{Name: t.r.text(m.Name(), maxName), Unit: t.r.text(m.Unit(), maxName)}
	cumulative := true
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		kind.Type = otlptranslator.MetricTypeGauge
	case pmetric.MetricTypeSum:
		kind.Type = otlptranslator.MetricTypeNonMonotonicCounter
		if m.Sum().IsMonotonic() {
			kind.Type = otlptranslator.MetricTypeMonotonicCounter
		}
		cumulative = t.temporality(m.Sum().AggregationTemporality())
	case pmetric.MetricTypeHistogram:
		kind.Type = otlptranslator.MetricTypeHistogram
		cumulative = t.temporality(m.Histogram().AggregationTemporality())
	case pmetric.MetricTypeExponentialHistogram:
		kind.Type = otlptranslator.MetricTypeExponentialHistogram
		cumulative = t.temporality(m.ExponentialHistogram().AggregationTemporality())
	case pmetric.MetricTypeSummary:
		kind.Type = otlptranslator.MetricTypeSummary
	}
	n := pointCount(m)
	if !cumulative && !t.delta || m.Type() == pmetric.MetricTypeEmpty {
		t.refused.add(reasonUnknown, n)
		return
	}
	t.delta = !cumulative
	name, err := (&otlptranslator.MetricNamer{WithMetricSuffixes: true}).Build(kind)
	if err != nil || name == "" {
		t.refused.add(reasonName, n)
		return
	}
	t.name = name
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		t.numbers(m.Gauge().DataPoints())
	case pmetric.MetricTypeSum:
		t.numbers(m.Sum().DataPoints())
	case pmetric.MetricTypeHistogram:
		t.histograms(m.Histogram().DataPoints())
	case pmetric.MetricTypeExponentialHistogram:
		t.exponential(m.ExponentialHistogram().DataPoints())
	case pmetric.MetricTypeSummary:
		t.summaries(m.Summary().DataPoints())
	}
}

// temporality reports cumulative or not, and leaves in t.delta whether it is
// delta: neither means unspecified.
func (t *translator) temporality(a pmetric.AggregationTemporality) (cumulative bool) {
	t.delta = a == pmetric.AggregationTemporalityDelta
	return a == pmetric.AggregationTemporalityCumulative
}

func pointCount(m pmetric.Metric) int64 {
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		return int64(m.Gauge().DataPoints().Len())
	case pmetric.MetricTypeSum:
		return int64(m.Sum().DataPoints().Len())
	case pmetric.MetricTypeHistogram:
		return int64(m.Histogram().DataPoints().Len())
	case pmetric.MetricTypeExponentialHistogram:
		return int64(m.ExponentialHistogram().DataPoints().Len())
	case pmetric.MetricTypeSummary:
		return int64(m.Summary().DataPoints().Len())
	}
	return 0
}

// at is a point's time, if it can be kept.
func (t *translator) at(ts pcommon.Timestamp) (time.Time, bool) {
	at := when(ts)
	if at.IsZero() {
		return t.now, true
	}
	if why := t.r.outside(at, t.now); why != "" {
		t.refused.add(why, 1)
		return at, false
	}
	return at, true
}

func (t *translator) numbers(points pmetric.NumberDataPointSlice) {
	for _, p := range points.All() {
		at, ok := t.at(p.Timestamp())
		if !ok {
			continue
		}
		v := p.DoubleValue()
		if p.ValueType() == pmetric.NumberDataPointValueTypeInt {
			v = float64(p.IntValue())
		}
		if p.Flags().NoRecordedValue() {
			if t.delta {
				continue
			}
			v = staleNaN
		}
		t.add(p.Attributes(), "", "", "", at, v)
		t.points++
	}
}

func (t *translator) histograms(points pmetric.HistogramDataPointSlice) {
	for _, p := range points.All() {
		at, ok := t.at(p.Timestamp())
		if !ok || p.Flags().NoRecordedValue() {
			continue
		}
		bounds, counts := p.ExplicitBounds(), p.BucketCounts()
		if n := counts.Len(); n > 0 && n != bounds.Len()+1 || n > maxBuckets {
			t.refused.add(reasonBuckets, 1)
			continue
		}
		var below uint64
		for i := range bounds.Len() {
			if counts.Len() > 0 {
				below += counts.At(i)
			}
			t.add(p.Attributes(), "_bucket", "le", strconv.FormatFloat(bounds.At(i), 'f', -1, 64), at, float64(below))
		}
		t.total(p.Attributes(), at, p.Count(), p.Sum(), p.HasSum())
	}
}

// total writes what every histogram ends with.
func (t *translator) total(attrs pcommon.Map, at time.Time, count uint64, sum float64, hasSum bool) {
	t.add(attrs, "_bucket", "le", "+Inf", at, float64(count))
	t.add(attrs, "_count", "", "", at, float64(count))
	if hasSum {
		t.add(attrs, "_sum", "", "", at, sum)
	}
	t.points++
}

// The bounds that exponential histograms are folded into: every power of two
// from a millionth to a trillion, so that they are the same for every point
// and every unit. A point's own buckets at scale 0 and finer fit into them
// exactly; the price is a resolution of a factor of two.
const (
	minExp = -20
	maxExp = 40
)

func (t *translator) exponential(points pmetric.ExponentialHistogramDataPointSlice) {
	for _, p := range points.All() {
		at, ok := t.at(p.Timestamp())
		if !ok || p.Flags().NoRecordedValue() {
			continue
		}
		var counts [maxExp - minExp + 1]uint64 // by the exponent of the upper bound
		below := p.ZeroCount()
		for _, n := range p.Negative().BucketCounts().All() {
			below += n // all negatives are at or below zero
		}
		offset, scale := int64(p.Positive().Offset()), p.Scale()
		for i, n := range p.Positive().BucketCounts().All() {
			counts[upperExp(offset+int64(i), scale)-minExp] += n
		}
		t.add(p.Attributes(), "_bucket", "le", "0", at, float64(below))
		for i, n := range counts {
			below += n
			if i == len(counts)-1 {
				break // what lies above the last bound is in +Inf only
			}
			t.add(p.Attributes(), "_bucket", "le", strconv.FormatFloat(math.Ldexp(1, i+minExp), 'f', -1, 64), at, float64(below))
		}
		t.total(p.Attributes(), at, p.Count(), p.Sum(), p.HasSum())
	}
}

// upperExp is the smallest e with bucket index's upper bound,
// 2^((index+1)/2^scale), at most 2^e, within [minExp, maxExp].
func upperExp(index int64, scale int32) int {
	upper := index + 1
	switch {
	case scale >= 63:
		upper = 1
		if index < 0 {
			upper = 0
		}
	case scale >= 0:
		upper = -((-upper) >> scale) // upper / 2^scale, rounded up
	case scale > -11 && upper > -(1<<40) && upper < 1<<40:
		upper <<= -scale
	case upper > 0:
		upper = maxExp
	case upper < 0:
		upper = minExp
	}
	return int(min(max(upper, minExp), maxExp))
}

func (t *translator) summaries(points pmetric.SummaryDataPointSlice) {
	for _, p := range points.All() {
		at, ok := t.at(p.Timestamp())
		if !ok || p.Flags().NoRecordedValue() {
			continue
		}
		if p.QuantileValues().Len() > maxBuckets {
			t.refused.add(reasonBuckets, 1)
			continue
		}
		for _, q := range p.QuantileValues().All() {
			t.add(p.Attributes(), "", "quantile", strconv.FormatFloat(q.Quantile(), 'f', -1, 64), at, q.Value())
		}
		t.add(p.Attributes(), "_count", "", "", at, float64(p.Count()))
		t.add(p.Attributes(), "_sum", "", "", at, p.Sum())
		t.points++
	}
}

// add appends one sample with the labels of the point, the resource, the name
// and one extra.
func (t *translator) add(attrs pcommon.Map, suffix, extra, value string, at time.Time, v float64) {
	labels := make([]store.Label, 0, attrs.Len()+len(t.resource)+2)
	n := 0
	for k, a := range attrs.All() {
		if n++; n > or(t.r.MaxAttrs, 128) {
			t.r.n.truncated.Add(1)
			break
		}
		name, err := t.namer.Build(t.r.text(k, maxName))
		if err != nil || name == "" || strings.HasPrefix(name, "__") || name == extra {
			continue
		}
		if v := t.r.value(a, maxLabel); v != "" {
			labels = append(labels, store.Label{Name: name, Value: v})
		}
	}
	labels = append(labels, t.resource...)
	labels = append(labels, store.Label{Name: "__name__", Value: t.name + suffix})
	if extra != "" {
		labels = append(labels, store.Label{Name: extra, Value: value})
	}
	slices.SortStableFunc(labels, func(a, b store.Label) int { return strings.Compare(a.Name, b.Name) })
	if t.delta {
		t.deltas = append(t.deltas, len(t.samples))
	}
	t.samples = append(t.samples, store.Sample{Labels: t.merge(labels), At: at, Value: v})
}

// merge makes names unique: a resource's label wins over a point's (it comes
// later in the stable order), and two attributes whose names become the same
// are joined by ';', as the specification says.
func (t *translator) merge(labels []store.Label) []store.Label {
	out := labels[:0]
	for _, l := range labels {
		if n := len(out); n > 0 && out[n-1].Name == l.Name {
			if slices.ContainsFunc(t.resource, func(r store.Label) bool { return r.Name == l.Name }) {
				out[n-1].Value = l.Value
			} else {
				out[n-1].Value += ";" + l.Value
			}
			continue
		}
		out = append(out, l)
	}
	return out
}
