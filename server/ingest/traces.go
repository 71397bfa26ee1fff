package ingest

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/store"
)

var traces = &signal{name: "traces", shape: tracesShape, take: (*Receiver).takeTraces}
var logs = &signal{name: "logs", shape: logsShape, take: (*Receiver).takeLogs}

// codec is what the requests and answers of the three signals have in common.
type codec interface {
	UnmarshalProto([]byte) error
	UnmarshalJSON([]byte) error
}

func unmarshal(c codec, body []byte, enc encoding) error {
	if enc == protobuf {
		return c.UnmarshalProto(body)
	}
	if len(body) == 0 {
		return fmt.Errorf("empty JSON")
	}
	return c.UnmarshalJSON(body)
}

type answer interface {
	MarshalProto() ([]byte, error)
	MarshalJSON() ([]byte, error)
}

func marshal(a answer, enc encoding) ([]byte, error) {
	if enc == protobuf {
		return a.MarshalProto()
	}
	return a.MarshalJSON()
}

// refusals gathers what was refused inside a request, by reason.
type refusals struct {
	n       int64
	reasons []string
	counts  []int64
}

func (f *refusals) add(reason string, n int64) {
	if n == 0 {
		return
	}
	f.n += n
	for i := range f.reasons {
		if f.reasons[i] == reason {
			f.counts[i] += n
			return
		}
	}
	f.reasons, f.counts = append(f.reasons, reason), append(f.counts, n)
}

func (f *refusals) String() string {
	var b strings.Builder
	for i, reason := range f.reasons {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%d %s", f.counts[i], reason)
	}
	return b.String()
}

// The reasons a sender reads in a partial success.
const (
	reasonID    = "without a valid trace id or span id"
	reasonOld   = "too old to be kept"
	reasonAhead = "too far in the future: check the sender's clock"
)

// outside tells why a time cannot be kept, or "".
func (r *Receiver) outside(at, now time.Time) string {
	if d := or(r.Ahead, 10*time.Minute); d > 0 && at.After(now.Add(d)) {
		return reasonAhead
	}
	if d := or(r.Behind, 72*time.Hour); d > 0 && at.Before(now.Add(-d)) {
		return reasonOld
	}
	return ""
}

// when turns an OTLP time into a time; zero means none was given. One past
// 2262 is as good as never.
func when(t pcommon.Timestamp) time.Time {
	switch {
	case t == 0:
		return time.Time{}
	case t > math.MaxInt64:
		return time.Unix(0, math.MaxInt64).UTC()
	}
	return t.AsTime()
}

func (r *Receiver) takeTraces(ctx context.Context, body []byte, enc encoding) ([]byte, error) {
	const op = "ingest.traces"
	if r.Spans == nil {
		return nil, errs.New(errs.Unimplemented, op, "this server does not take traces")
	}
	var spans []store.Span
	var refused refusals
	now := r.now()
	err := r.decode(ctx, op, func() error {
		req := ptraceotlp.NewExportRequest()
		if err := unmarshal(req, body, enc); err != nil {
			return err
		}
		spans = r.spans(req.Traces(), now, &refused)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(spans) > 0 {
		if err := r.kept(op, r.Spans.Put(ctx, spans)); err != nil {
			return nil, err
		}
		if r.Count != nil {
			r.Count.Add(spans)
		}
		r.publish(Batch{At: now, Spans: spans})
	}
	r.n.spans.Add(uint64(len(spans)))
	r.n.refusedSpans.Add(uint64(refused.n))
	resp := ptraceotlp.NewExportResponse()
	if refused.n > 0 {
		resp.PartialSuccess().SetRejectedSpans(refused.n)
		resp.PartialSuccess().SetErrorMessage(refused.String())
	}
	return marshal(resp, enc)
}

func (r *Receiver) spans(td ptrace.Traces, now time.Time, refused *refusals) []store.Span {
	out := make([]store.Span, 0, td.SpanCount())
	for _, rs := range td.ResourceSpans().All() {
		res := r.resource(rs.Resource().Attributes())
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				if s.TraceID().IsEmpty() || s.SpanID().IsEmpty() {
					refused.add(reasonID, 1)
					continue
				}
				span := r.span(s, now)
				if why := r.outside(span.Start, now); why != "" {
					refused.add(why, 1)
					continue
				}
				span.Resource = res
				out = append(out, span)
			}
		}
	}
	return out
}

func (r *Receiver) span(s ptrace.Span, now time.Time) store.Span {
	out := store.Span{
		TraceID: store.TraceID(s.TraceID()), ID: store.SpanID(s.SpanID()), Parent: store.SpanID(s.ParentSpanID()),
		Name: r.text(s.Name(), maxName), Start: when(s.StartTimestamp()),
		Error: s.Status().Code() == ptrace.StatusCodeError, Message: r.text(s.Status().Message(), or(r.MaxValue, 16<<10)),
		Attrs: r.attrs(s.Attributes()),
	}
	if k := s.Kind(); k >= 0 && k <= ptrace.SpanKindConsumer {
		out.Kind = store.Kind(k)
	}
	end := when(s.EndTimestamp())
	if out.Start.IsZero() {
		if out.Start = end; end.IsZero() {
			out.Start = now.UTC()
		}
	}
	if end.After(out.Start) {
		out.Duration = end.Sub(out.Start)
	}
	if n := s.Events().Len(); n > 0 {
		if n > maxEvents {
			r.n.truncated.Add(uint64(n - maxEvents))
			n = maxEvents
		}
		out.Events = make([]store.Event, n)
		for i := range out.Events {
			e := s.Events().At(i)
			out.Events[i] = store.Event{Name: r.text(e.Name(), maxName), At: when(e.Timestamp()), Attrs: r.attrs(e.Attributes())}
			if out.Events[i].At.IsZero() {
				out.Events[i].At = out.Start
			}
		}
	}
	return out
}

func (r *Receiver) takeLogs(ctx context.Context, body []byte, enc encoding) ([]byte, error) {
	const op = "ingest.logs"
	if r.Logs == nil {
		return nil, errs.New(errs.Unimplemented, op, "this server does not take logs")
	}
	var records []store.Log
	var refused refusals
	now := r.now()
	err := r.decode(ctx, op, func() error {
		req := plogotlp.NewExportRequest()
		if err := unmarshal(req, body, enc); err != nil {
			return err
		}
		records = r.records(req.Logs(), now, &refused)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(records) > 0 {
		if err := r.kept(op, r.Logs.Put(ctx, records)); err != nil {
			return nil, err
		}
		if picked := r.pick(records); len(picked) > 0 {
			r.publish(Batch{At: now, Logs: picked})
		}
	}
	r.n.logs.Add(uint64(len(records)))
	r.n.refusedLogs.Add(uint64(refused.n))
	resp := plogotlp.NewExportResponse()
	if refused.n > 0 {
		resp.PartialSuccess().SetRejectedLogRecords(refused.n)
		resp.PartialSuccess().SetErrorMessage(refused.String())
	}
	return marshal(resp, enc)
}

func (r *Receiver) pick(records []store.Log) (picked []store.Log) {
	if r.Pick == nil || r.Out == nil {
		return nil
	}
	for _, l := range records {
		if r.Pick(l) {
			picked = append(picked, l)
		}
	}
	return picked
}

func (r *Receiver) records(ld plog.Logs, now time.Time, refused *refusals) []store.Log {
	out := make([]store.Log, 0, ld.LogRecordCount())
	for _, rl := range ld.ResourceLogs().All() {
		res := r.resource(rl.Resource().Attributes())
		for _, sl := range rl.ScopeLogs().All() {
			for _, l := range sl.LogRecords().All() {
				at := when(l.Timestamp())
				if at.IsZero() {
					at = when(l.ObservedTimestamp())
				}
				if at.IsZero() {
					at = now.UTC()
				}
				if why := r.outside(at, now); why != "" {
					refused.add(why, 1)
					continue
				}
				severity := int(l.SeverityNumber())
				if severity < 0 || severity > 24 {
					severity = 0
				}
				out = append(out, store.Log{Resource: res, At: at, Severity: severity, Body: r.value(l.Body(), or(r.MaxText, 64<<10)),
					Attrs: r.attrs(l.Attributes()), TraceID: store.TraceID(l.TraceID()), SpanID: store.SpanID(l.SpanID())})
			}
		}
	}
	return out
}
