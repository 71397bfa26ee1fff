package e2e_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
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
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that rawCodec falls back on
	"google.golang.org/grpc/mem"
)

func traceID(n uint64) (id pcommon.TraceID) {
	binary.BigEndian.PutUint64(id[8:], n+1)
	binary.BigEndian.PutUint64(id[:8], 0x5eed)
	return id
}

func spanID(n uint64) (id pcommon.SpanID) {
	binary.BigEndian.PutUint64(id[:], n+1)
	return id
}

// order adds one request to td: shop serves it, calls pay, and pay calls the
// bank outside. When the bank fails, so does everything above it.
func order(td ptrace.Traces, n uint64, at time.Time, bankFails bool) {
	add := func(service, name string, kind ptrace.SpanKind, id, parent uint64, offset, length time.Duration) ptrace.Span {
		rs := td.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr("service.name", service)
		rs.Resource().Attributes().PutStr("service.version", "v1")
		rs.Resource().Attributes().PutStr("service.instance.id", service+"-1")
		s := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
		s.SetTraceID(traceID(n))
		s.SetSpanID(spanID(n*8 + id))
		if parent > 0 {
			s.SetParentSpanID(spanID(n*8 + parent))
		}
		s.SetName(name)
		s.SetKind(kind)
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(at.Add(offset)))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(at.Add(offset + length)))
		if bankFails {
			s.Status().SetCode(ptrace.StatusCodeError)
			s.Attributes().PutStr("error.type", "unavailable")
		}
		return s
	}
	jitter := time.Duration(rand.Int64N(int64(4 * time.Millisecond)))
	add("shop", "POST /orders", ptrace.SpanKindServer, 1, 0, 0, 20*time.Millisecond+jitter)
	add("shop", "pay.Charge", ptrace.SpanKindClient, 2, 1, time.Millisecond, 18*time.Millisecond+jitter).Attributes().PutStr("peer.service", "pay")
	add("pay", "pay.Charge", ptrace.SpanKindServer, 3, 2, 2*time.Millisecond, 16*time.Millisecond+jitter)
	out := add("pay", "POST /charges", ptrace.SpanKindClient, 4, 3, 3*time.Millisecond, 14*time.Millisecond+jitter)
	out.Attributes().PutStr("peer.service", "bank")
	out.Attributes().PutStr("http.request.method", "POST")
	out.Attributes().PutStr("server.address", "bank.example")
}

type sender struct {
	t       *testing.T
	traces  ptraceotlp.GRPCClient
	metrics pmetricotlp.GRPCClient
	logs    plogotlp.GRPCClient
}

func dial(t *testing.T, addr string) sender {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return sender{t, ptraceotlp.NewGRPCClient(conn), pmetricotlp.NewGRPCClient(conn), plogotlp.NewGRPCClient(conn)}
}

func (s sender) send(ctx context.Context, td ptrace.Traces) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err := s.traces.Export(ctx, ptraceotlp.NewExportRequestFromTraces(td))
	return err
}

// gauge is one point of one metric.
func gauge(service, name string, value float64) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", service)
	rm.Resource().Attributes().PutStr("service.instance.id", service+"-1")
	m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName(name)
	dp := m.SetEmptyGauge().DataPoints().AppendEmpty()
	dp.SetTimestamp(pcommon.NewTimestampFromTime(time.Now()))
	dp.SetDoubleValue(value)
	dp.Attributes().PutStr("surefoot.target", "bank")
	return md
}

func record(service, body string, n uint64) plog.Logs {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("service.name", service)
	l := rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	l.SetTimestamp(pcommon.NewTimestampFromTime(time.Now()))
	l.SetSeverityNumber(plog.SeverityNumberError)
	l.Body().SetStr(body)
	l.SetTraceID(traceID(n))
	return ld
}

// rawCodec sends bytes as they are.
type rawCodec struct{ encoding.CodecV2 }

func (c rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	if b, ok := v.([]byte); ok {
		return mem.BufferSlice{mem.SliceBuffer(b)}, nil
	}
	return c.CodecV2.Marshal(v)
}

func (c rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if b, ok := v.(*[]byte); ok {
		*b = data.Materialize()
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}
