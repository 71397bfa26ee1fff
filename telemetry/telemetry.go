// Package telemetry sends a service's traces, metrics and logs over OTLP/gRPC.
//
//	s := &service.Service{Name: "hello", Addr: ":8080", Telemetry: telemetry.OTLP{}}
//
// or without package service:
//
//	sinks, stop, err := telemetry.OTLP{}.Start(ctx, observe.Resource{Name: "hello"})
//	...
//	defer stop(ctx) // flushes, within ctx
//
// Nothing here blocks the service: the queues are bounded, and while the
// collector is away what does not fit is dropped and counted. It stores
// nothing on disk and knows no other protocol.
package telemetry

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"time"

	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	logglobal "go.opentelemetry.io/otel/log/global"
	"go.opentelemetry.io/otel/propagation"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/safe"
)

// OTLP says where telemetry goes and how much of it. The zero value sends
// everything to a collector on this machine and logs to standard error too.
// It is plain data; Start does the work.
type OTLP struct {
	// Endpoint is the collector's OTLP/gRPC address, "host:port" or
	// "http://host:port" in the clear, "https://host:port" with TLS; "none"
	// sends nothing. Empty means the variable OTEL_EXPORTER_OTLP_ENDPOINT, and
	// without it localhost:4317, OTLP's default. The variable
	// OTEL_EXPORTER_OTLP_HEADERS is honoured.
	Endpoint string
	// Interval is how often metrics are sent; 0 or negative means 2s, so that a
	// breaker's state is seen within that time. (The SDK's own default is 60s.)
	Interval time.Duration
	// Batch is how long a span or log record waits for company; 0 or negative
	// means 500ms. (The SDK's own defaults are 5s and 1s.)
	Batch time.Duration
	// Queue is how many spans wait at most; 0 or negative means 8192. Of log
	// records a quarter as many wait (2048, the SDK's own default): the SDK sets
	// 650 bytes aside for each from the start, 5 MB for 8192. When a queue is
	// full spans are dropped as they come and log records from the oldest on;
	// the metric surefoot.telemetry.items counts them.
	Queue int
	// SampleRatio is the share of traces begun here that are recorded; 0 means
	// 1, negative means none. What the caller decided is kept. The Resource's
	// Dials change it, and Level, while the process runs.
	SampleRatio float64

	// Level is the least severe log record kept; nil means slog.LevelInfo.
	Level slog.Leveler
	// Stderr is where log records are written besides; nil means os.Stderr,
	// io.Discard means nowhere.
	Stderr io.Writer
	// Text writes them as text for people instead of JSON.
	Text bool

	// Global also installs the providers, the W3C propagators and the logger
	// process-wide, for libraries that only look there.
	Global bool
}

func (o OTLP) orDefault() OTLP {
	if o.Interval <= 0 {
		o.Interval = 2 * time.Second
	}
	if o.Batch <= 0 {
		o.Batch = 500 * time.Millisecond
	}
	if o.Queue <= 0 {
		o.Queue = 8192
	}
	if o.SampleRatio == 0 {
		o.SampleRatio = 1
	}
	if o.Level == nil {
		o.Level = slog.LevelInfo
	}
	if o.Stderr == nil {
		o.Stderr = os.Stderr
	}
	return o
}

const (
	scope = "github.com/surefoot-go/surefoot/telemetry"
	// sendLimit bounds one request to the collector with its retries: longer
	// than a collector's hiccup, shorter than it takes a busy service to fill
	// the queues.
	sendLimit = 5 * time.Second
	// stopLimit bounds the flush, besides the caller's ctx, and awayLimit does
	// if the collector was away at the last try: it is hardly back just now.
	stopLimit = 5 * time.Second
	awayLimit = time.Second
	// batchSize is the most spans or records in one request, the SDK's default.
	batchSize = 512
)

// Start begins to collect and send for the process described by r. It does not
// connect, so it does not fail or wait when the collector is away; it fails on
// settings that make no sense. Sinks are good until stop, which the caller must
// call once: it sends what is queued, waits until ctx ends and 5s at most (1s if
// the collector is away), and says what could not be sent.
func (o OTLP) Start(ctx context.Context, r observe.Resource) (observe.Sinks, func(context.Context) error, error) {
	o = o.orDefault()
	o.Level = dialed{r.Dials, o.Level}
	stderr := withTrace(o.stderr())
	addr, creds, err := o.target(os.Getenv)
	if err != nil {
		return observe.Sinks{}, nil, err
	}
	if addr == "" {
		sinks := observe.Sinks{Log: slog.New(stderr)}
		if o.Global {
			slog.SetDefault(sinks.Log)
		}
		return sinks, func(context.Context) error { return nil }, nil
	}
	res, err := describe(ctx, r)
	if err != nil && !errors.Is(err, resource.ErrPartialResource) && !errors.Is(err, resource.ErrSchemaURLConflict) {
		return observe.Sinks{}, nil, err
	}
	conn, err := dial(addr, creds)
	if err != nil {
		return observe.Sinks{}, nil, err
	}
	w := newWatch(slog.New(stderr), addr)
	p, err := o.providers(ctx, conn, res, w, r.Dials)
	if err != nil {
		return observe.Sinks{}, nil, errors.Join(err, conn.Close())
	}
	sinks := observe.Sinks{Tracer: p.traces, Meter: p.metrics}
	exported := leveled{otelslog.NewHandler(r.Name, otelslog.WithLoggerProvider(p.logs)), o.Level}
	sinks.Log = slog.New(slog.NewMultiHandler(stderr, exported))
	if err := errors.Join(w.measure(p.metrics), runtime.Start(runtime.WithMeterProvider(p.metrics))); err != nil {
		return observe.Sinks{}, nil, errors.Join(err, p.stop(ctx), conn.Close())
	}
	if o.Global {
		otel.SetTracerProvider(p.traces)
		otel.SetMeterProvider(p.metrics)
		otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
		otel.SetErrorHandler(otel.ErrorHandlerFunc(w.report))
		logglobal.SetLoggerProvider(p.logs)
		slog.SetDefault(sinks.Log)
	}
	return sinks, func(ctx context.Context) error {
		limit := stopLimit
		if w.down() {
			limit = awayLimit
		}
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return w.lost(errors.Join(p.stop(ctx), conn.Close()))
	}, nil
}

func (o OTLP) stderr() slog.Handler {
	opts := &slog.HandlerOptions{Level: o.Level}
	if o.Text {
		return slog.NewTextHandler(o.Stderr, opts)
	}
	return slog.NewJSONHandler(o.Stderr, opts)
}

type providers struct {
	traces  *sdktrace.TracerProvider
	metrics *sdkmetric.MeterProvider
	logs    *sdklog.LoggerProvider
}

// providers builds the three pipelines over one connection.
func (o OTLP) providers(ctx context.Context, conn *grpc.ClientConn, res *resource.Resource, w *watch, d *observe.Dials) (*providers, error) {
	spans, err1 := otlptracegrpc.New(ctx, otlptracegrpc.WithGRPCConn(conn), otlptracegrpc.WithTimeout(sendLimit),
		otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig(again)))
	points, err2 := otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithGRPCConn(conn), otlpmetricgrpc.WithTimeout(sendLimit),
		otlpmetricgrpc.WithRetry(otlpmetricgrpc.RetryConfig(never))) // the next interval sends the same sums
	records, err3 := otlploggrpc.New(ctx, otlploggrpc.WithGRPCConn(conn), otlploggrpc.WithTimeout(sendLimit),
		otlploggrpc.WithRetry(otlploggrpc.RetryConfig(again)))
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	queued := sdktrace.NewBatchSpanProcessor(spanExporter{spans, w}, sdktrace.WithBatchTimeout(o.Batch),
		sdktrace.WithMaxQueueSize(o.Queue), sdktrace.WithMaxExportBatchSize(batchSize), sdktrace.WithExportTimeout(sendLimit))
	logged := sdklog.NewBatchProcessor(logExporter{records, w}, sdklog.WithExportInterval(o.Batch),
		sdklog.WithMaxQueueSize(max(o.Queue/4, 1)), sdklog.WithExportMaxBatchSize(batchSize), sdklog.WithExportTimeout(sendLimit))
	return &providers{
		traces: sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithSampler(o.sampler(d)),
			sdktrace.WithSpanProcessor(spanCounter{queued, w})),
		metrics: sdkmetric.NewMeterProvider(sdkmetric.WithResource(res), sdkmetric.WithReader(
			sdkmetric.NewPeriodicReader(metricExporter{points, w}, sdkmetric.WithInterval(o.Interval), sdkmetric.WithTimeout(sendLimit)))),
		logs: sdklog.NewLoggerProvider(sdklog.WithResource(res), sdklog.WithProcessor(logCounter{logged, w})),
	}, nil
}

func (o OTLP) sampler(d *observe.Dials) sdktrace.Sampler {
	return sdktrace.ParentBased(&ratioed{dials: d, configured: o.SampleRatio})
}

// stop flushes and ends the three pipelines side by side: with the collector
// away each of them takes all the time ctx has.
func (p *providers) stop(ctx context.Context) error {
	g := safe.Group{Name: "telemetry stop", All: true}
	// The group gets a ctx that does not end: at its deadline the flushes still
	// have to be called, to end the SDK's goroutines.
	free := context.WithoutCancel(ctx)
	for _, shutdown := range []func(context.Context) error{p.traces.Shutdown, p.metrics.Shutdown, p.logs.Shutdown} {
		g.Go(free, func(context.Context) error { return shutdown(ctx) })
	}
	return g.Wait()
}
