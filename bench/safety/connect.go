package main

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"

	"connectrpc.com/connect"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/sony/gobreaker/v2"
)

// connect-go with its usual companions: sony/gobreaker as an interceptor of the
// client, hashicorp/go-retryablehttp as its http.Client. Each with its defaults.

type (
	connectRequest = connect.Request[text]
	connectAnswer  = connect.Response[text]
)

// guarded is the interceptor that teams write around gobreaker.
func guarded(b *gobreaker.CircuitBreaker[connect.AnyResponse]) connect.Interceptor {
	return connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
			return b.Execute(func() (connect.AnyResponse, error) { return next(ctx, r) })
		}
	})
}

func connectClient(l *lab, url string) func(ctx context.Context, method, path string) error {
	base := &http.Transport{}
	l.later(base.CloseIdleConnections)
	b := gobreaker.NewCircuitBreaker[connect.AnyResponse](gobreaker.Settings{})
	return connectWith(&http.Client{Transport: base}, url, connect.WithInterceptors(guarded(b)))
}

// connectStorm has the limit of a try on the client inside.
func connectStorm(l *lab, url string) func(ctx context.Context, method, path string) error {
	c := retryablehttp.NewClient()
	c.Logger = nil
	c.HTTPClient.Timeout = stormTry
	l.later(c.HTTPClient.CloseIdleConnections)
	return over(c.StandardClient(), url)
}

func connectRetries(l *lab, url string) func(ctx context.Context, method, path string) error {
	c := retryablehttp.NewClient()
	c.Logger = nil
	l.later(c.HTTPClient.CloseIdleConnections)
	return connectWith(c.StandardClient(), url)
}

// connectWith calls path as a procedure; Connect's own choice of method is
// POST.
func connectWith(hc connect.HTTPClient, url string, opts ...connect.ClientOption) func(ctx context.Context, method, path string) error {
	return func(ctx context.Context, _, path string) error {
		_, err := connect.NewClient[text, text](hc, url+path, opts...).CallUnary(ctx, connect.NewRequest(&text{}))
		return err
	}
}

func connectServer(l *lab, work func(ctx context.Context) error, opts ...connect.HandlerOption) string {
	mux := http.NewServeMux()
	mux.Handle(procedure, connect.NewUnaryHandler(procedure, func(ctx context.Context, _ *connectRequest) (*connectAnswer, error) {
		return connect.NewResponse(&text{}), work(ctx)
	}, opts...))
	return l.web(mux)
}

func connectHTTP(l *lab, work func(ctx context.Context) error) peer {
	url := connectServer(l, work)
	call := connectClient(l, url)
	return peer{
		wire: "Connect",
		call: func(ctx context.Context) error { return call(ctx, "", procedure) },
		look: func() string {
			_, saw := l.fetch(http.MethodPost, url+procedure, `""`, "Content-Type", "application/json")
			return saw
		},
		late: func() {
			l.fetch(http.MethodPost, url+procedure, `""`, "Content-Type", "application/json", "Connect-Timeout-Ms", "0")
		},
	}
}

// connectNotFound is faultHTTP with an error that a Connect client can read.
func connectNotFound(l *lab) answer {
	var arrived atomic.Int64
	var mended atomic.Bool
	url := connectServer(l, func(context.Context) error {
		arrived.Add(1)
		if mended.Load() {
			return nil
		}
		return connect.NewError(connect.CodeNotFound, errors.New("no such order"))
	})
	call := connectClient(l, url)
	do := func() { call(l.ctx, "", procedure) }
	open := opens(l, &arrived, do, do, func() { mended.Store(true) })
	return unless(!open, notFoundsFine, notFoundsOpen)
}

// connectCanceled is cancelHTTP likewise.
func connectCanceled(l *lab) answer {
	var arrived atomic.Int64
	var mended atomic.Bool
	here := make(chan struct{}, enough)
	url := connectServer(l, func(ctx context.Context) error {
		arrived.Add(1)
		if !mended.Load() {
			here <- struct{}{}
			<-ctx.Done()
		}
		return ctx.Err()
	})
	call := connectClient(l, url)
	do := func(ctx context.Context) { call(ctx, "", procedure) }
	open := opens(l, &arrived, canceled(l, here, do), func() { do(l.ctx) }, func() { mended.Store(true) })
	return unless(!open, cancelsIgnored, cancelsOpened)
}

// connectBadGateway: a server behind answers 502 and the error is handed on.
func connectBadGateway(l *lab) answer {
	back := l.web(status(http.StatusBadGateway))
	call := connectWith(http.DefaultClient, back)
	front := connectServer(l, func(ctx context.Context) error { return call(ctx, "", procedure) })
	code, _ := l.fetch(http.MethodPost, front+procedure, `""`, "Content-Type", "application/json")
	return crossed(code)
}

// gobreakerPermits panics while the breaker is half-open, when it has one
// permit.
func gobreakerPermits(l *lab) answer {
	b := gobreaker.NewCircuitBreaker[int](gobreaker.Settings{Timeout: quick})
	b2 := func(fn func() (int, error)) (err error) {
		defer func() { recover() }()
		_, err = b.Execute(fn)
		return err
	}
	for range 10 {
		b2(func() (int, error) { return 0, errRaw })
	}
	l.pause(2 * quick)
	b2(func() (int, error) { panic("bug") })
	l.pause(2 * quick)
	err := b2(func() (int, error) { return 0, nil })
	return unless(err == nil, "gobreaker: a panic in the half-open breaker's one try, then a good call: tried again",
		"gobreaker: a panic in the half-open breaker's one try, then every call was refused")
}

func gobreakerRejections(l *lab) answer {
	b := gobreaker.NewCircuitBreaker[int](gobreaker.Settings{})
	for range 10 {
		b.Execute(func() (int, error) { return 0, errRaw })
	}
	before := b.Counts()
	for range 10 {
		b.Execute(func() (int, error) { return 0, nil })
	}
	return unless(b.Counts() == before && b.State() == gobreaker.StateOpen, "gobreaker: what the open breaker refused was not counted",
		"gobreaker: what the open breaker refused was counted")
}
