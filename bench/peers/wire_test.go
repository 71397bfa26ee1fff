package peers

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go/budget"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	metric "go.opentelemetry.io/otel/metric/noop"
	trace "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"

	"github.com/surefoot-go/surefoot/grpcx"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/observe"
)

// quiet keeps telemetry out of the comparison as far as an interface can: ours
// still makes its spans and records, for nobody.
var quiet = observe.Sinks{Tracer: trace.NewTracerProvider(), Meter: metric.NewMeterProvider()}

// noWire answers at once.
type noWire struct{}

func (noWire) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("ok"))}, nil
}

// BenchmarkHTTPClient is one exchange without a wire. Ours has retry, budget,
// breaker, time limits, headers and telemetry around it, failsafe-go its retry,
// budget and breaker.
func BenchmarkHTTPClient(b *testing.B) {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://x/orders/17", nil)
	if err != nil {
		b.Fatal(err)
	}
	get := func(tr http.RoundTripper) func() {
		return func() {
			if resp, err := tr.RoundTrip(r); err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}
	}
	b.Run("get", libraries{
		{"bare", get(noWire{})},
		{"surefoot", get(httpx.Client{Target: "x", Observe: quiet, Transport: noWire{}}.New())},
		{"failsafe-go", get(failsafehttp.NewRoundTripper(noWire{},
			failsafehttp.NewRetryPolicyBuilder().WithBudget(budget.New()).Build(),
			circuitbreaker.NewBuilder[*http.Response]().WithFailureRateThreshold(0.5, 10, 10*time.Second).Build()))},
	}.serial)
}

// BenchmarkGRPCClient is one call of the health service over a connection in
// memory. grpc-retry is grpc-go's own retry by service config, alone.
func BenchmarkGRPCClient(b *testing.B) {
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
	b.Run("call", libraries{
		{"bare", check()},
		{"surefoot", check(grpcx.Client{Target: "x", Observe: quiet}.DialOptions()...)},
		{"grpc-retry", check(grpc.WithDefaultServiceConfig(`{"methodConfig":[{"name":[{}],"retryPolicy":{"maxAttempts":3,
			"initialBackoff":"1s","maxBackoff":"5s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}]}`))},
	}.serial)
}
