package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/bulkhead"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafegrpc"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/failsafe-go/failsafe-go/hedgepolicy"
	"github.com/failsafe-go/failsafe-go/timeout"
	"google.golang.org/grpc"
)

// failsafe-go's policies with their defaults, in the order its documentation
// composes them: retry, breaker.

func failsafeClient(l *lab, url string) func(ctx context.Context, method, path string) error {
	return failsafeClientWith(failsafehttp.NewRetryPolicyBuilder().Build(), circuitbreaker.NewWithDefaults[*http.Response]())(l, url)
}

// failsafeRetries retries alone, so that the breaker, which opens at the first
// failure, does not hide what it does.
func failsafeRetries(l *lab, url string) func(ctx context.Context, method, path string) error {
	return failsafeClientWith(failsafehttp.NewRetryPolicyBuilder().Build())(l, url)
}

func failsafeClientWith(ps ...failsafe.Policy[*http.Response]) caller {
	return func(l *lab, url string) func(ctx context.Context, method, path string) error {
		base := &http.Transport{}
		l.later(base.CloseIdleConnections)
		return over(&http.Client{Transport: failsafehttp.NewRoundTripper(base, ps...)}, url)
	}
}

func failsafeDial(l *lab, addr string) grpc.ClientConnInterface {
	return l.dial(addr, grpc.WithUnaryInterceptor(failsafegrpc.NewUnaryClientInterceptor(
		failsafegrpc.NewRetryPolicyBuilder[any]().Build(), circuitbreaker.NewWithDefaults[any]())))
}

// failsafeRetriesGRPC retries alone, as failsafeRetries.
func failsafeRetriesGRPC(l *lab, addr string) grpc.ClientConnInterface {
	return l.dial(addr, grpc.WithUnaryInterceptor(failsafegrpc.NewUnaryClientInterceptor(failsafegrpc.NewRetryPolicyBuilder[any]().Build())))
}

func failsafeHTTP(l *lab, work func(ctx context.Context) error) peer {
	url := l.web(failsafehttp.NewHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { work(r.Context()) }),
		bulkhead.New[*http.Response](10)))
	return peer{wire: "HTTP", look: func() string { _, saw := l.fetch(http.MethodGet, url, ""); return saw }}
}

// failsafePermits panics in a handler as often as the bulkhead has places.
func failsafePermits(l *lab) answer {
	url := l.web(failsafehttp.NewHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			panic("bug")
		}
	}), bulkhead.New[*http.Response](2)))
	for range 2 {
		l.fetch(http.MethodPost, url, "")
	}
	code, _ := l.fetch(http.MethodGet, url, "")
	return unless(code == http.StatusOK, "2 panics in a bulkhead of 2, then a good request: served",
		"2 panics in a bulkhead of 2, then every good request was refused")
}

func failsafeRejections(l *lab) answer {
	pool := bulkhead.New[any](1)
	pool.TryAcquirePermit()
	calls := failsafe.With[any](circuitbreaker.NewWithDefaults[any](), pool)
	for range 10 {
		calls.Run(func() error { return nil })
	}
	pool.ReleasePermit()
	err := calls.Run(func() error { return nil })
	return unless(!errors.Is(err, circuitbreaker.ErrOpen), "refusals of a full bulkhead left the breaker closed",
		"refusals of a full bulkhead opened the breaker")
}

// failsafeStorm adds the limit of a try that its documentation puts inside the
// retries.
func failsafeStorm(l *lab, url string) func(ctx context.Context, method, path string) error {
	return failsafeClientWith(failsafehttp.NewRetryPolicyBuilder().Build(), timeout.New[*http.Response](stormTry))(l, url)
}

func failsafeHedge() failsafe.Policy[*http.Response] {
	return hedgepolicy.NewWithDelay[*http.Response](30 * time.Millisecond)
}
