package ingest_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/surefoot-go/surefoot/server/ingest"
	"github.com/surefoot-go/surefoot/server/store"
)

// What is right is kept beside what is wrong, and the answer says how much was
// not and why.
func TestPartialSuccess(t *testing.T) {
	now := time.Now()
	p := start(t, func(r *ingest.Receiver) { r.MaxAttrs, r.MaxValue, r.MaxText = 3, 10, 20 })
	td := someTraces(1, 3)
	rs := td.ResourceSpans().At(0)
	ss := rs.ScopeSpans().At(0).Spans()
	add := func(name string, start, end pcommon.Timestamp) ptrace.Span {
		s := ss.AppendEmpty()
		s.SetTraceID(pcommon.TraceID{3, 1})
		s.SetSpanID(pcommon.SpanID{9, byte(ss.Len())})
		s.SetName(name)
		s.SetStartTimestamp(start)
		s.SetEndTimestamp(end)
		return s
	}
	nowStamp := pcommon.NewTimestampFromTime(now)
	add("no trace id", nowStamp, nowStamp).SetTraceID(pcommon.TraceID{})
	add("no span id", nowStamp, nowStamp).SetSpanID(pcommon.SpanID{})
	add("1970", 1, 2)
	add("2554", ^pcommon.Timestamp(0), ^pcommon.Timestamp(0))
	add("tomorrow", pcommon.NewTimestampFromTime(now.Add(24*time.Hour)), 0)
	add("no times", 0, 0)
	add("ends first", nowStamp, pcommon.NewTimestampFromTime(now.Add(-time.Hour)))
	add("ends in 2554", nowStamp, ^pcommon.Timestamp(0))
	big := add("bad \xff text", nowStamp, nowStamp)
	for i := range 5 {
		big.Attributes().PutStr(fmt.Sprint("k", i), "12345678é\xffzz")
	}
	for range 200 {
		big.Events().AppendEmpty().SetName("e")
	}
	big.Status().SetMessage(strings.Repeat("m", 100))
	big.SetKind(77)
	resp, err := ptraceotlp.NewGRPCClient(p.conn).Export(t.Context(), ptraceotlp.NewExportRequestFromTraces(td))
	if err != nil {
		t.Fatal(err)
	}
	ps := resp.PartialSuccess()
	if ps.RejectedSpans() != 5 || !strings.Contains(ps.ErrorMessage(), "2 without a valid trace id") || !strings.Contains(ps.ErrorMessage(), "2 too far in the future") || !strings.Contains(ps.ErrorMessage(), "1 too old") {
		t.Errorf("%d rejected: %s", ps.RejectedSpans(), ps.ErrorMessage())
	}
	spans, err := p.db.Spans().Trace(t.Context(), store.TraceID{3, 1})
	if err != nil || len(spans) != 5 {
		t.Fatalf("%d spans, %v", len(spans), err)
	}
	for _, s := range spans {
		switch s.Name {
		case "ends first", "no times":
			if s.Duration != 0 || s.Start.Before(now.Add(-time.Second)) {
				t.Errorf("%s: %v for %v", s.Name, s.Start, s.Duration)
			}
		case "ends in 2554":
			if s.Duration <= 0 {
				t.Errorf("%s: %v", s.Name, s.Duration)
			}
		case "bad \uFFFD text":
			if len(s.Attrs) != 3 || s.Attrs["k0"] != "12345678é" || len(s.Events) != 128 || len(s.Message) != 10 || s.Kind != store.KindUnspecified {
				t.Errorf("limits: %d attributes %q, %d events, message of %d, kind %d", len(s.Attrs), s.Attrs["k0"], len(s.Events), len(s.Message), s.Kind)
			}
		}
	}
	ld := plog.NewLogs()
	ls := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	ls.AppendEmpty().Body().SetStr(strings.Repeat("x", 50))
	ls.AppendEmpty().SetTimestamp(1)
	l := ls.AppendEmpty()
	l.SetSeverityNumber(99)
	l.Body().SetEmptyMap().PutStr("a", "b")
	l.SetObservedTimestamp(nowStamp)
	lr, err := plogotlp.NewGRPCClient(p.conn).Export(t.Context(), plogotlp.NewExportRequestFromLogs(ld))
	if err != nil || lr.PartialSuccess().RejectedLogRecords() != 1 {
		t.Fatal(lr.PartialSuccess().RejectedLogRecords(), err)
	}
	logs, err := p.db.Logs().Search(t.Context(), store.LogQuery{})
	if err != nil || len(logs) != 2 || logs[0].Service != "unknown_service" {
		t.Fatal(logs, err)
	}
	for _, l := range logs {
		if l.Body != `{"a":"b"}` && len(l.Body) != 20 || l.Severity != 0 {
			t.Errorf("%+v", l)
		}
	}
	if s := p.Stats(); s.Spans != 5 || s.RefusedSpans != 5 || s.Logs != 2 || s.RefusedLogs != 1 || s.Truncated == 0 || s.Repaired == 0 {
		t.Errorf("stats %+v", s)
	}
}

// Watchers that do not keep up lose the oldest batches; senders never wait.
func TestOutDropsOldest(t *testing.T) {
	out := make(chan ingest.Batch, 2)
	p := start(t, func(r *ingest.Receiver) { r.Out = out })
	for i := range 5 {
		if _, err := ptraceotlp.NewGRPCClient(p.conn).Export(t.Context(), ptraceotlp.NewExportRequestFromTraces(someTraces(1, byte(i+1)))); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.Stats().DroppedBatches; n != 3 {
		t.Errorf("%d dropped, want 3", n)
	}
	for i := range 2 {
		if b := <-out; b.Spans[0].TraceID != (store.TraceID{byte(i + 4), 1}) {
			t.Errorf("batch %d is %v", i, b.Spans[0].TraceID)
		}
	}
}

// Refusals can be read by a person with curl; a signal without a store and a
// zero Receiver are no surprise either.
func TestErrorsAreReadable(t *testing.T) {
	p := start(t, nil)
	resp, out := p.post(t, "/v1/traces", js, "", []byte("{"))
	var st struct {
		Code    int
		Message string
	}
	if err := json.Unmarshal(out, &st); err != nil || st.Code != 3 || resp.Header.Get("Content-Type") != js {
		t.Errorf("%q %v", out, err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte("{}"))
	_ = z.Close()
	req, _ := http.NewRequest(http.MethodPost, p.http.URL+"/v1/traces", bytes.NewReader(b.Bytes()[:b.Len()-3]))
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("Content-Encoding", "gzip")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 400 {
		t.Errorf("truncated gzip: %s", resp.Status)
	}
	var none ingest.Receiver
	if none.Stats() != (ingest.Stats{}) {
		t.Error("the zero value has counted something")
	}
	if _, err := ptraceotlp.NewGRPCClient(start(t, func(r *ingest.Receiver) { r.Spans = nil }).conn).Export(t.Context(), ptraceotlp.NewExportRequest()); status.Code(err) != codes.Unimplemented {
		t.Error(err)
	}
}
