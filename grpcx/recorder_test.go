package grpcx_test

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	mnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
	tnoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/surefoot-go/surefoot/observe"
)

// recorder keeps the spans and measurements of one test.
type recorder struct {
	embedded.TracerProvider
	mu     sync.Mutex
	spans  []*span
	counts []measurement
}

type measurement struct {
	name  string
	attrs attribute.Set
}

func (r *recorder) sinks() observe.Sinks {
	return observe.Sinks{Tracer: r, Meter: meters{r: r}, Log: quiet}
}

func (r *recorder) Tracer(string, ...trace.TracerOption) trace.Tracer { return tracer{r: r} }

// ended returns the spans of one kind that have ended, oldest first.
func (r *recorder) ended(kind trace.SpanKind) (out []*span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spans {
		if s.kind == kind && s.ends > 0 {
			out = append(out, s)
		}
	}
	return out
}

func (r *recorder) one(t *testing.T, kind trace.SpanKind) *span {
	t.Helper()
	all := r.ended(kind)
	if len(all) != 1 {
		t.Fatalf("%d %v spans, want 1", len(all), kind)
	}
	if all[0].ends != 1 {
		t.Errorf("span ended %d times", all[0].ends)
	}
	return all[0]
}

func (r *recorder) measured(name string) (out []attribute.Set) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.counts {
		if m.name == name {
			out = append(out, m.attrs)
		}
	}
	return out
}

type tracer struct {
	embedded.Tracer
	r *recorder
}

func (t tracer) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	c := trace.NewSpanStartConfig(opts...)
	parent := trace.SpanContextFromContext(ctx)
	id := parent.TraceID()
	if !id.IsValid() {
		rand.Read(id[:])
	}
	var sid trace.SpanID
	rand.Read(sid[:])
	s := &span{r: t.r, name: name, kind: c.SpanKind(), parent: parent.SpanID(), attrs: map[attribute.Key]attribute.Value{},
		ctx: trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: sid, TraceFlags: trace.FlagsSampled})}
	s.SetAttributes(c.Attributes()...)
	t.r.mu.Lock()
	t.r.spans = append(t.r.spans, s)
	t.r.mu.Unlock()
	return trace.ContextWithSpan(ctx, s), s
}

type span struct {
	tnoop.Span
	r      *recorder
	ctx    trace.SpanContext
	parent trace.SpanID
	name   string
	kind   trace.SpanKind
	attrs  map[attribute.Key]attribute.Value
	events []string
	status codes.Code
	ends   int
}

func (s *span) SpanContext() trace.SpanContext { return s.ctx }
func (s *span) IsRecording() bool              { return true }
func (s *span) TracerProvider() trace.TracerProvider {
	return s.r
}

func (s *span) End(...trace.SpanEndOption) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.ends++
}

func (s *span) SetAttributes(kv ...attribute.KeyValue) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	for _, a := range kv {
		s.attrs[a.Key] = a.Value
	}
}

func (s *span) SetStatus(c codes.Code, _ string) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.status = c
}

func (s *span) AddEvent(name string, opts ...trace.EventOption) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	c := trace.NewEventConfig(opts...)
	line := name
	for _, a := range c.Attributes() {
		line += " " + string(a.Key) + "=" + a.Value.Emit()
	}
	s.events = append(s.events, line)
}

func (s *span) attr(key string) string { return s.attrs[attribute.Key(key)].Emit() }

func (s *span) has(event string) bool { return slices.Contains(s.events, event) }

type meters struct {
	mnoop.MeterProvider
	r *recorder
}

func (m meters) Meter(string, ...metric.MeterOption) metric.Meter { return meter{r: m.r} }

type meter struct {
	mnoop.Meter
	r *recorder
}

func (m meter) Float64Histogram(name string, _ ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	return histogram{r: m.r, name: name}, nil
}

func (m meter) Int64Counter(name string, _ ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return counter{r: m.r, name: name}, nil
}

type counter struct {
	mnoop.Int64Counter
	r    *recorder
	name string
}

func (c counter) Add(_ context.Context, _ int64, opts ...metric.AddOption) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	c.r.counts = append(c.r.counts, measurement{c.name, metric.NewAddConfig(opts).Attributes()})
}

type histogram struct {
	mnoop.Float64Histogram
	r    *recorder
	name string
}

func (h histogram) Enabled(context.Context) bool { return true }

func (h histogram) Record(_ context.Context, _ float64, opts ...metric.RecordOption) {
	h.r.mu.Lock()
	defer h.r.mu.Unlock()
	h.r.counts = append(h.r.counts, measurement{h.name, metric.NewRecordConfig(opts).Attributes()})
}
