package seal_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/pipe/seal"
)

// tape is a connection that gives what it was made of and swallows the rest.
type tape struct {
	in  io.Reader
	out bytes.Buffer
}

func (t *tape) Read(b []byte) (int, error)       { return t.in.Read(b) }
func (t *tape) Write(b []byte) (int, error)      { return t.out.Write(b) }
func (t *tape) Close() error                     { return nil }
func (t *tape) LocalAddr() net.Addr              { return nil }
func (t *tape) RemoteAddr() net.Addr             { return nil }
func (t *tape) SetDeadline(time.Time) error      { return nil }
func (t *tape) SetReadDeadline(time.Time) error  { return nil }
func (t *tape) SetWriteDeadline(time.Time) error { return nil }

// Whatever a stranger sends first, he gets no answer.
func FuzzServer(f *testing.F) {
	good := &tape{in: bytes.NewReader(nil)}
	keys := ring(f, key("k", 7))
	seal.Client(context.Background(), good, seal.Config{Keys: keys})
	f.Add([]byte{})
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add(append([]byte("sfp\x01\x01k"), make([]byte, 56)...))
	f.Add(append([]byte("sfp\x01\x05other"), make([]byte, 56)...))
	f.Add(append([]byte("sfp\x02\xff"), make([]byte, 400)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &tape{in: bytes.NewReader(b)}
		if _, err := seal.Server(context.Background(), c, seal.Config{Keys: keys}); cause(err) == "" {
			t.Error(err)
		}
		if c.out.Len() > 0 {
			t.Errorf("answered with %d bytes", c.out.Len())
		}
	})
}

// Whatever comes back, a client sends nothing after its first flight.
func FuzzClient(f *testing.F) {
	keys := ring(f, key("k", 7))
	f.Add([]byte{})
	f.Add(make([]byte, 48+288))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &tape{in: bytes.NewReader(b)}
		if _, err := seal.Client(context.Background(), c, seal.Config{Keys: keys}); cause(err) == "" {
			t.Error(err)
		}
		if c.out.Len() != 62 {
			t.Errorf("sent %d bytes", c.out.Len())
		}
	})
}

// A header is refused, or says a length within bounds.
func FuzzHeader(f *testing.F) {
	f.Add([]byte{2, 0, 0, 16}, 1<<10)
	f.Add([]byte{0x32, 0xff, 0xff, 0xff}, 256<<10)
	f.Fuzz(func(t *testing.T, b []byte, max int) {
		if len(b) < seal.Head {
			return
		}
		n, err := seal.Length(b, max)
		if err == nil && (n < seal.Head+16 || n > max) {
			t.Errorf("%x: %d of at most %d", b, n, max)
		}
	})
}

// A record that was not sealed does not open; a payload that was, does.
func FuzzRecord(f *testing.F) {
	f.Add([]byte("payload"), 0, []byte{2, 0, 0, 16, 0})
	f.Add([]byte{}, 64, make([]byte, 100))
	f.Fuzz(func(t *testing.T, payload []byte, pad int, junk []byte) {
		s, o, p := seal.NewHalf(), seal.NewHalf(), seal.NewHalf()
		if len(payload) > seal.DefaultMaxRecord-seal.Head-seal.Tail {
			return
		}
		rec, err := s.Seal(append(seal.NewBuffer(len(payload)), payload...), pad)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := seal.Length(rec, seal.DefaultMaxRecord); err != nil || n != len(rec) {
			t.Fatalf("length %d of %d: %v", n, len(rec), err)
		}
		if _, got, err := o.Open(rec); err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("%x, %v", got, err)
		}
		if len(junk) >= seal.Head+16 {
			if _, _, err := p.Open(junk); err == nil {
				t.Error("opened what nobody sealed")
			}
		}
	})
}

// What a peer with the key says of itself.
func FuzzHello(f *testing.F) {
	f.Add([]byte("\x00\x04\x00\x00\x05order"))
	f.Add([]byte("\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		most, name, ok := seal.ParseHello(b)
		if ok && (most < 1<<10 || most > 1<<24 || len(name) > 255) {
			t.Errorf("%d, %q", most, name)
		}
	})
}

// Whatever a key file holds.
func FuzzKeys(f *testing.F) {
	f.Add([]byte(`{"keys": [{"id": "a", "secret": "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if keys, err := seal.ParseKeys(b); err == nil {
			if _, err := seal.NewKeyring(keys); err != nil {
				t.Error(err)
			}
		}
	})
}
