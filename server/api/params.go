package api

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/surefoot-go/surefoot/errs"
)

// maxBody is the longest request body the API reads: a route or a config value.
const maxBody = 1 << 20

// Time is a moment as the API writes it: RFC 3339, UTC, milliseconds.
type Time time.Time

// MarshalJSON writes t; the zero time is null.
func (t Time) MarshalJSON() ([]byte, error) {
	if time.Time(t).IsZero() {
		return []byte("null"), nil
	}
	return time.Time(t).UTC().AppendFormat(nil, `"2006-01-02T15:04:05.000Z"`), nil
}

// params reads a request's query parameters and collects what is wrong with
// them, so that one answer says everything.
type params struct {
	r   *http.Request
	bad []string
}

func (p *params) err(op string) error {
	if len(p.bad) == 0 {
		return nil
	}
	return errs.New(errs.Invalid, op, "request parameters failed validation").Detail(p.bad...)
}

func (p *params) time(name string) time.Time {
	t, err := parseTime(p.r.FormValue(name), time.Time{})
	if err != nil {
		p.bad = append(p.bad, name+" must be a time: RFC 3339 or seconds since 1970")
	}
	return t
}

func (p *params) millis(name string) time.Duration {
	text := p.r.FormValue(name)
	if text == "" {
		return 0
	}
	ms, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(ms) || ms < 0 || ms > 1e10 {
		p.bad = append(p.bad, name+" must be a number of milliseconds")
		return 0
	}
	return time.Duration(ms * float64(time.Millisecond))
}

func (p *params) flag(name string) bool {
	text := p.r.FormValue(name)
	if text == "" {
		return false
	}
	v, err := strconv.ParseBool(text)
	if err != nil {
		p.bad = append(p.bad, name+" must be true or false")
	}
	return v
}

func (p *params) count(name string, def, limit int) int {
	text := p.r.FormValue(name)
	if text == "" {
		return def
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > limit {
		p.bad = append(p.bad, name+" must be a whole number from 1 to "+strconv.Itoa(limit))
		return def
	}
	return n
}

// decode reads one JSON value into v, strictly: the right content type, no
// unknown field, nothing after it.
func decode(r *http.Request, v any) error {
	const op = "api.Decode"
	if err := wantJSON(r); err != nil {
		return err
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil && d.Decode(new(json.RawMessage)) != io.EOF {
		err = errors.New("more than one JSON value")
	}
	var tooLong *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &tooLong):
		return err // httpx set the limit and knows the answer
	default:
		// encoding/json's messages name the field and what was found there,
		// all of it from the caller's own body.
		return errs.New(errs.Invalid, op, "the request body is not the JSON this path takes").Detail(err.Error())
	}
}

func writeJSON(w http.ResponseWriter, code int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return errs.New(errs.Internal, "api.Encode", "the answer has no JSON form").Because(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// A client that left before it had read the answer is nobody's error.
	_, _ = w.Write(append(b, '\n'))
	return nil
}

func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func orEmptyMap(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
