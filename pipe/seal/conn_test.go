package seal_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/pipe/seal"
)

// pair returns both ends of a session over a and b.
func pair(t testing.TB, a, b net.Conn, client, server seal.Config) (c, s *seal.Conn) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		var err error
		s, err = seal.Server(context.Background(), b, server)
		done <- err
	}()
	c, err := seal.Client(context.Background(), a, client)
	if e := <-done; err != nil || e != nil {
		t.Fatal(err, e)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return c, s
}

// What goes in comes out, in order and whole, whatever the sizes, both ways at
// once; and each side hears the other's close after everything.
func TestBothWays(t *testing.T) {
	a, b := loopback(t)
	keys := ring(t, key("k", 7))
	c, s := pair(t, a, b, seal.Config{Keys: keys, Pad: seal.PadPowers, RekeyRecords: 7}, seal.Config{Keys: keys, MaxRecord: 100_000, RekeyBytes: 50_000})
	if c.MaxPayload() != 100_000-seal.Head-seal.Tail || s.MaxPayload() != c.MaxPayload() {
		t.Fatal(c.MaxPayload(), s.MaxPayload())
	}
	const records = 2000
	sizes := func(seed uint64) func() int {
		r := rand.New(rand.NewPCG(seed, 0))
		return func() int { return 1 + int(r.ExpFloat64()*3000)%c.MaxPayload() }
	}
	send := func(c *seal.Conn, seed uint64, done chan<- error) {
		next, buf := sizes(seed), seal.NewBuffer(c.MaxPayload())
		for i := range records {
			n := next()
			p := buf[:seal.Head+n]
			for j := range p[seal.Head:] {
				p[seal.Head+j] = byte(i + j)
			}
			if err := c.WriteRecord(p); err != nil {
				done <- err
				return
			}
		}
		done <- c.CloseWrite()
	}
	receive := func(c *seal.Conn, seed uint64, done chan<- error) {
		next := sizes(seed)
		for i := range records {
			p, err := c.ReadRecord()
			if err != nil {
				done <- err
				return
			}
			if len(p) != next() || p[0] != byte(i) || p[len(p)-1] != byte(i+len(p)-1) {
				done <- errors.New("not what was sent")
				return
			}
			clear(p) // it is ours
		}
		if _, err := c.ReadRecord(); err != io.EOF {
			done <- err
		}
		done <- nil
	}
	done := make(chan error, 4)
	go send(c, 1, done)
	go send(s, 2, done)
	go receive(s, 1, done)
	go receive(c, 2, done)
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
			a.Close() // the others need not wait
			b.Close()
		}
	}
	if err := c.WriteRecord(append(seal.NewBuffer(1), 'x')); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the close: %v", err)
	}
}

func TestWriteRecordRefuses(t *testing.T) {
	a, b := loopback(t)
	keys := ring(t, key("k", 7))
	c, s := pair(t, a, b, seal.Config{Keys: keys}, seal.Config{Keys: keys, MaxRecord: 2000})
	if err := c.WriteRecord(make([]byte, seal.Head+c.MaxPayload()+1)); err == nil {
		t.Error("too long")
	}
	if err := c.WriteRecord(make([]byte, seal.Head-1)); err == nil {
		t.Error("no room for the header")
	}
	if err := c.WriteRecord(make([]byte, seal.Head)); err != nil {
		t.Error("nothing to send:", err)
	}
	// None of these did harm, and a buffer without capacity will do.
	if err := c.WriteRecord(bytes.Repeat([]byte{'x'}, seal.Head+c.MaxPayload())); err != nil {
		t.Error(err)
	}
	if p, err := s.ReadRecord(); err != nil || len(p) != s.MaxPayload() {
		t.Error(len(p), err)
	}
}

// A deadline does not cost a byte.
func TestReadDeadline(t *testing.T) {
	a, b := loopback(t)
	keys := ring(t, key("k", 7))
	half := make(chan []byte, 1)
	first := true
	c, s := pair(t, &wire{Conn: a, edit: func(n int, b []byte) [][]byte {
		if n == 2 && first {
			half <- b[10:]
			return [][]byte{b[:10]}
		}
		return [][]byte{b}
	}}, b, seal.Config{Keys: keys}, seal.Config{Keys: keys})
	if err := c.WriteRecord(append(seal.NewBuffer(20), "late, but whole"...)); err != nil {
		t.Fatal(err)
	}
	s.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := s.ReadRecord(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	s.SetReadDeadline(time.Time{})
	a.Write(<-half)
	if p, err := s.ReadRecord(); err != nil || string(p) != "late, but whole" {
		t.Errorf("%q, %v", p, err)
	}
}

// The handshake ends with its context and says why.
func TestHandshakeEndsWithContext(t *testing.T) {
	for name, side := range map[string]func(context.Context, net.Conn, seal.Config) (*seal.Conn, error){"client": seal.Client, "server": seal.Server} {
		a, b := loopback(t)
		ctx, cancel := context.WithCancelCause(context.Background())
		why := errors.New("shutting down")
		go cancel(why)
		if _, err := side(ctx, a, seal.Config{Keys: ring(t, key("k", 7))}); !errors.Is(err, why) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := a.Write([]byte{1}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: the connection is open: %v", name, err)
		}
		b.Close()
	}
}

func TestAllocations(t *testing.T) {
	a, b := loopback(t)
	keys := ring(t, key("k", 7))
	c, s := pair(t, a, b, seal.Config{Keys: keys, Pad: 64}, seal.Config{Keys: keys})
	for _, n := range []int{1, 64, 1000, 16 << 10} {
		buf := seal.NewBuffer(n + 64)
		if got := testing.AllocsPerRun(200, func() {
			if err := c.WriteRecord(buf[:seal.Head+n]); err != nil {
				t.Fatal(err)
			}
			if _, err := s.ReadRecord(); err != nil {
				t.Fatal(err)
			}
		}); got != 0 {
			t.Errorf("%d bytes: %.0f allocations", n, got)
		}
	}
}
