package grpcx

import (
	"context"
	"net"
	"reflect"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/balance"
	"github.com/surefoot-go/surefoot/resilience/breaker"
)

// keyPeerVersion is service.version of the other end, as far as its caller knows.
const keyPeerVersion = attribute.Key("surefoot.peer.version")

// outward is where a client reports its tries. What nobody listens to costs
// nothing: no tracer means no span, a disabled instrument no attributes.
type outward struct {
	tracer   trace.Tracer // nil if it is known to do nothing
	duration metric.Float64Histogram
	static   []attribute.KeyValue // of the target
	last     atomic.Pointer[located]
}

// located is where tries go, as attributes.
type located struct {
	addr  net.Addr             // nil: of an instance
	attrs []attribute.KeyValue // all that is said of a first try that succeeds
	where int                  // from here on the address
}

func locate(addr net.Addr, where ...attribute.KeyValue) *located {
	good := []attribute.KeyValue{keyCode.Int(int(codes.OK)), keyStatus.String(name(codes.OK))}
	return &located{addr: addr, attrs: append(good, where...), where: len(good)}
}

func newOutward(c Client) *outward {
	sinks := c.Observe.OrDefault()
	t := &outward{static: []attribute.KeyValue{keyPeer.String(c.Target), keyPeerName.String(c.Target)}}
	if c.Lane != "" {
		t.static = append(t.static, keyLane.String(c.Lane), keyPeerVersion.String(c.Lane))
	}
	if _, off := sinks.Tracer.(noop.TracerProvider); !off {
		t.tracer = sinks.Tracer.Tracer(scope)
	}
	t.duration, _ = sinks.Meter.Meter(scope).Float64Histogram("rpc.client.call.duration", metric.WithUnit("s"),
		metric.WithDescription("Measures the duration of an outgoing Remote Procedure Call (RPC)."), seconds)
	return t
}

// told is what is always said about a method.
type told struct {
	start []trace.SpanStartOption
	good  []metric.RecordOption // of a try that succeeded
}

func (t *outward) about(method string) told {
	service, name := split(method)
	attrs := append([]attribute.KeyValue{keySystem.String("grpc"), keySystemName.String("grpc"),
		keyService.String(service), keyMethod.String(name)}, t.static...)
	return told{
		start: []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attrs...)},
		good:  []metric.RecordOption{measured(method, codes.OK)},
	}
}

func measured(method string, code codes.Code, more ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(append(more, keySystemName.String("grpc"), keyMethod.String(method), keyStatus.String(name(code)))...))
}

// story is what is told about one try, or one stream.
type story struct {
	*outward
	method  *method
	span    trace.Span // nil if nobody traces
	started time.Time
	n       int // of the try, from 0

	ended  bool // or else it panicked
	failed *errs.Error
	peer   net.Addr // nil if there was no connection
	target string   // where there should have been one, as given to grpc
	at     *place   // the instance, if there are several
	pick   balance.Pick
	long   bool // a stream: how long it took says nothing
}

func (c *clientSide) begin(ctx context.Context, m *method, n int, started time.Time) (context.Context, story) {
	s := story{outward: c.tell, method: m, n: n, started: started}
	if s.tracer != nil {
		ctx, s.span = s.tracer.Start(ctx, m.name, m.start...)
	}
	return ctx, s
}

// end tells it, to the balancer too.
func (s *story) end(ctx context.Context, side *clientSide) {
	e := s.failed
	if s.at != nil {
		s.at.leave()
		took := time.Duration(-1)
		if !s.long {
			took = time.Since(s.started)
		}
		s.pick.Done(s.outcome(ctx, side), took)
	}
	if !s.ended {
		e = errs.New(errs.Internal, s.method.name, "something went wrong on our side")
	}
	code := codes.OK
	if e != nil {
		code = codes.Code(e.GRPC())
	}
	if s.duration.Enabled(ctx) {
		took := time.Since(s.started).Seconds()
		switch {
		case e == nil:
			s.duration.Record(ctx, took, s.method.good...)
		case !bad(e):
			s.duration.Record(ctx, took, measured(s.method.name, code))
		case e.Remote(): // another's ids are not ours to count by
			s.duration.Record(ctx, took, measured(s.method.name, code, keyErrorType.String(e.Kind().ID())))
		default:
			s.duration.Record(ctx, took, measured(s.method.name, code, keyErrorType.String(e.Code())))
		}
	}
	if s.span == nil {
		return
	}
	if s.span.IsRecording() {
		s.describe(code, e)
	}
	s.span.End()
}

// outcome is what the try says about its instance.
func (s *story) outcome(ctx context.Context, side *clientSide) balance.Outcome {
	switch {
	case !s.ended:
		return balance.Ignored
	case s.failed == nil:
		return balance.Success
	}
	if s.failed.Kind() == errs.Timeout {
		// Of no time given, nothing follows about the instance.
		if d, ok := ctx.Deadline(); ok && d.Sub(s.started) < side.guard.Policy().AttemptTimeout/10 {
			return balance.Ignored
		}
	}
	switch resilience.Judge(ctx, s.failed) {
	case breaker.Failure:
		return balance.Failure
	case breaker.Ignored:
		return balance.Ignored
	}
	return balance.Success // it answered
}

func (s *story) describe(code codes.Code, e *errs.Error) {
	l := s.where()
	if e == nil && s.n == 0 {
		s.span.SetAttributes(l.attrs...)
		return
	}
	attrs := append(make([]attribute.KeyValue, 0, 10), keyCode.Int(int(code)), keyStatus.String(name(code)))
	attrs = append(attrs, l.attrs[l.where:]...)
	if s.n > 0 {
		attrs = append(attrs, keyTry.Int(s.n))
	}
	if e != nil {
		attrs = append(attrs, keyErrorType.String(e.Code()), keyChain.StringSlice(chainLines(e.Chain())))
		s.span.AddEvent("exception", trace.WithAttributes(keyExcType.String(e.Code()), keyExcMessage.String(e.Message())))
		if bad(e) {
			s.span.SetStatus(otelcodes.Error, e.Message())
		}
	}
	s.span.SetAttributes(attrs...)
}

// where names the other end: the instance chosen, the address connected to, or
// else the target.
func (s *story) where() *located {
	if s.at != nil {
		return s.at.where
	}
	if s.peer == nil {
		target := s.target
		if i := strings.LastIndexByte(target, '/'); i >= 0 { // "dns:///host:port"
			target = target[i+1:]
		}
		return locate(nil, address(target)...)
	}
	if l := s.last.Load(); l != nil && l.addr == s.peer {
		return l
	}
	l := locate(s.peer, address(s.peer.String())...)
	if reflect.TypeOf(s.peer).Comparable() {
		s.last.Store(l)
	}
	return l
}

// outgoing puts flow into the metadata; grpc-timeout is grpc's own.
func outgoing(ctx context.Context) context.Context {
	md, ok := metadata.FromOutgoingContext(ctx)
	if ok {
		flow.InjectCarrier(ctx, carrier(md)) // a copy already
		return metadata.NewOutgoingContext(ctx, md)
	}
	if flow.Attempt(ctx) == 0 && !trace.SpanContextFromContext(ctx).IsValid() && baggage.FromContext(ctx).Len() == 0 {
		return ctx
	}
	var p pairs
	flow.InjectCarrier(ctx, &p)
	if p.n == 0 {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, p.kv[:p.n]...)
}

// pairs collects what flow writes where nothing was before: traceparent,
// tracestate, baggage and the attempt.
type pairs struct {
	kv [8]string
	n  int
}

// Get returns "": there is nothing.
func (p *pairs) Get(string) string { return "" }

// Keys returns nil.
func (p *pairs) Keys() []string { return nil }

// Set adds a pair.
func (p *pairs) Set(key, value string) {
	if p.n < len(p.kv) {
		p.kv[p.n], p.kv[p.n+1] = key, value
		p.n += 2
	}
}
