package grpcx_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	mnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tnoop "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"

	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/grpcx"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/balance"
	"github.com/surefoot-go/surefoot/resilience/hedge"
	"github.com/surefoot-go/surefoot/resilience/limit"
)

// silent says that nobody listens.
var silent = observe.Sinks{Tracer: tnoop.NewTracerProvider(), Meter: mnoop.NewMeterProvider(), Log: quiet}

// all is every policy there is.
var all = resilience.Policy{Idempotent: true, Hedge: hedge.Settings{Max: 1, Delay: time.Second}, Rate: limit.RateSettings{PerSecond: 1e9},
	Bulkhead: limit.BulkheadSettings{Max: 1000}, Adaptive: limit.AdaptiveSettings{Max: 1000},
	Methods: []resilience.Method{{Pattern: "test.Service/*", AttemptTimeout: time.Second}}}

// rows are the clients measured. Each is compared with a bare call that has a
// deadline of its own: that alone costs 15 allocations, on both sides together.
func rows(t testing.TB) []row {
	deadline := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(context.Background(), 2*time.Second)
	}
	none := func() (context.Context, context.CancelFunc) { return context.Background(), func() {} }
	labels := flow.WithLabels(context.Background(), map[string]string{"tier": "gold"})
	labelled := func() (context.Context, context.CancelFunc) {
		return labels, func() {}
	}
	client := func(sinks observe.Sinks, p resilience.Policy) *grpc.ClientConn {
		return connect(t, echo, grpcx.Client{Target: "s", Observe: sinks, Policy: p}.DialOptions()...)
	}
	one := &grpcx.Balanced{Client: grpcx.Client{Target: "s", Observe: silent},
		Dial: func(_ balance.Instance, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
			return connect(t, echo, opts...), nil
		}}
	t.Cleanup(func() { one.Close() })
	if err := one.Set(instances("a", "b", "c")); err != nil {
		t.Fatal(err)
	}
	return []row{
		{"bare with a deadline", deadline, connect(t, echo), 0},
		{"policies", none, client(silent, resilience.Policy{}), 6},
		{"policies and a deadline", deadline, client(silent, resilience.Policy{}), 11},
		{"nothing installed", none, client(observe.Sinks{Log: quiet}, resilience.Policy{}), 9},
		{"balanced", none, one, 7},
		{"traced", none, client(discard{}.sinks(), resilience.Policy{}), 20},
		{"traced, with labels", labelled, client(discard{}.sinks(), resilience.Policy{}), 22},
		{"every policy", none, client(silent, all), 21},
		{"every policy, traced, with labels", labelled, client(discard{}.sinks(), all), 37},
	}
}

type row struct {
	name   string
	ctx    func() (context.Context, context.CancelFunc)
	conn   grpc.ClientConnInterface
	allocs float64 // at most so many more than the first row's
}

func (r row) call(t testing.TB) {
	ctx, cancel := r.ctx()
	if _, err := call(ctx, r.conn, "hello"); err != nil {
		t.Fatal(err)
	}
	cancel()
}

// What a client of ours adds to a call: the server is grpc's own in all rows.
//
//	go test -run '^$' -bench Client -benchmem ./grpcx
func BenchmarkClient(b *testing.B) {
	for _, r := range rows(b) {
		b.Run(r.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.call(b)
			}
		})
	}
}

// BenchmarkClientAdds is the same by pairs, each call next to a bare one, so
// that whatever else the machine does counts for both: added-ns/op is the
// difference of the medians.
//
//	go test -run '^$' -bench ClientAdds -benchtime 20000x ./grpcx
func BenchmarkClientAdds(b *testing.B) {
	list := rows(b)
	for _, r := range list[1:] {
		b.Run(r.name, func(b *testing.B) {
			var bare, ours []time.Duration
			for b.Loop() {
				begun := time.Now()
				list[0].call(b)
				then := time.Now()
				r.call(b)
				bare, ours = append(bare, then.Sub(begun)), append(ours, time.Since(then))
			}
			slices.Sort(bare)
			slices.Sort(ours)
			b.ReportMetric(float64(ours[len(ours)/2]-bare[len(bare)/2]), "added-ns/op")
		})
	}
}

func TestClientAllocations(t *testing.T) {
	var bare float64
	for _, r := range rows(t) {
		r.call(t)
		n := testing.AllocsPerRun(300, func() { r.call(t) })
		if bare == 0 {
			bare = n
		}
		t.Logf("%-34s %3.0f allocations, %+.0f", r.name, n, n-bare)
		if n-bare > r.allocs && !raceEnabled {
			t.Errorf("%s: %+.0f allocations over a bare call with a deadline, want at most %.0f", r.name, n-bare, r.allocs)
		}
	}
}

// discard is a tracer and a meter that are told everything and keep nothing.
type discard struct {
	tnoop.TracerProvider
}

func (d discard) sinks() observe.Sinks {
	return observe.Sinks{Tracer: d, Meter: discardMeters{}, Log: quiet}
}

func (d discard) Tracer(string, ...trace.TracerOption) trace.Tracer { return discardTracer{} }

type discardTracer struct{ tnoop.Tracer }

var sampled = trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, TraceFlags: trace.FlagsSampled})

func (discardTracer) Start(ctx context.Context, _ string, _ ...trace.SpanStartOption) (context.Context, trace.Span) {
	s := &discardSpan{}
	return trace.ContextWithSpan(ctx, s), s
}

type discardSpan struct {
	tnoop.Span
	attrs int
}

func (s *discardSpan) IsRecording() bool                      { return true }
func (s *discardSpan) SpanContext() trace.SpanContext         { return sampled }
func (s *discardSpan) SetAttributes(kv ...attribute.KeyValue) { s.attrs += len(kv) }

type discardMeters struct{ mnoop.MeterProvider }

func (discardMeters) Meter(string, ...metric.MeterOption) metric.Meter { return discardMeter{} }

type discardMeter struct{ mnoop.Meter }

func (discardMeter) Float64Histogram(string, ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	return discardHistogram{}, nil
}

type discardHistogram struct{ mnoop.Float64Histogram }

func (discardHistogram) Enabled(context.Context) bool { return true }
