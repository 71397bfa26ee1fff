package storetest

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/store"
)

// Series runs the contract of store.Series; see Spans.
func Series(t *testing.T, open func(t *testing.T, dir string) (store.Series, func() error)) {
	t.Run("query", func(t *testing.T) { seriesQuery(t, open) })
	t.Run("late and repeated", func(t *testing.T) { seriesLate(t, open) })
	t.Run("bad queries", func(t *testing.T) { seriesBad(t, open) })
	t.Run("concurrent", func(t *testing.T) { seriesConcurrent(t, open) })
}

type openSeries = func(t *testing.T, dir string) (store.Series, func() error)

func sample(name, service string, at time.Time, v float64) store.Sample {
	return store.Sample{Labels: []store.Label{{Name: "__name__", Value: name}, {Name: "service_name", Value: service}}, At: at, Value: v}
}

func put(t *testing.T, s store.Series, dropped int, samples ...store.Sample) {
	t.Helper()
	n, err := s.Put(context.Background(), samples)
	must(t, err)
	if n != dropped {
		t.Errorf("%d dropped, want %d", n, dropped)
	}
}

func seriesQuery(t *testing.T, open openSeries) {
	ctx := context.Background()
	series := func(v float64, at time.Time, labels ...string) store.ResultSeries {
		r := store.ResultSeries{Labels: map[string]string{}, Points: []store.Point{{At: at, Value: v}}}
		for i := 0; i < len(labels); i += 2 {
			r.Labels[labels[i]] = labels[i+1]
		}
		return r
	}
	end := at(60 * time.Second)
	reopened(t, t.TempDir(), open, func(t *testing.T, s store.Series) {
		for i := range 61 {
			put(t, s, 0, sample("calls_total", "order", at(time.Duration(i)*time.Second), float64(2*i)),
				sample("calls_total", "user", at(time.Duration(i)*time.Second), float64(i)))
		}
	}, func(t *testing.T, s store.Series) {
		for _, c := range []struct {
			q    string
			want store.Result
		}{
			{`calls_total{service_name="order"}`, store.Result{Type: "vector", Series: []store.ResultSeries{series(120, end, "__name__", "calls_total", "service_name", "order")}}},
			{`sum(rate(calls_total[30s]))`, store.Result{Type: "vector", Series: []store.ResultSeries{series(3, end)}}},
			{`nothing`, store.Result{Type: "vector", Series: []store.ResultSeries{}}},
			{`1 + 1`, store.Result{Type: "scalar", Series: []store.ResultSeries{{Points: []store.Point{{At: end, Value: 2}}}}}},
		} {
			got, err := s.Query(ctx, c.q, end)
			must(t, err)
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s\n got %+v\nwant %+v", c.q, got, c.want)
			}
		}
		got, err := s.QueryRange(ctx, `calls_total{service_name="user"}`, at(0), end, 20*time.Second)
		must(t, err)
		want := store.Result{Type: "matrix", Series: []store.ResultSeries{{Labels: map[string]string{"__name__": "calls_total", "service_name": "user"},
			Points: []store.Point{{At: at(0), Value: 0}, {At: at(20 * time.Second), Value: 20}, {At: at(40 * time.Second), Value: 40}, {At: end, Value: 60}}}}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("range\n got %+v\nwant %+v", got, want)
		}
	})
}

func seriesLate(t *testing.T, open openSeries) {
	s, closeStore := open(t, t.TempDir())
	put(t, s, 0, sample("m", "a", at(0), 1))
	put(t, s, 0, sample("m", "a", at(0), 1))            // a resend
	put(t, s, 1, sample("m", "a", at(0), 2))            // the same time, another value
	put(t, s, 0, sample("m", "a", at(-time.Minute), 3)) // a little late
	put(t, s, 1, sample("m", "a", at(-48*time.Hour), 4), sample("m", "a", at(time.Second), 5))
	put(t, s, 1, sample("m", "b", at(365*24*time.Hour), 6)) // next year
	put(t, s, 0, sample("m", "b", at(2*time.Second), 7))    // and it did no harm
	got, err := s.QueryRange(context.Background(), "m", at(-time.Minute), at(2*time.Second), time.Second)
	must(t, err)
	if len(got.Series) != 2 || got.Series[0].Points[0].Value != 3 {
		t.Errorf("got %+v", got)
	}
	must(t, closeStore())
}

func seriesBad(t *testing.T, open openSeries) {
	s, closeStore := open(t, t.TempDir())
	for _, q := range []string{"", "sum(", "rate(m)", `{`, "\"text\"", "m[5m] + 1"} {
		if _, err := s.Query(context.Background(), q, at(0)); err == nil || errs.KindOf(err) != errs.Invalid {
			t.Errorf("Query(%q) = %v, want an error of kind Invalid", q, err)
		}
	}
	if _, err := s.QueryRange(context.Background(), "m", at(0), at(time.Hour), 0); err == nil || errs.KindOf(err) != errs.Invalid {
		t.Errorf("a step of 0: %v", err)
	}
	if _, err := s.QueryRange(context.Background(), "m", at(0), at(time.Hour), time.Microsecond); err == nil || errs.KindOf(err) != errs.Invalid {
		t.Errorf("a billion points: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Query(ctx, "m", at(0)); err == nil || errs.KindOf(err) != errs.Canceled {
		t.Errorf("an ended context: %v", err)
	}
	must(t, closeStore())
}

func seriesConcurrent(t *testing.T, open openSeries) {
	ctx := context.Background()
	const writers, each = 8, 50
	reopened(t, t.TempDir(), open, func(t *testing.T, s store.Series) {
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					if _, err := s.Put(ctx, []store.Sample{sample("m", fmt.Sprint(w), at(time.Duration(i)*time.Second), float64(i))}); err != nil {
						t.Error(err)
					}
					// A new series each time, beside a query that reads their index.
					if _, err := s.Put(ctx, []store.Sample{sample("n", fmt.Sprint(w, "-", i), at(time.Duration(i)*time.Second), 1)}); err != nil {
						t.Error(err)
					}
					if _, err := s.Query(ctx, "sum(m) + sum(n)", at(time.Duration(i)*time.Second)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}, func(t *testing.T, s store.Series) {
		got, err := s.Query(ctx, "sum(count_over_time(m[10m]))", at(each*time.Second))
		must(t, err)
		if len(got.Series) != 1 || got.Series[0].Points[0].Value != writers*each {
			t.Errorf("got %+v, want %d samples", got, writers*each)
		}
	})
}
