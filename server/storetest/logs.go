package storetest

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/server/store"
)

// Logs runs the contract of store.Logs; see Spans.
func Logs(t *testing.T, open func(t *testing.T, dir string) (store.Logs, func() error)) {
	t.Run("every field comes back", func(t *testing.T) { logsFields(t, open) })
	t.Run("search", func(t *testing.T) { logsSearch(t, open) })
	t.Run("concurrent", func(t *testing.T) { logsConcurrent(t, open) })
}

type openLogs = func(t *testing.T, dir string) (store.Logs, func() error)

func logsFields(t *testing.T, open openLogs) {
	ctx := context.Background()
	want := store.Log{
		Resource: store.Resource{Service: "order", Version: "v2", Instance: "i", Namespace: "shop"},
		At:       at(0).Add(987654321), Severity: 17, Body: "cannot \x00 \u4ed8\u6b3e",
		Attrs: map[string]string{"sku": "42", "": "x"}, TraceID: traceID(3), SpanID: spanID(4),
	}
	bare := store.Log{Resource: store.Resource{Service: "user"}, At: at(-time.Second)}
	reopened(t, t.TempDir(), open, func(t *testing.T, s store.Logs) {
		must(t, s.Put(ctx, nil))
		must(t, s.Put(ctx, []store.Log{bare, want}))
	}, func(t *testing.T, s store.Logs) {
		got, err := s.Search(ctx, store.LogQuery{})
		must(t, err)
		if !reflect.DeepEqual(got, []store.Log{want, bare}) {
			t.Errorf("\n got %+v\nwant %+v", got, []store.Log{want, bare})
		}
	})
}

func logsSearch(t *testing.T, open openLogs) {
	ctx := context.Background()
	const n = 300
	mk := func(i int) store.Log {
		l := store.Log{Resource: store.Resource{Service: []string{"order", "user", "bank"}[i%3]}, At: at(time.Duration(i) * 700 * time.Millisecond),
			Severity: []int{9, 13, 17, 0}[i%4], Body: fmt.Sprintf("Record %d", i)}
		if i%50 == 0 {
			l.TraceID = traceID(1)
		}
		return l
	}
	where := func(limit int, keep func(i int) bool) (want []int) {
		for i := n - 1; i >= 0 && len(want) < limit; i-- {
			if keep(i) {
				want = append(want, i)
			}
		}
		return want
	}
	cases := []struct {
		name string
		q    store.LogQuery
		want []int
	}{
		{"default limit", store.LogQuery{}, where(200, func(int) bool { return true })},
		{"limit", store.LogQuery{Limit: 7}, where(7, func(int) bool { return true })},
		{"service", store.LogQuery{Service: "bank", Limit: 10}, where(10, func(i int) bool { return i%3 == 2 })},
		{"severity", store.LogQuery{MinSeverity: 13, Limit: 10}, where(10, func(i int) bool { return i%4 == 1 || i%4 == 2 })},
		{"contains", store.LogQuery{Contains: "rECORD 29"}, where(200, func(i int) bool { return i == 29 || i >= 290 })},
		{"trace", store.LogQuery{TraceID: traceID(1)}, where(200, func(i int) bool { return i%50 == 0 })},
		{"unknown trace", store.LogQuery{TraceID: traceID(2)}, nil},
		{"between", store.LogQuery{From: mk(100).At, To: mk(110).At}, where(10, func(i int) bool { return i >= 100 && i < 110 })},
		{"trace between", store.LogQuery{TraceID: traceID(1), From: mk(100).At, To: mk(150).At}, where(200, func(i int) bool { return i == 100 })},
		{"unknown service", store.LogQuery{Service: "nobody"}, nil},
	}
	reopened(t, t.TempDir(), open, func(t *testing.T, s store.Logs) {
		for b := range 6 {
			var batch []store.Log
			for i := b; i < n; i += 6 {
				batch = append(batch, mk(i))
			}
			must(t, s.Put(ctx, batch))
		}
	}, func(t *testing.T, s store.Logs) {
		for _, c := range cases {
			got, err := s.Search(ctx, c.q)
			must(t, err)
			var nums []int
			for _, l := range got {
				var i int
				_, _ = fmt.Sscanf(l.Body, "Record %d", &i)
				nums = append(nums, i)
			}
			if !slices.Equal(nums, c.want) {
				t.Errorf("%s: %v, want %v", c.name, nums, c.want)
			}
		}
	})
}

func logsConcurrent(t *testing.T, open openLogs) {
	ctx := context.Background()
	const writers, each = 8, 20
	reopened(t, t.TempDir(), open, func(t *testing.T, s store.Logs) {
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					l := store.Log{Resource: store.Resource{Service: "order"}, At: at(time.Duration(i) * time.Millisecond), Body: fmt.Sprint(w, i)}
					if err := s.Put(ctx, []store.Log{l}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}, func(t *testing.T, s store.Logs) {
		got, err := s.Search(ctx, store.LogQuery{Limit: 1000})
		must(t, err)
		if len(got) != writers*each {
			t.Errorf("%d records, want %d", len(got), writers*each)
		}
	})
}
