package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// quiet is how long a repeated complaint about the collector is held back.
const quiet = 30 * time.Second

// watch counts what is sent and what is lost, and says so in the log, seldom.
// Its logger must not lead back into the exporters.
type watch struct {
	log  *slog.Logger
	addr string

	spans, records tally

	mu      sync.Mutex
	said    time.Time // when the log was last told that nothing arrives
	pending bool      // that it arrives again is still to be told
	held    int       // failures not told
	failing bool      // the last request failed
}

// tally counts one signal. What was made and neither sent nor failed is queued
// or was dropped from a full queue.
type tally struct{ made, sent, failed atomic.Int64 }

func newWatch(log *slog.Logger, addr string) *watch { return &watch{log: log, addr: addr} }

// measure exports the tallies, as the metric surefoot.telemetry.items.
func (w *watch) measure(mp metric.MeterProvider) error {
	items, err := mp.Meter(scope).Int64ObservableCounter("surefoot.telemetry.items", metric.WithUnit("{item}"),
		metric.WithDescription("Spans and log records: made, sent, failed. Made beyond the other two is queued or dropped."))
	if err != nil {
		return err
	}
	_, err = mp.Meter(scope).RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for signal, t := range map[string]*tally{"spans": &w.spans, "logs": &w.records} {
			for outcome, n := range map[string]*atomic.Int64{"made": &t.made, "sent": &t.sent, "failed": &t.failed} {
				o.ObserveInt64(items, n.Load(), metric.WithAttributes(
					attribute.String("signal", signal), attribute.String("outcome", outcome)))
			}
		}
		return nil
	}, items)
	return err
}

// lost is an error, in one line, if not all spans and log records arrived; err
// is what ending the pipelines said.
func (w *watch) lost(err error) error {
	spans := w.spans.made.Load() - w.spans.sent.Load()
	records := w.records.made.Load() - w.records.sent.Load()
	if spans <= 0 && records <= 0 {
		return err
	}
	return fmt.Errorf("telemetry: %d spans and %d log records did not reach %s", max(spans, 0), max(records, 0), w.addr)
}

// result takes the outcome of one request made under ctx.
func (w *watch) result(ctx context.Context, signal string, err error) {
	if err != nil && ctx.Err() == context.Canceled {
		return // cut short by a shutdown, which sends once more itself
	}
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failing = err != nil
	switch {
	case err == nil && w.pending:
		w.log.Info("telemetry arrives again", "collector", w.addr)
		w.pending = false
	case err == nil:
	case !w.said.IsZero() && now.Sub(w.said) < quiet:
		w.held++
	default:
		w.log.Warn("telemetry does not arrive", "collector", w.addr, "signal", signal, "err", err, "held_back", w.held)
		w.said, w.held, w.pending = now, 0, true
	}
}

// down says whether the collector was away at the last try.
func (w *watch) down() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failing
}

// report takes errors of the SDK itself.
func (w *watch) report(err error) {
	if err != nil {
		w.log.Warn("telemetry", "err", err)
	}
}

// The exporters below tell the watch how each request went. They return nil on
// failure because the SDK would hand the error to a process-wide handler; it is
// handled here.

type spanExporter struct {
	sdktrace.SpanExporter
	w *watch
}

func (e spanExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	e.w.spans.count(len(spans), err)
	e.w.result(ctx, "traces", err)
	return nil
}

type metricExporter struct {
	sdkmetric.Exporter
	w *watch
}

func (e metricExporter) Export(ctx context.Context, rm *metricdata.ResourceMetrics) error {
	e.w.result(ctx, "metrics", e.Exporter.Export(ctx, rm))
	return nil
}

type logExporter struct {
	sdklog.Exporter
	w *watch
}

func (e logExporter) Export(ctx context.Context, records []sdklog.Record) error {
	err := e.Exporter.Export(ctx, records)
	e.w.records.count(len(records), err)
	e.w.result(ctx, "logs", err)
	return nil
}

func (t *tally) count(n int, err error) {
	if err != nil {
		t.failed.Add(int64(n))
		return
	}
	t.sent.Add(int64(n))
}

// The processors below count what goes into a queue.

type spanCounter struct {
	sdktrace.SpanProcessor
	w *watch
}

func (c spanCounter) OnEnd(s sdktrace.ReadOnlySpan) {
	if s.SpanContext().IsSampled() {
		c.w.spans.made.Add(1)
	}
	c.SpanProcessor.OnEnd(s)
}

type logCounter struct {
	sdklog.Processor
	w *watch
}

func (c logCounter) OnEmit(ctx context.Context, r *sdklog.Record) error {
	c.w.records.made.Add(1)
	return c.Processor.OnEmit(ctx, r)
}
