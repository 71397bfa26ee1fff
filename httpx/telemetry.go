package httpx

import (
	"context"
	"log/slog"
	"net/http"
	"runtime"
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
	"github.com/surefoot-go/surefoot/resilience/shed"
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

// serverTelemetry is where one operation reports.
type serverTelemetry struct {
	op        string
	hop       []byte       // of a refusal's chain
	message   string       // of log records
	source    uintptr      // of log records: looked up once, because it is dear
	logger    *slog.Logger // nil means slog.Default, looked up when used
	success   slog.Level
	tracer    trace.Tracer
	duration  metric.Float64Histogram
	durations observe.Attributes[answered]
	failures  *observe.Failures
	refusals  *observe.Refusals
	panics    *observe.Panics
}

// answered is what the histogram of durations is counted by.
type answered struct {
	method, scheme, route, kind string
	status                      int
}

func (a answered) attributes() []attribute.KeyValue {
	attrs := make([]attribute.KeyValue, 0, 5)
	attrs = append(attrs, keyMethod.String(a.method), keyScheme.String(a.scheme), keyStatus.Int(a.status))
	if a.route != "" {
		attrs = append(attrs, keyRoute.String(a.route))
	}
	if a.kind != "" {
		attrs = append(attrs, keyErrorType.String(a.kind))
	}
	return attrs
}

func newServerTelemetry(s Server, op string) *serverTelemetry {
	t := &serverTelemetry{op: op, hop: hop(s.Service, op), message: "request " + op, logger: s.Observe.Log, success: s.LogSuccess}
	var here [1]uintptr
	runtime.Callers(1, here[:])
	t.source = here[0]
	sinks := s.Observe.OrDefault()
	t.tracer = sinks.Tracer.Tracer(scope)
	m := sinks.Meter.Meter(scope)
	t.duration, _ = m.Float64Histogram("http.server.request.duration",
		metric.WithUnit("s"), metric.WithDescription("Duration of HTTP server requests."), seconds)
	t.failures = observe.NewFailures(m, op)
	t.refusals = observe.NewRefusals(m, s.Observe.Log, op)
	t.panics = observe.NewPanics(m)
	return t
}

func (t *serverTelemetry) start(ctx context.Context, r *http.Request) (context.Context, trace.Span) {
	attrs := make([]attribute.KeyValue, 0, 8)
	attrs = append(attrs, keyMethod.String(method(r)), keyPath.String(r.URL.Path), keyScheme.String(scheme(r)),
		keyProtocol.String(protocol(r)), keyOp.String(t.op))
	if method(r) == "_OTHER" {
		attrs = append(attrs, keyMethodRaw.String(r.Method[:min(len(r.Method), 32)]))
	}
	route := routeOf(r)
	if route != "" {
		attrs = append(attrs, keyRoute.String(route))
	}
	return t.tracer.Start(ctx, spanName(r, route, t.op), serverKind, trace.WithAttributes(attrs...))
}

// serverKind is one option for all spans.
var serverKind = trace.WithSpanKind(trace.SpanKindServer)

// spanName is "{method} {route}", as the conventions say, with the operation
// where no route is known.
func spanName(r *http.Request, route, op string) string {
	m := method(r)
	if p := r.Pattern; route != "" && len(p) == len(m)+1+len(route) && p[:len(m)] == m && p[len(m)] == ' ' {
		return p // it is that already
	}
	return m + " " + or(route, op)
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
func (t *serverTelemetry) finish(ctx context.Context, span trace.Span, r *http.Request, q *request, aborted bool) {
	elapsed := time.Since(q.started)
	status := q.rec.status
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
	t.span(span, r, route, status, q.err, kind, bad)
	t.record(ctx, r, route, status, elapsed, q.err, kind, bad)
	t.log(ctx, r, q, status, elapsed, kind, bad)
}

func (t *serverTelemetry) span(span trace.Span, r *http.Request, route string, status int, e *errs.Error, kind string, bad bool) {
	defer span.End()
	if !span.IsRecording() {
		return
	}
	if route != "" {
		span.SetName(spanName(r, route, t.op))
		span.SetAttributes(keyStatus.Int(status), keyRoute.String(route))
	} else {
		span.SetAttributes(keyStatus.Int(status))
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
	if e != nil {
		k := e.Kind().ID()
		kind = t.failures.ID(k, e.Code(), e.Remote())
		t.failures.Count(ctx, k, kind)
	} else if kind != "" {
		t.failures.Count(ctx, errs.KindOfHTTP(status).ID(), kind)
	}
	if !bad {
		kind = ""
	}
	set := t.durations.Of(answered{method(r), scheme(r), route, kind, status}, answered.attributes)
	t.duration.Record(ctx, elapsed.Seconds(), set.Record...)
}

// refused tells of a request that was not admitted.
func (t *serverTelemetry) refused(ctx context.Context, r *http.Request, reason string, p shed.Priority, status int, elapsed time.Duration) {
	t.refusals.Count(ctx, reason, p.String())
	kind := ""
	switch {
	case status == http.StatusServiceUnavailable:
		kind = overloaded
		t.failures.Count(ctx, errs.Unavailable.ID(), kind)
	case status >= 500:
		kind = strconv.Itoa(status)
	}
	set := t.durations.Of(answered{method(r), scheme(r), routeOf(r), kind, status}, answered.attributes)
	t.duration.Record(ctx, elapsed.Seconds(), set.Record...)
}

func (t *serverTelemetry) log(ctx context.Context, r *http.Request, q *request, status int, elapsed time.Duration, kind string, bad bool) {
	level := t.success
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
	// Microseconds, because slog's JSON writes a float through encoding/json.
	attrs := make([]slog.Attr, 0, 10)
	attrs = append(attrs, slog.String("op", t.op), slog.String("method", r.Method), slog.String("path", r.URL.Path),
		slog.Int("status", status), slog.Int64("elapsed_us", elapsed.Microseconds()),
		slog.Int64("bytes", q.rec.bytes), slog.String("trace_id", flow.TraceID(ctx)))
	if n := flow.Attempt(ctx); n > 0 {
		attrs = append(attrs, slog.Int("attempt", n))
	}
	if q.err != nil {
		attrs = append(attrs, slog.Any("error", q.err))
	} else if kind != "" {
		attrs = append(attrs, slog.String("error", kind))
	}
	record := slog.NewRecord(q.started.Add(elapsed), level, t.message, t.source)
	record.AddAttrs(attrs...)
	_ = logger.Handler().Handle(ctx, record) // as a Logger does
}
