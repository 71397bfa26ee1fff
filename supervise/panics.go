package supervise

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/safe"
)

// CountPanics returns a ctx in which every panic in a goroutine of safe.Go or
// safe.Group is one record in the log, with its stack, and one in the counter
// surefoot.panics, with the goroutine's name in attribute surefoot.goroutine.
// The workers of a Tree have such a ctx; this is for those who have no tree.
func CountPanics(ctx context.Context, sinks observe.Sinks) context.Context {
	sinks = sinks.OrDefault()
	panics := newPanics(sinks)
	return safe.WithPanics(ctx, func(ctx context.Context, name string, p *safe.Panic) {
		panics.add(ctx, name)
		sinks.Log.ErrorContext(ctx, "panic in goroutine", "goroutine", name, "err", p)
	})
}

// panics counts panics by the name of the goroutine.
type panics struct{ metric.Int64Counter }

func newPanics(sinks observe.Sinks) panics {
	c, _ := sinks.Meter.Meter(scope).Int64Counter("surefoot.panics",
		metric.WithDescription("Panics that became errors."), metric.WithUnit("{panic}"))
	return panics{c}
}

func (p panics) add(ctx context.Context, name string) {
	p.Add(ctx, 1, metric.WithAttributes(attribute.String("surefoot.goroutine", name)))
}
