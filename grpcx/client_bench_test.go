package grpcx_test

import (
	"context"
	"testing"
	"time"

	mnoop "go.opentelemetry.io/otel/metric/noop"
	tnoop "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"

	"github.com/surefoot-go/surefoot/grpcx"
	"github.com/surefoot-go/surefoot/observe"
)

var silent = observe.Sinks{Tracer: tnoop.NewTracerProvider(), Meter: mnoop.NewMeterProvider(), Log: quiet}

// What a client of ours adds to a call: the server is grpc's own in all rows.
//
//	go test -run '^$' -bench Client -benchmem ./grpcx
func BenchmarkClient(b *testing.B) {
	for _, c := range []struct {
		name  string
		limit time.Duration
		opts  []grpc.DialOption
	}{
		{"bare", 0, nil},
		{"bare with a deadline", 2 * time.Second, nil},
		{"bare without retry", 0, []grpc.DialOption{grpc.WithDisableRetry()}},
		{"policies", 0, grpcx.Client{Target: "s", Observe: silent}.DialOptions()},
		{"policies with a deadline", 2 * time.Second, grpcx.Client{Target: "s", Observe: silent}.DialOptions()},
		{"nothing installed", 0, grpcx.Client{Target: "s", Observe: observe.Sinks{Log: quiet}}.DialOptions()},
	} {
		b.Run(c.name, func(b *testing.B) {
			conn := connect(b, echo, c.opts...)
			b.ReportAllocs()
			for b.Loop() {
				ctx, cancel := context.Background(), func() {}
				if c.limit > 0 {
					ctx, cancel = context.WithTimeout(ctx, c.limit)
				}
				if _, err := call(ctx, conn, "hello"); err != nil {
					b.Fatal(err)
				}
				cancel()
			}
		})
	}
}
