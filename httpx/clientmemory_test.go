package httpx_test

import (
	"context"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/surefoot-go/surefoot/httpx"
)

// What a request costs in memory while it waits for its answer, beside what it
// costs without this client. It waits as in http.Transport: in the goroutine of
// the caller, on the end of a child of its context.
func TestMemoryInFlight(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has memory of its own")
	}
	const calls = 5000
	measure := func(wrap func(http.RoundTripper) http.RoundTripper) (heap, stack, goroutines int64) {
		var waiting atomic.Int64
		all, free := make(chan struct{}), make(chan struct{})
		tr := wrap(wireFunc(func(r *http.Request) (*http.Response, error) {
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			done := ctx.Done()
			if waiting.Add(1) == calls {
				close(all)
			}
			select {
			case <-free:
				return noWire(r)
			case <-done:
				return nil, r.Context().Err()
			}
		}))
		heap, stack = memory()
		running := runtime.NumGoroutine()
		var wg sync.WaitGroup
		for range calls {
			wg.Go(func() {
				req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://bank/charges/17", nil)
				if err := roundTrip(tr, req); err != nil {
					t.Error(err)
				}
			})
		}
		<-all
		h, s := memory()
		goroutines = int64(runtime.NumGoroutine() - running)
		close(free)
		wg.Wait()
		return (h - heap) / calls, (s - stack) / calls, goroutines
	}
	heap0, stack0, _ := measure(func(tr http.RoundTripper) http.RoundTripper { return tr })
	heap, stack, goroutines := measure(func(tr http.RoundTripper) http.RoundTripper {
		return httpx.Client{Target: "bank", Observe: quiet, Transport: tr}.New()
	})
	t.Logf("a waiting request takes %d bytes of heap and %d of stack, without this client %d and %d", heap, stack, heap0, stack0)
	if goroutines > calls+50 {
		t.Errorf("%d goroutines for %d calls", goroutines, calls)
	}
	if more := heap + stack - heap0 - stack0; more > 10<<10 {
		t.Errorf("a waiting request takes %d bytes more", more)
	}
}

// memory is what lives on the heap and on stacks.
func memory() (heap, stack int64) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), int64(m.StackInuse)
}
