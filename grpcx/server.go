package grpcx

import (
	"context"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience/shed"
	"github.com/surefoot-go/surefoot/safe"
)

// Server describes the serving side. It is plain data; the zero value works.
type Server struct {
	Service string        // service.name, written into error chains
	Observe observe.Sinks // where spans, metrics and the log go
	// Edge says that callers are strangers: their labels are not believed and
	// error chains are not shown to them.
	Edge bool

	// Door admits calls; nil admits all. One Door is for everything that shares
	// the same resources, so normally for the whole process; see
	// service.Service.Door. A call that is refused ends at once with UNAVAILABLE,
	// id "overloaded", and a grpc-retry-pushback-ms; it makes no span and no log
	// record of its own. Health checks are not asked. A stream gives its place
	// back when it waits for the client, or has sent its first message.
	Door *shed.Door
	// Classify says how much a call matters and who sent it. What it says is put
	// into the labels that travel with the call (flow.LabelPriority,
	// flow.LabelUser), so the services below see the same; hence set it at the
	// edge, and let User be an opaque id. nil believes the labels that came with
	// the call, of which there are none at the Edge. method is
	// "package.Service/Method" and the Op of an answer that has none.
	Classify func(ctx context.Context, method string) shed.Request

	// Watch runs each handler, so that a finding about leaked goroutines can name
	// a request that left one behind; see service.Service.Watch. nil means no.
	Watch interface {
		Do(ctx context.Context, fn func(context.Context))
	}

	// Catalog has the messages of the service's own errors in other languages
	// than the program's, for callers that send accept-language.
	Catalog errs.Catalog

	// LogSuccess is the level of the log record of a call that was not our
	// failure; the zero value is slog.LevelInfo. slog.LevelDebug saves the record
	// where its logger leaves Debug out: span and metric say the same.
	LogSuccess slog.Level
}

// Options returns what to give grpc.NewServer. Every call, unary or stream, is
// then: flow read from its metadata; refused with Timeout when its time is over
// already; admitted by the Door; run so that a panic becomes an Internal error;
// its error sent as ToStatus writes it with one hop added; and told once as a
// span, a metric (rpc.server.call.duration, and surefoot.errors if it failed)
// and a log record. Health checks are served without telling.
func (s Server) Options() []grpc.ServerOption {
	h := &serverSide{Server: s, tell: newTelemetry(s)}
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(h.unary), grpc.ChainStreamInterceptor(h.stream)}
}

type serverSide struct {
	Server
	tell    *telemetry
	methods sync.Map // *served by full name
}

// method is what is kept of one method. Names come from registered services, so
// there are few.
func (h *serverSide) method(full string) *served {
	if m, ok := h.methods.Load(full); ok {
		return m.(*served)
	}
	m, _ := h.methods.LoadOrStore(full, h.tell.method(strings.TrimPrefix(full, "/")))
	return m.(*served)
}

// healthPrefix begins the methods that are served without telling.
const healthPrefix = "/grpc.health.v1.Health/"

func (h *serverSide) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if strings.HasPrefix(info.FullMethod, healthPrefix) {
		return handler(ctx, req)
	}
	c := request{side: h, method: h.method(info.FullMethod), started: time.Now()}
	if err := c.admit(ctx); err != nil {
		return nil, err
	}
	var resp any
	err := c.serve(ctx, h.watched(func(ctx context.Context) (err error) {
		resp, err = handler(ctx, req)
		return err
	}))
	if err != nil {
		return nil, err
	}
	return resp, nil
}

func (h *serverSide) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if strings.HasPrefix(info.FullMethod, healthPrefix) {
		return handler(srv, ss)
	}
	c := &request{side: h, method: h.method(info.FullMethod), started: time.Now(), stream: ss}
	if err := c.admit(ss.Context()); err != nil {
		return err
	}
	return c.serve(ss.Context(), h.watched(func(ctx context.Context) error {
		return handler(srv, &serverStream{ss, ctx, c, info.IsClientStream})
	}))
}

// watched is run under the Watch, if there is one.
func (h *serverSide) watched(run func(context.Context) error) func(context.Context) error {
	if h.Watch == nil {
		return run
	}
	return func(ctx context.Context) (err error) {
		h.Watch.Do(ctx, func(ctx context.Context) { err = run(ctx) })
		return err
	}
}

// serverStream is a stream with what travels with the request in its context.
type serverStream struct {
	grpc.ServerStream
	ctx    context.Context
	call   *request
	listen bool // the client sends many messages
}

func (s *serverStream) Context() context.Context { return s.ctx }

// RecvMsg waits for the client as long as it likes: that is no work.
func (s *serverStream) RecvMsg(m any) error {
	if s.listen {
		s.call.streams()
	}
	return s.ServerStream.RecvMsg(m)
}

// SendMsg begins a stream of messages, which lasts as long as its reader likes.
func (s *serverStream) SendMsg(m any) error {
	err := s.ServerStream.SendMsg(m)
	s.call.streams()
	return err
}

// request is one call being served.
type request struct {
	side    *serverSide
	method  *served
	started time.Time
	stream  grpc.ServerStream // nil for a unary call

	ask  shed.Request
	pass shed.Pass
	gone atomic.Bool // the pass was handed back
}

// trailer sends what makes a client wait before it tries again.
func (c *request) trailer(ctx context.Context, d time.Duration) {
	md := metadata.Pairs(pushbackKey, pushback(d))
	if c.stream != nil {
		c.stream.SetTrailer(md)
		return
	}
	_ = grpc.SetTrailer(ctx, md) // fails only outside a call
}

// serve answers a call that was admitted, and tells its story.
func (c *request) serve(ctx context.Context, run func(context.Context) error) (err error) {
	h := c.side
	method := c.method.name
	ctx = flow.ExtractCarrier(ctx, incoming{ctx})
	if h.Edge {
		ctx = flow.WithoutLabels(ctx)
	}
	if h.Door != nil && h.Classify != nil {
		ctx = labeled(ctx, c.ask)
	}
	ctx, span := h.tell.tracer.Start(ctx, method, c.method.span...)
	if !span.SpanContext().IsValid() {
		ctx = traced(ctx) // nobody traces: an id still joins answer and log
	}
	// Until run has returned: it does not after runtime.Goexit.
	e := goexit
	outcome := shed.Ignored
	defer func() {
		c.leave(outcome)
		elapsed := time.Since(c.started)
		h.tell.finish(ctx, span, c.method, elapsed, e)
		h.tell.line(ctx, c.method, c.started, elapsed, e)
	}()
	if left, ok := flow.Remaining(ctx); ok && left <= 0 {
		err = errs.New(errs.Timeout, method, "the time allowed for this request was already over").Because(flow.ErrExpired)
	} else {
		returned := false
		err = safe.Call(func() error {
			err := run(ctx)
			returned = true
			return err
		})
		if !returned && err != nil {
			h.tell.panics.Count(ctx, method)
		}
		outcome = outcomeOf(ctx, err)
	}
	if err == nil {
		e = nil
		return nil
	}
	e = classify(ctx, err).At(errs.Border{Service: h.Service, Op: method, Started: c.started, Trace: flow.TraceID(ctx)})
	if d := e.RetryDelay(); d > 0 {
		c.trailer(ctx, d)
	}
	return h.status(ctx, e)
}

// status is e as the caller gets it.
func (h *serverSide) status(ctx context.Context, e *errs.Error) error {
	out := e.In(h.Catalog, metadata.ValueFromIncomingContext(ctx, "accept-language")...)
	if h.Edge {
		out = withoutChain(out)
	}
	return ToStatus(out).Err()
}

// goexit is what a call has come to that called runtime.Goexit.
var goexit = errs.New(errs.Internal, "grpcx.Serve", "something went wrong on our side")

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

// incoming is a carrier that reads the metadata of a call without copying what
// is not asked for.
type incoming struct{ ctx context.Context }

// Get returns the first value of key.
func (c incoming) Get(key string) string {
	if v := c.Values(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Values returns all values of key.
func (c incoming) Values(key string) []string { return metadata.ValueFromIncomingContext(c.ctx, key) }

// Set does nothing: what came is read only.
func (c incoming) Set(string, string) {}

// Keys returns the names there are.
func (c incoming) Keys() []string {
	md, _ := metadata.FromIncomingContext(c.ctx)
	return carrier(md).Keys()
}

// traced returns ctx with a trace id that no tracer made.
func traced(ctx context.Context) context.Context {
	var t trace.TraceID
	var s trace.SpanID
	binary.LittleEndian.PutUint64(t[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(t[8:], rand.Uint64()|1<<56) // neither may be all zero
	binary.LittleEndian.PutUint64(s[:], rand.Uint64()|1<<56)
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: t, SpanID: s}))
}
