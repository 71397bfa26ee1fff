package telemetry_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	collectorlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/telemetry"
)

// collector is a real OTLP/gRPC receiver that remembers what arrived.
type collector struct {
	collectortrace.UnimplementedTraceServiceServer
	addr string

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at each arrival
	refuse   bool
	resource *resourcepb.Resource
	spans    []*tracepb.Span
	records  []*logspb.LogRecord
	points   map[string][]float64 // by metric name, as they came
}

type metricsServer struct {
	collectormetrics.UnimplementedMetricsServiceServer
	c *collector
}

type logsServer struct {
	collectorlogs.UnimplementedLogsServiceServer
	c *collector
}

func listen(t *testing.T, addr string) *collector {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{addr: l.Addr().String(), changed: make(chan struct{}), points: map[string][]float64{}}
	s := grpc.NewServer()
	collectortrace.RegisterTraceServiceServer(s, c)
	collectormetrics.RegisterMetricsServiceServer(s, metricsServer{c: c})
	collectorlogs.RegisterLogsServiceServer(s, logsServer{c: c})
	var served sync.WaitGroup
	served.Go(func() { s.Serve(l) })
	t.Cleanup(func() { s.Stop(); served.Wait() })
	return c
}

func (c *collector) take(r *resourcepb.Resource, add func()) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refuse {
		return status.Error(codes.InvalidArgument, "not today")
	}
	c.resource = r
	add()
	close(c.changed)
	c.changed = make(chan struct{})
	return nil
}

func (c *collector) Export(_ context.Context, r *collectortrace.ExportTraceServiceRequest) (*collectortrace.ExportTraceServiceResponse, error) {
	return &collectortrace.ExportTraceServiceResponse{}, c.take(r.ResourceSpans[0].Resource, func() {
		for _, rs := range r.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				c.spans = append(c.spans, ss.Spans...)
			}
		}
	})
}

func (s metricsServer) Export(_ context.Context, r *collectormetrics.ExportMetricsServiceRequest) (*collectormetrics.ExportMetricsServiceResponse, error) {
	return &collectormetrics.ExportMetricsServiceResponse{}, s.c.take(r.ResourceMetrics[0].Resource, func() {
		for _, rm := range r.ResourceMetrics {
			for _, sm := range rm.ScopeMetrics {
				for _, m := range sm.Metrics {
					for _, p := range append(m.GetGauge().GetDataPoints(), m.GetSum().GetDataPoints()...) {
						s.c.points[m.Name] = append(s.c.points[m.Name], float64(p.GetAsInt()))
					}
				}
			}
		}
	})
}

func (s logsServer) Export(_ context.Context, r *collectorlogs.ExportLogsServiceRequest) (*collectorlogs.ExportLogsServiceResponse, error) {
	return &collectorlogs.ExportLogsServiceResponse{}, s.c.take(r.ResourceLogs[0].Resource, func() {
		for _, rl := range r.ResourceLogs {
			for _, sl := range rl.ScopeLogs {
				s.c.records = append(s.c.records, sl.LogRecords...)
			}
		}
	})
}

// until waits for ok to hold after some arrival.
func (c *collector) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		c.mu.Lock()
		done, changed := ok(), c.changed
		c.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("%s did not arrive", what)
		}
	}
}

// buffer is an io.Writer for many.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestTracesMetricsAndLogsArrive(t *testing.T) {
	c := listen(t, "127.0.0.1:0")
	var stderr buffer
	sinks, stop, err := telemetry.OTLP{Endpoint: c.addr, Stderr: &stderr, Interval: 100 * time.Millisecond, Batch: 50 * time.Millisecond}.
		Start(t.Context(), observe.Resource{Name: "hello", Version: "v1", Namespace: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	ctx, span := sinks.Tracer.Tracer("test").Start(t.Context(), "work")
	sinks.Log.With("sku", "A1").InfoContext(ctx, "working", "n", 3)
	sinks.Log.InfoContext(ctx, "with its own", "trace_id", "mine")
	sinks.Log.DebugContext(ctx, "too small to tell")
	span.End()
	guard := resilience.New("bank", resilience.Policy{}, sinks)
	for range 10 {
		resilience.Do(ctx, guard, func(context.Context) (int, error) { return 0, errors.New("down") })
	}

	c.until(t, "the span", func() bool { return len(c.spans) == 1 })
	t.Logf("a span arrives after %v", time.Since(begin).Round(time.Millisecond))
	c.until(t, "the log record", func() bool { return len(c.records) == 3 }) // with the breaker's own
	c.until(t, "the breaker's state", func() bool {
		p := c.points["surefoot.breaker.state"]
		return len(p) > 0 && p[len(p)-1] == 2
	})
	c.until(t, "the counts of what was sent", func() bool { return len(c.points["surefoot.telemetry.items"]) >= 6 })
	c.until(t, "the runtime's metrics", func() bool { return len(c.points["go.goroutine.count"]) > 0 })
	if err := stop(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	id := span.SpanContext().TraceID()
	if got := c.records[0]; !bytes.Equal(got.TraceId, id[:]) || got.Body.GetStringValue() != "working" || len(got.Attributes) != 2 {
		t.Errorf("log record %v, want the trace %v and two attributes", got, id)
	}
	if s := stderr.String(); !strings.Contains(s, `"trace_id":"`+id.String()+`"`) || !strings.Contains(s, `"sku":"A1"`) || strings.Contains(s, "too small") {
		t.Errorf("stderr has %s", s)
	}
	if s := stderr.String(); !strings.Contains(s, `"msg":"with its own","trace_id":"mine","span_id"`) {
		t.Errorf("stderr has %s", s)
	}
	attrs := map[string]*commonpb.AnyValue{}
	for _, kv := range c.resource.Attributes {
		attrs[kv.Key] = kv.Value
	}
	for key, want := range map[string]string{"service.name": "hello", "service.version": "v1", "service.namespace": "shop"} {
		if got := attrs[key].GetStringValue(); got != want {
			t.Errorf("resource %s is %q, want %q", key, got, want)
		}
	}
	if attrs["service.instance.id"].GetStringValue() == "" {
		t.Error("resource has no service.instance.id")
	}
}

func TestStopSendsWhatIsQueued(t *testing.T) {
	c := listen(t, "127.0.0.1:0")
	sinks, stop, err := telemetry.OTLP{Endpoint: "http://" + c.addr, Stderr: io.Discard, Interval: time.Hour, Batch: time.Hour}.
		Start(t.Context(), observe.Resource{Name: "hello"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2000 {
		ctx, span := sinks.Tracer.Tracer("test").Start(t.Context(), "work")
		sinks.Log.InfoContext(ctx, "working")
		span.End()
	}
	if err := stop(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.spans) != 2000 || len(c.records) != 2000 || len(c.points) == 0 {
		t.Errorf("%d spans, %d records and %d metrics arrived, want 2000, 2000 and some", len(c.spans), len(c.records), len(c.points))
	}
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestADeadCollectorBlocksNobody(t *testing.T) {
	// One that refuses, and one that takes the connection and says nothing.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for name, addr := range map[string]string{"refuses": closedPort(t), "is silent": silent.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			var stderr buffer
			begin := time.Now()
			sinks, stop, err := telemetry.OTLP{Endpoint: addr, Stderr: &stderr, Interval: 50 * time.Millisecond, Batch: 10 * time.Millisecond, Queue: 1000}.
				Start(t.Context(), observe.Resource{Name: "hello"})
			if err != nil {
				t.Fatal(err)
			}
			if d := time.Since(begin); d > time.Second {
				t.Errorf("Start took %v", d)
			}
			begin = time.Now()
			for range 20_000 { // twenty times what the queues hold
				ctx, span := sinks.Tracer.Tracer("test").Start(t.Context(), "work")
				sinks.Log.InfoContext(ctx, "working")
				span.End()
			}
			if d := time.Since(begin); d > 5*time.Second {
				t.Errorf("20000 spans and records took %v", d)
			} else {
				t.Logf("%v for a span and a record", d/20_000)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			begin = time.Now()
			err = stop(ctx)
			if d := time.Since(begin); d > 2*time.Second {
				t.Errorf("stop took %v with 500ms to go", d)
			}
			if err == nil || !strings.Contains(err.Error(), "did not reach "+addr) {
				t.Errorf("stop says %v", err)
			}
			if n := strings.Count(stderr.String(), "telemetry does not arrive"); n > 1 {
				t.Errorf("the log complains %d times, want once", n)
			}
		})
	}
}

func TestComplainsOnceAndSaysWhenItIsOver(t *testing.T) {
	c := listen(t, "127.0.0.1:0")
	c.refuse = true
	var stderr buffer
	sinks, stop, err := telemetry.OTLP{Endpoint: c.addr, Stderr: &stderr, Interval: 20 * time.Millisecond, Batch: 10 * time.Millisecond}.
		Start(t.Context(), observe.Resource{Name: "hello"})
	if err != nil {
		t.Fatal(err)
	}
	say := func(what string) {
		for deadline := time.Now().Add(10 * time.Second); !strings.Contains(stderr.String(), what); {
			if time.Now().After(deadline) {
				t.Fatalf("the log does not say %q", what)
			}
			_, span := sinks.Tracer.Tracer("test").Start(t.Context(), "work")
			span.End()
			runtime.Gosched()
		}
	}
	say("telemetry does not arrive")
	c.mu.Lock()
	c.refuse = false
	c.mu.Unlock()
	say("telemetry arrives again")
	stop(t.Context())
	s := stderr.String()
	if strings.Count(s, "does not arrive") != 1 || strings.Count(s, "arrives again") != 1 || !strings.Contains(s, "not today") {
		t.Errorf("log:\n%s", s)
	}
}

func TestEndpoint(t *testing.T) {
	for in, want := range map[string]string{
		"localhost:4317": "", "http://localhost": "", "https://example.com": "", "none": "", "[::1]:4317": "",
		"localhost":         `telemetry: Endpoint "localhost" is not host:port`,
		"ftp://localhost:1": `telemetry: Endpoint "ftp://localhost:1" is not http://host:port or https://host:port`,
		"localhost:none":    `telemetry: Endpoint "localhost:none" is not host:port`,
		"http://":           `telemetry: Endpoint "http://" is not http://host:port or https://host:port`,
	} {
		_, stop, err := telemetry.OTLP{Endpoint: in, Stderr: io.Discard}.Start(t.Context(), observe.Resource{Name: "hello"})
		if got := text(err); got != want {
			t.Errorf("%q: error %q, want %q", in, got, want)
		}
		if err == nil {
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // nothing to send, nobody to wait for
			stop(ctx)
		}
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "nonsense")
	if _, _, err := (telemetry.OTLP{}).Start(t.Context(), observe.Resource{Name: "hello"}); text(err) != `telemetry: OTEL_EXPORTER_OTLP_ENDPOINT "nonsense" is not http://host:port or https://host:port` {
		t.Errorf("from the environment: %v", err)
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestNoneStillLogs(t *testing.T) {
	var stderr buffer
	sinks, stop, err := telemetry.OTLP{Endpoint: "none", Stderr: &stderr, Text: true, Level: slog.LevelDebug}.
		Start(t.Context(), observe.Resource{Name: "hello"})
	if err != nil {
		t.Fatal(err)
	}
	sinks.Log.Debug("here", "n", 1)
	if s := stderr.String(); !strings.Contains(s, "level=DEBUG msg=here n=1") {
		t.Errorf("stderr has %q", s)
	}
	if err := stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSampleRatio(t *testing.T) {
	for ratio, want := range map[float64][2]int{0: {1000, 1000}, 1: {1000, 1000}, -1: {0, 0}, 0.1: {50, 150}} {
		c := listen(t, "127.0.0.1:0")
		sinks, stop, err := telemetry.OTLP{Endpoint: c.addr, Stderr: io.Discard, SampleRatio: ratio}.Start(t.Context(), observe.Resource{Name: "hello"})
		if err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			_, span := sinks.Tracer.Tracer("test").Start(t.Context(), "work")
			span.End()
		}
		if err := stop(t.Context()); err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		n := len(c.spans)
		c.mu.Unlock()
		if n < want[0] || n > want[1] {
			t.Errorf("ratio %v: %d of 1000 spans arrived, want %v", ratio, n, want)
		}
	}
}

func TestGlobal(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	c := listen(t, "127.0.0.1:0")
	var stderr buffer
	_, stop, err := telemetry.OTLP{Endpoint: c.addr, Stderr: &stderr, Global: true}.Start(t.Context(), observe.Resource{Name: "hello"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, span := otel.Tracer("a library").Start(t.Context(), "work")
	slog.InfoContext(ctx, "working")
	span.End()
	h := http.Header{}
	otel.GetTextMapPropagator().Inject(ctx, propagation.HeaderCarrier(h))
	if err := stop(t.Context()); err != nil {
		t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.spans) != 1 || len(c.records) != 1 || h.Get("Traceparent") == "" || !strings.Contains(stderr.String(), "working") {
		t.Errorf("%d spans, %d records, headers %v, stderr %s", len(c.spans), len(c.records), h, &stderr)
	}
}
