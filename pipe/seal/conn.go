package seal

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Peer is who is at the other end.
type Peer struct {
	Identity string // the name that it claims; empty if none
	KeyID    string // the key that both sides used
	Bound    bool   // the key allows this name and not just any
}

// Conn carries sealed records. Reading is for one goroutine at a time, writing
// for any number; both may go on at once. Made by Client and Server.
//
// What goes wrong is final: after a record that is not as it must be, every
// read returns the same *Error, and the caller closes.
type Conn struct {
	conn   net.Conn
	keys   *Keyring
	peer   Peer
	max    int // length of a record, agreed
	pad    int
	limits limits
	key    *Key

	binding [32]byte

	// reading
	in   []byte // in[r:w] is what came and was not taken
	r, w int
	from half
	end  error

	theirs *ring // in which the key was last seen by the reader

	// writing
	mu   sync.Mutex
	out  half
	ours *ring // in which the key was last seen by the writer
	shut error
}

// firstBuffer is what a connection reads into at first; it grows to what its
// records need.
const (
	firstBuffer = 4 << 10
	readBuffer  = 64 << 10 // and to this when there is more to be had
)

// NewBuffer returns a buffer for one record with a payload of at most n bytes:
// Head bytes long, with room for n more and for what sealing adds.
func NewBuffer(n int) []byte { return make([]byte, Head, Head+n+Tail) }

// begin takes what the handshake made.
func (c *Conn) begin(key *Key, send, receive [32]byte, binding []byte) {
	c.key = key
	c.peer.KeyID = key.ID
	c.binding = [32]byte(binding)
	c.ours = c.keys.ring.Load()
	c.theirs = c.ours
	c.out.init(send)
	c.from.init(receive)
}

// valid says whether the session's key still is: by time, and, when the
// Keyring was replaced since *at, by being in it.
func (c *Conn) valid(at **ring) error {
	if !c.key.NotAfter.IsZero() && !time.Now().Before(c.key.NotAfter) {
		return &Error{Cause: ExpiredKey}
	}
	if now := c.keys.ring.Load(); now != *at {
		k := now.byID[c.key.ID]
		if k == nil || !k.Secret.Equal(c.key.Secret) {
			return &Error{Cause: Revoked}
		}
		*at = now
	}
	return nil
}

// WriteRecord seals the payload b[Head:] in place and sends it as one record
// with one Write; the first Head bytes of b are for the header. What b held is
// gone afterwards, b[:Head] may be filled again. A b with no capacity for Tail,
// and the padding, behind it costs a copy. An empty payload sends nothing. It
// blocks as the connection's Write does; after an error that came from there
// nothing more can be sent. Nothing is sent when the payload is longer than
// MaxPayload.
func (c *Conn) WriteRecord(b []byte) error {
	switch {
	case len(b) < Head:
		return errShort
	case len(b) == Head:
		return nil
	case len(b)-Head > c.MaxPayload():
		return errLong
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.write(b, data)
}

// write seals and sends with c.mu held.
func (c *Conn) write(b []byte, kind byte) error {
	if c.shut != nil {
		return c.shut
	}
	if c.shut = c.valid(&c.ours); c.shut != nil {
		return c.shut
	}
	rec, err := c.out.seal(b, kind, size(len(b)-Head, c.pad, c.max), c.limits)
	if err == nil {
		_, err = c.conn.Write(rec)
	}
	c.shut = err // a record cut short cannot be mended
	return err
}

// MaxPayload returns the longest payload of one record, in bytes.
func (c *Conn) MaxPayload() int { return c.max - Head - Tail }

// ReadRecord returns the payload of the next record, opened in place: it is
// the caller's to read and write until the next ReadRecord. io.EOF means that
// the peer closed, and said so under the key; a stream that ends otherwise is
// an *Error of cause Truncated. It blocks until a whole record came, the read
// deadline passed, or the connection ended. A deadline does not end the
// session: what came in part stays for the next call.
func (c *Conn) ReadRecord() ([]byte, error) {
	if c.end != nil {
		return nil, c.end
	}
	b, err := c.next()
	if err != nil {
		var e *Error
		if errors.As(err, &e) || errors.Is(err, io.EOF) {
			c.end, c.in, c.r, c.w = err, nil, 0, 0
		}
		return nil, err
	}
	return b, nil
}

func (c *Conn) next() ([]byte, error) {
	if err := c.fill(Head); err != nil {
		return nil, err
	}
	n, err := length(c.in[c.r:], c.max)
	if err != nil {
		return nil, err
	}
	rec, err := c.take(n)
	if err != nil {
		return nil, err
	}
	if err := c.valid(&c.theirs); err != nil {
		return nil, err
	}
	kind, b, err := c.from.open(rec, most)
	switch {
	case err != nil:
		return nil, err
	case kind == fin:
		return nil, io.EOF
	case kind != data || len(b) == 0:
		return nil, &Error{Cause: Malformed}
	}
	return b, nil
}

// take returns the next n bytes that come.
func (c *Conn) take(n int) ([]byte, error) {
	if err := c.fill(n); err != nil {
		return nil, err
	}
	b := c.in[c.r : c.r+n : c.r+n]
	c.r += n
	return b, nil
}

// fill reads until there are n bytes not taken.
func (c *Conn) fill(n int) error {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	for c.w-c.r < n {
		c.room(n)
		end := len(c.in)
		if n >= large {
			end = min(end, c.r+n+Head) // what came behind a large record would have to be moved
		}
		got, err := c.conn.Read(c.in[c.w:end])
		c.w += got
		if err != nil && c.w-c.r < n {
			return cut(err)
		}
	}
	return nil
}

// cut makes of an error of reading what it means: a deadline and our own close
// are what they are, all else is a stream that ended without the close record.
func cut(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe):
		return err
	case err == io.EOF:
		err = io.ErrUnexpectedEOF // io.EOF is for a peer that said it closes
	}
	return &Error{Truncated, err}
}

// large is from where on reading ahead stops at the next header.
const large = 32 << 10

// room makes c.in long enough for n bytes from c.r on.
func (c *Conn) room(n int) {
	size := len(c.in)
	switch {
	case n+Head > size:
		size = min(max(2*size, n+Head), max(c.max+Head, n+Head))
	case c.w == size && size < readBuffer: // more came than there was room for
		size = min(2*size, readBuffer)
	case c.r+n+Head <= size:
		return
	}
	to := c.in
	if size > len(to) {
		to = make([]byte, size)
	}
	c.w = copy(to, c.in[c.r:c.w])
	c.in, c.r = to, 0
}

// CloseWrite tells the peer, under the key, that nothing more comes. Reading
// goes on.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shut != nil {
		return c.shut
	}
	b := make([]byte, Head, size(0, c.pad, c.max)+Tail)
	if err := c.write(b, fin); err != nil {
		return err
	}
	c.shut = net.ErrClosed
	return nil
}

// closing is how long Close waits for a peer that does not read.
const closing = time.Second

// Close tells the peer like CloseWrite, waiting at most a second for that, and
// closes the connection.
func (c *Conn) Close() error {
	c.conn.SetWriteDeadline(time.Now().Add(closing)) // ends a WriteRecord that is stuck, too
	c.CloseWrite()
	return c.conn.Close()
}

// Peer returns who is at the other end.
func (c *Conn) Peer() Peer { return c.peer }

// Expires returns when the session's key ends, and the session with it; zero
// means never.
func (c *Conn) Expires() time.Time { return c.key.NotAfter }

// Binding returns Noise's handshake hash: the same at both ends of this
// session, and different in every other.
func (c *Conn) Binding() [32]byte { return c.binding }

// LocalAddr returns the connection's own address.
func (c *Conn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// RemoteAddr returns the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *Conn) SetDeadline(t time.Time) error { return c.conn.SetDeadline(t) }

// SetReadDeadline bounds ReadRecord; zero means not at all.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.conn.SetReadDeadline(t) }

// SetWriteDeadline bounds WriteRecord; zero means not at all. A record that
// was cut short by it ends the session.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.conn.SetWriteDeadline(t) }
