package faulttest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Transport sends requests as Base does, each with the fate its Plan has for it.
// The zero value changes nothing. It is safe for concurrent use and must not be
// copied after the first request.
type Transport struct {
	Base http.RoundTripper // nil means http.DefaultTransport
	Plan Plan
	// Match says which requests the plan is for; nil means all. The others
	// pass and are not counted.
	Match func(*http.Request) bool

	tally tally
}

// Counts says how often each What was planned so far.
func (t *Transport) Counts() map[What]int { return t.tally.counts() }

// RoundTrip sends one request. Waits end with the request's ctx, and that of a
// dropped request or a stalled body after 127s at the latest, with the network's
// timeout error.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	if t.Match != nil && !t.Match(req) {
		return base.RoundTrip(req)
	}
	f := t.tally.next(t.Plan)
	ctx := req.Context()
	if err := sleep(ctx, f.Delay); err != nil {
		closeBody(req)
		return nil, err
	}
	switch f.What {
	case Refuse:
		closeBody(req)
		return nil, refused()
	case Reset:
		closeBody(req)
		return nil, reset()
	case Drop:
		closeBody(req)
		if err := sleep(ctx, patience); err != nil {
			return nil, err
		}
		return nil, timedOut()
	case Answer:
		if req.Body != nil {
			_, _ = io.Copy(io.Discard, req.Body) // an answerer reads what it is sent; whether it could does not matter
		}
		closeBody(req)
		return f.answer(req), nil
	}
	resp, err := base.RoundTrip(req)
	if err != nil {
		return resp, err
	}
	switch f.What {
	case Lose:
		_, _ = io.Copy(io.Discard, resp.Body) // so that the target has done it all
		_ = resp.Body.Close()
		return nil, reset()
	case Truncate, Stall, Corrupt, Trickle:
		resp.Body = &body{ReadCloser: resp.Body, f: f, ctx: ctx, closed: make(chan struct{})}
	}
	return resp, nil
}

// closeBody keeps http.RoundTripper's promise; the answer is lost anyway.
func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

func (f Fault) answer(req *http.Request) *http.Response {
	if f.Status == 0 {
		f.Status = http.StatusServiceUnavailable
	}
	header := f.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", f.Status, http.StatusText(f.Status)), StatusCode: f.Status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header,
		Body: io.NopCloser(strings.NewReader(f.Body)), ContentLength: int64(len(f.Body)), Request: req,
	}
}

// sleep blocks for d or until ctx ends, whose error it then returns.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// body is a response body with a fault.
type body struct {
	io.ReadCloser
	f      Fault
	ctx    context.Context // of the request, which its body lives with
	read   int64
	once   sync.Once
	closed chan struct{}
}

func (b *body) Read(p []byte) (int, error) {
	left := b.f.At - b.read
	if b.f.What == Corrupt {
		n, err := b.ReadCloser.Read(p)
		flip(p[:n], left)
		b.read += int64(n)
		return n, err
	}
	if b.f.What == Trickle {
		if err := b.wait(b.f.Pause); err != nil {
			return 0, err
		}
		return b.ReadCloser.Read(p[:min(int64(len(p)), b.f.At)])
	}
	if left <= 0 && len(p) > 0 {
		if b.f.What == Truncate {
			return 0, io.ErrUnexpectedEOF
		}
		if err := b.wait(patience); err != nil {
			return 0, err
		}
		return 0, timedOut()
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), max(left, 0))])
	b.read += int64(n)
	return n, err
}

// flip spoils the byte at offset at, if it is in p.
func flip(p []byte, at int64) {
	if at >= 0 && at < int64(len(p)) {
		p[at] ^= 1
	}
}

// wait blocks for d, and returns an error if the body ends meanwhile.
func (b *body) wait(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-b.closed:
		return errClosed
	case <-b.ctx.Done():
		return b.ctx.Err()
	}
}

func (b *body) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.ReadCloser.Close()
}
