package httpx_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/surefoot-go/surefoot/observe"
)

// spy keeps what a room reports: the OpenTelemetry API with memory behind it.
type spy struct {
	mu      sync.Mutex
	spans   []*spySpan
	records []spyRecord
	log     bytes.Buffer
	ids     uint64
}

type spyRecord struct {
	name  string
	value float64
	attrs map[string]string
}

func (s *spy) sinks() observe.Sinks {
	return observe.Sinks{
		Tracer: spyTracers{spy: s}, Meter: spyMeters{spy: s},
		Log: slog.New(slog.NewJSONHandler(lockedWriter{s}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

type lockedWriter struct{ s *spy }

func (w lockedWriter) Write(p []byte) (int, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.s.log.Write(p)
}

func (s *spy) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Split(strings.TrimSpace(s.log.String()), "\n")
}

// ended returns the ended spans of a kind, oldest first.
func (s *spy) ended(kind trace.SpanKind) []*spySpan {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*spySpan
	for _, x := range s.spans {
		if x.kind == kind && x.ends > 0 {
			out = append(out, x)
		}
	}
	return out
}

func (s *spy) recorded(name string) []spyRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []spyRecord
	for _, r := range s.records {
		if r.name == name {
			out = append(out, r)
		}
	}
	return out
}

type spyTracers struct {
	tracenoop.TracerProvider
	spy *spy
}

func (p spyTracers) Tracer(string, ...trace.TracerOption) trace.Tracer { return spyTracer{spy: p.spy} }

type spyTracer struct {
	tracenoop.Tracer
	spy *spy
}

func (t spyTracer) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	cfg := trace.NewSpanStartConfig(opts...)
	parent := trace.SpanContextFromContext(ctx)
	t.spy.mu.Lock()
	defer t.spy.mu.Unlock()
	t.spy.ids++
	id := parent.TraceID()
	if !id.IsValid() {
		id = trace.TraceID{0xee, 15: byte(t.spy.ids)}
	}
	s := &spySpan{spy: t.spy, name: name, kind: cfg.SpanKind(), parent: parent.SpanID(), attrs: map[string]string{}, sc: trace.NewSpanContext(
		trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{0xaa, 7: byte(t.spy.ids)}, TraceFlags: trace.FlagsSampled})}
	s.set(cfg.Attributes())
	t.spy.spans = append(t.spy.spans, s)
	return trace.ContextWithSpan(ctx, s), s
}

type spySpan struct {
	tracenoop.Span
	spy     *spy
	name    string
	kind    trace.SpanKind
	sc      trace.SpanContext
	parent  trace.SpanID
	attrs   map[string]string
	events  []spyEvent
	status  codes.Code
	message string
	ends    int
}

type spyEvent struct {
	name  string
	attrs map[string]string
}

func (s *spySpan) set(kvs []attribute.KeyValue) {
	for _, kv := range kvs {
		s.attrs[string(kv.Key)] = kv.Value.Emit()
	}
}

func (s *spySpan) locked(f func()) { s.spy.mu.Lock(); defer s.spy.mu.Unlock(); f() }

func (s *spySpan) End(...trace.SpanEndOption)            { s.locked(func() { s.ends++ }) }
func (s *spySpan) IsRecording() bool                     { return true }
func (s *spySpan) SpanContext() trace.SpanContext        { return s.sc }
func (s *spySpan) SetName(n string)                      { s.locked(func() { s.name = n }) }
func (s *spySpan) SetAttributes(a ...attribute.KeyValue) { s.locked(func() { s.set(a) }) }
func (s *spySpan) SetStatus(c codes.Code, m string)      { s.locked(func() { s.status, s.message = c, m }) }
func (s *spySpan) AddEvent(name string, opts ...trace.EventOption) {
	e := spyEvent{name, map[string]string{}}
	cfg := trace.NewEventConfig(opts...)
	for _, kv := range cfg.Attributes() {
		e.attrs[string(kv.Key)] = kv.Value.Emit()
	}
	s.locked(func() { s.events = append(s.events, e) })
}

type spyMeters struct {
	metricnoop.MeterProvider
	spy *spy
}

func (p spyMeters) Meter(string, ...metric.MeterOption) metric.Meter { return spyMeter{spy: p.spy} }

type spyMeter struct {
	metricnoop.Meter
	spy *spy
}

func (m spyMeter) Float64Histogram(name string, _ ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	return spyHistogram{spy: m.spy, name: name}, nil
}

func (m spyMeter) Int64Counter(name string, _ ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return spyCounter{spy: m.spy, name: name}, nil
}

type spyCounter struct {
	metricnoop.Int64Counter
	spy  *spy
	name string
}

func (c spyCounter) Add(ctx context.Context, n int64, opts ...metric.AddOption) {
	r := spyRecord{c.name, float64(n), map[string]string{}}
	set := metric.NewAddConfig(opts).Attributes()
	for _, kv := range set.ToSlice() {
		r.attrs[string(kv.Key)] = kv.Value.Emit()
	}
	if sc := trace.SpanContextFromContext(ctx); sc.IsSampled() {
		r.attrs["exemplar"] = sc.TraceID().String() // what an SDK would add
	}
	c.spy.mu.Lock()
	defer c.spy.mu.Unlock()
	c.spy.records = append(c.spy.records, r)
}

type spyHistogram struct {
	metricnoop.Float64Histogram
	spy  *spy
	name string
}

func (h spyHistogram) Record(_ context.Context, v float64, opts ...metric.RecordOption) {
	r := spyRecord{h.name, v, map[string]string{}}
	set := metric.NewRecordConfig(opts).Attributes()
	for _, kv := range set.ToSlice() {
		r.attrs[string(kv.Key)] = kv.Value.Emit()
	}
	h.spy.mu.Lock()
	defer h.spy.mu.Unlock()
	h.spy.records = append(h.spy.records, r)
}

// has checks that every wanted attribute is there; "-" means absent.
func has(t *testing.T, what string, attrs map[string]string, want map[string]string) {
	t.Helper()
	for k, v := range want {
		if got, ok := attrs[k]; v == "-" && ok || v != "-" && got != v {
			t.Errorf("%s: %s is %q, want %q", what, k, got, v)
		}
	}
}
