package httpx

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/observe"
)

type clientTelemetry struct {
	target   string
	tracer   trace.Tracer
	duration metric.Float64Histogram
}

func newClientTelemetry(sinks observe.Sinks, target string) *clientTelemetry {
	sinks = sinks.OrDefault()
	t := &clientTelemetry{target: target, tracer: sinks.Tracer.Tracer(scope)}
	t.duration, _ = sinks.Meter.Meter(scope).Float64Histogram("http.client.request.duration",
		metric.WithUnit("s"), metric.WithDescription("Duration of HTTP client requests, each try by itself, until the header of the answer."), seconds)
	return t
}

// sent is one try on its way.
type sent struct {
	tell    *clientTelemetry
	host    string
	port    int
	span    trace.Span
	started time.Time
}

// start begins the span of the n-th further try.
func (t *clientTelemetry) start(ctx context.Context, req *http.Request, op string, n int) (context.Context, sent) {
	host, port := address(req.URL)
	attrs := make([]attribute.KeyValue, 0, 10)
	attrs = append(attrs, keyMethod.String(method(req)), keyAddress.String(host), keyPort.Int(port),
		keyPeer.String(t.target), keyPeerName.String(t.target), keyOp.String(op), keyURL.String(publicURL(req.URL)))
	name := method(req)
	if pattern := template(req.Context()); pattern != "" {
		name += " " + pattern
		attrs = append(attrs, keyTemplate.String(pattern))
	}
	if n > 0 {
		attrs = append(attrs, keyResend.Int(n))
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attrs...))
	return ctx, sent{tell: t, host: host, port: port, span: span, started: time.Now()}
}

// finish ends the span and records the duration. e is nil if the exchange was
// none of a failure; a failure that is the caller's fault is no error of the
// span, which is about the target.
func (s sent) finish(ctx context.Context, req *http.Request, resp *http.Response, e *errs.Error) {
	attrs := make([]attribute.KeyValue, 0, 8)
	attrs = append(attrs, keyMethod.String(method(req)), keyAddress.String(s.host), keyPort.Int(s.port), keyPeer.String(s.tell.target))
	if pattern := template(req.Context()); pattern != "" {
		attrs = append(attrs, keyTemplate.String(pattern))
	}
	if resp != nil {
		attrs = append(attrs, keyStatus.Int(resp.StatusCode))
		s.span.SetAttributes(keyStatus.Int(resp.StatusCode))
	}
	if e != nil {
		if e.Kind().Fault() == errs.Callee {
			attrs = append(attrs, keyErrorType.String(e.Code()))
			s.span.SetStatus(codes.Error, e.Message())
		}
		s.span.SetAttributes(keyErrorType.String(e.Code()))
		if resp == nil {
			recordError(s.span, e)
		}
	}
	s.tell.duration.Record(ctx, time.Since(s.started).Seconds(), metric.WithAttributeSet(attribute.NewSet(attrs...)))
	s.span.End()
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
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}
