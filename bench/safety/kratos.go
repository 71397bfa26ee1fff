package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/go-kratos/aegis/circuitbreaker"
	"github.com/go-kratos/aegis/ratelimit"
	"github.com/go-kratos/aegis/ratelimit/bbr"
	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/go-kratos/kratos/v2/middleware"
	kbreaker "github.com/go-kratos/kratos/v2/middleware/circuitbreaker"
	kratelimit "github.com/go-kratos/kratos/v2/middleware/ratelimit"
	"github.com/go-kratos/kratos/v2/middleware/recovery"
	"github.com/go-kratos/kratos/v2/middleware/tracing"
	kgrpc "github.com/go-kratos/kratos/v2/transport/grpc"
	khttp "github.com/go-kratos/kratos/v2/transport/http"
	"google.golang.org/grpc"
	gstatus "google.golang.org/grpc/status"
)

// What kratos' documentation recommends: recovery first, then tracing and the
// rate limit at the server, the circuit breaker at the client.

func kratosServing(limiter ratelimit.Limiter) []middleware.Middleware {
	return []middleware.Middleware{recovery.Recovery(), tracing.Server(), kratelimit.Server(kratelimit.WithLimiter(limiter))}
}

func kratosCalling() []middleware.Middleware {
	return []middleware.Middleware{recovery.Recovery(), tracing.Client(), kbreaker.Client()}
}

func kratosClient(l *lab, url string) func(ctx context.Context, method, path string) error {
	return kratosClientWith(l, url, kratosCalling()...)
}

func kratosClientWith(l *lab, url string, ms ...middleware.Middleware) func(ctx context.Context, method, path string) error {
	c, err := khttp.NewClient(l.ctx, khttp.WithEndpoint(url), khttp.WithMiddleware(ms...))
	l.must(err)
	l.later(func() { c.Close() })
	return func(ctx context.Context, method, path string) error {
		var out map[string]any
		return c.Invoke(ctx, method, path, nil, &out)
	}
}

func kratosDial(l *lab, addr string) grpc.ClientConnInterface {
	conn, err := kgrpc.DialInsecure(l.ctx, kgrpc.WithEndpoint("direct:///"+addr), kgrpc.WithMiddleware(kratosCalling()...))
	l.must(err)
	l.later(func() { conn.Close() })
	return conn
}

// kratosServer is an HTTP server with one operation, written as its generated
// code is.
func kratosServer(l *lab, limiter ratelimit.Limiter, work func(ctx context.Context) error, more ...middleware.Middleware) string {
	s := khttp.NewServer(khttp.Middleware(append(kratosServing(limiter), more...)...))
	handle := func(c khttp.Context) error {
		type request struct{ Password string }
		var in request
		if c.Request().Method == http.MethodPost {
			if err := c.Bind(&in); err != nil {
				return err
			}
		}
		khttp.SetOperation(c, procedure)
		h := c.Middleware(func(ctx context.Context, _ any) (any, error) {
			return map[string]string{"done": "yes"}, work(ctx)
		})
		out, err := h(c, &in)
		if err != nil {
			return err
		}
		return c.Result(http.StatusOK, out)
	}
	s.Route("/").GET("/x", handle)
	s.Route("/").POST("/x", handle)
	return l.web(s)
}

func kratosHTTP(l *lab, work func(ctx context.Context) error) peer {
	url := kratosServer(l, bbr.NewLimiter(), work)
	call := kratosClient(l, url)
	return peer{
		wire: "HTTP",
		call: func(ctx context.Context) error { return call(ctx, http.MethodGet, "/x") },
		look: func() string { _, saw := l.fetch(http.MethodGet, url+"/x", ""); return saw },
	}
}

func kratosGRPC(l *lab, work func(ctx context.Context) error) peer {
	lis := l.listen()
	s := kgrpc.NewServer(kgrpc.Listener(lis), kgrpc.Middleware(kratosServing(bbr.NewLimiter())...))
	s.RegisterService(trial(func(ctx context.Context, _ string) (string, error) { return "", work(ctx) }), nil)
	l.serve(func() error { return s.Start(l.ctx) }, s.Server.Stop)
	addr := lis.Addr().String()
	conn, plain := kratosDial(l, addr), l.dial(addr)
	return peer{
		wire: "gRPC",
		call: func(ctx context.Context) error { return invoke(ctx, conn) },
		look: func() string { return gstatus.Convert(invoke(l.ctx, plain)).String() },
		late: func() { l.rawGRPC(addr, "1n") },
	}
}

func kratosBadGateway(l *lab) answer {
	p := kratosGRPC(l, func(context.Context) error { return kerrors.New(502, "BAD_GATEWAY", "the bank answered nonsense") })
	return crossed(int(kerrors.FromError(p.call(l.ctx)).Code))
}

// kratosPermits looks at how many requests the rate limit of the documentation
// counts as being worked on after all have ended.
func kratosPermits(l *lab) answer {
	limiter := bbr.NewLimiter()
	bugs := 0
	url := kratosServer(l, limiter, func(context.Context) error { bugs++; panic("bug") })
	for range 10 {
		l.fetch(http.MethodGet, url+"/x", "")
	}
	if bugs != 10 {
		l.must(errors.New("the handler was not reached"))
	}
	return unless(limiter.Stat().InFlight == 0, "10 panics, then no request counted as in flight",
		"10 panics, then 10 requests counted as in flight for ever, by which it refuses when the CPU is busy")
}

// spy is a breaker that refuses everything and writes down what it is told.
type spy struct{ failed int }

func (s *spy) Allow() error { return circuitbreaker.ErrNotAllowed }
func (s *spy) MarkSuccess() {}
func (s *spy) MarkFailed()  { s.failed++ }

func kratosRejections(l *lab) answer {
	var s spy
	do := kratosClientWith(l, "127.0.0.1:1", kbreaker.Client(kbreaker.WithCircuitBreaker(func() circuitbreaker.CircuitBreaker { return &s })))
	for range 10 {
		do(l.ctx, http.MethodGet, "/x")
	}
	return unless(s.failed == 0, "what the breaker refused was not counted",
		"each call that the breaker refused was counted as one more failure, as in Google's client-side throttling")
}

// full is a rate limit that is reached.
type full struct{}

func (full) Allow() (ratelimit.DoneFunc, error) { return nil, ratelimit.ErrLimitExceed }

func kratosFull(l *lab) answer {
	url := kratosServer(l, full{}, func(context.Context) error { return nil })
	do := kratosClient(l, url)
	for range enough {
		if err := do(l.ctx, http.MethodGet, "/x"); kerrors.Reason(err) != "RATELIMIT" {
			l.must(fmt.Errorf("not a refusal of the rate limit: %w", err))
		}
	}
	for range 20 {
		if kerrors.Reason(do(l.ctx, http.MethodGet, "/x")) == "CIRCUITBREAKER" {
			return sprung("answers of a full rate limit opened the breaker")
		}
	}
	return safely("answers of a full rate limit left the breaker closed")
}
