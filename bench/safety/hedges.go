package main

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"
)

// losers makes one call whose first try hangs and whose second is answered at
// once, and looks at whether the first was told to stop.
func losers(client caller) experiment {
	return func(l *lab) answer {
		var arrived atomic.Int64
		stopped := make(chan struct{})
		do := client(l, l.web(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if arrived.Add(1) > 1 {
				status(http.StatusOK)(w, r)
				return
			}
			select {
			case <-r.Context().Done():
				close(stopped)
			case <-time.After(3 * time.Second):
			}
		})))
		ctx, cancel := context.WithTimeout(l.ctx, 3*time.Second)
		defer cancel()
		err := do(ctx, http.MethodGet, "/x")
		if arrived.Load() < 2 {
			return sprung("no second try was made")
		}
		l.must(err)
		return unless(l.wait(500*time.Millisecond, func() bool {
			select {
			case <-stopped:
				return true
			default:
				return false
			}
		}), "the try that lost was canceled", "the try that lost went on")
	}
}

// firstSuccess makes one call whose first try succeeds late and whose second
// fails at once.
func firstSuccess(client caller) experiment {
	return func(l *lab) answer {
		var arrived atomic.Int64
		do := client(l, l.web(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if arrived.Add(1) > 1 {
				status(http.StatusBadGateway)(w, r)
				return
			}
			l.pause(200 * time.Millisecond)
			status(http.StatusOK)(w, r)
		})))
		ctx, cancel := context.WithTimeout(l.ctx, 3*time.Second)
		defer cancel()
		err := do(ctx, http.MethodGet, "/x")
		if arrived.Load() < 2 {
			return sprung("no second try was made")
		}
		return unless(err == nil, "a hedge that failed was ignored and the first try's success returned",
			"a hedge that failed first was the answer though the first try succeeded")
	}
}
