package httpx

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/shed"
	"github.com/surefoot-go/surefoot/safe"
)

// scope names this room to tracer and meter providers.
const scope = "github.com/surefoot-go/surefoot/httpx"

// Server makes handlers. The zero value works; it is plain data, safe to copy
// and for concurrent use.
type Server struct {
	Service string        // service.name, written into error chains
	Observe observe.Sinks // where spans, metrics and log records go
	MaxBody int64         // bytes of a request body; 0 means 1 MiB, negative means no limit

	// Edge says that strangers call: the chain of an error is not sent to them
	// and the user labels they send are not believed.
	Edge bool

	// Door admits requests; nil admits all. One Door is for everything that
	// shares the same resources, so normally for the whole process: package
	// service makes one. A request that is refused is answered at once with
	// unavailable, id "overloaded", and a Retry-After; it makes no span and no
	// log record of its own. Requests for /healthz and /readyz are not asked.
	// An answer that becomes a stream (Content-Type text/event-stream, a Flush
	// after something was written, a Hijack) gives its place back then.
	Door *shed.Door
	// Classify says how much a request matters and who sent it. What it says is
	// put into the labels that travel with the request (flow.LabelPriority,
	// flow.LabelUser), so the services below see the same; hence set it at the
	// edge, where requests are authenticated, and let User be an opaque id. nil
	// believes the labels that came with the request, of which there are none at
	// the Edge. An empty Op is the handler's.
	Classify func(r *http.Request) shed.Request

	// Catalog has the messages of the service's own errors in other languages
	// than the program's; answers are in the one that Accept-Language asks for.
	// The zero value knows the generic messages in English and Chinese.
	Catalog errs.Catalog

	// LogSuccess is the level of the log record of a request that was not our
	// failure; the zero value is slog.LevelInfo. slog.LevelDebug saves the record
	// where its logger leaves Debug out: span and metric say the same.
	LogSuccess slog.Level
}

// Handle returns a handler for one operation, such as "order.Place". It calls
// fn with the caller's trace, labels and remaining time in the request's
// context, and answers for it when it returns an error or panics; a panic
// becomes internal_error and its value goes to the log only. A request whose
// time has run out is refused with timeout and fn is not called.
//
// Each request makes one span, one record of the histogram
// http.server.request.duration and one log record, and one more of the counter
// surefoot.errors if it ends in an error.
//
// If fn fails after it has begun a successful answer, the connection is cut, so
// that the client does not take half an answer for a whole one. A panic with
// http.ErrAbortHandler goes on to net/http, which means the same.
func (s Server) Handle(op string, fn func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return &handler{server: s, op: op, fn: fn, tell: newServerTelemetry(s, op)}
}

// Wrap is Handle for a handler that answers for its own errors, also a whole
// mux: then http.route is the pattern that matched inside. The handler may call
// WriteError.
func (s Server) Wrap(op string, h http.Handler) http.Handler {
	return s.Handle(op, func(w http.ResponseWriter, r *http.Request) error {
		h.ServeHTTP(w, r)
		return nil
	})
}

// WriteError answers r with the public part of err, in the shape r's Accept
// header asks for. Inside a handler of this package the span, the metric and
// the log record of the request show the error too. If the answer has begun,
// WriteError writes nothing. WriteError of nil does nothing.
func (s Server) WriteError(w http.ResponseWriter, r *http.Request, err error) {
	if err == nil {
		return
	}
	q, ok := r.Context().Value(requestKey{}).(*request)
	if !ok {
		q = &request{}
	}
	q.fail(r, s, err)
	if rec := recorderOf(w); rec == nil || rec.status == 0 {
		answer(w, r, q.err, s)
	}
}

// handler is one operation.
type handler struct {
	server Server
	op     string
	fn     func(http.ResponseWriter, *http.Request) error
	tell   *serverTelemetry
}

// request is what is known about the request being served: its context, for
// WriteError, and its answer.
type request struct {
	context.Context // of the connection
	op              string
	started         time.Time
	rec             recorder
	panicked        bool
	err             *errs.Error // what was answered, or would have been
}

type requestKey struct{}

// Value finds the request itself, too.
func (q *request) Value(key any) any {
	if _, ok := key.(requestKey); ok {
		return q
	}
	return q.Context.Value(key)
}

// fail notes err, as it will leave the service.
func (q *request) fail(r *http.Request, s Server, err error) {
	q.err = classify(r.Context(), err).At(errs.Border{
		Service: s.Service, Op: q.op, Started: q.started, Now: time.Now(), Trace: flow.TraceID(r.Context()),
	})
}

// classify is errs.From with what only this side knows.
func classify(ctx context.Context, err error) *errs.Error {
	e := errs.From(err)
	if tooBig, ok := errors.AsType[*http.MaxBytesError](err); ok && e.Kind() == errs.Internal {
		return bodyTooLarge(tooBig.Limit).Because(err)
	}
	if e.Kind() == errs.Canceled && ctx.Err() == nil {
		// Something here was canceled, but not by the caller, who is waiting.
		if _, ours := errors.AsType[*errs.Error](err); !ours {
			return errs.From(errors.New("canceled, but not by the caller")).Because(err)
		}
	}
	return e
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := &request{Context: r.Context(), op: h.op, started: time.Now()}
	q.rec.ResponseWriter = w
	left, timed := flow.Timeout(r.Header)
	var deadline time.Time
	if timed {
		deadline = q.started.Add(left)
	}
	asks := h.server.Door != nil && (!timed || left > 0) && !probe(r.URL.Path)
	if asks && h.server.Classify == nil {
		if !h.admit(q, deadline, r, h.labels(r.Header)) {
			return
		}
		defer q.rec.leave(shed.Ignored) // whatever happens
	}
	ctx := flow.ExtractCarrier(q, propagation.HeaderCarrier(r.Header))
	if h.server.Edge {
		ctx = flow.WithoutLabels(ctx)
	}
	if asks && h.server.Classify != nil {
		ask := h.server.Classify(r.WithContext(ctx))
		if !h.admit(q, deadline, r, ask) {
			return
		}
		defer q.rec.leave(shed.Ignored)
		ctx = labeled(ctx, ask)
	}
	if timed {
		var cancel context.CancelFunc
		ctx, cancel = resilience.WithDeadline(ctx, deadline)
		defer cancel()
	}
	h.serve(ctx, r, q, timed && left <= 0)
}

// serve answers a request that was admitted, and tells its story.
func (h *handler) serve(ctx context.Context, r *http.Request, q *request, expired bool) {
	ctx, span := h.tell.start(ctx, r)
	if !span.SpanContext().IsValid() {
		ctx = traced(ctx) // nobody traces: an id still joins answer and log
	}
	r = r.WithContext(ctx)
	end := cut // until run returns: it does not after runtime.Goexit
	defer func() {
		if h.server.Door != nil {
			q.rec.leave(q.outcome(ctx, end))
		}
		h.tell.finish(ctx, span, r, q, end != whole)
		// A caller that is not net/http would not know what our own cut means.
		if end == aborted || end == cut && r.Context().Value(http.ServerContextKey) != nil {
			panic(http.ErrAbortHandler)
		}
	}()
	end = h.run(&q.rec, r, q, expired)
}

// ending says how the answer ended.
type ending int

const (
	whole   ending = iota
	cut            // half an answer was sent, then the handler failed
	aborted        // the handler asked for it with http.ErrAbortHandler
)

// run refuses or serves.
func (h *handler) run(rec *recorder, r *http.Request, q *request, expired bool) ending {
	var err error
	if expired {
		err = errs.New(errs.Timeout, h.op, "the time allowed for this request was already over").Because(flow.ErrExpired)
	} else {
		err = h.limit(rec, r)
	}
	returned := false
	if err == nil {
		err = safe.Call(func() error {
			err := h.fn(rec, r)
			returned = true
			return err
		})
	}
	if err == nil {
		return whole
	}
	if p, ok := errors.AsType[*safe.Panic](err); ok {
		if q.panicked = true; p.Value == http.ErrAbortHandler {
			return aborted
		}
		if !returned { // one that fn returned was counted where it was
			h.tell.panics.Count(r.Context(), h.op)
		}
	}
	q.fail(r, h.server, err)
	if rec.status == 0 {
		answer(rec, r, q.err, h.server)
		return whole
	}
	if rec.status >= 400 {
		return whole // the handler has told the client itself
	}
	return cut
}

// limit bounds the body. A length the client declares is refused unread.
func (h *handler) limit(rec *recorder, r *http.Request) error {
	limit := h.server.MaxBody
	if limit == 0 {
		limit = 1 << 20
	}
	if limit < 0 || r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	if r.ContentLength > limit {
		return bodyTooLarge(limit)
	}
	r.Body = http.MaxBytesReader(bottom(rec.ResponseWriter), r.Body, limit)
	return nil
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

// routeOf returns the path part of the pattern that matched, or "".
func routeOf(r *http.Request) string {
	if i := strings.IndexByte(r.Pattern, '/'); i >= 0 {
		return r.Pattern[i:]
	}
	return ""
}
