// Package observe says where a room reports what it does: one tracer provider,
// one meter provider, one logger, handed down from whoever starts the process.
//
//	sinks := observe.Sinks{Log: slog.Default()}.OrDefault()
//	tracer := sinks.Tracer.Tracer("example/checkout")
//
// It exports nothing and starts nothing: module telemetry builds Sinks that
// send over OTLP.
package observe

import (
	"log/slog"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Sinks is where spans, metrics and log records go. The zero value means the
// process-wide OpenTelemetry providers and slog.Default, looked up when used,
// so it reports nowhere until somebody installs providers. It is plain data;
// copy it freely.
type Sinks struct {
	Tracer trace.TracerProvider // nil means otel.GetTracerProvider()
	Meter  metric.MeterProvider // nil means otel.GetMeterProvider()
	Log    *slog.Logger         // nil means slog.Default()
}

// OrDefault returns s with every nil field filled.
func (s Sinks) OrDefault() Sinks {
	if s.Tracer == nil {
		s.Tracer = otel.GetTracerProvider()
	}
	if s.Meter == nil {
		s.Meter = otel.GetMeterProvider()
	}
	if s.Log == nil {
		s.Log = slog.Default()
	}
	return s
}

// Resource names the process that reports, by OpenTelemetry's resource
// attributes of the same names. Only Name is required.
type Resource struct {
	Name      string // service.name
	Version   string // service.version
	Instance  string // service.instance.id; empty means host name and process id
	Namespace string // service.namespace
	Dials     *Dials // asked for level and sampling while the process runs; nil means as configured
}
