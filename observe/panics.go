package observe

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Panics counts panics that became errors as the metric surefoot.panics, by
// where they were: attribute surefoot.goroutine is the name of a goroutine, or
// the operation of a handler. Made by NewPanics, it is safe for concurrent use.
type Panics struct{ counter metric.Int64Counter }

// NewPanics returns Panics that m counts.
func NewPanics(m metric.Meter) *Panics {
	c, _ := m.Int64Counter("surefoot.panics", // on an error it is one that counts nothing
		metric.WithUnit("{panic}"), metric.WithDescription("Panics that became errors."))
	return &Panics{c}
}

// Count counts one. name must come from the program, not from data.
func (p *Panics) Count(ctx context.Context, name string) {
	p.counter.Add(ctx, 1, metric.WithAttributes(attribute.String("surefoot.goroutine", name)))
}
