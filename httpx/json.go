package httpx

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/surefoot-go/surefoot/errs"
)

// MaxAnswer is how large an answer JSON reads, in bytes. For larger ones use
// the client itself and read in pieces.
const MaxAnswer = 8 << 20

// IdempotencyKey is an option for JSON: it marks the request with a key under
// which the target does the work once however often it is asked, so that a POST
// may be tried again.
func IdempotencyKey(key string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Idempotency-Key", key) }
}

// JSON makes one call: it sends body as JSON (nil means none) and decodes the
// answer into a T. An answer without content is the zero T. Each option may
// change the request before it is sent.
//
// The error is nil or an *errs.Error. If the target answered with a failure,
// Remote is true and id, message and chain are the target's; if it does not
// speak our JSON, the kind follows the status and the target is the origin. It
// is BadGateway, with the reason in the log only, if an answer of 2xx is no JSON
// for T or over MaxAnswer. Wrap it with your own operation.
func JSON[T any](ctx context.Context, client *http.Client, method, url string, body any, opts ...func(*http.Request)) (T, error) {
	var v T
	op := "httpx.JSON"
	req, err := newRequest(context.WithValue(ctx, wholeKey{}, int64(MaxAnswer)), method, url, body)
	if err != nil {
		return v, errs.Wrap(err, op) // a mistake of this program
	}
	for _, o := range opts {
		o(req)
	}
	resp, err := client.Do(req)
	if err != nil {
		if outer, ok := errors.AsType[*neturl](err); ok {
			err = outer.Err // its text repeats the URL, with the query
		}
		return v, failure(ctx, ctx, err, op)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return v, FromResponse(resp)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	switch {
	case err != nil:
		return v, failure(ctx, ctx, err, op)
	case len(raw) > MaxAnswer:
		return v, nonsense(resp, errors.New("the answer is larger than httpx.MaxAnswer"))
	case len(bytes.TrimSpace(raw)) == 0:
		return v, nil
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		var zero T
		return zero, nonsense(resp, err)
	}
	return v, nil
}

type neturl = url.Error

func newRequest(ctx context.Context, method, url string, body any) (*http.Request, error) {
	var r io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, r)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", errs.TypeJSON)
	if body != nil {
		req.Header.Set("Content-Type", errs.TypeJSON)
	}
	return req, nil
}

// FromResponse returns the failure that resp tells of, as JSON does, for those
// who use an *http.Client themselves. It reads at most errs.MaxWire of the body
// and does not close it.
func FromResponse(resp *http.Response) *errs.Error {
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, errs.MaxWire)) // what came is what we know
	status := resp.StatusCode
	if status < 400 {
		return nonsense(resp, errors.New("unexpected status "+resp.Status))
	}
	e := errs.Decode(raw, status, resp.Header.Get("Content-Type"))
	if d := retryAfter(resp.Header, time.Now()); d > 0 {
		e = e.RetryAfter(d)
	}
	return e.Behind(origin(resp))
}

// nonsense is an answer that cannot be used.
func nonsense(resp *http.Response, why error) *errs.Error {
	return errs.Assemble(errs.Parts{Kind: errs.BadGateway, Remote: true}).
		Behind(origin(resp)).With("remote_status", resp.StatusCode).Because(why)
}

// origin names who answered.
func origin(resp *http.Response) errs.Hop {
	var h errs.Hop
	if resp.Request != nil {
		h.Service, h.Op = resp.Request.URL.Hostname(), method(resp.Request)
		if t := template(resp.Request.Context()); t != "" {
			h.Op += " " + t
		}
	}
	h.Service = or(targetOf(resp.Body), h.Service)
	return h
}

type templateKey struct{}

// WithTemplate returns a ctx that names the pattern of the URL of a call, such
// as "/charges/{id}", so that spans and metrics of calls that differ in the id
// only are one operation. It must come from the program, not from data.
func WithTemplate(ctx context.Context, pattern string) context.Context {
	return context.WithValue(ctx, templateKey{}, pattern)
}

func template(ctx context.Context) string {
	s, _ := ctx.Value(templateKey{}).(string)
	return s
}
