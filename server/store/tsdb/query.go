package tsdb

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	promdb "github.com/prometheus/prometheus/tsdb"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/store"
)

const (
	// maxQuery bounds the text: the engine walks the parsed query recursively.
	maxQuery = 16 << 10
	// maxPoints is Prometheus' own bound on points a series of a range query.
	maxPoints = 11_000
)

// Query implements store.Series.
func (s *Store) Query(ctx context.Context, q string, at time.Time) (store.Result, error) {
	const op = "tsdb.Query"
	return s.run(ctx, op, q, func(db *promdb.DB) (promql.Query, error) {
		return s.engine.NewInstantQuery(ctx, db, nil, q, at)
	})
}

// QueryRange implements store.Series. Step must be positive and the answer at
// most 11000 points a series, as in Prometheus.
func (s *Store) QueryRange(ctx context.Context, q string, start, end time.Time, step time.Duration) (store.Result, error) {
	const op = "tsdb.QueryRange"
	switch {
	case step <= 0:
		return store.Result{}, errs.New(errs.Invalid, op, "the step must be positive")
	case end.Before(start):
		return store.Result{}, errs.New(errs.Invalid, op, "the end must not be before the start")
	case end.Sub(start)/step > maxPoints:
		return store.Result{}, errs.New(errs.Invalid, op, "the range has more than 11000 points a series; use a longer step")
	}
	return s.run(ctx, op, q, func(db *promdb.DB) (promql.Query, error) {
		return s.engine.NewRangeQuery(ctx, db, nil, q, start, end, step)
	})
}

// run waits for its turn and evaluates. The wait and the work end with ctx.
func (s *Store) run(ctx context.Context, op, q string, prepare func(*promdb.DB) (promql.Query, error)) (store.Result, error) {
	if len(q) > maxQuery {
		return store.Result{}, errs.New(errs.Invalid, op, "the query is longer than 16 KiB")
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return store.Result{}, errs.Wrap(ctx.Err(), op)
	}
	h, end, err := s.begin(op)
	if err != nil {
		return store.Result{}, err
	}
	defer end()
	query, err := prepare(h.db)
	if err != nil {
		if ctx.Err() != nil {
			return store.Result{}, errs.Wrap(ctx.Err(), op)
		}
		// The text repeats the asker's own query and where it is wrong.
		return store.Result{}, errs.New(errs.Invalid, op, "the query does not parse: "+err.Error())
	}
	defer query.Close()
	res := query.Exec(ctx)
	if res.Err != nil {
		return store.Result{}, evalError(ctx, op, res.Err)
	}
	return result(op, res)
}

func evalError(ctx context.Context, op string, err error) error {
	var (
		timeout promql.ErrQueryTimeout
		cancel  promql.ErrQueryCanceled
		big     promql.ErrTooManySamples
		disk    promql.ErrStorage
	)
	switch {
	case ctx.Err() != nil:
		return errs.Wrap(ctx.Err(), op)
	case errors.As(err, &timeout):
		return errs.New(errs.Timeout, op, "the query took too long; narrow it").Because(err)
	case errors.As(err, &cancel):
		return errs.New(errs.Canceled, op, "the query was canceled").Because(err)
	case errors.As(err, &big):
		return errs.New(errs.Invalid, op, "the query needs too many samples at once; narrow it").Because(err)
	case errors.As(err, &disk):
		return errs.New(errs.Unavailable, op, "the store cannot be read").Because(err)
	}
	return errs.New(errs.Invalid, op, "the query cannot be evaluated: "+err.Error())
}

// result copies an answer out of the engine, which reuses its memory. Native
// histograms have no place in store.Result and are left out; this store never
// holds any.
func result(op string, res *promql.Result) (store.Result, error) {
	out := store.Result{Type: string(res.Value.Type())}
	point := func(t int64, v float64) store.Point { return store.Point{At: time.UnixMilli(t).UTC(), Value: v} }
	switch v := res.Value.(type) {
	case promql.Vector:
		out.Series = make([]store.ResultSeries, 0, len(v))
		for _, s := range v {
			if s.H == nil {
				out.Series = append(out.Series, store.ResultSeries{Labels: labelMap(s.Metric), Points: []store.Point{point(s.T, s.F)}})
			}
		}
	case promql.Matrix:
		out.Series = make([]store.ResultSeries, 0, len(v))
		for _, s := range v {
			points := make([]store.Point, len(s.Floats))
			for i, p := range s.Floats {
				points[i] = point(p.T, p.F)
			}
			out.Series = append(out.Series, store.ResultSeries{Labels: labelMap(s.Metric), Points: points})
		}
	case promql.Scalar:
		out.Series = []store.ResultSeries{{Points: []store.Point{point(v.T, v.V)}}}
	default:
		return store.Result{}, errs.New(errs.Invalid, op, "the query's answer is a text, not numbers")
	}
	return out, nil
}

func labelMap(l labels.Labels) map[string]string {
	m := make(map[string]string, l.Len())
	l.Range(func(l labels.Label) { m[l.Name] = l.Value })
	return m
}
