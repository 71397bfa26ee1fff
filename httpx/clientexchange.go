package httpx

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Reasons a body ends early.
var (
	errSilent  = errors.New("httpx: the target fell silent in the middle of its answer")
	errTooLong = errors.New("httpx: the answer was not whole when the time of the call was over")
)

// exchange is one request under way: the context that it is sent in, which ends
// with its try until the answer is there and with the caller's from then on, and
// the body of the answer, if it is long, with the limits on reading it.
//
// It is one allocation, with the request sent. As a context it makes no channel and watches nobody
// until asked for Done, and starts no goroutine: it has the AfterFunc that
// package context looks for in contexts that are not its own.
type exchange struct {
	t      *Transport
	req    *http.Request
	values context.Context
	out    http.Request // what is sent

	mu     sync.Mutex
	parent context.Context // ends it; nil means nobody
	done   chan struct{}   // nil until asked for
	unlink func() bool     // from parent; nil if it is not linked
	after  []*func()       // to be called when it ends
	err    error           // not nil when it has ended
	cause  error           // what end was given

	from    io.ReadCloser // the body
	left    int64         // of MaxBody; negative means no bound
	until   time.Duration // since t.epoch, when the time of the call is over; 0 means never
	silence time.Duration // 0 means no limit
	timer   *time.Timer   // of silence and until; nil until needed
}

func (x *exchange) Deadline() (time.Time, bool) {
	x.mu.Lock()
	parent := x.parent
	x.mu.Unlock()
	if parent == nil {
		return time.Time{}, false
	}
	return parent.Deadline()
}

func (x *exchange) Value(key any) any { return x.values.Value(key) }

func (x *exchange) Done() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done == nil {
		x.done = make(chan struct{})
		if x.err != nil {
			close(x.done)
		} else {
			x.link()
		}
	}
	return x.done
}

// link has x end when its parent does; x.mu is held.
func (x *exchange) link() {
	if p := x.parent; p != nil && p.Done() != nil {
		x.unlink = context.AfterFunc(p, func() { x.end(context.Cause(p)) })
	}
}

func (x *exchange) Err() error {
	x.mu.Lock()
	if x.err == nil && x.parent != nil {
		if err := x.parent.Err(); err != nil {
			parent := x.parent
			x.mu.Unlock()
			x.end(context.Cause(parent))
			return err
		}
	}
	defer x.mu.Unlock()
	return x.err
}

// AfterFunc is context.AfterFunc for x, except that f is called in the goroutine
// that ends it: package context gives only functions that do not block.
func (x *exchange) AfterFunc(f func()) (stop func() bool) {
	x.Done() // or nobody would tell
	x.mu.Lock()
	if x.err != nil {
		x.mu.Unlock()
		f()
		return func() bool { return false }
	}
	x.after = append(x.after, &f)
	x.mu.Unlock()
	return func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		i := slices.Index(x.after, &f)
		if i < 0 {
			return false
		}
		x.after = slices.Delete(x.after, i, i+1)
		return true
	}
}

// end ends x, once. A nil x has nothing to end.
func (x *exchange) end(cause error) {
	if x == nil {
		return
	}
	x.mu.Lock()
	if x.err != nil {
		x.mu.Unlock()
		return
	}
	x.err, x.cause = context.Canceled, cause
	if cause != nil && x.parent != nil && x.parent.Err() == context.DeadlineExceeded {
		x.err = context.DeadlineExceeded
	}
	if x.done != nil {
		close(x.done)
	}
	if x.unlink != nil {
		x.unlink()
	}
	if x.timer != nil {
		x.timer.Stop()
	}
	after := x.after
	x.after = nil
	x.mu.Unlock()
	for _, f := range after {
		(*f)()
	}
}

// arrive says that the answer is there: from now on parent ends x, and the try
// no longer. It is false if the try has ended.
func (x *exchange) arrive(parent context.Context) bool {
	if x == nil {
		return true
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil || x.unlink != nil && !x.unlink() || x.unlink == nil && x.parent.Err() != nil {
		return false
	}
	x.parent, x.unlink = parent, nil
	if x.done != nil {
		x.link()
	}
	return true
}

// watch limits the silences of a body that is read as part of the try, unless
// the try is over first anyway.
func (x *exchange) watch(try context.Context) {
	x.left = -1 // the reader counts
	silence := x.t.client.ReadTimeout
	if end, ok := try.Deadline(); ok && time.Until(end) <= silence {
		return
	}
	x.silence = max(silence, 0)
}

// follow makes x the body of an answer that outlives its try, for as long as the
// caller and the policy's time for the whole call allow.
func (x *exchange) follow(from io.ReadCloser, begun, limit time.Duration) {
	x.from, x.silence, x.left = from, max(x.t.client.ReadTimeout, 0), -1
	if limit > 0 {
		x.until = begun + limit
	}
	if m := x.t.client.MaxBody; m > 0 {
		x.left = m
	}
}

// Read reads from the answer. Besides io.EOF its errors are *errs.Error.
func (x *exchange) Read(p []byte) (int, error) {
	if x.left >= 0 && int64(len(p)) > x.left+1 {
		p = p[:x.left+1] // one more tells whether there is more
	}
	x.arm()
	n, err := x.from.Read(p)
	if x.timer != nil {
		x.timer.Stop()
	}
	if x.left >= 0 {
		if x.left -= int64(n); x.left < 0 {
			n, err = n-1, x.t.tooLarge(x.req)
			x.left = 0
			_ = x.from.Close()
			x.end(nil)
			return n, err
		}
	}
	if err == nil {
		return n, nil
	}
	if err != io.EOF {
		x.mu.Lock()
		cause := x.cause
		x.mu.Unlock()
		err = x.t.brokenOff(x, x.req, cause, err)
	}
	x.end(nil)
	return n, err
}

// arm sets the time by which a Read must have something.
func (x *exchange) arm() {
	wait := x.silence
	if x.until > 0 {
		left := max(x.until-time.Since(x.t.epoch), 1)
		if wait == 0 || left < wait {
			wait = left
		}
	}
	switch {
	case wait == 0:
	case x.timer == nil:
		x.mu.Lock() // Close may be called meanwhile
		if x.err == nil {
			x.timer = time.AfterFunc(wait, x.late)
		}
		x.mu.Unlock()
	default:
		x.timer.Reset(wait)
	}
}

func (x *exchange) late() {
	if x.until > 0 && time.Since(x.t.epoch) >= x.until {
		x.end(errTooLong)
		return
	}
	x.end(errSilent)
}

// Close ends the exchange. It may be called while another goroutine reads.
func (x *exchange) Close() error {
	err := x.from.Close()
	x.end(nil)
	return err
}
