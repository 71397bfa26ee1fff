package peers

import (
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go/budget"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/hashicorp/go-retryablehttp"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	metric "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	trace "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"

	"github.com/surefoot-go/surefoot/grpcx"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
)

// quiet keeps telemetry out of the comparison: nobody listens.
var quiet = observe.Sinks{Tracer: trace.NewTracerProvider(), Meter: metric.NewMeterProvider()}

// untimed has retry, budget and breaker as the peers do, and no time limits.
var untimed = resilience.Policy{Timeout: -1, AttemptTimeout: -1}

// loud records every span and every measurement, and throws batches away.
func loud(b *testing.B) observe.Sinks {
	traces := sdktrace.NewTracerProvider(sdktrace.WithBatcher(nowhere{}))
	metrics := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	b.Cleanup(func() { _, _ = traces.Shutdown(context.Background()), metrics.Shutdown(context.Background()) })
	return observe.Sinks{Tracer: traces, Meter: metrics}
}

type nowhere struct{}

func (nowhere) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (nowhere) Shutdown(context.Context) error                             { return nil }

// noWire answers at once.
type noWire struct{}

func (noWire) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: 2, Body: io.NopCloser(strings.NewReader("ok"))}, nil
}

// BenchmarkHTTPClient is one exchange without a wire: in get a RoundTripper
// around noWire, in do an http.Client's Do, which is how retryablehttp must be
// asked. surefoot-policies has retry, budget and breaker as failsafe-go has,
// no time limits and nobody to report to; retryablehttp has retry only.
// surefoot has everything on: time limits, headers, a recorded span and
// measurements for each try, the body read as part of it. Of the others
// otelhttp has the span and the measurements only.
func BenchmarkHTTPClient(b *testing.B) {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://x/orders/17", nil)
	if err != nil {
		b.Fatal(err)
	}
	finish := func(resp *http.Response, err error) {
		if err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}
	get := func(tr http.RoundTripper) func() { return func() { finish(tr.RoundTrip(r)) } }
	do := func(tr http.RoundTripper) func() {
		c := &http.Client{Transport: tr}
		return func() { finish(c.Do(r)) }
	}
	all := loud(b)
	policies := httpx.Client{Target: "x", Observe: quiet, Policy: untimed, ReadTimeout: -1, Transport: noWire{}}.New()
	everything := httpx.Client{Target: "x", Observe: all, Transport: noWire{}}.New()
	safe := failsafehttp.NewRoundTripper(noWire{},
		failsafehttp.NewRetryPolicyBuilder().WithBudget(budget.New()).Build(),
		circuitbreaker.NewBuilder[*http.Response]().WithFailureRateThreshold(0.5, 10, 10*time.Second).Build())
	otel := otelhttp.NewTransport(noWire{}, otelhttp.WithTracerProvider(all.Tracer), otelhttp.WithMeterProvider(all.Meter))
	again := retryablehttp.NewClient()
	again.HTTPClient, again.Logger = &http.Client{Transport: noWire{}}, nil
	request, err := retryablehttp.FromRequest(r)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("get", func(b *testing.B) {
		libraries{
			{"bare", get(noWire{})},
			{"surefoot-policies", get(policies)},
			{"surefoot", get(everything)},
			{"failsafe-go", get(safe)},
			{"otelhttp", get(otel)},
		}.alternating(b, 200)
	})
	b.Run("do", func(b *testing.B) {
		libraries{
			{"bare", do(noWire{})},
			{"surefoot-policies", do(policies)},
			{"surefoot", do(everything)},
			{"failsafe-go", do(safe)},
			{"retryablehttp", func() { finish(again.Do(request)) }},
		}.alternating(b, 200)
	})
}

// BenchmarkGRPCClient is one call of the health service over a connection in
// memory, on one processor: with two the goroutines of client and server meet
// by chance, and that chance costs more than what is measured. grpc-retry is
// grpc-go's own retry by service config, alone. The rows of ours are as in
// BenchmarkHTTPClient.
func BenchmarkGRPCClient(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	l := bufconn.Listen(1 << 20)
	srv := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(srv, health.NewServer())
	ended := make(chan error)
	go func() { ended <- srv.Serve(l) }()
	defer func() {
		srv.Stop()
		<-ended
	}()
	ctx := context.Background()
	check := func(opts ...grpc.DialOption) func() {
		conn, err := grpc.NewClient("passthrough:///x", append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))...)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		client := grpc_health_v1.NewHealthClient(conn)
		call := func() error {
			_, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
			return err
		}
		if err := call(); err != nil {
			b.Fatal(err)
		}
		return func() { call() }
	}
	all := loud(b)
	b.Run("call", func(b *testing.B) {
		libraries{
			{"bare", check()},
			{"surefoot-policies", check(grpcx.Client{Target: "x", Observe: quiet, Policy: untimed}.DialOptions()...)},
			{"surefoot", check(grpcx.Client{Target: "x", Observe: all}.DialOptions()...)},
			{"grpc-retry", check(grpc.WithDefaultServiceConfig(`{"methodConfig":[{"name":[{}],"retryPolicy":{"maxAttempts":3,
			"initialBackoff":"1s","maxBackoff":"5s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}]}`))},
			{"otelgrpc", check(grpc.WithStatsHandler(otelgrpc.NewClientHandler(otelgrpc.WithTracerProvider(all.Tracer), otelgrpc.WithMeterProvider(all.Meter))))},
		}.alternating(b, 20)
	})
}
