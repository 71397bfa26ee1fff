package resilience

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"weak"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/surefoot-go/surefoot/resilience/breaker"
)

// report is where a Guard tells what it does.
type report struct {
	told        sync.Mutex // orders the reports of transitions
	state       metric.Int64Gauge
	forcing     metric.Int64Gauge
	transitions metric.Int64Counter
	attempts    metric.Int64Counter
	notAgain    metric.Int64Counter
	hedged      metric.Int64Counter
	limited     metric.Int64Counter
	fallbacks   metric.Int64Counter
	meter       metric.Meter
	target      attribute.KeyValue
	set         metric.MeasurementOption // just target, made once
}

// open makes the instruments. One that cannot be made is replaced by one that
// does nothing: a call must not fail because it cannot be counted.
func (r *report) open(name string, provider metric.MeterProvider) {
	r.target = attribute.String("surefoot.target", name)
	r.set = metric.WithAttributeSet(attribute.NewSet(r.target))
	r.meter = provider.Meter("github.com/surefoot-go/surefoot/resilience")
	counter := func(name, unit, description string) metric.Int64Counter {
		c, _ := r.meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		return c
	}
	r.state, _ = r.meter.Int64Gauge("surefoot.breaker.state",
		metric.WithDescription("What the breaker does: 0 closed, 1 half-open, 2 open."))
	r.forcing, _ = r.meter.Int64Gauge("surefoot.breaker.forced",
		metric.WithDescription("What a person decided about the breaker: 0 nothing, 1 open, 2 closed."))
	r.transitions = counter("surefoot.breaker.transitions", "{transition}", "Changes of the breaker's state.")
	r.attempts = counter("surefoot.retry.attempts", "{attempt}", "Further tries made.")
	r.notAgain = counter("surefoot.retry.refused", "{attempt}", "Further tries not made although the call could be repeated.")
	r.hedged = counter("surefoot.hedge.calls", "{attempt}", "Tries beside a late one: further ones made, those that won, and those refused.")
	r.limited = counter("surefoot.limit.refused", "{call}", "Calls refused by a limit of ours; nothing was sent.")
	r.fallbacks = counter("surefoot.fallback.calls", "{call}", "Calls answered by the fallback.")
}

// watch shows the adaptive limit of g for as long as g lives.
func (r *report) watch(g *Guard) {
	gauge, err := r.meter.Int64ObservableGauge("surefoot.limit.adaptive", metric.WithUnit("{call}"),
		metric.WithDescription("How many calls at once the target does well, as found."))
	if err != nil {
		return
	}
	// Not g itself: the meter lives longer than it may.
	w, set := weak.Make(g), r.set
	reg, err := r.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		g := w.Value()
		if g == nil {
			return nil
		}
		if p := g.plan.Load(); p != nil && p.adaptive { // nil while New is at work
			o.ObserveInt64(gauge, int64(g.adaptive.Load().Snapshot().Limit), set)
		}
		return nil
	}, gauge)
	if err == nil {
		runtime.AddCleanup(g, func(reg metric.Registration) { _ = reg.Unregister() }, reg)
	}
}

// event puts a mark on the caller's span.
func (r *report) event(ctx context.Context, name string, attrs ...attribute.KeyValue) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.AddEvent(name, trace.WithAttributes(append(attrs, r.target)...))
	}
}

// changed reports a transition of the breaker.
func (g *Guard) changed(c breaker.Change) {
	g.told.Lock()
	defer g.told.Unlock()
	ctx := context.Background()
	// Not c.To: of two transitions told out of order the gauge keeps the truth.
	g.state.Record(ctx, int64(g.breaker.State()), g.set)
	g.transitions.Add(ctx, 1, metric.WithAttributes(g.target, attribute.String("surefoot.breaker.state", c.To.String())))
	level := slog.LevelInfo
	attrs := []slog.Attr{
		slog.String("target", g.name), slog.String("from", c.From.String()), slog.String("to", c.To.String()),
	}
	if c.Err != nil {
		attrs = append(attrs, slog.Any("error", c.Err))
	}
	if c.To == breaker.Open {
		level = slog.LevelWarn
	}
	g.log.LogAttrs(ctx, level, "breaker "+c.To.String(), attrs...)
}

// forced reports what a person decided about the breaker.
func (g *Guard) forced() {
	g.told.Lock()
	defer g.told.Unlock()
	ctx, s := context.Background(), g.breaker.Snapshot()
	g.state.Record(ctx, int64(s.State), g.set)
	g.forcing.Record(ctx, int64(s.Forced), g.set)
	g.log.LogAttrs(ctx, slog.LevelWarn, "breaker forced", slog.String("target", g.name),
		slog.String("forced", s.Forced.String()), slog.String("state", s.State.String()))
}
