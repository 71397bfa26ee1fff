package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	gstatus "google.golang.org/grpc/status"

	"github.com/surefoot-go/surefoot/safe"
)

// postRetried sends one POST without idempotency key to a target that fails.
func postRetried(client caller) experiment {
	return func(l *lab) answer {
		var arrived atomic.Int64
		do := client(l, l.web(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			arrived.Add(1)
			status(http.StatusBadGateway)(w, r)
		})))
		ctx, cancel := context.WithTimeout(l.ctx, 1500*time.Millisecond)
		defer cancel()
		do(ctx, http.MethodPost, "/charge")
		return unless(arrived.Load() == 1, "one POST without idempotency key was sent once",
			"one POST without idempotency key was sent more than once").over("HTTP")
	}
}

// callRetried makes one gRPC call that nobody called idempotent of a server that
// fails.
func callRetried(d dialer) experiment {
	return func(l *lab) answer {
		var arrived atomic.Int64
		conn := d(l, l.grpc(func(context.Context, string) (string, error) {
			arrived.Add(1)
			return "", gstatus.Error(codes.Unavailable, "the bank is away")
		}))
		ctx, cancel := context.WithTimeout(l.ctx, 1500*time.Millisecond)
		defer cancel()
		invoke(ctx, conn)
		return unless(arrived.Load() == 1, "one call that nobody called idempotent was sent once",
			"one call that nobody called idempotent was sent more than once").over("gRPC")
	}
}

// jitter looks at how long failed calls wait for their second try: waits drawn
// at random differ by more than a quarter.
func jitter(client caller) experiment {
	return func(l *lab) answer {
		const calls = 16
		var mu sync.Mutex
		first, wait := map[string]time.Time{}, map[string]time.Duration{}
		url := l.web(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			if at, again := first[r.URL.Path]; !again {
				first[r.URL.Path] = time.Now()
			} else if wait[r.URL.Path] == 0 {
				wait[r.URL.Path] = time.Since(at)
			}
			mu.Unlock()
			status(http.StatusBadGateway)(w, r)
		}))
		ctx, cancel := context.WithTimeout(l.ctx, 1500*time.Millisecond)
		defer cancel()
		var g safe.Group
		for i := range calls {
			l.pause(10 * time.Millisecond) // so that they do not slow each other down
			do := client(l, url)           // each with its own budget and breaker
			g.Go(ctx, func(ctx context.Context) error {
				do(ctx, http.MethodGet, fmt.Sprint("/", i))
				return nil
			})
		}
		l.must(g.Wait())
		mu.Lock()
		defer mu.Unlock()
		waits := slices.Sorted(maps.Values(wait))
		switch {
		case len(waits) < calls/2:
			return safely("few failed calls were tried again")
		case waits[len(waits)/2] < 8*time.Millisecond:
			return sprung("16 failed calls were tried again at once: those that fail together come back together")
		}
		low, high := waits[0], waits[len(waits)-1]
		return unless(high-low > high/4, "16 failed calls waited differently long before the next try",
			"16 failed calls waited equally long before the next try: those that fail together come back together")
	}
}

// budget makes many calls of a target that is down and counts what it gets.
func budget(client caller) experiment {
	return func(l *lab) answer {
		const calls = 100
		var arrived atomic.Int64
		do := client(l, l.web(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			arrived.Add(1)
			status(http.StatusBadGateway)(w, r)
		})))
		ctx, cancel := context.WithTimeout(l.ctx, 2*time.Second)
		defer cancel()
		g := safe.Group{Max: calls}
		for range calls {
			g.Go(ctx, func(ctx context.Context) error { do(ctx, http.MethodGet, "/x"); return nil })
		}
		l.must(g.Wait())
		return unless(arrived.Load() < calls*3/2, "100 calls of a target that is down made fewer than 150 requests",
			"100 calls of a target that is down made 150 requests or more")
	}
}

// outlives cancels a call that waits for its next try.
func outlives(client caller) experiment {
	return func(l *lab) answer {
		var arrived atomic.Int64
		do := client(l, l.web(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			arrived.Add(1)
			w.Header().Set("Retry-After", "1")
			status(http.StatusServiceUnavailable)(w, r)
		})))
		ctx, cancel := context.WithCancel(l.ctx)
		defer cancel()
		done := safe.Go(l.ctx, "call", func(context.Context) error { do(ctx, http.MethodGet, "/x"); return nil })
		l.wait(time.Second, func() bool { return arrived.Load() > 0 })
		l.pause(50 * time.Millisecond)
		cancel()
		begin := time.Now()
		<-done.Done()
		quick := time.Since(begin) < 500*time.Millisecond
		before := arrived.Load()
		l.pause(1200 * time.Millisecond)
		return unless(quick && arrived.Load() == before, "a canceled call stopped waiting and was not sent again",
			"a canceled call went on")
	}
}
