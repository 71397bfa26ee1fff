//go:build unix

package ingest_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/surefoot-go/surefoot/server/ingest"
	"github.com/surefoot-go/surefoot/server/red"
	"github.com/surefoot-go/surefoot/server/store/pebble"
)

// shopBatch is what one service of the reference shop sends at once: n spans
// of n/4 traces over two seconds, with the attributes httpx writes.
func shopBatch(rnd *rand.Rand, n int, at time.Time) ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	describe(rs.Resource(), "order")
	spans := rs.ScopeSpans().AppendEmpty().Spans()
	var parent pcommon.SpanID
	var trace pcommon.TraceID
	for i := range n {
		var id pcommon.SpanID
		for j := range id {
			id[j] = byte(rnd.Uint32())
		}
		if i%4 == 0 {
			for j := range trace {
				trace[j] = byte(rnd.Uint32())
			}
			for j := range parent {
				parent[j] = byte(rnd.Uint32())
			}
		}
		s := spans.AppendEmpty()
		s.SetTraceID(trace)
		s.SetSpanID(id)
		s.SetParentSpanID(parent)
		start := at.Add(time.Duration(rnd.Int64N(int64(2 * time.Second))))
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(start))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(start.Add(time.Duration(rnd.Int64N(int64(50 * time.Millisecond))))))
		a := s.Attributes()
		switch i % 4 {
		case 0:
			s.SetName("POST /orders")
			s.SetKind(ptrace.SpanKindServer)
			a.PutStr("http.request.method", "POST")
			a.PutStr("http.route", "/orders")
			a.PutStr("url.path", "/orders")
			a.PutStr("url.scheme", "http")
			a.PutInt("http.response.status_code", 201)
			a.PutStr("client.address", fmt.Sprintf("10.0.%d.%d", rnd.IntN(4), rnd.IntN(250)))
			a.PutStr("user_agent.original", "surefoot-load/1")
			parent = id
		default:
			s.SetName([]string{"", "payment.Charge", "inventory.Reserve", "INSERT orders"}[i%4])
			s.SetKind(ptrace.SpanKindClient)
			a.PutStr("rpc.system", "grpc")
			a.PutStr("rpc.service", "surefoot.shop.v1.Payment")
			a.PutStr("rpc.method", "Charge")
			a.PutInt("rpc.grpc.status_code", 0)
			a.PutStr("peer.service", "payment")
			a.PutStr("server.address", "127.0.0.1")
			a.PutInt("server.port", 17613)
			a.PutStr("order.id", fmt.Sprintf("ord-%012x", rnd.Uint64()>>16))
		}
	}
	return td
}

// BenchmarkSpans measures a request of 512 spans from its bytes to its answer:
// decoded, kept with an fsync, counted. With -cpu 1 it is what one core takes;
// b.RunParallel lets 8 senders share commits as they do in life.
//
//	go test -run - -bench Spans -cpu 1 -benchtime 5s ./ingest
func BenchmarkSpans(b *testing.B) {
	const n = 512
	for _, senders := range []int{1, 8} {
		b.Run(fmt.Sprintf("senders=%d", senders), func(b *testing.B) {
			dir := b.TempDir()
			db, err := pebble.Open(dir, pebble.Options{Reserve: -1, Every: -1})
			if err != nil {
				b.Fatal(err)
			}
			r := &ingest.Receiver{Spans: db.Spans(), Count: &red.Fold{}, Out: make(chan ingest.Batch, 16)}
			h := r.Handler()
			rnd := rand.New(rand.NewPCG(1, 2))
			now := time.Now().Add(-time.Minute)
			bodies := make([][]byte, 64)
			for i := range bodies {
				if bodies[i], err = ptraceotlp.NewExportRequestFromTraces(shopBatch(rnd, n, now.Add(time.Duration(i)*100*time.Millisecond))).MarshalProto(); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(len(bodies[0])))
			b.ReportAllocs()
			b.SetParallelism(senders)
			b.ResetTimer()
			before := processorTime(b)
			b.RunParallel(func(p *testing.PB) {
				for i := 0; p.Next(); i++ {
					req := httptest.NewRequest(http.MethodPost, "/v1/traces", bytes.NewReader(bodies[i%len(bodies)]))
					req.Header.Set("Content-Type", pb)
					w := httptest.NewRecorder()
					h.ServeHTTP(w, req)
					if w.Code != 200 {
						b.Errorf("%d %s", w.Code, w.Body)
						return
					}
				}
			})
			b.StopTimer()
			// By processor time the figure holds on a busy machine too.
			b.ReportMetric(float64(b.N*n)/(processorTime(b)-before).Seconds(), "spans/cpu-s")
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "spans/s")
			b.ReportMetric(float64(runtime.GOMAXPROCS(0)), "cpus")
			if err := db.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// processorTime is what this process has used, compactions included.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkBytesPerSpan keeps 200 000 different spans in batches as services
// send them, closes the store, and measures its folder. The number of a batch
// is its size: small batches share less.
//
//	go test -run - -bench BytesPerSpan -benchtime 1x ./ingest
func BenchmarkBytesPerSpan(b *testing.B) {
	const total = 200_000
	for _, n := range []int{32, 512} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			for b.Loop() {
				dir := b.TempDir()
				db, err := pebble.Open(dir, pebble.Options{Reserve: -1, Every: -1})
				if err != nil {
					b.Fatal(err)
				}
				r := &ingest.Receiver{Spans: db.Spans()}
				h := r.Handler()
				rnd := rand.New(rand.NewPCG(1, 2))
				at := time.Now().Add(-time.Hour)
				sent := 0
				for i := range total / n {
					body, err := ptraceotlp.NewExportRequestFromTraces(shopBatch(rnd, n, at.Add(time.Duration(i)*time.Second))).MarshalProto()
					if err != nil {
						b.Fatal(err)
					}
					sent += len(body)
					req := httptest.NewRequest(http.MethodPost, "/v1/traces", bytes.NewReader(body))
					req.Header.Set("Content-Type", pb)
					w := httptest.NewRecorder()
					h.ServeHTTP(w, req)
					if w.Code != 200 {
						b.Fatal(w.Code, w.Body)
					}
				}
				if err := db.Flush(); err != nil {
					b.Fatal(err)
				}
				if err := db.Close(); err != nil {
					b.Fatal(err)
				}
				size := int64(0)
				_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
					if err == nil && filepath.Ext(path) == ".sst" {
						if i, err := d.Info(); err == nil {
							size += i.Size()
						}
					}
					return nil
				})
				b.ReportMetric(float64(size)/total, "disk-B/span")
				b.ReportMetric(float64(sent)/total, "otlp-B/span")
			}
		})
	}
}
