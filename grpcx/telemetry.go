package grpcx

import (
	"context"
	"log/slog"
	"net"
	"strconv"
	"strings"
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

// telemetry is where one side of a connection reports its calls.
type telemetry struct {
	log      *slog.Logger
	tracer   trace.Tracer
	duration metric.Float64Histogram
	kind     trace.SpanKind
}

func newTelemetry(sinks observe.Sinks, kind trace.SpanKind) *telemetry {
	sinks = sinks.OrDefault()
	t := &telemetry{log: sinks.Log, tracer: sinks.Tracer.Tracer(scope), kind: kind}
	name, text := "rpc.server.call.duration", "Measures the duration of an incoming Remote Procedure Call (RPC)."
	if kind == trace.SpanKindClient {
		name, text = "rpc.client.call.duration", "Measures the duration of an outgoing Remote Procedure Call (RPC)."
	}
	t.duration, _ = sinks.Meter.Meter(scope).Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(text), seconds)
	return t
}

func (t *telemetry) start(ctx context.Context, method string, more ...attribute.KeyValue) (context.Context, trace.Span) {
	service, name := split(method)
	attrs := append(make([]attribute.KeyValue, 0, 12),
		keySystem.String("grpc"), keySystemName.String("grpc"), keyService.String(service), keyMethod.String(name))
	return t.tracer.Start(ctx, method, trace.WithSpanKind(t.kind), trace.WithAttributes(append(attrs, more...)...))
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
func (t *telemetry) finish(ctx context.Context, span trace.Span, method string, elapsed time.Duration, e *errs.Error) {
	defer span.End()
	code := codes.OK
	if e != nil {
		code = codes.Code(e.Kind().GRPC())
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
	attrs := make([]attribute.KeyValue, 0, 4)
	attrs = append(attrs, keySystemName.String("grpc"), keyMethod.String(method), keyStatus.String(name(code)))
	if bad(e) {
		kind := e.Code()
		if e.Remote() {
			kind = e.Kind().ID() // another's ids are not ours to count by
		}
		attrs = append(attrs, keyErrorType.String(kind))
	}
	t.duration.Record(ctx, elapsed.Seconds(), metric.WithAttributeSet(attribute.NewSet(attrs...)))
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
func (t *telemetry) line(ctx context.Context, method string, elapsed time.Duration, e *errs.Error) {
	level, code := slog.LevelInfo, codes.OK
	if bad(e) {
		level = slog.LevelError
	}
	if !t.log.Enabled(ctx, level) {
		return
	}
	if e != nil {
		code = codes.Code(e.Kind().GRPC())
	}
	attrs := append(make([]slog.Attr, 0, 6), slog.String("op", method), slog.String("code", name(code)),
		slog.Float64("elapsed_ms", float64(elapsed.Microseconds())/1e3), slog.String("trace_id", flow.TraceID(ctx)))
	if n := flow.Attempt(ctx); n > 0 {
		attrs = append(attrs, slog.Int("attempt", n))
	}
	if e != nil {
		attrs = append(attrs, slog.Any("error", e))
	}
	t.log.LogAttrs(ctx, level, "request "+method, attrs...)
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
