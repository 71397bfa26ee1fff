package httpx

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/surefoot-go/surefoot/errs"
)

// smallBody is how long a body may be to be read as part of the try, in bytes.
const smallBody = 64 << 10

type wholeKey struct{}

// small returns how much of the answer to read as part of the try; 0 means that
// it is the caller's to read.
func (t *Transport) small(req *http.Request, resp *http.Response) int64 {
	limit, whole := req.Context().Value(wholeKey{}).(int64)
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols:
		return 0
	case whole:
	case resp.ContentLength >= 0 && resp.ContentLength <= smallBody, req.Method == http.MethodHead:
		limit = smallBody
	default:
		return 0
	}
	if m := t.client.MaxBody; m > 0 {
		limit = min(limit, m)
	}
	return limit
}

// read reads the whole body, but little more than limit, which whoever reads it
// then sees to have been exceeded.
func (x *call) read(ctx context.Context, resp *http.Response, life *exchange, limit int64) (*readBody, error) {
	from := io.Reader(resp.Body)
	if life != nil {
		life.from = resp.Body
		life.watch(ctx)
		from = life
	}
	b := &readBody{t: x.t}
	buf := b.room[:0]
	if n := resp.ContentLength; n >= int64(len(b.room)) && n <= limit {
		buf = make([]byte, 0, n+1)
	}
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := from.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			err = x.t.brokenOff(ctx, x.req, nil, err)
			if resp.StatusCode < 400 || errs.KindOf(err) != errs.BadGateway {
				return nil, err
			}
			b.more = err // it has failed, and the status says more than the break
			break
		}
		if int64(len(buf)) > limit {
			break
		}
	}
	if m := x.t.client.MaxBody; m > 0 && int64(len(buf)) > m {
		buf, b.more = buf[:m], x.t.tooLarge(x.req)
	}
	b.rest = buf
	return b, nil
}

// brokenOff says why the body of an answer is not whole.
func (t *Transport) brokenOff(life context.Context, req *http.Request, cause, err error) error {
	caller := req.Context()
	switch {
	case errors.Is(cause, errSilent), errors.Is(cause, errTooLong):
		return errs.New(errs.Timeout, t.op(req), "a service behind this one did not answer in time").Because(cause)
	case caller.Err() != nil, cause != nil, life.Err() != nil, errs.KindOf(err) == errs.Timeout:
		return failure(life, caller, err, t.op(req))
	}
	if _, ok := errors.AsType[*errs.Error](err); ok {
		return err
	}
	return errs.New(errs.BadGateway, t.op(req), "a service behind this one broke off its answer").Because(err)
}

func (t *Transport) tooLarge(req *http.Request) error {
	return errs.New(errs.BadGateway, t.op(req), "a service behind this one gave no usable answer").
		Because(errors.New("httpx: the answer is larger than MaxBody, " + strconv.FormatInt(t.client.MaxBody, 10) + " bytes"))
}

// readBody is a body that has been read. A tiny one is in the same allocation.
type readBody struct {
	t    *Transport
	rest []byte
	more error // what there is instead of more; nil means nothing
	room [64]byte
}

func (b *readBody) Read(p []byte) (int, error) {
	n := copy(p, b.rest)
	if b.rest = b.rest[n:]; n > 0 || len(p) == 0 {
		return n, nil
	}
	return 0, b.end()
}

// WriteTo saves io.Copy its buffer.
func (b *readBody) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(b.rest)
	b.rest = b.rest[n:]
	if err == nil && len(b.rest) > 0 {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = b.more
	}
	return int64(n), err
}

func (b *readBody) end() error {
	if b.more != nil {
		return b.more
	}
	return io.EOF
}

// Close does nothing: the connection is back in its pool already.
func (*readBody) Close() error { return nil }

// emptyBody is one without anything, for all answers of a target.
type emptyBody struct{ target string }

func (*emptyBody) Read([]byte) (int, error) { return 0, io.EOF }
func (*emptyBody) Close() error             { return nil }

// targetOf returns the target that a body of this room came from, or "".
func targetOf(r io.Reader) string {
	switch b := r.(type) {
	case *readBody:
		return b.t.client.Target
	case *emptyBody:
		return b.target
	case *exchange:
		return b.t.client.Target
	}
	return ""
}
