package httpx

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/observe"
)

// Attributes of the instance that a try went to.
const (
	keyLane        = attribute.Key("surefoot.lane")             // the version asked for
	keyPeerVersion = attribute.Key("surefoot.peer.version")     // the version that was asked
	keyPeerID      = attribute.Key("surefoot.peer.instance.id") // spans only
	keyTarget      = attribute.Key("surefoot.target")
)

type clientTelemetry struct {
	target    string
	log       *slog.Logger
	tracer    trace.Tracer
	spans     audience[trace.TracerProvider]
	records   audience[metric.MeterProvider]
	duration  metric.Float64Histogram
	ejections metric.Int64Counter
	sets      observe.Attributes[clientKey]
	ops       map[string]string // by method
}

// clientKey is what the attributes of a record are made of.
type clientKey struct {
	method, host, template, failure, version string
	port, status                             int
}

func newClientTelemetry(sinks observe.Sinks, target string) *clientTelemetry {
	t := &clientTelemetry{target: target, log: sinks.Log, ops: map[string]string{}}
	sinks = sinks.OrDefault()
	t.tracer = sinks.Tracer.Tracer(scope)
	switch sinks.Tracer.(type) {
	case tracenoop.TracerProvider, *tracenoop.TracerProvider:
		t.spans.none = true
	}
	switch sinks.Meter.(type) {
	case metricnoop.MeterProvider, *metricnoop.MeterProvider:
		t.records.none = true
	}
	t.spans.learn(sinks.Tracer, otel.GetTracerProvider)
	t.records.learn(sinks.Meter, otel.GetMeterProvider)
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace, "_OTHER"} {
		t.ops[m] = target + " " + m
	}
	meter := sinks.Meter.Meter(scope)
	t.duration, _ = meter.Float64Histogram("http.client.request.duration",
		metric.WithUnit("s"), metric.WithDescription("Duration of HTTP client requests, each try by itself, until the header of the answer."), seconds)
	t.ejections, _ = meter.Int64Counter("surefoot.balance.ejections",
		metric.WithUnit("{ejection}"), metric.WithDescription("Instances taken out because they kept failing."))
	return t
}

// audience tells whether anybody gets what a provider is told.
type audience[P any] struct {
	none  bool     // nobody ever does
	now   func() P // the process's provider; nil if that does not matter
	empty any      // nobody does while it is the process's
}

// learn looks at a provider. The process's one before somebody installs another
// passes on to that from then on; it has no exported name.
func (a *audience[P]) learn(p P, now func() P) {
	if t := reflect.TypeOf(p); t != nil && t.Kind() == reflect.Pointer && t.Elem().PkgPath() == "go.opentelemetry.io/otel/internal/global" {
		a.now, a.empty = now, p
	}
}

func (a *audience[P]) some() bool { return !a.none && (a.now == nil || any(a.now()) != a.empty) }

var clientKind = trace.WithSpanKind(trace.SpanKindClient)

// sent is one try on its way.
type sent struct {
	tell    *clientTelemetry // nil if nobody is to be told
	span    trace.Span       // nil if nobody gets it
	version string
	started time.Time
}

// start begins the span of the n-th further try.
func (t *clientTelemetry) start(ctx context.Context, req *http.Request, to *destination, n int) (context.Context, sent) {
	tracing := t.spans.some()
	if !tracing && !t.records.some() {
		return ctx, sent{}
	}
	s := sent{tell: t, started: time.Now(), version: to.instance.Version}
	if tracing {
		ctx, s.span = t.span(ctx, req, to, n)
	}
	return ctx, s
}

func (t *clientTelemetry) span(ctx context.Context, req *http.Request, to *destination, n int) (context.Context, trace.Span) {
	host, port := address(req.URL)
	if to.balanced {
		host, port = address(&url.URL{Scheme: req.URL.Scheme, Host: to.instance.Addr})
	}
	m := method(req)
	attrs := make([]attribute.KeyValue, 0, 13)
	attrs = append(attrs, keyMethod.String(m), keyAddress.String(host), keyPort.Int(port),
		keyPeer.String(t.target), keyPeerName.String(t.target), keyOp.String(t.ops[m]), keyURL.String(publicURL(req.URL)))
	name := m
	if pattern := template(req.Context()); pattern != "" {
		name += " " + pattern
		attrs = append(attrs, keyTemplate.String(pattern))
	}
	if n > 0 {
		attrs = append(attrs, keyResend.Int(n))
	}
	if to.lane != "" {
		attrs = append(attrs, keyLane.String(to.lane))
	}
	if to.instance.Version != "" {
		attrs = append(attrs, keyPeerVersion.String(to.instance.Version))
	}
	if to.balanced {
		attrs = append(attrs, keyPeerID.String(to.instance.ID))
	}
	return t.tracer.Start(ctx, name, clientKind, trace.WithAttributes(attrs...))
}

// finish ends the span and records the duration. e is nil if the exchange was
// none of a failure; a failure that is the caller's fault is no error of the
// span, which is about the target.
func (s *sent) finish(ctx context.Context, req *http.Request, resp *http.Response, e *errs.Error) {
	t := s.tell
	if t == nil {
		return
	}
	if t.records.some() {
		k := clientKey{method: method(req), template: template(req.Context()), version: s.version}
		k.host, k.port = address(req.URL) // not the instance's: those come and go
		if resp != nil {
			k.status = resp.StatusCode
		}
		if e != nil && e.Kind().Fault() == errs.Callee {
			k.failure = e.Code()
		}
		t.duration.Record(ctx, time.Since(s.started).Seconds(), t.sets.Of(k, t.attributes).Record...)
	}
	if s.span == nil {
		return
	}
	if s.span.IsRecording() {
		s.describe(resp, e)
	}
	s.span.End()
}

func (s *sent) describe(resp *http.Response, e *errs.Error) {
	if resp != nil {
		s.span.SetAttributes(keyStatus.Int(resp.StatusCode))
	}
	if e == nil {
		return
	}
	if e.Kind().Fault() == errs.Callee {
		s.span.SetStatus(codes.Error, e.Message())
	}
	s.span.SetAttributes(keyErrorType.String(e.Code()))
	if resp == nil {
		recordError(s.span, e)
	}
}

func (t *clientTelemetry) attributes(k clientKey) []attribute.KeyValue {
	attrs := []attribute.KeyValue{keyMethod.String(k.method), keyAddress.String(k.host), keyPort.Int(k.port), keyPeer.String(t.target)}
	if k.template != "" {
		attrs = append(attrs, keyTemplate.String(k.template))
	}
	if k.version != "" {
		attrs = append(attrs, keyPeerVersion.String(k.version))
	}
	if k.status != 0 {
		attrs = append(attrs, keyStatus.Int(k.status))
	}
	if k.failure != "" {
		attrs = append(attrs, keyErrorType.String(k.failure))
	}
	return attrs
}

// ejected tells that the instance of a try gets no more calls for a while.
func (t *clientTelemetry) ejected(ctx context.Context, to *destination) {
	attrs := []attribute.KeyValue{keyTarget.String(t.target)}
	if v := to.instance.Version; v != "" {
		attrs = append(attrs, keyPeerVersion.String(v))
	}
	t.ejections.Add(ctx, 1, metric.WithAttributes(attrs...))
	trace.SpanFromContext(ctx).AddEvent("surefoot.balance.ejected", trace.WithAttributes(keyTarget.String(t.target), keyPeerID.String(to.instance.ID)))
	log := t.log
	if log == nil {
		log = slog.Default()
	}
	log.LogAttrs(ctx, slog.LevelWarn, "instance ejected", slog.String("target", t.target),
		slog.String("instance", to.instance.ID), slog.String("addr", to.instance.Addr), slog.String("version", to.instance.Version))
}

// address is where a URL points to, with the port its scheme implies.
func address(u *url.URL) (host string, port int) {
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err == nil {
			return u.Hostname(), int(n)
		}
	}
	if u.Scheme == "https" {
		return u.Hostname(), 443
	}
	return u.Hostname(), 80
}

// publicURL is u without what is often secret: user, password, query.
func publicURL(u *url.URL) string {
	if path := u.EscapedPath(); u.Opaque == "" && (path == "" || path[0] == '/') {
		return u.Scheme + "://" + u.Host + path
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}
