package httpx

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/errs"
)

// Reasons a body ends early.
var (
	errSilent  = errors.New("httpx: the target fell silent in the middle of its answer")
	errTooLong = errors.New("httpx: the answer was not whole when the time of the call was over")
)

// body is the body of an answer, with the limits on reading it.
type body struct {
	from    io.ReadCloser
	target  string
	op      string
	caller  context.Context // of the request; a body is as short-lived
	life    context.Context
	end     context.CancelCauseFunc // of life
	forget  func() bool             // stops waiting for caller's end; nil while the try does
	total   *time.Timer             // nil means no limit
	silence time.Duration           // 0 or less means no limit
	watch   *time.Timer             // nil until the first Read
	once    sync.Once
}

// smallBody is how long a body may be to be read as part of the try, in bytes.
const smallBody = 64 << 10

type wholeKey struct{}

// small returns how much of the answer to read as part of the try; 0 means that
// it is the caller's to read.
func small(req *http.Request, resp *http.Response) int64 {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return 0
	}
	if limit, ok := req.Context().Value(wholeKey{}).(int64); ok {
		return limit
	}
	if resp.ContentLength >= 0 && resp.ContentLength <= smallBody || req.Method == http.MethodHead {
		return smallBody
	}
	return 0
}

// readBody is a body that has been read.
type readBody struct {
	bytes.Reader
	target string
}

// Close does nothing: the connection is back in its pool already.
func (*readBody) Close() error { return nil }

// targetOf returns the target that a body of this room came from, or "".
func targetOf(r io.Reader) string {
	switch b := r.(type) {
	case *readBody:
		return b.target
	case *body:
		return b.target
	}
	return ""
}

// outlive lets b live on after the try, for as long as the caller and the
// policy's time for the whole call allow.
func (b *body) outlive(started time.Time, limit time.Duration) {
	b.forget = context.AfterFunc(b.caller, func() { b.end(context.Cause(b.caller)) })
	if limit > 0 {
		b.total = time.AfterFunc(time.Until(started.Add(limit)), func() { b.end(errTooLong) })
	}
}

// Read reads from the answer. Besides io.EOF its errors are *errs.Error.
func (b *body) Read(p []byte) (int, error) {
	if b.silence > 0 {
		if b.watch == nil {
			b.watch = time.AfterFunc(b.silence, func() { b.end(errSilent) })
		} else {
			b.watch.Reset(b.silence)
		}
	}
	n, err := b.from.Read(p)
	if b.watch != nil {
		b.watch.Stop()
	}
	if err == nil {
		return n, nil
	}
	if err != io.EOF {
		err = b.failure(err)
	}
	b.release()
	return n, err
}

func (b *body) failure(err error) error {
	switch cause := context.Cause(b.life); {
	case errors.Is(cause, errSilent), errors.Is(cause, errTooLong):
		return errs.New(errs.Timeout, b.op, "a service behind this one did not answer in time").Because(cause)
	case b.caller.Err() != nil, cause != nil, errs.KindOf(err) == errs.Timeout:
		return failure(b.life, b.caller, err, b.op)
	}
	return errs.New(errs.BadGateway, b.op, "a service behind this one broke off its answer").Because(err)
}

// Close ends the exchange. It may be called while another goroutine reads.
func (b *body) Close() error {
	err := b.from.Close()
	b.release()
	return err
}

func (b *body) release() {
	b.once.Do(func() {
		if b.forget != nil {
			b.forget()
		}
		if b.total != nil {
			b.total.Stop()
		}
		b.end(nil)
	})
}

// discard gets rid of an answer that another try replaces. A small one has been
// read; waiting for the rest of a long one is worth more than a connection.
func discard(resp *http.Response) {
	if resp != nil {
		_ = resp.Body.Close()
	}
}
