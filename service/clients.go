package service

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/surefoot-go/surefoot/errs"
)

// Clients bounds what slow clients may hold: a connection, a goroutine and
// memory. A client that keeps moving may take as long as it needs for a body or
// an answer of any size. The zero value is the documented defaults.
type Clients struct {
	// Header is how long a request's header may take in all; 0 means 5s,
	// negative means for ever.
	Header time.Duration
	// Stall is how long the service waits for a client to send more of a body, or
	// to take 256 KiB of an answer; 0 means 30s, negative means for ever.
	Stall time.Duration
	// Rate is how many bytes a second a body must come with, on average over the
	// time spent waiting for it and beyond the first Stall; 0 means 1000,
	// negative means any. So a byte a second is a client that stalls.
	Rate int
	// Idle is how long a connection is kept without a request; 0 means 2m, longer
	// than the 90s of httpx.Client, so that clients close first. Negative means
	// for ever.
	Idle time.Duration
	// MaxHeader bounds a request's header in bytes; 0 or negative means 64 KiB.
	MaxHeader int
}

// OrDefault returns c with every zero field replaced by its default.
func (c Clients) OrDefault() Clients {
	if c.Header == 0 {
		c.Header = 5 * time.Second
	}
	if c.Stall == 0 {
		c.Stall = 30 * time.Second
	}
	if c.Rate == 0 {
		c.Rate = 1000
	}
	if c.Idle == 0 {
		c.Idle = 2 * time.Minute
	}
	if c.MaxHeader <= 0 {
		c.MaxHeader = 64 << 10
	}
	return c
}

// portion is how much of an answer is written under one deadline.
const portion = 256 << 10

// guard is one request's answer, whose client has to keep moving.
type guard struct {
	http.ResponseWriter
	conn     http.ResponseController
	clients  *Clients
	extended time.Time // when the deadline for writing was last set
	hijacked bool

	body   io.ReadCloser
	ended  bool          // the body
	read   int64         // bytes of it
	waited time.Duration // for them
}

// guarded serves with h, and cuts off clients that stall.
func (c *Clients) guarded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// http.Server has just set the first deadline, to its WriteTimeout.
		g := &guard{ResponseWriter: w, conn: *http.NewResponseController(w), clients: c, extended: time.Now(), ended: true}
		if r.Body != nil && r.Body != http.NoBody {
			g.body, g.ended = r.Body, false
			r.Body = (*body)(g)
		}
		h.ServeHTTP(g, r)
		g.end()
	})
}

// end leaves time to send what is buffered, and for what net/http reads of a
// body that nobody wanted.
func (g *guard) end() {
	if g.hijacked {
		return
	}
	stall := g.clients.Stall
	if g.ended || stall <= 0 {
		g.extend()
		return
	}
	// net/http reads some of the body before it sends the answer. Both fail only
	// where nothing can stall.
	now := time.Now()
	_ = g.conn.SetReadDeadline(now.Add(stall))
	_ = g.conn.SetWriteDeadline(now.Add(2 * stall))
}

// extend moves the deadline for writing, when enough of it has passed.
func (g *guard) extend() {
	stall := g.clients.Stall
	if stall <= 0 || g.hijacked {
		return
	}
	if now := time.Now(); now.Sub(g.extended) > stall/4 {
		g.extended = now
		_ = g.conn.SetWriteDeadline(now.Add(stall))
	}
}

// Unwrap lets http.ResponseController reach the writer below.
func (g *guard) Unwrap() http.ResponseWriter { return g.ResponseWriter }

// Write writes in portions, each with a deadline of its own.
func (g *guard) Write(p []byte) (n int, err error) {
	for len(p) > portion && err == nil {
		g.extend()
		var m int
		m, err = g.ResponseWriter.Write(p[:portion])
		n, p = n+m, p[m:]
	}
	if err != nil {
		return n, err
	}
	g.extend()
	m, err := g.ResponseWriter.Write(p)
	return n + m, err
}

// ReadFrom keeps sendfile possible, in portions.
func (g *guard) ReadFrom(src io.Reader) (n int64, err error) {
	for {
		g.extend()
		m, err := io.CopyN(g.ResponseWriter, src, portion)
		n += m
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// FlushError is what http.ResponseController calls.
func (g *guard) FlushError() error {
	g.extend()
	return g.conn.Flush()
}

// Flush sends what is buffered, if the writer below can.
func (g *guard) Flush() { _ = g.FlushError() }

// Hijack hands over the connection, without deadlines.
func (g *guard) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := g.conn.Hijack()
	g.hijacked = g.hijacked || err == nil
	return c, rw, err
}

// body is a guard as the body of its request.
type body guard

func (b *body) Close() error { return b.body.Close() }

func (b *body) Read(p []byte) (int, error) {
	if b.ended || b.clients.Stall <= 0 || b.hijacked {
		return b.body.Read(p)
	}
	limit := b.clients.Stall
	if b.clients.Rate > 0 {
		earned := time.Duration(float64(b.read) / float64(b.clients.Rate) * float64(time.Second))
		limit = max(min(limit, limit+earned-b.waited), 0)
	}
	before := time.Now()
	_ = b.conn.SetReadDeadline(before.Add(limit))
	n, err := b.body.Read(p)
	b.read += int64(n)
	b.waited += time.Since(before)
	if err == nil {
		return n, nil
	}
	b.ended = true
	if timeout, ok := err.(interface{ Timeout() bool }); ok && timeout.Timeout() {
		b.Header().Set("Connection", "close") // nobody knows where the next request would begin
		return n, errs.New(errs.Timeout, "service.Read", "the request body came too slowly").
			ID("body_too_slow").Status(http.StatusRequestTimeout).Because(err)
	}
	// From here on net/http listens for the client to go away, which has no limit.
	_ = b.conn.SetReadDeadline(time.Time{})
	return n, err
}

// off is d, or none where d is negative.
func off(d time.Duration) time.Duration { return max(d, 0) }
