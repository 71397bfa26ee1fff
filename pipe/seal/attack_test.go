package seal_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/pipe/seal"
)

// wire is one side's connection with an attacker behind it, who sees each
// Write, numbered from 0, and says what goes on in its place.
type wire struct {
	net.Conn
	mu   sync.Mutex
	n    int
	edit func(n int, b []byte) [][]byte
}

func (w *wire) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	parts := [][]byte{b}
	if w.edit != nil {
		parts = w.edit(w.n, bytes.Clone(b))
	}
	w.n++
	for _, p := range parts {
		if p == nil { // cut
			w.Conn.Close()
			return len(b), nil
		}
		if _, err := w.Conn.Write(p); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// story is a session with an attacker on the line.
type story struct {
	client, server seal.Config
	up, down       func(n int, b []byte) [][]byte // what happens to the client's writes and the server's: 0 is the first flight, 1 the client's hello, 2 the first record; 0 the server's answer
	sends          []string                       // what the client sends
	before         func(i int)                    // each of them
}

type outcome struct {
	client, server error    // of the handshake
	got            []string // what the server read
	end            error    // and how it ended
	c, s           *seal.Conn
}

// run must be called within a bubble: it waits by fake time only.
func (y story) run(t *testing.T) (o outcome) {
	t.Helper()
	a, b := net.Pipe()
	up, down := &wire{Conn: a, edit: y.up}, &wire{Conn: b, edit: y.down}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if o.s, o.server = seal.Server(context.Background(), down, y.server); o.server != nil {
			return
		}
		o.s.SetReadDeadline(time.Now().Add(time.Hour))
		for {
			p, err := o.s.ReadRecord()
			if err != nil {
				o.end = err
				if _, again := o.s.ReadRecord(); !errors.Is(again, err) && err != io.EOF {
					t.Errorf("an end that does not last: %v, then %v", err, again)
				}
				b.Close()
				return
			}
			o.got = append(o.got, string(p))
		}
	}()
	if o.c, o.client = seal.Client(context.Background(), up, y.client); o.client == nil {
		for i, s := range y.sends {
			if y.before != nil {
				y.before(i)
			}
			if err := o.c.WriteRecord(append(seal.NewBuffer(len(s)), s...)); err != nil {
				break
			}
		}
		o.c.Close()
	}
	<-done
	return o
}

func cause(err error) seal.Cause {
	var e *seal.Error
	if errors.As(err, &e) {
		return e.Cause
	}
	return ""
}

func key(id string, fill byte) seal.Key {
	return seal.Key{ID: id, Secret: secret(fill)}
}

func secret(fill byte) seal.Secret {
	s, err := seal.ParseSecret(string(bytes.Repeat([]byte{"0123456789abcdef"[fill]}, 64)))
	if err != nil {
		panic(err)
	}
	return s
}

// Every bit of every byte of the handshake, in both directions: the session
// does not come about, and no side ever believes that it did unless what was
// changed is what the other side sends last.
func TestBitFlipsInTheHandshake(t *testing.T) {
	lengths := []struct {
		name     string
		up       bool
		n, bytes int
	}{{"first flight", true, 0, 5 + 1 + 56}, {"hello", true, 1, 288}, {"answer", false, 0, 48 + 288}}
	for _, l := range lengths {
		t.Run(l.name, func(t *testing.T) {
			for at := range l.bytes {
				for bit := range 8 {
					if testing.Short() && bit != at%8 {
						continue
					}
					synctest.Test(t, func(t *testing.T) {
						keys := ring(t, key("k", 7))
						edit := func(n int, b []byte) [][]byte {
							if n == l.n {
								if len(b) != l.bytes {
									t.Fatalf("%d bytes, want %d", len(b), l.bytes)
								}
								b[at] ^= 1 << bit
							}
							return [][]byte{b}
						}
						y := story{client: seal.Config{Keys: keys}, server: seal.Config{Keys: keys}, sends: []string{"x"}}
						if l.up {
							y.up = edit
						} else {
							y.down = edit
						}
						o := y.run(t)
						if o.server == nil || len(o.got) > 0 {
							t.Fatalf("byte %d bit %d: the server took it: %q", at, bit, o.got)
						}
						if c := cause(o.server); c == "" {
							t.Fatalf("byte %d bit %d: %v", at, bit, o.server)
						}
						if l.n == 0 && o.client == nil {
							t.Fatalf("byte %d bit %d: the client took it", at, bit)
						}
					})
				}
			}
		})
	}
}

func TestBitFlipsInRecords(t *testing.T) {
	const text = "attack at dawn"
	record := seal.Head + len(text) + 16
	for _, pad := range []int{0, 64} {
		if pad > 0 {
			record = 64
		}
		for at := range record {
			for bit := range 8 {
				synctest.Test(t, func(t *testing.T) {
					keys := ring(t, key("k", 7))
					y := story{client: seal.Config{Keys: keys, Pad: pad}, server: seal.Config{Keys: keys}, sends: []string{"first", text, "third"}}
					y.up = func(n int, b []byte) [][]byte {
						if n == 3 {
							b[at] ^= 1 << bit
						}
						return [][]byte{b}
					}
					o := y.run(t)
					if len(o.got) != 1 || o.got[0] != "first" || cause(o.end) == "" {
						t.Fatalf("byte %d bit %d: %q, %v", at, bit, o.got, o.end)
					}
				})
			}
		}
	}
}

// What an attacker does to whole records. The counter is not on the wire, so
// a record is good in its place in its session and nowhere else.
func TestRecordAttacks(t *testing.T) {
	var kept []byte
	for _, c := range []struct {
		name string
		up   func(n int, b []byte) [][]byte
		want seal.Cause // empty: a close
		got  int
	}{
		{"nothing", func(n int, b []byte) [][]byte { return [][]byte{b} }, "", 3},
		{"byte by byte", func(n int, b []byte) (out [][]byte) {
			for i := range b {
				out = append(out, b[i:i+1])
			}
			return out
		}, "", 3},
		{"repeated", func(n int, b []byte) [][]byte {
			if n == 3 {
				return [][]byte{b, b}
			}
			return [][]byte{b}
		}, seal.Forged, 2},
		{"repeated later", func(n int, b []byte) [][]byte {
			if n == 2 {
				kept = b
			}
			if n == 4 {
				return [][]byte{kept, b}
			}
			return [][]byte{b}
		}, seal.Forged, 2},
		{"swapped", func(n int, b []byte) [][]byte {
			switch n {
			case 3:
				kept = b
				return nil
			case 4:
				return [][]byte{b, kept}
			}
			return [][]byte{b}
		}, seal.Forged, 1},
		{"left out", func(n int, b []byte) [][]byte {
			if n == 3 {
				return nil
			}
			return [][]byte{b}
		}, seal.Forged, 1},
		{"close left out", func(n int, b []byte) [][]byte {
			if n == 5 {
				return nil
			}
			return [][]byte{b}
		}, seal.Truncated, 3},
		{"cut between records", func(n int, b []byte) [][]byte {
			if n == 3 {
				return [][]byte{nil}
			}
			return [][]byte{b}
		}, seal.Truncated, 1},
		{"bytes slipped in", func(n int, b []byte) [][]byte {
			if n == 3 {
				return [][]byte{{2, 0, 0, 17, 0}, b}
			}
			return [][]byte{b}
		}, seal.Forged, 1},
		{"hello again", func(n int, b []byte) [][]byte {
			switch n {
			case 1:
				kept = b
			case 3:
				return [][]byte{kept}
			}
			return [][]byte{b}
		}, seal.Forged, 1},
		{"longer than agreed", func(n int, b []byte) [][]byte {
			if n == 3 {
				b[1] = 0xff
			}
			return [][]byte{b}
		}, seal.Oversized, 1},
		{"length zero", func(n int, b []byte) [][]byte {
			if n == 3 {
				b[1], b[2], b[3] = 0, 0, 0
			}
			return [][]byte{b}
		}, seal.Malformed, 1},
		{"shorter than a tag", func(n int, b []byte) [][]byte {
			if n == 3 {
				b[1], b[2], b[3] = 0, 0, 15
			}
			return [][]byte{b}
		}, seal.Malformed, 1},
		{"data made a close", func(n int, b []byte) [][]byte {
			if n == 3 {
				b[0] = 3
			}
			return [][]byte{b}
		}, seal.Forged, 1},
		{"rekey mark set", func(n int, b []byte) [][]byte {
			if n == 3 {
				b[0] |= 0x20
			}
			return [][]byte{b}
		}, seal.Forged, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				keys := ring(t, key("k", 7))
				o := story{client: seal.Config{Keys: keys}, server: seal.Config{Keys: keys}, up: c.up, sends: []string{"one", "two", "three"}}.run(t)
				if o.server != nil || o.client != nil {
					t.Fatal(o.client, o.server)
				}
				if want := []string{"one", "two", "three"}[:c.got]; !slices.Equal(o.got, want) {
					t.Errorf("got %q, want %q", o.got, want)
				}
				if c.want == "" && o.end != io.EOF || cause(o.end) != c.want {
					t.Errorf("ended by %v, want %q", o.end, c.want)
				}
				if c.want != "" && errors.Is(o.end, io.EOF) {
					t.Error("an attack looks like a close")
				}
			})
		})
	}
}

// The stream cut at every byte: in the handshake nobody is let in, after it
// whole records arrive and the end is never taken for a close.
func TestTruncationAtEveryByte(t *testing.T) {
	sends := []string{"one", "two"}
	total := 62 + 288 + (seal.Head+3+16)*2 + seal.Head + 16
	for at := range total {
		synctest.Test(t, func(t *testing.T) {
			keys := ring(t, key("k", 7))
			left := at
			o := story{client: seal.Config{Keys: keys}, server: seal.Config{Keys: keys}, sends: sends,
				up: func(_ int, b []byte) [][]byte {
					if len(b) > left {
						return [][]byte{b[:left], nil}
					}
					left -= len(b)
					return [][]byte{b}
				}}.run(t)
			switch {
			case at < 62+288 && (o.server == nil || cause(o.server) != seal.Truncated && cause(o.server) != seal.Probe):
				t.Errorf("byte %d: server %v", at, o.server)
			case (cause(o.server) == seal.Probe) != (at == 0):
				t.Errorf("byte %d: server %v", at, o.server)
			case at >= 62+288 && (cause(o.end) != seal.Truncated || len(o.got) != (at-62-288)/(seal.Head+3+16)):
				t.Errorf("byte %d: %q, %v", at, o.got, o.end)
			}
		})
	}
	for at := range 48 + 288 {
		synctest.Test(t, func(t *testing.T) {
			keys := ring(t, key("k", 7))
			o := story{client: seal.Config{Keys: keys}, server: seal.Config{Keys: keys},
				down: func(_ int, b []byte) [][]byte { return [][]byte{b[:at], nil} }}.run(t)
			if cause(o.client) != seal.Refused {
				t.Errorf("byte %d: client %v", at, o.client)
			}
		})
	}
}

// Who may come in and who may not, and that a stranger hears nothing.
func TestHandshakeRefusals(t *testing.T) {
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // a bubble's
	late, soon := key("k", 7), key("k", 7)
	late.NotAfter, soon.NotBefore = now.Add(-time.Second), now.Add(time.Hour)
	slightly := key("k", 7)
	slightly.NotBefore = now.Add(time.Minute)
	bound := key("k", 7)
	bound.Identities = []string{"order", "payment"}
	swap := func(f func(b []byte)) func(int, []byte) [][]byte {
		return func(n int, b []byte) [][]byte {
			if n == 0 {
				f(b)
			}
			return [][]byte{b}
		}
	}
	for _, c := range []struct {
		name           string
		client, server seal.Config
		up             func(int, []byte) [][]byte
		keys           [2]seal.Key
		want           seal.Cause
	}{
		{name: "well"},
		{name: "wrong key", keys: [2]seal.Key{key("k", 7), key("k", 8)}, want: seal.Forged},
		{name: "unknown key id", keys: [2]seal.Key{key("other", 7), key("k", 7)}, want: seal.UnknownKey},
		{name: "key id changed on the way", up: swap(func(b []byte) { b[5] = 'x' }), want: seal.UnknownKey},
		{name: "key over", keys: [2]seal.Key{key("k", 7), late}, want: seal.ExpiredKey},
		{name: "key not yet", keys: [2]seal.Key{key("k", 7), soon}, want: seal.ExpiredKey},
		{name: "key within the skew", keys: [2]seal.Key{key("k", 7), slightly}},
		{name: "another service", client: seal.Config{Service: "payment"}, server: seal.Config{Service: "order"}, want: seal.Forged},
		{name: "name allowed", keys: [2]seal.Key{key("k", 7), bound}, client: seal.Config{Identity: "order"}},
		{name: "name not allowed", keys: [2]seal.Key{key("k", 7), bound}, client: seal.Config{Identity: "root"}, want: seal.Identity},
		{name: "name left out", keys: [2]seal.Key{key("k", 7), bound}, want: seal.Identity},
		{name: "old version", up: swap(func(b []byte) { b[3] = 0 }), want: seal.Version},
		{name: "new version", up: swap(func(b []byte) { b[3] = 2 }), want: seal.Version},
		{name: "HTTP", up: swap(func(b []byte) { copy(b, "GET / HTTP/1.1\r\n") }), want: seal.Malformed},
		{name: "TLS", up: swap(func(b []byte) { copy(b, "\x16\x03\x01\x02\x00\x01") }), want: seal.Malformed},
		{name: "key id of no bytes", up: swap(func(b []byte) { b[4] = 0 }), want: seal.Malformed},
		{name: "key id of 255 bytes", up: swap(func(b []byte) { b[4] = 255 }), want: seal.Oversized},
		{name: "key id of odd bytes", up: swap(func(b []byte) { b[5] = '\n' }), want: seal.Malformed},
		{name: "ephemeral of zeros", up: swap(func(b []byte) { clear(b[6:38]) }), want: seal.Forged},
		{name: "slow", up: func(n int, b []byte) [][]byte { time.Sleep(time.Hour); return [][]byte{b} }, want: seal.Timeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if c.keys[0].ID == "" {
					c.keys = [2]seal.Key{key("k", 7), key("k", 7)}
				}
				c.client.Keys, c.server.Keys = ring(t, c.keys[0]), ring(t, c.keys[1])
				told := 0
				o := story{client: c.client, server: c.server, up: c.up, sends: []string{"x"}, down: func(_ int, b []byte) [][]byte {
					told += len(b)
					return [][]byte{b}
				}}.run(t)
				if c.want == "" {
					if o.server != nil || o.client != nil || len(o.got) != 1 {
						t.Fatal(o.client, o.server, o.got)
					}
					return
				}
				if cause(o.server) != c.want {
					t.Errorf("server: %v, want %s", o.server, c.want)
				}
				if told > 0 && c.want != seal.Identity { // who gave a wrong name has the key
					t.Errorf("the server answered a stranger with %d bytes", told)
				}
			})
		})
	}
}
