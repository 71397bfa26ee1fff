package httpx

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/observe"
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
}

// Handle returns a handler for one operation, such as "order.Place". It calls
// fn with the caller's trace, labels and remaining time in the request's
// context, and answers for it when it returns an error or panics; a panic
// becomes internal_error and its value goes to the log only. A request whose
// time has run out is refused with timeout and fn is not called.
//
// Each request makes one span, one record of the histogram
// http.server.request.duration and one log record.
//
// If fn fails after it has begun a successful answer, the connection is cut, so
// that the client does not take half an answer for a whole one. A panic with
// http.ErrAbortHandler goes on to net/http, which means the same.
func (s Server) Handle(op string, fn func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return &handler{server: s, op: op, fn: fn, tell: newServerTelemetry(s.Observe)}
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
		answer(w, r, q.err, s.Edge)
	}
}

// handler is one operation.
type handler struct {
	server Server
	op     string
	fn     func(http.ResponseWriter, *http.Request) error
	tell   *serverTelemetry
}

// request is what is known about the request being served; it travels in its
// context, for WriteError.
type request struct {
	op      string
	started time.Time
	err     *errs.Error // what was answered, or would have been
}

type requestKey struct{}

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
	q := &request{op: h.op, started: time.Now()}
	ctx, cancel, expired := flow.Extract(r.Context(), r.Header)
	defer cancel()
	if h.server.Edge {
		ctx = flow.WithoutLabels(ctx)
	}
	ctx, span := h.tell.start(ctx, r, h.op)
	if !span.SpanContext().IsValid() {
		ctx = traced(ctx) // nobody traces: an id still joins answer and log
	}
	ctx = context.WithValue(ctx, requestKey{}, q)
	r = r.WithContext(ctx)

	rec := &recorder{ResponseWriter: w}
	end := cut // until run returns: it does not after runtime.Goexit
	defer func() {
		h.tell.finish(ctx, span, r, h.op, rec, q, end != whole)
		// A caller that is not net/http would not know what our own cut means.
		if end == aborted || end == cut && r.Context().Value(http.ServerContextKey) != nil {
			panic(http.ErrAbortHandler)
		}
	}()
	end = h.run(rec, r, q, expired)
}

// ending says how the answer ended.
type ending int

const (
	whole   ending = iota
	cut            // half an answer was sent, then the handler failed
	aborted        // the handler asked for it with http.ErrAbortHandler
)

// run refuses or serves.
func (h *handler) run(rec *recorder, r *http.Request, q *request, expired error) ending {
	err := expired
	if expired != nil {
		err = errs.New(errs.Timeout, h.op, "the time allowed for this request was already over").Because(expired)
	} else {
		err = h.limit(rec, r)
	}
	if err == nil {
		err = safe.Call(func() error { return h.fn(rec, r) })
	}
	if err == nil {
		return whole
	}
	if p, ok := errors.AsType[*safe.Panic](err); ok && p.Value == http.ErrAbortHandler {
		return aborted
	}
	q.fail(r, h.server, err)
	if rec.status == 0 {
		answer(rec, r, q.err, h.server.Edge)
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
	r.Body = http.MaxBytesReader(rec.ResponseWriter, r.Body, limit)
	return nil
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

// routeOf returns the path part of the pattern that matched, or "".
func routeOf(r *http.Request) string {
	if i := strings.IndexByte(r.Pattern, '/'); i >= 0 {
		return r.Pattern[i:]
	}
	return ""
}
