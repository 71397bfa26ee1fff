package httpx_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/balance"
)

// go test -run xxx -bench . ./httpx

var quiet = observe.Sinks{Log: slog.New(slog.DiscardHandler)}

type nowhere struct{ h http.Header }

func (w nowhere) Header() http.Header         { return w.h }
func (w nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (w nowhere) WriteHeader(int)             {}

func benchServer(b *testing.B, h http.Handler) {
	r := httptest.NewRequest("GET", "/orders/17", nil)
	r.Header.Set("Traceparent", parent)
	r.Header.Set("Request-Timeout-Ms", "1500")
	w := nowhere{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}

func BenchmarkServerOK(b *testing.B) {
	benchServer(b, httpx.Server{Observe: quiet}.Handle("x", func(w http.ResponseWriter, r *http.Request) error { return nil }))
}

func BenchmarkServerError(b *testing.B) {
	benchServer(b, httpx.Server{Observe: quiet}.Handle("x", func(w http.ResponseWriter, r *http.Request) error {
		return errs.New(errs.NotFound, "x", "m")
	}))
}

func benchClient(b *testing.B, tr http.RoundTripper) {
	r, _ := http.NewRequestWithContext(context.Background(), "GET", "http://x/orders/17", nil)
	b.ReportAllocs()
	for b.Loop() {
		if err := roundTrip(tr, r); err != nil {
			b.Fatal(err)
		}
	}
}

func roundTrip(tr http.RoundTripper, r *http.Request) error {
	resp, err := tr.RoundTrip(r)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.Body.Close()
}

// noWire answers at once: what a client adds is all that is left.
func noWire(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: 2, Body: io.NopCloser(strings.NewReader("ok"))}, nil
}

// What peers do: retry, budget and breaker, without limits of time and
// telemetry.
var policiesOnly = httpx.Client{Target: "x", Observe: quiet, ReadTimeout: -1, Transport: wireFunc(noWire),
	Policy: resilience.Policy{Timeout: -1, AttemptTimeout: -1}}

func BenchmarkClient(b *testing.B) {
	defaults := policiesOnly
	defaults.ReadTimeout, defaults.Policy = 0, resilience.Policy{}
	told := defaults
	told.Observe = recording()
	balanced := policiesOnly
	balanced.Balancer = new(balance.Balancer)
	balanced.Balancer.Set([]balance.Instance{{Addr: "a:80"}, {Addr: "b:80"}, {Addr: "c:80"}})
	for _, row := range []struct {
		name string
		tr   http.RoundTripper
	}{
		{"bare", wireFunc(noWire)},
		{"policies", policiesOnly.New()},      // retry, budget, breaker
		{"policies+balancer", balanced.New()}, // and an instance chosen
		{"defaults", defaults.New()},          // and limits of time, and the deadline sent along
		{"defaults+telemetry", told.New()},    // and a span and a record, kept by nobody
	} {
		b.Run(row.name, func(b *testing.B) { benchClient(b, row.tr) })
	}
}

// The allocations of one call, those of the wire itself aside.
func TestClientAllocations(t *testing.T) {
	told := policiesOnly
	told.ReadTimeout, told.Policy, told.Observe = 0, resilience.Policy{}, recording()
	defaults := told
	defaults.Observe = quiet
	r, _ := http.NewRequestWithContext(t.Context(), "GET", "http://x/orders/17", nil)
	count := func(tr http.RoundTripper) float64 {
		return testing.AllocsPerRun(200, func() {
			if err := roundTrip(tr, r); err != nil {
				t.Error(err)
			}
		})
	}
	bare := count(wireFunc(noWire))
	for _, c := range []struct {
		name string
		tr   http.RoundTripper
		most float64
	}{
		{"policies", policiesOnly.New(), 2},
		{"defaults", defaults.New(), 8},
		{"defaults and telemetry", told.New(), 19},
	} {
		got := count(c.tr) - bare
		t.Logf("%s: %v allocations more than the wire's %v", c.name, got, bare)
		if got > c.most && !raceEnabled {
			t.Errorf("%s: %v allocations more than the wire's, want at most %v", c.name, got, c.most)
		}
	}
}

// recording is an SDK that keeps nothing: each span and record is made, with all
// of its attributes, and dropped when it is done.
func recording() observe.Sinks {
	return observe.Sinks{Tracer: droppingTracers{}, Meter: droppingMeters{}, Log: quiet.Log}
}

type droppingTracers struct{ tracenoop.TracerProvider }

func (droppingTracers) Tracer(string, ...trace.TracerOption) trace.Tracer { return droppingTracer{} }

type droppingTracer struct{ tracenoop.Tracer }

func (droppingTracer) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	c := trace.NewSpanStartConfig(opts...)
	s := &droppedSpan{attrs: c.Attributes(), sc: trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: 1})}
	return trace.ContextWithSpan(ctx, s), s
}

type droppedSpan struct {
	tracenoop.Span
	sc    trace.SpanContext
	attrs []attribute.KeyValue
}

func (s *droppedSpan) IsRecording() bool                     { return true }
func (s *droppedSpan) SpanContext() trace.SpanContext        { return s.sc }
func (s *droppedSpan) SetAttributes(a ...attribute.KeyValue) { s.attrs = append(s.attrs, a...) }

type droppingMeters struct{ metricnoop.MeterProvider }

func (droppingMeters) Meter(string, ...metric.MeterOption) metric.Meter { return droppingMeter{} }

type droppingMeter struct{ metricnoop.Meter }

func (droppingMeter) Float64Histogram(string, ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	return droppingHistogram{}, nil
}

type droppingHistogram struct{ metricnoop.Float64Histogram }

func (droppingHistogram) Record(_ context.Context, _ float64, opts ...metric.RecordOption) {
	_ = metric.NewRecordConfig(opts).Attributes()
}
