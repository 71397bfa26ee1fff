package telemetry

import (
	"log/slog"
	"sync/atomic"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/surefoot-go/surefoot/observe"
)

// dialed is the level that the dials say, or else the configured one.
type dialed struct {
	dials      *observe.Dials
	configured slog.Leveler
}

func (d dialed) Level() slog.Level { return d.dials.Level(d.configured) }

// ratioed samples the share of traces that the dials say, or else the configured
// one.
type ratioed struct {
	dials      *observe.Dials
	configured float64
	now        atomic.Pointer[share] // the last one asked for
}

type share struct {
	ratio   float64
	sampler sdktrace.Sampler
}

func (r *ratioed) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	ratio, s := r.dials.Ratio(r.configured), r.now.Load()
	if s == nil || s.ratio != ratio {
		s = &share{ratio, sdktrace.TraceIDRatioBased(ratio)}
		r.now.Store(s)
	}
	return s.sampler.ShouldSample(p)
}

func (r *ratioed) Description() string { return "ShareOfTraces" }
