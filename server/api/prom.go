package api

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/store"
)

// maxPoints is the most points of one series a range query may ask for, the
// same limit as Prometheus' own.
const maxPoints = 11000

// promAnswer is the envelope of Prometheus' HTTP API, so that Grafana and
// other clients of Prometheus can use this one.
type promAnswer struct {
	Status    string    `json:"status"`
	Data      *promData `json:"data,omitempty"`
	ErrorType string    `json:"errorType,omitempty"`
	Error     string    `json:"error,omitempty"`
}

type promData struct {
	ResultType string `json:"resultType"`
	Result     any    `json:"result"`
}

type promSeries struct {
	Metric map[string]string `json:"metric"`
	Value  *promPoint        `json:"value,omitempty"`
	Values []promPoint       `json:"values,omitempty"`
}

// promPoint is [seconds, "value"].
type promPoint store.Point

// MarshalJSON writes the pair as Prometheus does: a number, then a text that
// can hold what JSON numbers cannot.
func (p promPoint) MarshalJSON() ([]byte, error) {
	return json.Marshal([2]any{
		json.Number(strconv.FormatFloat(float64(p.At.UnixMilli())/1000, 'f', -1, 64)),
		strconv.FormatFloat(p.Value, 'f', -1, 64),
	})
}

// query answers GET and POST /api/v1/query.
func (a *API) query(w http.ResponseWriter, r *http.Request) error {
	at, err := parseTime(r.FormValue("time"), time.Now())
	if err != nil {
		return promFail(w, errs.New(errs.Invalid, "api.Query", "time: "+err.Error()))
	}
	ctx, cancel, err := promTimeout(r)
	if err != nil {
		return promFail(w, err)
	}
	defer cancel()
	res, err := a.Series.Query(ctx, r.FormValue("query"), at)
	return promWrite(w, res, err)
}

// queryRange answers GET and POST /api/v1/query_range.
func (a *API) queryRange(w http.ResponseWriter, r *http.Request) error {
	const op = "api.QueryRange"
	start, err := parseTime(r.FormValue("start"), time.Time{})
	if err != nil || start.IsZero() {
		return promFail(w, errs.New(errs.Invalid, op, "start must be a time: RFC 3339 or seconds since 1970"))
	}
	end, err := parseTime(r.FormValue("end"), time.Time{})
	if err != nil || end.IsZero() {
		return promFail(w, errs.New(errs.Invalid, op, "end must be a time: RFC 3339 or seconds since 1970"))
	}
	step, err := parseStep(r.FormValue("step"))
	switch {
	case err != nil || step <= 0:
		return promFail(w, errs.New(errs.Invalid, op, "step must be a positive duration: seconds, or like 15s or 1m"))
	case end.Before(start):
		return promFail(w, errs.New(errs.Invalid, op, "end must not be before start"))
	case end.Sub(start)/step > maxPoints:
		return promFail(w, errs.New(errs.Invalid, op, "exceeded maximum resolution of 11,000 points per timeseries; use a longer step"))
	}
	ctx, cancel, err := promTimeout(r)
	if err != nil {
		return promFail(w, err)
	}
	defer cancel()
	res, err := a.Series.QueryRange(ctx, r.FormValue("query"), start, end, step)
	return promWrite(w, res, err)
}

// promTimeout bounds a query by its timeout parameter, at most queryLimit.
func promTimeout(r *http.Request) (context.Context, context.CancelFunc, error) {
	limit := queryLimit
	if text := r.FormValue("timeout"); text != "" {
		d, err := parseStep(text)
		if err != nil || d <= 0 {
			return nil, nil, errs.New(errs.Invalid, "api.Query", "timeout must be a positive duration")
		}
		limit = min(limit, d)
	}
	ctx, cancel := context.WithTimeout(r.Context(), limit)
	return ctx, cancel, nil
}

func promWrite(w http.ResponseWriter, res store.Result, err error) error {
	if err != nil {
		return promFail(w, err)
	}
	data := &promData{ResultType: res.Type}
	if res.Type == "scalar" && len(res.Series) == 1 && len(res.Series[0].Points) == 1 {
		data.Result = promPoint(res.Series[0].Points[0])
		return writeJSON(w, http.StatusOK, promAnswer{Status: "success", Data: data})
	}
	out := make([]promSeries, 0, len(res.Series))
	for _, s := range res.Series {
		line := promSeries{Metric: s.Labels}
		if line.Metric == nil {
			line.Metric = map[string]string{}
		}
		if res.Type == "matrix" {
			line.Values = make([]promPoint, len(s.Points))
			for i, p := range s.Points {
				line.Values[i] = promPoint(p)
			}
		} else if len(s.Points) > 0 {
			p := promPoint(s.Points[len(s.Points)-1])
			line.Value = &p
		}
		out = append(out, line)
	}
	data.Result = out
	return writeJSON(w, http.StatusOK, promAnswer{Status: "success", Data: data})
}

// promFail writes err in Prometheus' shape: these two routes answer as
// Prometheus does, also when they fail.
func promFail(w http.ResponseWriter, err error) error {
	e := errs.From(err)
	code, kind := http.StatusUnprocessableEntity, "execution"
	switch {
	case e.Kind() == errs.Invalid:
		code, kind = http.StatusBadRequest, "bad_data"
	case e.Kind() == errs.Timeout, errors.Is(err, context.DeadlineExceeded):
		code, kind = http.StatusServiceUnavailable, "timeout"
	case e.Kind() == errs.Canceled:
		code, kind = http.StatusServiceUnavailable, "canceled"
	case e.Kind() == errs.Internal:
		code, kind = http.StatusInternalServerError, "internal"
	}
	return writeJSON(w, code, promAnswer{Status: "error", ErrorType: kind, Error: e.Message()})
}

// parseTime reads RFC 3339 or seconds since 1970; an empty text is def.
func parseTime(text string, def time.Time) (time.Time, error) {
	if text == "" {
		return def, nil
	}
	if s, err := strconv.ParseFloat(text, 64); err == nil {
		if math.IsNaN(s) || math.Abs(s) > 1e11 {
			return time.Time{}, errors.New("out of range")
		}
		return time.UnixMilli(int64(math.Round(s * 1000))).UTC(), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, errors.New("must be RFC 3339 or seconds since 1970")
	}
	return t.UTC(), nil
}

// parseStep reads seconds ("15", "0.5") or a duration ("15s", "1m", "1d").
func parseStep(text string) (time.Duration, error) {
	if s, err := strconv.ParseFloat(text, 64); err == nil {
		if math.IsNaN(s) || math.Abs(s) > 1e9 {
			return 0, errors.New("out of range")
		}
		return time.Duration(s * float64(time.Second)), nil
	}
	for unit, size := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if n, err := strconv.Atoi(trimUnit(text, unit)); err == nil && n < 10000 {
			return time.Duration(n) * size, nil
		}
	}
	return time.ParseDuration(text)
}

func trimUnit(text, unit string) string {
	if len(text) > 1 && text[len(text)-1:] == unit {
		return text[:len(text)-1]
	}
	return ""
}
