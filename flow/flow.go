// Package flow is what travels with a request besides its body: the trace, the
// time left, the user's labels and the mark of a retry.
//
//	ctx, cancel, err := flow.Extract(r.Context(), r.Header)
//	defer cancel()
//	if err != nil {
//		return err // expired before it began: do not do the work
//	}
//	...
//	flow.Inject(ctx, out.Header)
//
// On the wire it is W3C traceparent and baggage (labels are members named
// sf.<key>), Request-Timeout-Ms and Retry-Attempt. Every header may come from
// a stranger: what makes no sense is treated as absent, never as an error.
//
// It is not a place for values between functions of one service: pass those as
// arguments.
package flow

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Headers besides those of W3C Trace Context and Baggage.
const (
	HeaderTimeout = "Request-Timeout-Ms" // time left when sent, whole milliseconds
	HeaderAttempt = "Retry-Attempt"      // 1 for the first retry; absent for a first try
)

// Labels that steer the admission of a request, here and in every service below:
// package shed's priority by name, and who shares the service fairly with
// others. An edge sets them, see httpx.Server.Classify.
const (
	LabelPriority = "priority"
	LabelUser     = "user"
)

// ErrExpired says that the caller's time had run out before the request
// arrived. Nobody waits for the answer: do not do the work.
var ErrExpired = errors.New("flow: the caller's time ran out before the work began")

// Limits on what is believed.
const (
	maxTimeout = 24 * time.Hour // a longer one is cut to this
	maxAttempt = 100            // a larger one is cut to this
)

var (
	traceContext propagation.TraceContext
	bags         propagation.Baggage
)

// Inject writes what travels with ctx into h, replacing what is there: the
// trace and the baggage if ctx has any, the time left if ctx has a deadline,
// the attempt if it is a retry. Time left is rounded down, so that "0" may be
// sent shortly before the deadline; the callee then refuses the work.
func Inject(ctx context.Context, h http.Header) {
	h.Del(HeaderAttempt)
	InjectCarrier(ctx, propagation.HeaderCarrier(h))
	left, ok := Remaining(ctx)
	if !ok {
		h.Del(HeaderTimeout)
		return
	}
	h.Set(HeaderTimeout, strconv.FormatInt(max(left, 0).Milliseconds(), 10))
}

// InjectCarrier is Inject for transports that carry the time left themselves,
// such as gRPC with its grpc-timeout: it writes trace, baggage and attempt.
// Over gRPC the carrier is the outgoing metadata; keys are lower-cased there.
func InjectCarrier(ctx context.Context, c propagation.TextMapCarrier) {
	if h, ok := c.(propagation.HeaderCarrier); ok {
		c = header(h)
	}
	traceContext.Inject(ctx, c)
	bags.Inject(ctx, c)
	if n := Attempt(ctx); n > 0 {
		c.Set(HeaderAttempt, strconv.Itoa(n))
	} else if c.Get(HeaderAttempt) != "" {
		c.Set(HeaderAttempt, "0") // a carrier cannot forget
	}
}

// Extract returns ctx with what h carries. The context ends when the caller's
// time does. The error is nil or ErrExpired; the context and the cancel
// function are good in both cases, and cancel must be called.
func Extract(ctx context.Context, h http.Header) (context.Context, context.CancelFunc, error) {
	ctx = ExtractCarrier(ctx, propagation.HeaderCarrier(h))
	left, ok := Timeout(h)
	if !ok {
		return ctx, func() {}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	if left <= 0 {
		return ctx, cancel, ErrExpired
	}
	return ctx, cancel, nil
}

// Timeout returns the time left to the sender of h, between 0, which means that
// it has run out, and 24h; false if h does not say. It is what Extract makes the
// deadline of, for a transport that makes its own.
func Timeout(h http.Header) (time.Duration, bool) {
	if v := h[HeaderTimeout]; len(v) > 0 {
		return timeout(v[0])
	}
	return 0, false
}

// ExtractCarrier is Extract for transports that carry the time left
// themselves: it reads trace, baggage and attempt.
func ExtractCarrier(ctx context.Context, c propagation.TextMapCarrier) context.Context {
	if h, ok := c.(propagation.HeaderCarrier); ok {
		c = header(h)
	}
	ctx = traceContext.Extract(ctx, c)
	ctx = bags.Extract(ctx, c)
	if n := attempt(c.Get(HeaderAttempt)); n > 0 {
		ctx = WithAttempt(ctx, n)
	}
	return ctx
}

// timeout reads milliseconds; false if s is not a plain whole number.
func timeout(s string) (time.Duration, bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	ms, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, false
	}
	if ms > uint64(maxTimeout/time.Millisecond) {
		return maxTimeout, true
	}
	return time.Duration(ms) * time.Millisecond, true
}

func attempt(s string) int {
	if s == "" || len(s) > 9 {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0
	}
	return int(min(n, maxAttempt))
}

type attemptKey struct{}

// WithAttempt marks ctx as the n-th retry of a call; 0 is the first try.
func WithAttempt(ctx context.Context, n int) context.Context {
	return context.WithValue(ctx, attemptKey{}, max(n, 0))
}

// Attempt returns which retry this is, 0 for a first try. On the server side a
// number over 0 means that a layer above retries already: do not retry too.
func Attempt(ctx context.Context) int {
	n, _ := ctx.Value(attemptKey{}).(int)
	return n
}

// Remaining returns the time left until ctx's deadline, negative if it has
// passed; false if ctx has none.
func Remaining(ctx context.Context) (time.Duration, bool) {
	d, ok := ctx.Deadline()
	if !ok {
		return 0, false
	}
	return time.Until(d), true
}

// TraceID returns ctx's trace id as 32 hex digits, or "" outside a trace.
func TraceID(ctx context.Context) string {
	if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() {
		return sc.TraceID().String()
	}
	return ""
}

// prefix marks the baggage members that are labels.
const prefix = "sf."

// Limits on labels: what WithLabels takes and Labels shows.
const (
	maxLabels = 32
	maxKey    = 64  // bytes
	maxValue  = 256 // bytes
)

// WithLabels returns ctx with more labels of the user on whose behalf the
// request runs, such as tier=premium. They travel to every service below, so
// hold nothing secret or personal. An empty value removes the label. A key
// that is not 1 to 64 of letters, digits, '_', '-' and '.', a value over 256
// bytes or not UTF-8, and labels over 32 in all are left out: a label steers,
// it does not decide.
func WithLabels(ctx context.Context, labels map[string]string) context.Context {
	if len(labels) == 0 {
		return ctx
	}
	bag := baggage.FromContext(ctx)
	n := 0
	for _, m := range bag.Members() {
		if strings.HasPrefix(m.Key(), prefix) {
			n++
		}
	}
	for k, v := range labels {
		if !validKey(k) {
			continue
		}
		held := bag.Member(prefix+k).Key() != ""
		if v == "" {
			if held {
				bag, n = bag.DeleteMember(prefix+k), n-1
			}
			continue
		}
		if len(v) > maxValue || !held && n >= maxLabels {
			continue
		}
		m, err := baggage.NewMemberRaw(prefix+k, v)
		if err != nil {
			continue
		}
		next, err := bag.SetMember(m)
		if err != nil {
			continue // the baggage is full of others' members
		}
		if bag = next; !held {
			n++
		}
	}
	return baggage.ContextWithBaggage(ctx, bag)
}

// WithoutLabels returns ctx without labels: what an edge does with those that
// strangers sent, before it sets its own.
func WithoutLabels(ctx context.Context) context.Context {
	bag := baggage.FromContext(ctx)
	before := bag.Len()
	for _, m := range bag.Members() {
		if strings.HasPrefix(m.Key(), prefix) {
			bag = bag.DeleteMember(m.Key())
		}
	}
	if bag.Len() == before {
		return ctx
	}
	return baggage.ContextWithBaggage(ctx, bag)
}

// Labels returns the labels that travel with ctx, nil if there are none. The
// caller owns the map.
func Labels(ctx context.Context) map[string]string {
	bag := baggage.FromContext(ctx)
	if bag.Len() == 0 {
		return nil
	}
	var labels map[string]string
	for _, m := range bag.Members() {
		k, ok := strings.CutPrefix(m.Key(), prefix)
		if !ok || !validKey(k) || m.Value() == "" || len(m.Value()) > maxValue {
			continue
		}
		if labels == nil {
			labels = make(map[string]string)
		}
		labels[k] = m.Value()
	}
	return labels
}

// Label returns one label, or "".
func Label(ctx context.Context, key string) string {
	v := baggage.FromContext(ctx).Member(prefix + key).Value()
	if !validKey(key) || len(v) > maxValue {
		return ""
	}
	return v
}

func validKey(k string) bool {
	if len(k) == 0 || len(k) > maxKey {
		return false
	}
	for i := range len(k) {
		c := k[i] | 0x20
		if (c < 'a' || c > 'z') && (k[i] < '0' || k[i] > '9') && k[i] != '_' && k[i] != '-' && k[i] != '.' {
			return false
		}
	}
	return true
}
