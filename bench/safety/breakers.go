package main

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
)

// enough failures open every breaker here: kratos' needs a hundred calls.
const enough = 150

// target is a service that misbehaves for as long as it is told to.
type target struct {
	arrived atomic.Int64
	broken  atomic.Bool
	how     http.HandlerFunc
}

func newTarget(how http.HandlerFunc) *target {
	t := &target{how: how}
	t.broken.Store(true)
	return t
}

func (t *target) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t.arrived.Add(1)
	if t.broken.Load() {
		t.how(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, "{}")
}

// opens makes many calls of a misbehaving target, mends it, and says whether
// good calls are then refused without having been sent.
func opens(l *lab, arrived *atomic.Int64, bad, good func(), mend func()) bool {
	for range enough {
		bad()
	}
	mend()
	const calls = 20
	before := arrived.Load()
	for range calls {
		good()
	}
	return arrived.Load()-before < calls
}

// trips says whether calls of a target that answers as how does open the
// breaker of a library's HTTP client.
func trips(l *lab, client caller, method string, how http.HandlerFunc) bool {
	t := newTarget(how)
	get := client(l, l.web(t))
	do := func() { get(l.ctx, method, "/x") }
	return opens(l, &t.arrived, do, do, func() { t.broken.Store(false) })
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprint(w, `{}`)
	}
}

// cancelTrips does the same with calls that their caller cancels once they have
// arrived.
func cancelTrips(l *lab, client caller) bool {
	here := make(chan struct{}, enough)
	t := newTarget(func(_ http.ResponseWriter, r *http.Request) {
		here <- struct{}{}
		<-r.Context().Done()
	})
	get := client(l, l.web(t))
	return opens(l, &t.arrived, canceled(l, here, func(ctx context.Context) { get(ctx, http.MethodGet, "/x") }),
		func() { get(l.ctx, http.MethodGet, "/x") }, func() { t.broken.Store(false) })
}

// canceled is a call that is canceled once it is here. A client whose breaker
// has opened sends nothing, and then there is nothing to cancel.
func canceled(l *lab, here <-chan struct{}, do func(ctx context.Context)) func() {
	return func() {
		ctx, cancel := context.WithCancel(l.ctx)
		defer cancel()
		done := make(chan struct{})
		spawn(func() { defer close(done); do(ctx) })
		select {
		case <-here:
			cancel()
			<-done
		case <-done:
		}
	}
}

const (
	cancelsIgnored = "150 calls canceled by the caller, then good calls: all sent"
	cancelsOpened  = "after 150 calls canceled by the caller the breaker refused good calls"
	notFoundsFine  = "150 answers of not found, then good calls: all sent"
	notFoundsOpen  = "after 150 answers of not found the breaker refused good calls"
)

func cancelHTTP(client caller) experiment {
	return func(l *lab) answer {
		return unless(!cancelTrips(l, client), cancelsIgnored, cancelsOpened).over("HTTP")
	}
}

func faultHTTP(client caller) experiment {
	return func(l *lab) answer {
		return unless(!trips(l, client, http.MethodGet, status(http.StatusNotFound)), notFoundsFine, notFoundsOpen).over("HTTP")
	}
}
