package api

import (
	"cmp"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/store"
)

// TraceLine is one trace in the answer to a search.
type TraceLine struct {
	TraceID    string   `json:"traceId"`
	Service    string   `json:"service"`
	Name       string   `json:"name"`
	Start      Time     `json:"start"`
	DurationMs float64  `json:"durationMs"`
	Spans      int      `json:"spans"`
	Errors     int      `json:"errors"`
	Services   []string `json:"services"`
}

// Trace is one trace whole: its spans by start, and the way its error went.
type Trace struct {
	TraceID string      `json:"traceId"`
	Spans   []TraceSpan `json:"spans"`
	Chain   []Hop       `json:"chain"`
}

// TraceSpan is one span of a Trace.
type TraceSpan struct {
	SpanID     string            `json:"spanId"`
	ParentID   string            `json:"parentId"`
	Service    string            `json:"service"`
	Version    string            `json:"version"`
	Instance   string            `json:"instance"`
	Name       string            `json:"name"`
	Kind       string            `json:"kind"`
	Start      Time              `json:"start"`
	OffsetMs   float64           `json:"offsetMs"` // from the start of the trace's first span
	DurationMs float64           `json:"durationMs"`
	Error      bool              `json:"error"`
	Message    string            `json:"message"`
	Attributes map[string]string `json:"attributes"`
	Events     []SpanEvent       `json:"events"`
}

// SpanEvent is a moment inside a TraceSpan.
type SpanEvent struct {
	Name       string            `json:"name"`
	At         Time              `json:"at"`
	Attributes map[string]string `json:"attributes"`
}

// Hop is one step of an error's way; in a chain the origin is last.
type Hop struct {
	Service   string  `json:"service"`
	Op        string  `json:"op"`
	Error     string  `json:"error"`
	At        Time    `json:"at"`
	ElapsedMs float64 `json:"elapsedMs"`
}

func (a *API) searchTraces(w http.ResponseWriter, r *http.Request) error {
	const op = "api.SearchTraces"
	q := store.SpanQuery{Service: r.FormValue("service"), Operation: r.FormValue("operation")}
	p := params{r: r}
	q.From, q.To = p.time("from"), p.time("to")
	q.MinLength = p.millis("minMs")
	q.Error = p.flag("error")
	q.Limit = p.count("limit", 50, 1000)
	if err := p.err(op); err != nil {
		return err
	}
	found, err := a.Spans.Search(r.Context(), q)
	if err != nil {
		return errs.Wrap(err, op)
	}
	lines := make([]TraceLine, 0, len(found))
	for _, s := range found {
		lines = append(lines, TraceLine{
			TraceID: s.TraceID.String(), Service: s.Root, Name: s.Name, Start: Time(s.Start),
			DurationMs: millis(s.Duration), Spans: s.Spans, Errors: s.Errors, Services: orEmpty(s.Services),
		})
	}
	return writeJSON(w, http.StatusOK, map[string]any{"traces": lines})
}

func (a *API) oneTrace(w http.ResponseWriter, r *http.Request) error {
	const op = "api.Trace"
	id, err := parseTraceID(r.PathValue("id"))
	if err != nil {
		return err
	}
	spans, err := a.Spans.Trace(r.Context(), id)
	if err != nil {
		return errs.Wrap(err, op)
	}
	if len(spans) == 0 {
		return errs.New(errs.NotFound, op, "no span of this trace is kept").With("trace", id.String())
	}
	return writeJSON(w, http.StatusOK, newTrace(id, spans))
}

func parseTraceID(text string) (id store.TraceID, err error) {
	if n, err := hex.Decode(id[:], []byte(cut(text, 32))); err != nil || n != len(id) || id.IsZero() {
		return id, errs.New(errs.Invalid, "api.TraceID", "a trace id is 32 hexadecimal digits, not all zero")
	}
	return id, nil
}

// cut makes a text of the wrong length one that does not decode.
func cut(text string, n int) string {
	if len(text) != n {
		return "x"
	}
	return text
}

func newTrace(id store.TraceID, spans []store.Span) Trace {
	t := Trace{TraceID: id.String(), Spans: make([]TraceSpan, 0, len(spans)), Chain: chain(spans)}
	first := spans[0].Start
	for _, s := range spans {
		if s.Start.Before(first) {
			first = s.Start
		}
	}
	for _, s := range spans {
		line := TraceSpan{
			SpanID: s.ID.String(), Service: s.Service, Version: s.Version, Instance: s.Instance,
			Name: s.Name, Kind: kindName(s.Kind), Start: Time(s.Start),
			OffsetMs: millis(s.Start.Sub(first)), DurationMs: millis(s.Duration),
			Error: s.Error, Message: s.Message, Attributes: orEmptyMap(s.Attrs), Events: []SpanEvent{},
		}
		if s.Parent != (store.SpanID{}) {
			line.ParentID = s.Parent.String()
		}
		for _, e := range s.Events {
			line.Events = append(line.Events, SpanEvent{Name: e.Name, At: Time(e.At), Attributes: orEmptyMap(e.Attrs)})
		}
		t.Spans = append(t.Spans, line)
	}
	return t
}

func kindName(k store.Kind) string {
	switch k {
	case store.KindServer:
		return "server"
	case store.KindClient:
		return "client"
	case store.KindProducer:
		return "producer"
	case store.KindConsumer:
		return "consumer"
	default:
		return "internal"
	}
}

// chain follows a trace's failure from the failing span nearest the root down
// to where it began: at each step the failing child that ended last, since an
// earlier one was retried. A client span that failed without a span from the
// other side ends in a hop that names the callee, the best witness there is.
func chain(spans []store.Span) []Hop {
	failed := make(map[store.SpanID][]*store.Span) // by parent
	known := make(map[store.SpanID]bool, len(spans))
	answered := make(map[store.SpanID]bool) // has any child
	for i := range spans {
		known[spans[i].ID] = true
		answered[spans[i].Parent] = true
	}
	var at *store.Span
	for i := range spans {
		s := &spans[i]
		if !s.Error {
			continue
		}
		failed[s.Parent] = append(failed[s.Parent], s)
	}
	at = rootFailure(spans, known)
	hops := []Hop{}
	for seen := 0; at != nil && seen <= len(spans); seen++ {
		children := failed[at.ID]
		switch {
		case at.Kind == store.KindClient && !answered[at.ID]:
			hops = append(hops, hopOf(at, peer(at)))
		case at.Kind != store.KindClient && (at.Kind == store.KindServer || at.Attrs["surefoot.op"] != "" || len(children) == 0):
			hops = append(hops, hopOf(at, at.Service))
		}
		at = lastEnded(children)
	}
	return hops
}

// rootFailure is the failed span none of whose known ancestors failed, the
// one that ended last when there are several.
func rootFailure(spans []store.Span, known map[store.SpanID]bool) *store.Span {
	byID := make(map[store.SpanID]*store.Span, len(spans))
	for i := range spans {
		byID[spans[i].ID] = &spans[i]
	}
	var tops []*store.Span
	for i := range spans {
		s := &spans[i]
		if !s.Error {
			continue
		}
		parent := byID[s.Parent]
		if s.Parent == (store.SpanID{}) || !known[s.Parent] || parent == nil || !parent.Error {
			tops = append(tops, s)
		}
	}
	return lastEnded(tops)
}

func lastEnded(spans []*store.Span) *store.Span {
	if len(spans) == 0 {
		return nil
	}
	return slices.MaxFunc(spans, func(x, y *store.Span) int {
		return cmp.Or(x.Start.Add(x.Duration).Compare(y.Start.Add(y.Duration)), slices.Compare(y.ID[:], x.ID[:]))
	})
}

func hopOf(s *store.Span, service string) Hop {
	h := Hop{Service: service, Op: s.Attrs["surefoot.op"], Error: s.Attrs["error.type"], At: Time(s.Start.Add(s.Duration)), ElapsedMs: millis(s.Duration)}
	if h.Op == "" || service != s.Service {
		h.Op = s.Name
	}
	for _, e := range s.Events {
		if h.Error == "" && e.Name == "exception" {
			h.Error = e.Attrs["exception.type"]
		}
	}
	if code := s.Attrs["http.response.status_code"]; h.Error == "" && code != "" {
		if n, err := strconv.Atoi(code); err == nil {
			h.Error = errs.KindOfHTTP(n).ID()
		}
	}
	return h
}

// peer names the other side of a client span, as topology does.
func peer(s *store.Span) string {
	for _, key := range []string{"peer.service", "service.peer.name", "server.address", "db.system", "db.system.name"} {
		if v := s.Attrs[key]; v != "" {
			if port := s.Attrs["server.port"]; key == "server.address" && port != "" {
				v += ":" + port
			}
			return v
		}
	}
	return s.Service
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
