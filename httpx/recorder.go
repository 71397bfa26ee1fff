package httpx

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/surefoot-go/surefoot/resilience/shed"
)

// recorder notes what is written. It offers what http.ResponseController, SSE
// and WebSocket libraries look for, and passes it on.
type recorder struct {
	http.ResponseWriter
	status int // 0 until the answer has begun
	bytes  int64
	pass   shed.Pass // the zero Pass when none is held
}

// leave hands the pass back, if it is still held.
func (r *recorder) leave(o shed.Outcome) {
	p := r.pass
	r.pass = shed.Pass{}
	p.Done(o)
}

// streams says that the answer has become a stream, which lasts as long as its
// reader likes: it is no work that others have to wait for.
func (r *recorder) streams() { r.leave(shed.Ignored) }

// recorderOf finds the recorder under other people's wrappers.
func recorderOf(w http.ResponseWriter) *recorder {
	for range 32 {
		switch x := w.(type) {
		case *recorder:
			return x
		case interface{ Unwrap() http.ResponseWriter }:
			w = x.Unwrap()
		default:
			return nil
		}
	}
	return nil
}

// bottom is the writer under other people's wrappers, which is net/http's own
// and closes the connection of a client that sends too much.
func bottom(w http.ResponseWriter) http.ResponseWriter {
	for range 32 {
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = u.Unwrap()
	}
	return w
}

// Unwrap lets http.ResponseController reach the writer below.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		r.begin(status) // 1xx are only on the way
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.begin(http.StatusOK)
	}
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// begin notes that the answer begins.
func (r *recorder) begin(status int) {
	r.status = status
	if v := r.Header()["Content-Type"]; len(v) > 0 && strings.HasPrefix(v[0], "text/event-stream") {
		r.streams()
	}
}

// ReadFrom keeps sendfile and splice possible.
func (r *recorder) ReadFrom(src io.Reader) (int64, error) {
	if r.status == 0 {
		r.begin(http.StatusOK)
	}
	n, err := io.Copy(r.ResponseWriter, src)
	r.bytes += n
	return n, err
}

// Flush sends what is buffered, if the writer below can.
func (r *recorder) Flush() { _ = r.FlushError() }

// FlushError is what http.ResponseController calls.
func (r *recorder) FlushError() error {
	err := http.NewResponseController(r.ResponseWriter).Flush()
	if err == nil && r.status == 0 {
		r.begin(http.StatusOK)
	} else if err == nil {
		r.streams() // what was written is sent now, and more will follow
	}
	return err
}

// Hijack hands over the connection, or says http.ErrNotSupported.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(r.ResponseWriter).Hijack()
	if err == nil && r.status == 0 {
		r.status = http.StatusSwitchingProtocols
	}
	if err == nil {
		r.streams()
	}
	return c, rw, err
}
