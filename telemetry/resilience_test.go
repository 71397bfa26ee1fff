package telemetry_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/breaker"
	"github.com/surefoot-go/surefoot/resilience/retry"
)

// What a Guard reports, by the names that the control plane reads. The test is
// here because the root module's tests have no OpenTelemetry SDK.
func TestGuardReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := sdkmetric.NewManualReader()
		spans := tracetest.NewSpanRecorder()
		var log buffer
		sinks := observe.Sinks{
			Meter:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)),
			Tracer: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)),
			Log:    slog.New(slog.NewTextHandler(&log, nil)),
		}
		g := resilience.New("bank", resilience.Policy{
			Idempotent: true, Retry: retry.Policy{Max: 1, Reserve: 3}, Breaker: breaker.Settings{MinCalls: 8, Ramp: -1},
		}, sinks)
		if got := metrics(t, reader); got != "surefoot.breaker.state{surefoot.target=bank}=0" {
			t.Errorf("before the first call:\n%s", got)
		}

		down := errs.New(errs.Unavailable, "test", "down")
		call := func(err error) {
			ctx, span := sinks.Tracer.Tracer("test").Start(t.Context(), "call")
			defer span.End()
			resilience.Do(ctx, g, func(context.Context) (int, error) { return 0, err },
				resilience.Fallback(func(context.Context, error) (int, error) { return 1, nil }))
		}
		for range 6 { // 3 pairs, the budget's 3 further tries, then 2 single ones, the last refused
			call(down)
		}
		want := strings.Join([]string{
			"surefoot.breaker.state{surefoot.target=bank}=2",
			"surefoot.breaker.transitions{surefoot.breaker.state=open,surefoot.target=bank}=1",
			"surefoot.fallback.calls{surefoot.ok=true,surefoot.target=bank}=6",
			"surefoot.retry.attempts{surefoot.target=bank}=3",
			"surefoot.retry.refused{surefoot.reason=budget,surefoot.target=bank}=2",
			"surefoot.retry.refused{surefoot.reason=exhausted,surefoot.target=bank}=3",
		}, "\n")
		if got := metrics(t, reader); got != want {
			t.Errorf("after the outage:\n%s\nwant\n%s", got, want)
		}
		time.Sleep(2 * time.Second)
		for range 3 {
			call(nil)
		}
		if got := metrics(t, reader); !strings.Contains(got, "surefoot.breaker.state{surefoot.target=bank}=0") ||
			!strings.Contains(got, "surefoot.breaker.state=half-open,surefoot.target=bank}=1") {
			t.Errorf("after the recovery:\n%s", got)
		}

		var events []string
		for _, s := range spans.Ended() {
			var names []string
			for _, e := range s.Events() {
				names = append(names, e.Name)
				if !slices.Contains(e.Attributes, attribute.String("surefoot.target", "bank")) {
					t.Errorf("event %s has no target: %v", e.Name, e.Attributes)
				}
			}
			events = append(events, strings.Join(names, " "))
		}
		wantEvents := []string{
			"surefoot.retry surefoot.retry.refused surefoot.fallback",
			"surefoot.retry surefoot.retry.refused surefoot.fallback",
			"surefoot.retry surefoot.retry.refused surefoot.fallback",
			"surefoot.retry.refused surefoot.fallback",
			"surefoot.breaker.change surefoot.retry.refused surefoot.fallback",
			"surefoot.breaker.rejected surefoot.fallback",
			"", "", "surefoot.breaker.change",
		}
		if !slices.Equal(events, wantEvents) {
			t.Errorf("events:\n%s\nwant\n%s", strings.Join(events, "\n"), strings.Join(wantEvents, "\n"))
		}
		for _, line := range []string{
			`level=WARN msg="breaker open" target=bank from=closed to=open error.id=unavailable`,
			`level=INFO msg="breaker half-open" target=bank from=open to=half-open`,
			`level=INFO msg="breaker closed" target=bank from=half-open to=closed`,
		} {
			if strings.Count(log.String(), line) != 1 {
				t.Errorf("log lacks %s:\n%s", line, &log)
			}
		}
	})
}

// metrics is one line for each point, sorted.
func metrics(t *testing.T, r *sdkmetric.ManualReader) string {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := r.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			var points []metricdata.DataPoint[int64]
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				points = d.DataPoints
			case metricdata.Gauge[int64]:
				points = d.DataPoints
			}
			for _, p := range points {
				var attrs []string
				for _, kv := range p.Attributes.ToSlice() {
					attrs = append(attrs, fmt.Sprintf("%s=%s", kv.Key, kv.Value.Emit()))
				}
				lines = append(lines, fmt.Sprintf("%s{%s}=%d", m.Name, strings.Join(attrs, ","), p.Value))
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
