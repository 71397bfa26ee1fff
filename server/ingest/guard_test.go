package ingest

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/store"
)

// nested is a value of so many lists in lists.
func nested(v pcommon.Value, depth int) {
	for range depth {
		v = v.SetEmptySlice().AppendEmpty()
	}
	v.SetStr("end")
}

// Every place where OTLP may hold a value is walked: a deep one in each is
// found, in both encodings, and one that is not deep is let through.
func TestWalkFindsEveryPlace(t *testing.T) {
	type place struct {
		name string
		sig  *signal
		make func(depth int) answer
	}
	var places []place
	trace := func(name string, f func(ptrace.ResourceSpans, func(pcommon.Map))) {
		places = append(places, place{"traces " + name, traces, func(depth int) answer {
			td := ptrace.NewTraces()
			f(td.ResourceSpans().AppendEmpty(), func(m pcommon.Map) { nested(m.PutEmpty("k"), depth) })
			return ptraceotlp.NewExportRequestFromTraces(td)
		}})
	}
	span := func(rs ptrace.ResourceSpans) ptrace.Span { return rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty() }
	trace("resource", func(rs ptrace.ResourceSpans, put func(pcommon.Map)) { put(rs.Resource().Attributes()) })
	trace("scope", func(rs ptrace.ResourceSpans, put func(pcommon.Map)) {
		put(rs.ScopeSpans().AppendEmpty().Scope().Attributes())
	})
	trace("span", func(rs ptrace.ResourceSpans, put func(pcommon.Map)) { put(span(rs).Attributes()) })
	trace("event", func(rs ptrace.ResourceSpans, put func(pcommon.Map)) {
		put(span(rs).Events().AppendEmpty().Attributes())
	})
	trace("link", func(rs ptrace.ResourceSpans, put func(pcommon.Map)) { put(span(rs).Links().AppendEmpty().Attributes()) })

	logPlace := func(name string, f func(plog.ResourceLogs, func(pcommon.Value))) {
		places = append(places, place{"logs " + name, logs, func(depth int) answer {
			ld := plog.NewLogs()
			f(ld.ResourceLogs().AppendEmpty(), func(v pcommon.Value) { nested(v, depth) })
			return plogotlp.NewExportRequestFromLogs(ld)
		}})
	}
	record := func(rl plog.ResourceLogs) plog.LogRecord {
		return rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	}
	logPlace("resource", func(rl plog.ResourceLogs, put func(pcommon.Value)) { put(rl.Resource().Attributes().PutEmpty("k")) })
	logPlace("scope", func(rl plog.ResourceLogs, put func(pcommon.Value)) {
		put(rl.ScopeLogs().AppendEmpty().Scope().Attributes().PutEmpty("k"))
	})
	logPlace("body", func(rl plog.ResourceLogs, put func(pcommon.Value)) { put(record(rl).Body()) })
	logPlace("attributes", func(rl plog.ResourceLogs, put func(pcommon.Value)) { put(record(rl).Attributes().PutEmpty("k")) })
	logPlace("map in body", func(rl plog.ResourceLogs, put func(pcommon.Value)) {
		put(record(rl).Body().SetEmptyMap().PutEmpty("k"))
	})

	metric := func(name string, f func(pmetric.Metric, func(pcommon.Map))) {
		places = append(places, place{"metrics " + name, metrics, func(depth int) answer {
			md := pmetric.NewMetrics()
			f(md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty(), func(m pcommon.Map) { nested(m.PutEmpty("k"), depth) })
			return pmetricotlp.NewExportRequestFromMetrics(md)
		}})
	}
	metric("metadata", func(m pmetric.Metric, put func(pcommon.Map)) { put(m.Metadata()) })
	metric("gauge", func(m pmetric.Metric, put func(pcommon.Map)) {
		put(m.SetEmptyGauge().DataPoints().AppendEmpty().Attributes())
	})
	metric("gauge exemplar", func(m pmetric.Metric, put func(pcommon.Map)) {
		put(m.SetEmptyGauge().DataPoints().AppendEmpty().Exemplars().AppendEmpty().FilteredAttributes())
	})
	metric("sum", func(m pmetric.Metric, put func(pcommon.Map)) {
		put(m.SetEmptySum().DataPoints().AppendEmpty().Attributes())
	})
	metric("histogram", func(m pmetric.Metric, put func(pcommon.Map)) {
		put(m.SetEmptyHistogram().DataPoints().AppendEmpty().Attributes())
	})
	metric("histogram exemplar", func(m pmetric.Metric, put func(pcommon.Map)) {
		put(m.SetEmptyHistogram().DataPoints().AppendEmpty().Exemplars().AppendEmpty().FilteredAttributes())
	})
	metric("exponential", func(m pmetric.Metric, put func(pcommon.Map)) {
		put(m.SetEmptyExponentialHistogram().DataPoints().AppendEmpty().Attributes())
	})
	metric("exponential exemplar", func(m pmetric.Metric, put func(pcommon.Map)) {
		put(m.SetEmptyExponentialHistogram().DataPoints().AppendEmpty().Exemplars().AppendEmpty().FilteredAttributes())
	})
	metric("summary", func(m pmetric.Metric, put func(pcommon.Map)) {
		put(m.SetEmptySummary().DataPoints().AppendEmpty().Attributes())
	})

	for _, p := range places {
		for depth, deep := range map[int]bool{0: false, 20: false, maxNesting + 1: true, 1000: true} {
			req := p.make(depth)
			body, err := req.MarshalProto()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := walkProto(body, p.sig.shape); (err == errTooDeep) != deep {
				t.Errorf("%s, %d deep: %v", p.name, depth, err)
			}
			if body, err = req.MarshalJSON(); err != nil {
				t.Fatal(err)
			}
			if _, err := walkJSON(body); (err == errTooDeep) != deep && depth != maxNesting+1 {
				t.Errorf("%s as JSON, %d deep: %v", p.name, depth, err) // brackets are not values: the edge is near, not at, maxNesting
			}
		}
	}
}

// depthOf is how deep a decoded value nests.
func depthOf(v pcommon.Value) int {
	d := 0
	switch v.Type() {
	case pcommon.ValueTypeSlice:
		for _, e := range v.Slice().All() {
			d = max(d, depthOf(e))
		}
	case pcommon.ValueTypeMap:
		for _, e := range v.Map().All() {
			d = max(d, depthOf(e))
		}
	}
	return d + 1
}

// What the walk lets through decodes without a panic to no more depth than it
// promises.
func FuzzWalkProto(f *testing.F) {
	for _, d := range []int{0, 3, 49, 51} {
		ld := plog.NewLogs()
		nested(ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body(), d)
		b, err := plogotlp.NewExportRequestFromLogs(ld).MarshalProto()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, werr := walkProto(b, logsShape)
		if werr == errTooDeep {
			return
		}
		req := plogotlp.NewExportRequest()
		err := req.UnmarshalProto(b)
		if werr != nil && err == nil && werr != errBroken {
			t.Fatal(werr)
		}
		if werr != nil || err != nil {
			return
		}
		for _, rl := range req.Logs().ResourceLogs().All() {
			for _, sl := range rl.ScopeLogs().All() {
				for _, l := range sl.LogRecords().All() {
					if d := depthOf(l.Body()); d > maxNesting {
						t.Fatalf("%d deep", d)
					}
				}
			}
		}
	})
}

func FuzzWalkJSON(f *testing.F) {
	f.Add([]byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"arrayValue":{"values":[{"stringValue":"a\"]}"}]}}}]}]}]}`))
	f.Add([]byte(strings.Repeat(`{"body":[`, 90)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := walkJSON(b); err != nil {
			return
		}
		req := plogotlp.NewExportRequest()
		if err := req.UnmarshalJSON(b); err != nil {
			return
		}
		for _, rl := range req.Logs().ResourceLogs().All() {
			for _, sl := range rl.ScopeLogs().All() {
				for _, l := range sl.LogRecords().All() {
					if d := depthOf(l.Body()); d > maxBrackets {
						t.Fatalf("%d deep", d)
					}
				}
			}
		}
	})
}

// sink keeps everything, for a moment.
type sink struct{ samples []store.Sample }

func (*sink) Put(context.Context, []store.Span) error                          { return nil }
func (*sink) Trace(context.Context, store.TraceID) ([]store.Span, error)       { return nil, nil }
func (*sink) Search(context.Context, store.SpanQuery) ([]store.Summary, error) { return nil, nil }
func (*sink) Window(context.Context, time.Time, time.Time, func(store.Span) bool) error {
	return nil
}

type logSink struct{}

func (logSink) Put(context.Context, []store.Log) error                      { return nil }
func (logSink) Search(context.Context, store.LogQuery) ([]store.Log, error) { return nil, nil }

type seriesSink struct{ samples []store.Sample }

func (s *seriesSink) Put(_ context.Context, samples []store.Sample) (int, error) {
	s.samples = append(s.samples, samples...)
	return 0, nil
}
func (*seriesSink) Query(context.Context, string, time.Time) (store.Result, error) {
	return store.Result{}, nil
}
func (*seriesSink) QueryRange(context.Context, string, time.Time, time.Time, time.Duration) (store.Result, error) {
	return store.Result{}, nil
}

// No body of any kind does anything but get an answer.
func FuzzHTTP(f *testing.F) {
	add := func(b []byte, err error, kind uint8) {
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, kind)
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		_, _ = w.Write(b)
		_ = w.Close()
		f.Add(z.Bytes(), kind+6)
	}
	td := ptrace.NewTraces()
	s := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	s.SetTraceID(pcommon.TraceID{1})
	s.SetSpanID(pcommon.SpanID{1})
	s.Attributes().PutStr("a", "b")
	s.Events().AppendEmpty().SetName("e")
	md := pmetric.NewMetrics()
	ms := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics()
	ms.AppendEmpty().SetEmptyGauge().DataPoints().AppendEmpty().SetIntValue(1)
	sum := ms.AppendEmpty().SetEmptySum()
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	sum.DataPoints().AppendEmpty().SetDoubleValue(2)
	h := ms.AppendEmpty().SetEmptyHistogram()
	h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	hp := h.DataPoints().AppendEmpty()
	hp.ExplicitBounds().FromRaw([]float64{1, 2})
	hp.BucketCounts().FromRaw([]uint64{1, 2, 3})
	e := ms.AppendEmpty().SetEmptyExponentialHistogram()
	e.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	ep := e.DataPoints().AppendEmpty()
	ep.SetScale(3)
	ep.Positive().SetOffset(-4)
	ep.Positive().BucketCounts().FromRaw([]uint64{1, 2, 3})
	for i := range ms.Len() {
		ms.At(i).SetName("m")
	}
	tr, mr := ptraceotlp.NewExportRequestFromTraces(td), pmetricotlp.NewExportRequestFromMetrics(md)
	b, err := tr.MarshalProto()
	add(b, err, 0)
	b, err = tr.MarshalJSON()
	add(b, err, 1)
	b, err = mr.MarshalProto()
	add(b, err, 2)
	b, err = mr.MarshalJSON()
	add(b, err, 3)
	r := &Receiver{Spans: &sink{}, Logs: logSink{}, Series: &seriesSink{}, MaxBody: 1 << 20, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	handler := r.Handler()
	f.Fuzz(func(t *testing.T, body []byte, kind uint8) {
		r.Series.(*seriesSink).samples = nil
		req := httptest.NewRequest(http.MethodPost, []string{"/v1/traces", "/v1/metrics", "/v1/logs"}[kind/2%3], bytes.NewReader(body))
		req.Header.Set("Content-Type", []string{typeProtobuf, typeJSON}[kind%2])
		if kind/6%2 == 1 {
			req.Header.Set("Content-Encoding", "gzip")
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		if w.Code != 200 && w.Code != 400 && w.Code != 413 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if n := r.Stats().Panics; n != 0 {
			t.Fatal("a decoder panicked")
		}
		for _, s := range r.Series.(*seriesSink).samples {
			for i, l := range s.Labels {
				if l.Name == "" || l.Value == "" && l.Name != "le" || i > 0 && s.Labels[i-1].Name >= l.Name {
					t.Fatalf("labels %q", s.Labels)
				}
			}
		}
		if r.used.Load() != 0 || r.active.Load() != 0 {
			t.Fatalf("%d bytes and %d places are not given back", r.used.Load(), r.active.Load())
		}
	})
}

// A decoder that panics gives an answer and a count, not an end.
func TestPanicInDecoder(t *testing.T) {
	r := &Receiver{Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	bad := &signal{name: "bad", shape: tracesShape, take: func(r *Receiver, ctx context.Context, _ []byte, _ encoding) ([]byte, error) {
		return nil, r.decode(ctx, "ingest.bad", func() error { panic("decoder") })
	}}
	for range 100 { // more than there are places
		if _, err := r.export(t.Context(), bad, nil, protobuf); errs.KindOf(err) != errs.Invalid {
			t.Fatal(err)
		}
	}
	if s := r.Stats(); s.Panics != 100 || s.Bad != 100 || s.Full != 0 {
		t.Errorf("%+v", s)
	}
}
