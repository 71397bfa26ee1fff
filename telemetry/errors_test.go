package telemetry_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/grpc"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/telemetry"
)

// metricsOnly keeps the metrics that arrive, whole.
type metricsOnly struct {
	collectormetrics.UnimplementedMetricsServiceServer
	mu  sync.Mutex
	all []*metricspb.Metric
}

func (m *metricsOnly) Export(_ context.Context, r *collectormetrics.ExportMetricsServiceRequest) (*collectormetrics.ExportMetricsServiceResponse, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, rm := range r.ResourceMetrics {
		for _, sm := range rm.ScopeMetrics {
			m.all = append(m.all, sm.Metrics...)
		}
	}
	return &collectormetrics.ExportMetricsServiceResponse{}, nil
}

// From a count of errors to one of them: the metric that leaves the process
// carries the trace id of a request.
func TestErrorsHaveAnExemplar(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var got metricsOnly
	srv := grpc.NewServer()
	collectormetrics.RegisterMetricsServiceServer(srv, &got)
	var served sync.WaitGroup
	served.Go(func() { _ = srv.Serve(l) })
	defer served.Wait()
	defer srv.Stop()
	sinks, stop, err := telemetry.OTLP{Endpoint: l.Addr().String(), Stderr: io.Discard, Interval: time.Hour}.
		Start(t.Context(), observe.Resource{Name: "hello"})
	if err != nil {
		t.Fatal(err)
	}
	var id string
	h := httpx.Server{Service: "hello", Observe: sinks}.Handle("order.Place", func(_ http.ResponseWriter, r *http.Request) error {
		id = flow.TraceID(r.Context())
		return errs.New(errs.Conflict, "stock.Take", "sold out").ID("sold_out")
	})
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/orders", nil))
	_ = stop(t.Context()) // it cannot send spans here

	got.mu.Lock()
	defer got.mu.Unlock()
	for _, m := range got.all {
		if m.Name != "surefoot.errors" {
			continue
		}
		p := m.GetSum().GetDataPoints()
		if m.Unit != "{error}" || len(p) != 1 || p[0].GetAsInt() != 1 {
			t.Fatalf("%v", m)
		}
		attrs := map[string]string{}
		for _, kv := range p[0].Attributes {
			attrs[kv.Key] = kv.Value.GetStringValue()
		}
		for k, want := range map[string]string{"surefoot.op": "order.Place", "surefoot.kind": "conflict", "error.type": "sold_out"} {
			if attrs[k] != want {
				t.Errorf("%s is %q, want %q", k, attrs[k], want)
			}
		}
		want := make([]byte, 16)
		for i := range want {
			want[i] = unhex(id[2*i])<<4 | unhex(id[2*i+1])
		}
		if e := p[0].Exemplars; len(e) != 1 || !bytes.Equal(e[0].TraceId, want) {
			t.Errorf("exemplars %v, want the trace %s", e, id)
		}
		return
	}
	t.Errorf("surefoot.errors did not arrive among %d metrics", len(got.all))
}

func unhex(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}
