package supervise

import (
	"context"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/safe"
)

// CountPanics returns a ctx in which every panic in a goroutine of safe.Go or
// safe.Group is one record in the log, with its stack, and one in the counter
// surefoot.panics, with the goroutine's name in attribute surefoot.goroutine.
// The workers of a Tree have such a ctx; this is for those who have no tree.
func CountPanics(ctx context.Context, sinks observe.Sinks) context.Context {
	sinks = sinks.OrDefault()
	panics := observe.NewPanics(sinks.Meter.Meter(scope))
	return safe.WithPanics(ctx, func(ctx context.Context, name string, p *safe.Panic) {
		panics.Count(ctx, name)
		sinks.Log.ErrorContext(ctx, "panic in goroutine", "goroutine", name, "err", p)
	})
}
