package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/server/store"
)

// Spans runs the contract of store.Spans. open opens the store in dir, which
// may hold what an earlier open left there, and returns it with its close.
func Spans(t *testing.T, open func(t *testing.T, dir string) (store.Spans, func() error)) {
	t.Run("every field comes back", func(t *testing.T) { spansFields(t, open) })
	t.Run("trace is ordered, repeated once", func(t *testing.T) { spansTrace(t, open) })
	t.Run("window", func(t *testing.T) { spansWindow(t, open) })
	t.Run("search", func(t *testing.T) { spansSearch(t, open) })
	t.Run("big batch", func(t *testing.T) { spansBig(t, open) })
	t.Run("concurrent", func(t *testing.T) { spansConcurrent(t, open) })
	t.Run("context", func(t *testing.T) { spansContext(t, open) })
}

type openSpans = func(t *testing.T, dir string) (store.Spans, func() error)

func full(n int, start time.Time) store.Span {
	return store.Span{
		Resource: store.Resource{Service: "order", Version: "v2", Instance: "order-1", Namespace: "shop"},
		TraceID:  traceID(n), ID: spanID(n), Parent: spanID(n + 1_000_000),
		Name: "POST /orders", Kind: store.KindServer, Start: start, Duration: 12345678 * time.Nanosecond,
		Error: true, Message: "payment failed \x00 \u4ed8\u6b3e",
		Attrs: map[string]string{"http.request.method": "POST", "empty": "", "": "no key", "n": fmt.Sprint(n)},
		Events: []store.Event{
			{Name: "exception", At: start.Add(5 * time.Millisecond), Attrs: map[string]string{"exception.type": "unavailable"}},
			{Name: "before", At: start.Add(-time.Hour)},
		},
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func spansFields(t *testing.T, open openSpans) {
	ctx := context.Background()
	start := at(0).Add(123456789)
	want := full(1, start)
	bare := store.Span{Resource: store.Resource{Service: "user"}, TraceID: want.TraceID, ID: spanID(7), Start: start.Add(1), Name: "x"}
	child := full(1, start.Add(2))
	child.ID, child.Parent = spanID(8), want.ID
	reopened(t, t.TempDir(), open, func(t *testing.T, s store.Spans) {
		must(t, s.Put(ctx, nil))
		must(t, s.Put(ctx, []store.Span{want, child, bare}))
	}, func(t *testing.T, s store.Spans) {
		got, err := s.Trace(ctx, want.TraceID)
		must(t, err)
		if !reflect.DeepEqual(got, []store.Span{want, bare, child}) {
			t.Errorf("Trace:\n got %+v\nwant %+v", got, []store.Span{want, bare, child})
		}
		if got, err := s.Trace(ctx, traceID(99)); err != nil || len(got) != 0 {
			t.Errorf("unknown trace = %v, %v", got, err)
		}
	})
}

func spansTrace(t *testing.T, open openSpans) {
	ctx := context.Background()
	var spans []store.Span
	for i := range 20 {
		s := full(1, at(time.Duration(i*i)*time.Second)) // reaches over chunks of any sensible size
		s.ID = spanID(i)
		spans = append(spans, s)
	}
	reopened(t, t.TempDir(), open, func(t *testing.T, s store.Spans) {
		for i := len(spans) - 1; i >= 0; i-- { // last first, each alone
			must(t, s.Put(ctx, spans[i:i+1]))
		}
		must(t, s.Put(ctx, spans)) // a resend
	}, func(t *testing.T, s store.Spans) {
		got, err := s.Trace(ctx, traceID(1))
		must(t, err)
		if !reflect.DeepEqual(got, spans) {
			t.Errorf("got %d spans, want %d in order of start", len(got), len(spans))
		}
		var window []store.Span
		must(t, s.Window(ctx, at(-time.Hour), at(time.Hour), func(s store.Span) bool { window = append(window, s); return true }))
		if !reflect.DeepEqual(window, spans) {
			t.Errorf("window has %d spans, want %d, each once", len(window), len(spans))
		}
	})
}

func spansWindow(t *testing.T, open openSpans) {
	ctx := context.Background()
	const n = 500
	s, closeStore := open(t, t.TempDir())
	base := at(0)
	// Interleaved batches, so that order must come from the store.
	for b := range 10 {
		var batch []store.Span
		for i := b; i < n; i += 10 {
			sp := full(i, base.Add(time.Duration(i)*37*time.Millisecond))
			batch = append(batch, sp)
		}
		slices.Reverse(batch)
		must(t, s.Put(ctx, batch))
	}
	for _, c := range []struct{ from, to, first, last int }{
		{0, n, 0, n}, {100, 200, 100, 200}, {499, 500, 499, 500}, {250, 250, 0, 0}, {300, 200, 0, 0}, {n, 2 * n, 0, 0},
	} {
		var got []int
		err := s.Window(ctx, base.Add(time.Duration(c.from)*37*time.Millisecond), base.Add(time.Duration(c.to)*37*time.Millisecond), func(sp store.Span) bool {
			got = append(got, int(sp.Start.Sub(base)/(37*time.Millisecond)))
			return true
		})
		must(t, err)
		if len(got) != c.last-c.first || !slices.IsSorted(got) || len(got) > 0 && got[0] != c.first {
			t.Errorf("window [%d,%d): %d spans from %v, want %d", c.from, c.to, len(got), got[:min(len(got), 3)], c.last-c.first)
		}
	}
	calls := 0
	must(t, s.Window(ctx, base, base.Add(time.Hour), func(store.Span) bool { calls++; return calls < 3 }))
	if calls != 3 {
		t.Errorf("yield was called %d times after it returned false at 3", calls)
	}
	must(t, closeStore())
}

func spansSearch(t *testing.T, open openSpans) {
	ctx := context.Background()
	// Trace i starts at i minutes, takes i*10 ms over two services, fails when
	// i%4 == 0. Its second span comes in another batch.
	mk := func(i int) (a, b store.Span) {
		a = store.Span{Resource: store.Resource{Service: "gateway"}, TraceID: traceID(i), ID: spanID(2 * i), Name: "POST /orders",
			Kind: store.KindServer, Start: at(time.Duration(i-20) * time.Minute), Duration: time.Duration(i) * 10 * time.Millisecond}
		b = store.Span{Resource: store.Resource{Service: []string{"order", "user"}[i%2]}, TraceID: traceID(i), ID: spanID(2*i + 1), Parent: a.ID,
			Name: "place", Kind: store.KindServer, Start: a.Start.Add(time.Millisecond), Duration: time.Millisecond, Error: i%4 == 0}
		return a, b
	}
	const n = 12
	cases := []struct {
		name string
		q    store.SpanQuery
		want []int
	}{
		{"all", store.SpanQuery{}, []int{12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1}},
		{"limit", store.SpanQuery{Limit: 3}, []int{12, 11, 10}},
		{"service", store.SpanQuery{Service: "user"}, []int{11, 9, 7, 5, 3, 1}},
		{"service and limit", store.SpanQuery{Service: "order", Limit: 2}, []int{12, 10}},
		{"operation", store.SpanQuery{Operation: "place", Limit: 2}, []int{12, 11}},
		{"service and operation", store.SpanQuery{Service: "order", Operation: "place"}, []int{12, 10, 8, 6, 4, 2}},
		{"operation of another service", store.SpanQuery{Service: "order", Operation: "POST /orders"}, nil},
		{"unknown service", store.SpanQuery{Service: "nobody"}, nil},
		{"failed", store.SpanQuery{Error: true}, []int{12, 8, 4}},
		{"failed of a service", store.SpanQuery{Error: true, Service: "user"}, nil},
		{"long", store.SpanQuery{MinLength: 100 * time.Millisecond}, []int{12, 11, 10}},
		{"from", store.SpanQuery{From: at((10 - 20) * time.Minute)}, []int{12, 11, 10}},
		{"to", store.SpanQuery{To: at((3 - 20) * time.Minute)}, []int{2, 1}},
		{"between", store.SpanQuery{From: at((3 - 20) * time.Minute), To: at((5 - 20) * time.Minute)}, []int{4, 3}},
	}
	reopened(t, t.TempDir(), open, func(t *testing.T, s store.Spans) {
		var second []store.Span
		for _, i := range []int{5, 1, 9, 3, 12, 7, 2, 8, 4, 11, 6, 10} {
			a, b := mk(i)
			must(t, s.Put(ctx, []store.Span{a}))
			second = append(second, b)
		}
		must(t, s.Put(ctx, second))
	}, func(t *testing.T, s store.Spans) {
		for _, c := range cases {
			got, err := s.Search(ctx, c.q)
			must(t, err)
			var nums []int
			for _, sum := range got {
				for i := 1; i <= n; i++ {
					if sum.TraceID == traceID(i) {
						nums = append(nums, i)
					}
				}
			}
			if !slices.Equal(nums, c.want) {
				t.Errorf("%s: traces %v, want %v", c.name, nums, c.want)
			}
		}
		got, err := s.Search(ctx, store.SpanQuery{Limit: 1})
		must(t, err)
		a, _ := mk(12)
		want := []store.Summary{{TraceID: traceID(12), Root: "gateway", Name: "POST /orders", Start: a.Start, Duration: a.Duration,
			Spans: 2, Errors: 1, Services: []string{"gateway", "order"}}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("summary\n got %+v\nwant %+v", got, want)
		}
	})
}

func spansBig(t *testing.T, open openSpans) {
	ctx := context.Background()
	const n = 5000
	batch := make([]store.Span, n)
	for i := range batch {
		batch[i] = full(i, at(time.Duration(i%97)*time.Millisecond))
	}
	batch[17].Attrs["big"] = string(make([]byte, 2<<20))
	reopened(t, t.TempDir(), open, func(t *testing.T, s store.Spans) { must(t, s.Put(ctx, batch)) }, func(t *testing.T, s store.Spans) {
		seen := 0
		must(t, s.Window(ctx, at(-time.Minute), at(time.Minute), func(store.Span) bool { seen++; return true }))
		if seen != n {
			t.Errorf("window has %d of %d spans", seen, n)
		}
		got, err := s.Trace(ctx, traceID(17))
		must(t, err)
		if len(got) != 1 || len(got[0].Attrs["big"]) != 2<<20 {
			t.Error("the big span did not come back whole")
		}
	})
}

func spansConcurrent(t *testing.T, open openSpans) {
	ctx := context.Background()
	const writers, each = 8, 20
	reopened(t, t.TempDir(), open, func(t *testing.T, s store.Spans) {
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					n := w*each + i
					if err := s.Put(ctx, []store.Span{full(n, at(time.Duration(n)*time.Millisecond))}); err != nil {
						t.Error(err)
					}
					if got, err := s.Trace(ctx, traceID(n)); err != nil || len(got) != 1 {
						t.Errorf("read own write %d: %d spans, %v", n, len(got), err)
					}
					if _, err := s.Search(ctx, store.SpanQuery{Limit: 2}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}, func(t *testing.T, s store.Spans) {
		n := 0
		must(t, s.Window(ctx, at(-time.Minute), at(time.Minute), func(store.Span) bool { n++; return true }))
		if n != writers*each {
			t.Errorf("%d spans, want %d", n, writers*each)
		}
	})
}

func spansContext(t *testing.T, open openSpans) {
	s, closeStore := open(t, t.TempDir())
	must(t, s.Put(context.Background(), []store.Span{full(1, at(0))}))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Window(ctx, at(-time.Hour), at(time.Hour), func(store.Span) bool { return true }); !errors.Is(err, context.Canceled) {
		t.Errorf("Window with an ended context: %v", err)
	}
	if _, err := s.Search(ctx, store.SpanQuery{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Search with an ended context: %v", err)
	}
	must(t, closeStore())
}
