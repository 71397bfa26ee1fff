package grpcx

import (
	"context"
	"log/slog"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/observe"
)

const scope = "github.com/surefoot-go/surefoot/grpcx"

// Attributes by OpenTelemetry's semantic conventions for RPC. Spans carry both
// the names most backends read (rpc.system, rpc.service, rpc.method,
// rpc.grpc.status_code) and those that follow them (rpc.system.name,
// rpc.response.status_code); metrics carry the latter only.
const (
	keySystem     = attribute.Key("rpc.system")
	keySystemName = attribute.Key("rpc.system.name")
	keyService    = attribute.Key("rpc.service")
	keyMethod     = attribute.Key("rpc.method")
	keyCode       = attribute.Key("rpc.grpc.status_code")
	keyStatus     = attribute.Key("rpc.response.status_code")
	keyErrorType  = attribute.Key("error.type")
	keyAddress    = attribute.Key("server.address")
	keyPort       = attribute.Key("server.port")
	keyPeer       = attribute.Key("peer.service")      // what most backends read
	keyPeerName   = attribute.Key("service.peer.name") // its successor
	keyLane       = attribute.Key("surefoot.lane")
	keyTry        = attribute.Key("surefoot.try")
	keyOp         = attribute.Key("surefoot.op")
	keyChain      = attribute.Key("surefoot.chain")
	keyExcType    = attribute.Key("exception.type")
	keyExcMessage = attribute.Key("exception.message")
)

// seconds are the bucket bounds the conventions advise for durations.
var seconds = metric.WithExplicitBucketBoundaries(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

// telemetry is where the serving side reports.
type telemetry struct {
	log      *slog.Logger // nil means slog.Default, looked up when used
	source   uintptr      // of log records: looked up once, because it is dear
	success  slog.Level
	tracer   trace.Tracer
	meter    metric.Meter
	duration metric.Float64Histogram
	panics   *observe.Panics
}

func newTelemetry(s Server) *telemetry {
	sinks := s.Observe.OrDefault()
	t := &telemetry{log: s.Observe.Log, success: s.LogSuccess, tracer: sinks.Tracer.Tracer(scope), meter: sinks.Meter.Meter(scope)}
	t.duration, _ = t.meter.Float64Histogram("rpc.server.call.duration", metric.WithUnit("s"),
		metric.WithDescription("Measures the duration of an incoming Remote Procedure Call (RPC)."), seconds)
	t.panics = observe.NewPanics(t.meter)
	var here [1]uintptr
	runtime.Callers(1, here[:])
	t.source = here[0]
	return t
}

// served is one method that is served.
type served struct {
	name      string // "package.Service/Method"
	message   string // of log records
	span      []trace.SpanStartOption
	durations observe.Attributes[answered]
	failures  *observe.Failures
	refusals  *observe.Refusals
	refused   sync.Map // *refusal by its delay: the last one
}

// answered is what durations of a method are counted by.
type answered struct {
	code codes.Code
	kind string
}

func (t *telemetry) method(name string) *served {
	service, method := split(name)
	return &served{
		name:    name,
		message: "request " + name,
		span: []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(keySystem.String("grpc"),
			keySystemName.String("grpc"), keyService.String(service), keyMethod.String(method), keyOp.String(name))},
		failures: observe.NewFailures(t.meter, name),
		refusals: observe.NewRefusals(t.meter, t.log, name),
	}
}

// split cuts "package.Service/Method".
func split(method string) (service, name string) {
	i := strings.LastIndexByte(method, '/')
	if i < 0 {
		return "", method
	}
	return method[:i], method[i+1:]
}

// finish ends a call's span and counts it; e is nil when it succeeded.
func (t *telemetry) finish(ctx context.Context, span trace.Span, m *served, elapsed time.Duration, e *errs.Error) {
	defer span.End()
	code, kind := codes.OK, ""
	if e != nil {
		code = codes.Code(e.GRPC())
		kind = m.failures.ID(e.Kind().ID(), e.Code(), e.Remote())
		m.failures.Count(ctx, e.Kind().ID(), kind)
	}
	if span.IsRecording() {
		span.SetAttributes(keyCode.Int(int(code)), keyStatus.String(name(code)))
		if e != nil {
			span.SetAttributes(keyErrorType.String(e.Code()), keyChain.StringSlice(chainLines(e.Chain())))
			span.AddEvent("exception", trace.WithAttributes(keyExcType.String(e.Code()), keyExcMessage.String(e.Message())))
			if bad(e) {
				span.SetStatus(otelcodes.Error, e.Message())
			}
		}
	}
	if !bad(e) {
		kind = ""
	}
	t.record(ctx, m, code, kind, elapsed)
}

// record adds a call to the histogram of durations.
func (t *telemetry) record(ctx context.Context, m *served, code codes.Code, kind string, elapsed time.Duration) {
	set := m.durations.Of(answered{code, kind}, func(a answered) []attribute.KeyValue {
		attrs := append(make([]attribute.KeyValue, 0, 4), keySystemName.String("grpc"), keyMethod.String(m.name), keyStatus.String(name(a.code)))
		if a.kind != "" {
			attrs = append(attrs, keyErrorType.String(a.kind))
		}
		return attrs
	})
	t.duration.Record(ctx, elapsed.Seconds(), set.Record...)
}

// bad tells whether the serving side failed, as opposed to refused.
func bad(e *errs.Error) bool { return e != nil && e.Kind().HTTP() >= 500 }

// name returns a code as the conventions write it, such as "NOT_FOUND".
func name(c codes.Code) string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return "CODE(" + strconv.Itoa(int(c)) + ")"
}

var codeNames = [...]string{"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
	"ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
	"UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"}

// chainLines is one "service op id" per hop, newest first, as httpx writes it.
func chainLines(hops []errs.Hop) []string {
	lines := make([]string, len(hops))
	for i, h := range hops {
		lines[i] = dash(h.Service) + " " + dash(h.Op) + " " + h.Error
	}
	return lines
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// line is the one log record of a served call.
func (t *telemetry) line(ctx context.Context, m *served, started time.Time, elapsed time.Duration, e *errs.Error) {
	level, code := t.success, codes.OK
	if bad(e) {
		level = slog.LevelError
	}
	log := t.log
	if log == nil {
		log = slog.Default()
	}
	if !log.Enabled(ctx, level) {
		return
	}
	if e != nil {
		code = codes.Code(e.GRPC())
	}
	// Microseconds, because slog's JSON writes a float through encoding/json.
	attrs := append(make([]slog.Attr, 0, 6), slog.String("op", m.name), slog.String("code", name(code)),
		slog.Int64("elapsed_us", elapsed.Microseconds()), slog.String("trace_id", flow.TraceID(ctx)))
	if n := flow.Attempt(ctx); n > 0 {
		attrs = append(attrs, slog.Int("attempt", n))
	}
	if e != nil {
		attrs = append(attrs, slog.Any("error", e))
	}
	record := slog.NewRecord(started.Add(elapsed), level, m.message, t.source)
	record.AddAttrs(attrs...)
	_ = log.Handler().Handle(ctx, record) // as a Logger does
}

// address splits what a connection says of its other end, or of its target.
func address(addr string) []attribute.KeyValue {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return []attribute.KeyValue{keyAddress.String(addr)}
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return []attribute.KeyValue{keyAddress.String(host)}
	}
	return []attribute.KeyValue{keyAddress.String(host), keyPort.Int(n)}
}
