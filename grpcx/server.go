package grpcx

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/safe"
)

// Server describes the serving side. It is plain data; the zero value works.
type Server struct {
	Service string        // service.name, written into error chains
	Observe observe.Sinks // where spans, metrics and the log go
	// Edge says that callers are strangers: their labels are not believed and
	// error chains are not shown to them.
	Edge bool
}

// Options returns what to give grpc.NewServer. Every call, unary or stream, is
// then: flow read from its metadata; refused with Timeout when its time is over
// already; run so that a panic becomes an Internal error; its error sent as
// ToStatus writes it with one hop added; and told once as a span, a metric
// (rpc.server.call.duration) and a log record. Health checks are served
// without telling.
func (s Server) Options() []grpc.ServerOption {
	h := &serverSide{Server: s, tell: newTelemetry(s.Observe, trace.SpanKindServer)}
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(h.unary), grpc.ChainStreamInterceptor(h.stream)}
}

type serverSide struct {
	Server
	tell *telemetry
}

func (h *serverSide) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	trailer := func(md metadata.MD) { _ = grpc.SetTrailer(ctx, md) } // fails only outside a call
	err = h.serve(ctx, info.FullMethod, trailer, func(ctx context.Context) (err error) {
		resp, err = handler(ctx, req)
		return err
	})
	if err != nil {
		resp = nil
	}
	return resp, err
}

func (h *serverSide) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return h.serve(ss.Context(), info.FullMethod, ss.SetTrailer, func(ctx context.Context) error {
		return handler(srv, &serverStream{ss, ctx})
	})
}

// serverStream is a stream with what travels with the request in its context.
type serverStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *serverStream) Context() context.Context { return s.ctx }

func (h *serverSide) serve(ctx context.Context, full string, trailer func(metadata.MD), run func(context.Context) error) (err error) {
	method := strings.TrimPrefix(full, "/")
	if strings.HasPrefix(method, "grpc.health.v1.Health/") {
		return run(ctx)
	}
	started := time.Now()
	md, _ := metadata.FromIncomingContext(ctx)
	ctx = flow.ExtractCarrier(ctx, carrier(md))
	if h.Edge {
		ctx = flow.WithoutLabels(ctx)
	}
	ctx, span := h.tell.start(ctx, method, keyOp.String(method))
	if !span.SpanContext().IsValid() {
		ctx = traced(ctx) // nobody traces: an id still joins answer and log
	}
	// Until run has returned: it does not after runtime.Goexit.
	e := errs.New(errs.Internal, method, "something went wrong on our side")
	defer func() {
		elapsed := time.Since(started)
		h.tell.finish(ctx, span, method, elapsed, e)
		h.tell.line(ctx, method, elapsed, e)
	}()
	if left, ok := flow.Remaining(ctx); ok && left <= 0 {
		err = errs.New(errs.Timeout, method, "the time allowed for this request was already over").Because(flow.ErrExpired)
	} else {
		err = safe.Call(func() error { return run(ctx) })
	}
	if err == nil {
		e = nil
		return nil
	}
	e = classify(ctx, err).At(errs.Border{Service: h.Service, Op: method, Started: started, Trace: flow.TraceID(ctx)})
	if d := e.RetryDelay(); d > 0 {
		trailer(metadata.Pairs(pushbackKey, pushback(d)))
	}
	out := e
	if h.Edge {
		out = withoutChain(e)
	}
	return ToStatus(out).Err()
}

// withoutChain is e as a stranger sees it.
func withoutChain(e *errs.Error) *errs.Error {
	p := e.Parts()
	p.Chain = nil
	return errs.Assemble(p)
}

// carrier lets flow read and write metadata.
type carrier metadata.MD

// Get returns the first value of key.
func (c carrier) Get(key string) string {
	if v := metadata.MD(c).Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Set replaces the values of key.
func (c carrier) Set(key, value string) { metadata.MD(c).Set(key, value) }

// Keys returns the names there are.
func (c carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for k := range c {
		keys = append(keys, k)
	}
	return keys
}

// traced returns ctx with a trace id that no tracer made.
func traced(ctx context.Context) context.Context {
	var t trace.TraceID
	var s trace.SpanID
	for i := range 8 {
		t[i], t[8+i], s[i] = byte(rand.Uint32()), byte(rand.Uint32()), byte(rand.Uint32())
	}
	t[15] |= 1 // neither may be all zero
	s[7] |= 1
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: t, SpanID: s}))
}
