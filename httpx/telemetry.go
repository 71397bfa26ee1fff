package httpx

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/observe"
)

// Attributes, by OpenTelemetry's semantic conventions for HTTP; those that
// start with surefoot are ours.
const (
	keyMethod     = attribute.Key("http.request.method")
	keyMethodRaw  = attribute.Key("http.request.method_original")
	keyResend     = attribute.Key("http.request.resend_count")
	keyStatus     = attribute.Key("http.response.status_code")
	keyRoute      = attribute.Key("http.route")
	keyPath       = attribute.Key("url.path")
	keyScheme     = attribute.Key("url.scheme")
	keyURL        = attribute.Key("url.full")
	keyTemplate   = attribute.Key("url.template")
	keyAddress    = attribute.Key("server.address")
	keyPort       = attribute.Key("server.port")
	keyProtocol   = attribute.Key("network.protocol.version")
	keyErrorType  = attribute.Key("error.type")
	keyPeer       = attribute.Key("peer.service")      // what most backends read
	keyPeerName   = attribute.Key("service.peer.name") // its successor
	keyOp         = attribute.Key("surefoot.op")
	keyChain      = attribute.Key("surefoot.chain")
	keyExcType    = attribute.Key("exception.type")
	keyExcMessage = attribute.Key("exception.message")
)

// seconds are the bucket bounds the conventions advise for durations.
var seconds = metric.WithExplicitBucketBoundaries(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

// method returns the method if it is a standard one, else "_OTHER": a stranger
// must not invent metric labels.
func method(r *http.Request) string {
	switch r.Method {
	case "":
		return http.MethodGet
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return r.Method
	}
	return "_OTHER"
}

type serverTelemetry struct {
	logger   *slog.Logger // nil means slog.Default, looked up when used
	tracer   trace.Tracer
	duration metric.Float64Histogram
}

func newServerTelemetry(sinks observe.Sinks) *serverTelemetry {
	t := &serverTelemetry{logger: sinks.Log}
	sinks = sinks.OrDefault()
	t.tracer = sinks.Tracer.Tracer(scope)
	t.duration, _ = sinks.Meter.Meter(scope).Float64Histogram("http.server.request.duration",
		metric.WithUnit("s"), metric.WithDescription("Duration of HTTP server requests."), seconds)
	return t
}

func (t *serverTelemetry) start(ctx context.Context, r *http.Request, op string) (context.Context, trace.Span) {
	attrs := make([]attribute.KeyValue, 0, 8)
	attrs = append(attrs, keyMethod.String(method(r)), keyPath.String(r.URL.Path), keyScheme.String(scheme(r)),
		keyProtocol.String(protocol(r)), keyOp.String(op))
	if method(r) == "_OTHER" {
		attrs = append(attrs, keyMethodRaw.String(r.Method[:min(len(r.Method), 32)]))
	}
	route := routeOf(r)
	if route != "" {
		attrs = append(attrs, keyRoute.String(route))
	}
	return t.tracer.Start(ctx, spanName(r, route, op), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attrs...))
}

// spanName is "{method} {route}", as the conventions say, with the operation
// where no route is known.
func spanName(r *http.Request, route, op string) string {
	return method(r) + " " + or(route, op)
}

func scheme(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}

func protocol(r *http.Request) string {
	switch {
	case r.ProtoMajor == 1 && r.ProtoMinor == 1:
		return "1.1"
	case r.ProtoMajor == 1:
		return "1.0"
	}
	return strconv.Itoa(r.ProtoMajor)
}

// finish tells the whole story of one request, in one place.
func (t *serverTelemetry) finish(ctx context.Context, span trace.Span, r *http.Request, op string, rec *recorder, q *request, aborted bool) {
	elapsed := time.Since(q.started)
	status := rec.status
	if status == 0 {
		status = http.StatusOK // net/http writes it after we return
	}
	kind := ""                                          // error.type
	bad := status >= 500 || aborted && ctx.Err() == nil // cut off, and not because the client left
	switch {
	case q.err != nil:
		kind = q.err.Code()
		bad = bad || q.err.HTTP() >= 500
	case aborted:
		kind = "aborted"
	case bad:
		kind = strconv.Itoa(status)
	}
	route := routeOf(r) // a mux inside Wrap has set it by now
	t.span(span, r, route, op, status, q.err, kind, bad)
	t.record(ctx, r, route, status, elapsed, q.err, kind, bad)
	t.log(ctx, r, op, rec, status, elapsed, q.err, kind, bad)
}

func (t *serverTelemetry) span(span trace.Span, r *http.Request, route, op string, status int, e *errs.Error, kind string, bad bool) {
	defer span.End()
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(keyStatus.Int(status))
	if route != "" {
		span.SetName(spanName(r, route, op))
		span.SetAttributes(keyRoute.String(route))
	}
	if kind != "" {
		span.SetAttributes(keyErrorType.String(kind))
	}
	message := ""
	if e != nil {
		message = e.Message()
		recordError(span, e)
	}
	if bad {
		span.SetStatus(codes.Error, message)
	}
}

// recordError marks a span with the public part of e: what may be shown to
// whoever may see the trace.
func recordError(span trace.Span, e *errs.Error) {
	span.SetAttributes(keyChain.StringSlice(chainLines(e.Chain())))
	span.AddEvent("exception", trace.WithAttributes(keyExcType.String(e.Code()), keyExcMessage.String(e.Message())))
}

// chainLines is one "service op id" per hop, newest first.
func chainLines(hops []errs.Hop) []string {
	lines := make([]string, len(hops))
	for i, h := range hops {
		lines[i] = strings.Join([]string{or(h.Service, "-"), or(h.Op, "-"), h.Error}, " ")
	}
	return lines
}

func (t *serverTelemetry) record(ctx context.Context, r *http.Request, route string, status int, elapsed time.Duration, e *errs.Error, kind string, bad bool) {
	attrs := make([]attribute.KeyValue, 0, 5)
	attrs = append(attrs, keyMethod.String(method(r)), keyScheme.String(scheme(r)), keyStatus.Int(status))
	if route != "" {
		attrs = append(attrs, keyRoute.String(route))
	}
	if bad {
		if e != nil && e.Remote() {
			kind = e.Kind().ID() // another's ids are not ours to count by
		}
		attrs = append(attrs, keyErrorType.String(kind))
	}
	t.duration.Record(ctx, elapsed.Seconds(), metric.WithAttributeSet(attribute.NewSet(attrs...)))
}

func (t *serverTelemetry) log(ctx context.Context, r *http.Request, op string, rec *recorder, status int, elapsed time.Duration, e *errs.Error, kind string, bad bool) {
	level := slog.LevelInfo
	if bad {
		level = slog.LevelError
	}
	logger := t.logger
	if logger == nil {
		logger = slog.Default()
	}
	if !logger.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 10)
	attrs = append(attrs, slog.String("op", op), slog.String("method", r.Method), slog.String("path", r.URL.Path),
		slog.Int("status", status), slog.Float64("elapsed_ms", float64(elapsed.Microseconds())/1e3),
		slog.Int64("bytes", rec.bytes), slog.String("trace_id", flow.TraceID(ctx)))
	if n := flow.Attempt(ctx); n > 0 {
		attrs = append(attrs, slog.Int("attempt", n))
	}
	if e != nil {
		attrs = append(attrs, slog.Any("error", e))
	} else if kind != "" {
		attrs = append(attrs, slog.String("error", kind))
	}
	logger.LogAttrs(ctx, level, "request "+op, slices.Clip(attrs)...)
}
