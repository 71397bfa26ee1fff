package ingest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/surefoot-go/surefoot/server/ingest"
	"github.com/surefoot-go/surefoot/server/red"
	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/store/pebble"
	"github.com/surefoot-go/surefoot/server/store/tsdb"
)

// plane is a receiver on real engines, reached over real connections.
type plane struct {
	*ingest.Receiver
	db     *pebble.Store
	series *tsdb.Store
	http   *httptest.Server
	conn   *grpc.ClientConn
}

func start(t *testing.T, change func(*ingest.Receiver)) *plane {
	t.Helper()
	p := &plane{}
	var err error
	if p.db, err = pebble.Open(t.TempDir(), pebble.Options{Reserve: -1, Every: -1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.db.Close() })
	if p.series, err = tsdb.Open(t.TempDir(), tsdb.Options{Reserve: -1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.series.Close() })
	p.Receiver = &ingest.Receiver{Spans: p.db.Spans(), Logs: p.db.Logs(), Series: p.series, Count: &red.Fold{}, Out: make(chan ingest.Batch, 16)}
	if change != nil {
		change(p.Receiver)
	}
	p.http = httptest.NewUnstartedServer(nil)
	p.http.Config = p.Receiver.HTTPServer()
	p.http.Start()
	t.Cleanup(p.http.Close)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(p.Receiver.GRPCOptions()...)
	p.RegisterGRPC(g)
	var wg sync.WaitGroup
	wg.Go(func() { _ = g.Serve(ln) })
	t.Cleanup(func() { g.Stop(); wg.Wait() })
	if p.conn, err = grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.conn.Close() })
	return p
}

var begin = time.Now().UTC().Truncate(time.Second).Add(-time.Minute)

func stamp(d time.Duration) pcommon.Timestamp { return pcommon.NewTimestampFromTime(begin.Add(d)) }

func describe(r pcommon.Resource, service string) {
	r.Attributes().PutStr("service.name", service)
	r.Attributes().PutStr("service.version", "v1")
	r.Attributes().PutStr("service.instance.id", service+"-1")
	r.Attributes().PutStr("service.namespace", "shop")
	r.Attributes().PutStr("host.name", "h1")
}

// someTraces has n spans of one trace, the last failed.
func someTraces(n int, trace byte) ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	describe(rs.Resource(), "order")
	spans := rs.ScopeSpans().AppendEmpty().Spans()
	for i := range n {
		s := spans.AppendEmpty()
		s.SetTraceID(pcommon.TraceID{trace, 1})
		s.SetSpanID(pcommon.SpanID{byte(i >> 8), byte(i), 1})
		if i > 0 {
			s.SetParentSpanID(pcommon.SpanID{0, 0, 1})
		}
		s.SetName("POST /orders")
		s.SetKind(ptrace.SpanKindServer)
		s.SetStartTimestamp(stamp(time.Duration(i) * time.Millisecond))
		s.SetEndTimestamp(stamp(time.Duration(i)*time.Millisecond + 20*time.Millisecond))
		s.Attributes().PutInt("n", int64(i))
		s.Attributes().PutDouble("share", 0.5)
		s.Attributes().PutBool("ok", true)
		s.Attributes().PutEmptySlice("list").AppendEmpty().SetStr("a")
		if i == n-1 {
			s.Status().SetCode(ptrace.StatusCodeError)
			s.Status().SetMessage("no")
			e := s.Events().AppendEmpty()
			e.SetName("exception")
			e.SetTimestamp(s.EndTimestamp())
			e.Attributes().PutStr("exception.type", "unavailable")
		}
	}
	return td
}

func someLogs() plog.Logs {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	describe(rl.Resource(), "order")
	l := rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	l.SetTimestamp(stamp(0))
	l.SetSeverityNumber(plog.SeverityNumberError)
	l.Body().SetStr("no money")
	l.SetTraceID(pcommon.TraceID{7, 1})
	l.Attributes().PutStr("k", "v")
	return ld
}

func someMetrics() pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	describe(rm.Resource(), "order")
	m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("http.server.active_requests")
	m.SetUnit("{request}")
	p := m.SetEmptyGauge().DataPoints().AppendEmpty()
	p.SetTimestamp(stamp(0))
	p.SetIntValue(3)
	p.Attributes().PutStr("http.request.method", "GET")
	return md
}

func (p *plane) post(t *testing.T, path, contentType, encoding string, body []byte) (*http.Response, []byte) {
	t.Helper()
	if encoding == "gzip" {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(body)
		_ = z.Close()
		body = b.Bytes()
	}
	req, err := http.NewRequest(http.MethodPost, p.http.URL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if encoding != "" {
		req.Header.Set("Content-Encoding", encoding)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	return resp, out
}

const (
	pb = "application/x-protobuf"
	js = "application/json"
)

// check sees what the three requests of send left in the stores.
func check(t *testing.T, p *plane, trace byte) {
	t.Helper()
	ctx := context.Background()
	spans, err := p.db.Spans().Trace(ctx, store.TraceID{trace, 1})
	if err != nil || len(spans) != 3 {
		t.Fatalf("%d spans, %v", len(spans), err)
	}
	want := store.Span{
		Resource: store.Resource{Service: "order", Version: "v1", Instance: "order-1", Namespace: "shop"},
		TraceID:  store.TraceID{trace, 1}, ID: store.SpanID{0, 2, 1}, Parent: store.SpanID{0, 0, 1},
		Name: "POST /orders", Kind: store.KindServer, Start: begin.Add(2 * time.Millisecond), Duration: 20 * time.Millisecond,
		Error: true, Message: "no", Attrs: map[string]string{"n": "2", "share": "0.5", "ok": "true", "list": `["a"]`},
		Events: []store.Event{{Name: "exception", At: begin.Add(22 * time.Millisecond), Attrs: map[string]string{"exception.type": "unavailable"}}},
	}
	if !reflect.DeepEqual(spans[2], want) {
		t.Errorf("span\n got %+v\nwant %+v", spans[2], want)
	}
	logs, err := p.db.Logs().Search(ctx, store.LogQuery{Service: "order", MinSeverity: 17})
	if err != nil || len(logs) != 1 || logs[0].Body != "no money" || logs[0].Attrs["k"] != "v" {
		t.Errorf("logs %+v, %v", logs, err)
	}
	res, err := p.series.Query(ctx, `http_server_active_requests`, begin)
	if err != nil || len(res.Series) != 1 || res.Series[0].Points[0].Value != 3 || !reflect.DeepEqual(res.Series[0].Labels, map[string]string{
		"__name__": "http_server_active_requests", "http_request_method": "GET", "service_name": "order", "service_version": "v1",
		"service_instance_id": "order-1", "service_namespace": "shop"}) {
		t.Errorf("series %+v, %v", res, err)
	}
	select {
	case b := <-p.Out:
		if len(b.Spans) != 3 {
			t.Errorf("batch of %d", len(b.Spans))
		}
	default:
		t.Error("no batch on Out")
	}
	if s := p.Stats(); s.Spans != 3 || s.Logs != 1 || s.Points != 1 || s.Bad+s.Full+s.Failed+s.Panics != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestGRPC(t *testing.T) {
	for _, opts := range [][]grpc.CallOption{nil, {grpc.UseCompressor("gzip")}} {
		p := start(t, nil)
		ctx := t.Context()
		tr, err := ptraceotlp.NewGRPCClient(p.conn).Export(ctx, ptraceotlp.NewExportRequestFromTraces(someTraces(3, 7)), opts...)
		if err != nil || tr.PartialSuccess().RejectedSpans() != 0 {
			t.Fatal(tr, err)
		}
		if _, err := plogotlp.NewGRPCClient(p.conn).Export(ctx, plogotlp.NewExportRequestFromLogs(someLogs()), opts...); err != nil {
			t.Fatal(err)
		}
		if _, err := pmetricotlp.NewGRPCClient(p.conn).Export(ctx, pmetricotlp.NewExportRequestFromMetrics(someMetrics()), opts...); err != nil {
			t.Fatal(err)
		}
		check(t, p, 7)
	}
}

func TestHTTP(t *testing.T) {
	for _, contentType := range []string{pb, js} {
		for _, encoding := range []string{"", "gzip"} {
			t.Run(contentType+" "+encoding, func(t *testing.T) {
				p := start(t, nil)
				tr, lr, mr := ptraceotlp.NewExportRequestFromTraces(someTraces(3, 8)), plogotlp.NewExportRequestFromLogs(someLogs()), pmetricotlp.NewExportRequestFromMetrics(someMetrics())
				for path, m := range map[string]interface {
					MarshalProto() ([]byte, error)
					MarshalJSON() ([]byte, error)
				}{"/v1/traces": tr, "/v1/logs": lr, "/v1/metrics": mr} {
					body, err := m.MarshalProto()
					if contentType == js {
						body, err = m.MarshalJSON()
					}
					if err != nil {
						t.Fatal(err)
					}
					resp, out := p.post(t, path, contentType, encoding, body)
					if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != contentType {
						t.Fatalf("%s: %s %q", path, resp.Status, out)
					}
				}
				check(t, p, 8)
			})
		}
	}
}
