package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience/shed"
)

// start serves on l, or on an address of its own, until stop is called.
type start func(ctx context.Context, l net.Listener) (server, error)

type server struct {
	addr  string
	stop  func()
	count func() map[string]float64 // what it counts itself; may be nil
}

// servers are all there are, by case and library. always records every trace
// and 1percent each hundredth, as busy teams do; bare records none in either.
func servers() map[string]start {
	all := map[string]start{
		"Flight/hold/downstream": flightDownstream,
		"Flight/hold/bare":       flightBare,
		"Flight/hold/surefoot":   flightOurs,
	}
	for name, share := range map[string]float64{"always": 1, "1percent": 0.01} {
		for library, s := range map[string]start{
			"bare": httpBare, "otelhttp": httpOtel(share), "kratos": httpKratos(share),
			"go-zero": httpZero(share), "surefoot": httpOurs(share),
		} {
			all["HTTPServer/"+name+"/"+library] = s
		}
		for library, s := range map[string]start{
			"bare": grpcBare, "otelgrpc": grpcOtel(share), "kratos": grpcKratos(share), "surefoot": grpcOurs(share),
		} {
			all["GRPCServer/"+name+"/"+library] = s
		}
		if s := zrpcServer(share); s != nil {
			all["GRPCServer/"+name+"/go-zero"] = s
		}
	}
	return all
}

// ours is our HTTP server with nothing left off.
func ours(sinks observe.Sinks) httpx.Server {
	return httpx.Server{Service: "bench", Observe: sinks, Door: new(shed.Door)}
}

var propagators = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})

// sinks make all telemetry there is, encode every log record, and throw it
// away at the last moment. share of the traces are recorded.
func sinks(share float64) (observe.Sinks, func()) {
	traces := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(share))),
		sdktrace.WithBatcher(noSpans{}))
	metrics := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewPeriodicReader(noMetrics{}, sdkmetric.WithInterval(2*time.Second))))
	return observe.Sinks{Tracer: traces, Meter: metrics, Log: slog.New(slog.NewJSONHandler(io.Discard, nil))}, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, _ = traces.Shutdown(ctx), metrics.Shutdown(ctx)
	}
}

// global is sinks for libraries that only look at the process-wide providers.
func global(share float64) (observe.Sinks, func()) {
	s, flush := sinks(share)
	otel.SetTracerProvider(s.Tracer)
	otel.SetMeterProvider(s.Meter)
	otel.SetTextMapPropagator(propagators)
	return s, flush
}

type noSpans struct{}

func (noSpans) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (noSpans) Shutdown(context.Context) error                             { return nil }

type noMetrics struct{}

func (noMetrics) Temporality(sdkmetric.InstrumentKind) metricdata.Temporality {
	return metricdata.CumulativeTemporality
}
func (noMetrics) Aggregation(k sdkmetric.InstrumentKind) sdkmetric.Aggregation {
	return sdkmetric.DefaultAggregationSelector(k)
}
func (noMetrics) Export(context.Context, *metricdata.ResourceMetrics) error { return nil }
func (noMetrics) ForceFlush(context.Context) error                          { return nil }
func (noMetrics) Shutdown(context.Context) error                            { return nil }

// waitFor waits until somebody accepts connections at addr.
func waitFor(addr string) error {
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(end) {
			return fmt.Errorf("nobody listens: %w", err)
		}
	}
}
