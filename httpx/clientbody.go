package httpx

import (
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
	forget  func() bool             // stops waiting for caller's end
	total   *time.Timer             // nil means no limit
	silence time.Duration           // 0 or less means no limit
	watch   *time.Timer             // nil until the first Read
	once    sync.Once
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
	case b.caller.Err() != nil, errs.KindOf(err) == errs.Timeout:
		return failure(b.caller, b.caller, err, b.op)
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
		b.forget()
		if b.total != nil {
			b.total.Stop()
		}
		b.end(nil)
	})
}

// discard gets rid of an answer that another try replaces. A short body is
// read, so that its connection can be used again, but not waited for.
func discard(resp *http.Response) {
	if resp == nil {
		return
	}
	if b, ok := resp.Body.(*body); ok && resp.ContentLength >= 0 && resp.ContentLength <= 16<<10 {
		b.silence = 20 * time.Millisecond // what is not here by now is not worth a connection
		_, _ = io.CopyN(io.Discard, b, 16<<10)
	}
	_ = resp.Body.Close()
}
