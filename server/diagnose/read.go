package diagnose

import (
	"strings"

	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/topology"
)

// span is what a diagnosis keeps of a store.Span.
type span struct {
	id, parent                           store.SpanID
	kind                                 store.Kind
	failed, canceled, timedOut, rejected bool
	service, version, name               string
	callee, calleeKind                   string // of a client span
	refused                              string // target of a call that this span's breaker refused
	fault, message                       string // error.type and what it says
	start, dur                           int64  // nanoseconds
}

func (s *span) out() bool { return s.kind == store.KindClient || s.kind == store.KindProducer }
func (s *span) in() bool  { return s.kind == store.KindServer || s.kind == store.KindConsumer }

// reader takes spans in and bounds what it holds: when there are too many it
// keeps every second trace by a hash of its id, then every fourth, and so on.
type reader struct {
	max    int
	since  int64 // what starts before is the time to compare with
	level  uint
	count  int
	words  map[string]string
	traces map[store.TraceID][]span
}

func (r *reader) keeps(t store.TraceID) bool {
	var h uint32 = 2166136261 // FNV-1a: ids need not be random
	for _, b := range t {
		h = (h ^ uint32(b)) * 16777619
	}
	return (h^h>>15)&(1<<r.level-1) == 0
}

// word keeps one copy of a text, of at most 300 bytes.
func (r *reader) word(s string) string {
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	w, ok := r.words[s]
	if !ok {
		w = strings.Clone(s)
		r.words[w] = w
	}
	return w
}

func (r *reader) add(s store.Span) bool {
	if !r.keeps(s.TraceID) {
		return true
	}
	c := span{
		id: s.ID, parent: s.Parent, kind: s.Kind, failed: topology.Failed(&s), rejected: topology.Rejected(&s),
		service: r.word(s.Service), version: r.word(s.Version), name: r.word(s.Name),
		start: s.Start.UnixNano(), dur: int64(s.Duration),
	}
	if c.out() {
		name, kind := topology.Callee(&s)
		c.callee, c.calleeKind = r.word(name), kind
	}
	if s.Error || s.Attrs["error.type"] != "" { // a cancel may be told without status ERROR
		r.fault(&c, &s)
	}
	for i := range s.Events {
		if s.Events[i].Name == "surefoot.breaker.rejected" {
			c.refused = r.word(s.Events[i].Attrs["surefoot.target"])
		}
	}
	r.traces[s.TraceID] = append(r.traces[s.TraceID], c)
	if r.count++; r.count > r.max && r.level < 30 {
		r.thin()
	}
	return true
}

// thin drops every second trace.
func (r *reader) thin() {
	r.level++
	for id, spans := range r.traces {
		if !r.keeps(id) {
			r.count -= len(spans)
			delete(r.traces, id)
		}
	}
}

// fault reads why a span failed.
func (r *reader) fault(c *span, s *store.Span) {
	kind := s.Attrs["error.type"]
	says := s.Message
	for i := range s.Events {
		if e := &s.Events[i]; e.Name == "exception" {
			if kind == "" {
				kind = e.Attrs["exception.type"]
			}
			if m := e.Attrs["exception.message"]; m != "" {
				says = m
			}
		}
	}
	if kind == "" {
		for _, k := range []string{"http.response.status_code", "http.status_code"} {
			if v := s.Attrs[k]; v != "" {
				kind = "HTTP " + v
			}
		}
		if v := s.Attrs["rpc.grpc.status_code"]; v != "" && kind == "" {
			kind = "gRPC " + v
		}
	}
	c.fault, c.message = r.word(kind), r.word(says)
	low := strings.ToLower(kind)
	grpc := s.Attrs["rpc.grpc.status_code"]
	c.timedOut = strings.Contains(low, "timeout") || strings.Contains(low, "deadline") || grpc == "4" || low == "gRPC 4"
	c.canceled = !c.failed && (strings.Contains(low, "cancel") || grpc == "1")
}
