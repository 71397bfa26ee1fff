package httpx

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/propagation"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/resilience/shed"
)

// probe says that an orchestrator asks how the process is: an answer it does
// not get in time makes things worse.
func probe(path string) bool { return path == "/healthz" || path == "/readyz" }

// patient is a context with the deadline of a request that is not served yet:
// the door keeps to it, so nobody has to be woken.
type patient struct {
	context.Context
	until time.Time
}

func (p patient) Deadline() (time.Time, bool) { return p.until, true }

// labels is what the labels of a request say, read without the rest of them.
func (h *handler) labels(header http.Header) (ask shed.Request) {
	if bag := header["Baggage"]; bag != nil && !h.server.Edge {
		ask.User = flow.PeekLabel(bag, flow.LabelUser)
		ask.Priority, _ = shed.ParsePriority(flow.PeekLabel(bag, flow.LabelPriority))
	}
	return ask
}

// admit asks the door, and answers for it if it refuses.
func (h *handler) admit(q *request, deadline time.Time, r *http.Request, ask shed.Request) bool {
	if ask.Op == "" {
		ask.Op = h.op
	}
	var wait context.Context = q
	if !deadline.IsZero() {
		wait = patient{q, deadline}
	}
	pass, err := h.server.Door.Enter(wait, ask)
	if err != nil {
		h.refuse(r, q, ask.Priority, err)
		return false
	}
	q.rec.pass = pass
	return true
}

// labeled returns ctx with what Classify decided, for the services below.
func labeled(ctx context.Context, ask shed.Request) context.Context {
	priority := ""
	if ask.Priority != shed.Normal {
		priority = ask.Priority.String()
	}
	if flow.Label(ctx, flow.LabelPriority) == priority && flow.Label(ctx, flow.LabelUser) == ask.User {
		return ctx
	}
	return flow.WithLabels(ctx, map[string]string{flow.LabelPriority: priority, flow.LabelUser: ask.User})
}

// outcome is what a request that was admitted says about the service's
// capacity.
func (q *request) outcome(ctx context.Context, end ending) shed.Outcome {
	if q.panicked || end != whole || errors.Is(ctx.Err(), context.Canceled) {
		return shed.Ignored
	}
	if ctx.Err() != nil {
		return shed.Overload // done too late, or not at all
	}
	if e := q.err; e != nil && e.Remote() && e.Kind() == errs.Unavailable && e.RetryDelay() > 0 {
		return shed.Overload // somebody below sheds
	}
	switch status := q.rec.status; {
	case status == http.StatusServiceUnavailable && q.err == nil && q.rec.Header().Get("Retry-After") != "":
		return shed.Overload
	case status >= 500:
		return shed.Ignored
	}
	switch q.rec.status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed,
		http.StatusRequestEntityTooLarge, http.StatusTooManyRequests, errs.Canceled.HTTP():
		return shed.Ignored // refused before there was work
	}
	return shed.Success
}

const overloaded = "overloaded" // the id of a refusal

const overloadedMessage = "this is not available right now; please try again later" // as package errs says it, so that it is translated

// Values of headers that all refusals share. Nobody changes them.
var (
	valueJSON    = []string{errs.TypeJSON}
	valueNoStore = []string{"no-store"}
	valueNosniff = []string{"nosniff"}
	valueVary    = []string{"Accept, Accept-Language"}
)

// refuse answers a request that was not admitted, at little cost: refusing must
// not be what keeps a service busy.
func (h *handler) refuse(r *http.Request, q *request, p shed.Priority, err error) {
	refused, ok := errors.AsType[*shed.Refused](err)
	if !ok { // the caller went away, or its time ran out, while it waited
		q.fail(h.extracted(r, q), h.server, errs.Wrap(err, h.op))
		answer(q.rec.ResponseWriter, r, q.err, h.server)
		h.tell.refused(q, r, "left", p, q.err.HTTP(), time.Since(q.started))
		return
	}
	after := refused.RetryDelay()
	if _, choosy := r.Header["Accept"]; choosy && wantsProblem(r.Header["Accept"]) || r.Header["Accept-Language"] != nil {
		q.fail(h.extracted(r, q), h.server, errs.New(errs.Unavailable, h.op, overloadedMessage).ID(overloaded).RetryAfter(after).Because(err))
		answer(q.rec.ResponseWriter, r, q.err, h.server)
	} else {
		h.refuseCheaply(r, q, after)
	}
	h.tell.refused(q, r, string(refused.Reason()), p, http.StatusServiceUnavailable, time.Since(q.started))
}

// extracted is r with what travels with it, which a refusal mostly does without.
func (h *handler) extracted(r *http.Request, q *request) *http.Request {
	return r.WithContext(flow.ExtractCarrier(q, propagation.HeaderCarrier(r.Header)))
}

// refuseCheaply writes what answer would, with little more than the time and the
// trace id to fill in.
func (h *handler) refuseCheaply(r *http.Request, q *request, after time.Duration) {
	const stamp = "2006-01-02T15:04:05.000Z" // as package errs writes it
	now := time.Now()
	b := make([]byte, 0, 512)
	b = append(b, `{"code":503,"error":"`+overloaded+`","message":"`+overloadedMessage+`",`...)
	if id := flow.PeekTraceID(r.Header["Traceparent"]); id != "" {
		b = append(append(append(b, `"traceId":"`...), id...), `",`...)
	}
	b = now.UTC().AppendFormat(append(b, `"timestamp":"`...), stamp)
	if !h.server.Edge {
		b = append(append(b, `","chain":[{`...), h.tell.hop...)
		b = now.UTC().AppendFormat(append(b, `,"error":"`+overloaded+`","at":"`...), stamp)
		b = append(b, `","elapsedMs":`...)
		b = strconv.AppendFloat(b, float64(now.Sub(q.started).Microseconds())/1e3, 'f', -1, 64)
		b = append(b, "}]}\n"...)
	} else {
		b = append(b, "\"}\n"...)
	}
	header := q.rec.Header()
	header["Content-Type"], header["Cache-Control"], header["X-Content-Type-Options"] = valueJSON, valueNoStore, valueNosniff
	if header["Vary"] == nil {
		header["Vary"] = valueVary
	}
	header["Content-Length"] = []string{strconv.Itoa(len(b))}
	header["Retry-After"] = []string{seconds64(after)}
	q.rec.ResponseWriter.WriteHeader(http.StatusServiceUnavailable)
	_, _ = q.rec.ResponseWriter.Write(b) // the client is gone: nobody is left to tell
}

// seconds64 is d in whole seconds, rounded up, as Retry-After has it.
func seconds64(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

// hop is the part of a chain's entry that is the same for all refusals.
func hop(service, op string) []byte {
	name, _ := json.Marshal(service) // a string always can be
	where, _ := json.Marshal(op)
	return append(append(append([]byte(`"service":`), name...), `,"op":`...), where...)
}
