package grpcx_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/surefoot-go/surefoot/grpcx"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/retry"
)

func TestServiceConfig(t *testing.T) {
	yes := true
	for _, c := range []struct {
		name   string
		policy resilience.Policy
		again  []string
		want   string // "" means an error
	}{
		{"classic", resilience.Classic(), []string{"test.Service/Do"},
			`{"methodConfig":[{"name":[{}],"timeout":"2s"},` +
				`{"name":[{"service":"test.Service","method":"Do"}],"timeout":"9.6s","retryPolicy":` +
				`{"maxAttempts":3,"initialBackoff":"1s","maxBackoff":"5s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE","RESOURCE_EXHAUSTED"]}}]}`},
		{"default", resilience.Policy{Idempotent: true}, nil,
			`{"methodConfig":[{"name":[{}],"timeout":"8.84s","retryPolicy":` +
				`{"maxAttempts":4,"initialBackoff":"0.1s","maxBackoff":"5s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE","RESOURCE_EXHAUSTED"]}}],` +
				`"retryThrottling":{"maxTokens":20,"tokenRatio":0.1}}`},
		{"nothing repeated", resilience.Policy{Timeout: time.Second, AttemptTimeout: -1, Retry: retry.Policy{Max: -1, Budget: -1}, Idempotent: true}, nil,
			`{"methodConfig":[{"name":[{}],"timeout":"1s"}]}`},
		{"no limits", resilience.Policy{Timeout: -1, AttemptTimeout: -1, Retry: retry.Policy{Max: 9, Base: -1, Cap: -1, Factor: -1, Budget: -1}}, []string{"*"},
			`{"methodConfig":[{"name":[{}],"retryPolicy":` +
				`{"maxAttempts":5,"initialBackoff":"0.001s","maxBackoff":"3600s","backoffMultiplier":1,"retryableStatusCodes":["UNAVAILABLE","RESOURCE_EXHAUSTED"]}}]}`},
		{"methods", resilience.Policy{AttemptTimeout: time.Second, Retry: retry.Policy{Max: 1, Base: time.Second, Budget: -1}, Methods: []resilience.Method{
			{Pattern: "a.A/Slow", AttemptTimeout: 3 * time.Second},
			{Pattern: "a.A/*", Timeout: 500 * time.Millisecond, Idempotent: &yes},
			{Pattern: "a.A/Hidden", Timeout: time.Minute}, // a.A/* is first
		}}, []string{"/a.A/Slow"},
			`{"methodConfig":[{"name":[{}],"timeout":"1s"},` +
				`{"name":[{"service":"a.A","method":"Slow"}],"timeout":"7.2s","retryPolicy":` +
				`{"maxAttempts":2,"initialBackoff":"1s","maxBackoff":"5s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE","RESOURCE_EXHAUSTED"]}},` +
				`{"name":[{"service":"a.A"}],"timeout":"0.5s","retryPolicy":` +
				`{"maxAttempts":2,"initialBackoff":"1s","maxBackoff":"5s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE","RESOURCE_EXHAUSTED"]}},` +
				`{"name":[{"service":"a.A","method":"Hidden"}],"timeout":"0.5s","retryPolicy":` +
				`{"maxAttempts":2,"initialBackoff":"1s","maxBackoff":"5s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE","RESOURCE_EXHAUSTED"]}}]}`},
		{"a pattern of HTTP", resilience.Policy{Methods: []resilience.Method{{Pattern: "GET /x/*"}}}, nil, ""},
		{"half a name", resilience.Policy{}, []string{"a.A/Get*"}, ""},
		{"no service", resilience.Policy{}, []string{"Do"}, ""},
		{"no method", resilience.Policy{}, []string{"a.A/"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := grpcx.ServiceConfig(c.policy, c.again...)
			if got != c.want || (err == nil) != (c.want != "") {
				t.Fatalf("%v\ngot  %s\nwant %s", err, got, c.want)
			}
			if err != nil {
				return
			}
			conn, err := grpc.NewClient("passthrough:///x", grpc.WithDefaultServiceConfig(got), grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatalf("grpc does not take %s: %v", got, err)
			}
			conn.Close()
		})
	}
}

// TestServiceConfigInForce lets grpc itself retry by it, in fake time.
func TestServiceConfigInForce(t *testing.T) {
	for _, c := range []struct {
		name     string
		policy   resilience.Policy
		again    []string
		code     codes.Code
		pushback string
		calls    int32
		min, max time.Duration
	}{
		{"classic", resilience.Classic(), []string{"test.Service/Do"}, codes.Unavailable, "", 3, 2400 * time.Millisecond, 3600 * time.Millisecond}, // 1s and 2s, a fifth up or down
		{"classic, not idempotent", resilience.Classic(), nil, codes.Unavailable, "", 1, 0, 0},
		{"classic, not cured by another try", resilience.Classic(), []string{"*"}, codes.Internal, "", 1, 0, 0},
		{"pushback", resilience.Classic(), []string{"*"}, codes.ResourceExhausted, "300", 3, 600 * time.Millisecond, 600 * time.Millisecond},
		{"pushback: never", resilience.Classic(), []string{"*"}, codes.Unavailable, "-1", 1, 0, 0},
		{"default", resilience.Policy{}, []string{"test.Service/*"}, codes.Unavailable, "", 4, 560 * time.Millisecond, 840 * time.Millisecond},
		{"grpc's cap", resilience.Policy{Retry: retry.Policy{Max: 9, Base: time.Second, Factor: -1}}, []string{"*"}, codes.Unavailable, "", 5, 3200 * time.Millisecond, 4800 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config, err := grpcx.ServiceConfig(c.policy, c.again...)
				if err != nil {
					t.Fatal(err)
				}
				var calls atomic.Int32
				conn := connect(t, func(ctx context.Context, in string) (string, error) {
					calls.Add(1)
					if c.pushback != "" {
						grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", c.pushback))
					}
					return "", status.Error(c.code, "no")
				}, grpc.WithDefaultServiceConfig(config))
				begin := time.Now()
				_, err = call(t.Context(), conn, "")
				took := time.Since(begin)
				if status.Code(err) != c.code || calls.Load() != c.calls || took < c.min || took > c.max {
					t.Errorf("%d calls in %v, want %d in %v to %v; %v", calls.Load(), took, c.calls, c.min, c.max, err)
				}
			})
		})
	}
}

// connect serves do without any of ours and returns a connection to it.
func connect(t testing.TB, do func(context.Context, string) (string, error), opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	l := bufconn.Listen(1 << 20)
	srv := grpc.NewServer()
	srv.RegisterService(&bare, handlers{do: do})
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///x", append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		srv.Stop()
		<-done
	})
	return conn
}
