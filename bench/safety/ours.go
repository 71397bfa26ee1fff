package main

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	gstatus "google.golang.org/grpc/status"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/grpcx"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/breaker"
	"github.com/surefoot-go/surefoot/resilience/hedge"
	"github.com/surefoot-go/surefoot/resilience/limit"
	"github.com/surefoot-go/surefoot/resilience/shed"
	"github.com/surefoot-go/surefoot/safe"
)

func ourClient(l *lab, url string) func(ctx context.Context, method, path string) error {
	return ourClientWith(resilience.Policy{})(l, url)
}

func ourClientWith(p resilience.Policy) caller {
	return func(l *lab, url string) func(ctx context.Context, method, path string) error {
		client := httpx.Client{Service: "lab", Target: "target", Policy: p}.HTTP()
		l.later(client.CloseIdleConnections)
		return over(client, url)
	}
}

// over calls with an *http.Client and reads the whole answer; a failed answer
// is an error.
func over(client *http.Client, url string) func(ctx context.Context, method, path string) error {
	return func(ctx context.Context, method, path string) error {
		var body io.Reader
		if method == http.MethodPost {
			body = strings.NewReader("{}")
		}
		r, err := http.NewRequestWithContext(ctx, method, url+path, body)
		if err != nil {
			return err
		}
		resp, err := client.Do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return err
		}
		if resp.StatusCode > 299 {
			return statusError(resp.StatusCode)
		}
		return nil
	}
}

type statusError int

func (e statusError) Error() string { return http.StatusText(int(e)) }

func ourDial(l *lab, addr string) grpc.ClientConnInterface {
	return l.dial(addr, grpcx.Client{Service: "lab", Target: "target"}.DialOptions()...)
}

func ourHTTP(l *lab, work func(ctx context.Context) error) peer {
	s := httpx.Server{Service: "lab"}
	url := l.web(s.Handle("lab.Work", func(w http.ResponseWriter, r *http.Request) error {
		if err := work(r.Context()); err != nil {
			return err
		}
		return httpx.Write(w, http.StatusOK, "done")
	}))
	call := ourClient(l, url)
	return peer{
		wire: "HTTP",
		call: func(ctx context.Context) error { return call(ctx, http.MethodGet, "/x") },
		look: func() string { _, saw := l.fetch(http.MethodGet, url, ""); return saw },
		late: func() { l.fetch(http.MethodGet, url, "", "Request-Timeout-Ms", "0") },
	}
}

func ourGRPC(l *lab, work func(ctx context.Context) error) peer {
	addr := l.grpc(func(ctx context.Context, _ string) (string, error) { return "", work(ctx) },
		grpcx.Server{Service: "lab"}.Options()...)
	conn, plain := ourDial(l, addr), l.dial(addr)
	return peer{
		wire: "gRPC",
		call: func(ctx context.Context) error { return invoke(ctx, conn) },
		look: func() string { return gstatus.Convert(invoke(l.ctx, plain)).String() },
		late: func() { l.rawGRPC(addr, "1n") },
	}
}

func ourBadGateway(l *lab) answer {
	p := ourGRPC(l, func(context.Context) error {
		return errs.New(errs.BadGateway, "lab.Work", "the bank answered nonsense")
	})
	return crossed(errs.From(p.call(l.ctx)).Parts().Kind.HTTP())
}

// crossed is the answer for a 502 that became status on the other side.
func crossed(status int) answer {
	switch status {
	case http.StatusBadGateway:
		return safely("a 502 came out as 502")
	case http.StatusInternalServerError:
		return sprung("a 502 came out as 500")
	}
	return safely("a 502 came out as %d", status)
}

// quick is for experiments that do not wait.
const quick = 20 * time.Millisecond

// ourPermits panics in whatever hands out permits, as often as it has places.
func ourPermits(l *lab) answer {
	const places = 2
	pool := resilience.New("pool", resilience.Policy{
		Breaker:  breaker.Settings{Rule: breaker.Off},
		Bulkhead: limit.BulkheadSettings{Max: places},
		Adaptive: limit.AdaptiveSettings{Start: places, Max: places},
	}, observe.Sinks{})
	call := func(fn func()) error {
		_, err := resilience.Do(l.ctx, pool, func(context.Context) (struct{}, error) { fn(); return struct{}{}, nil })
		return err
	}
	s := httpx.Server{Service: "lab", Door: shed.New(shed.Settings{Max: places, Queue: -1})}
	url := l.web(s.Handle("lab.Work", func(w http.ResponseWriter, r *http.Request) error {
		if r.Method == http.MethodPost {
			panic("bug")
		}
		return httpx.Write(w, http.StatusOK, "done")
	}))
	for range 10 {
		call(func() { panic("bug") })
		l.fetch(http.MethodPost, url, "")
	}
	code, _ := l.fetch(http.MethodGet, url, "")
	return both(
		ourHalfOpen(l).over("breaker"),
		unless(call(func() {}) == nil, "10 panics in a bulkhead and an adaptive limit of 2, then a good call: made",
			"10 panics in a bulkhead and an adaptive limit of 2, then every good call was refused").over("client"),
		unless(code == http.StatusOK, "10 panics behind a door of 2, then a good request: served",
			"10 panics behind a door of 2, then every good request was refused").over("server"))
}

// ourHalfOpen panics in the one try that a half-open breaker grants.
func ourHalfOpen(l *lab) answer {
	g := resilience.New("target", resilience.Policy{
		Breaker: breaker.Settings{Rule: breaker.Consecutive, MaxRequests: 1, Timeout: quick},
	}, observe.Sinks{})
	call := func(fn func() error) error {
		_, err := resilience.Do(l.ctx, g, func(context.Context) (struct{}, error) { return struct{}{}, fn() })
		return err
	}
	for range 10 {
		call(func() error { return errRaw })
	}
	l.pause(2 * quick)
	call(func() error { panic("bug") })
	l.pause(2 * quick)
	return unless(call(func() error { return nil }) == nil, "a panic in the half-open breaker's one try, then a good call: tried again",
		"a panic in the half-open breaker's one try, then every call was refused")
}

// ourRejections makes many calls while the only place of a bulkhead is taken,
// and then good ones.
func ourRejections(l *lab) answer {
	g := resilience.New("target", resilience.Policy{Bulkhead: limit.BulkheadSettings{Max: 1}}, observe.Sinks{})
	var made atomic.Int64
	call := func(fn func()) {
		resilience.Do(l.ctx, g, func(context.Context) (struct{}, error) { made.Add(1); fn(); return struct{}{}, nil })
	}
	taken, free := make(chan struct{}), make(chan struct{})
	busy := safe.Go(l.ctx, "busy", func(context.Context) error {
		call(func() { close(taken); <-free })
		return nil
	})
	<-taken
	open := opens(l, &made, func() { call(func() {}) }, func() { call(func() {}) }, func() {
		close(free)
		<-busy.Done()
	})
	full := trips(l, ourClient, http.MethodPost, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "1")
		status(http.StatusTooManyRequests)(w, r)
	})
	return both(
		unless(!open, "150 refusals of a full bulkhead left the breaker closed", "refusals of a full bulkhead opened the breaker"),
		unless(!full, "answers of a full rate limit left the breaker closed", "answers of a full rate limit opened the breaker"))
}

func ourHedge(l *lab, url string) func(ctx context.Context, method, path string) error {
	return ourClientWith(resilience.Policy{Hedge: hedge.Settings{Max: 1, Delay: 30 * time.Millisecond}})(l, url)
}

// ourStorm limits a try as the peers do; the rest is the default.
func ourStorm(l *lab, url string) func(ctx context.Context, method, path string) error {
	return ourClientWith(resilience.Policy{AttemptTimeout: stormTry})(l, url)
}
