package telemetry

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/surefoot-go/surefoot/observe"
)

// retries has the shape of the three exporters' RetryConfig.
type retries struct {
	Enabled                                      bool
	InitialInterval, MaxInterval, MaxElapsedTime time.Duration
}

var (
	// again: a collector that restarts is back within seconds; longer waits
	// only delay the queue behind them.
	again = retries{Enabled: true, InitialInterval: 250 * time.Millisecond, MaxInterval: time.Second, MaxElapsedTime: sendLimit}
	never = retries{}
)

// target reads the collector's address; "" means send nothing.
func (o OTLP) target(env func(string) string) (addr string, creds credentials.TransportCredentials, err error) {
	at, from := o.Endpoint, "Endpoint"
	if at == "" {
		at, from = env("OTEL_EXPORTER_OTLP_ENDPOINT"), "OTEL_EXPORTER_OTLP_ENDPOINT"
	}
	if at == "" {
		at = "localhost:4317"
	}
	if at == "none" || o.Endpoint == "" && strings.EqualFold(env("OTEL_SDK_DISABLED"), "true") {
		return "", nil, nil
	}
	creds = insecure.NewCredentials()
	addr = at
	// OpenTelemetry wants a URL in the variable, and the exporters, which read
	// it too, complain of anything else.
	if scheme, _, ok := strings.Cut(at, "://"); ok || o.Endpoint == "" && at != "localhost:4317" {
		u, err := url.Parse(at)
		if err != nil || u.Host == "" || scheme != "http" && scheme != "https" {
			return "", nil, fmt.Errorf("telemetry: %s %q is not http://host:port or https://host:port", from, at)
		}
		addr = u.Host
		if u.Port() == "" {
			addr = net.JoinHostPort(u.Hostname(), "4317")
		}
		if scheme == "https" {
			creds = credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
		}
	}
	_, port, err := net.SplitHostPort(addr)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 {
		return "", nil, fmt.Errorf("telemetry: %s %q is not host:port", from, at)
	}
	return addr, creds, nil
}

// dial makes the connection that connects when it is first used, and tries
// again every few seconds as long as it lives.
func dial(addr string, creds credentials.TransportCredentials) (*grpc.ClientConn, error) {
	slow := backoff.DefaultConfig
	slow.MaxDelay = 2 * time.Second // a collector that comes up late is noticed soon
	return grpc.NewClient("dns:///"+addr, grpc.WithTransportCredentials(creds),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: slow, MinConnectTimeout: 2 * time.Second}))
}

// describe is the resource every span, point and record carries.
func describe(ctx context.Context, r observe.Resource) (*resource.Resource, error) {
	host, _ := os.Hostname() // without one the process id names the instance
	if r.Instance == "" {
		r.Instance = strings.TrimPrefix(host+"-"+strconv.Itoa(os.Getpid()), "-")
	}
	attrs := []attribute.KeyValue{
		attribute.String("service.instance.id", r.Instance),
		attribute.Int("process.pid", os.Getpid()),
	}
	for key, v := range map[string]string{"service.name": r.Name, "service.version": r.Version, "service.namespace": r.Namespace, "host.name": host} {
		if v != "" {
			attrs = append(attrs, attribute.String(key, v))
		}
	}
	return resource.New(ctx, resource.WithTelemetrySDK(), resource.WithFromEnv(), resource.WithAttributes(attrs...))
}
