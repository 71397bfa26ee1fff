package pipe

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/pipe/seal"
)

// recorder keeps what is written to a connection.
type recorder struct {
	net.Conn
	sent [][]byte
}

func (r *recorder) Write(b []byte) (int, error) {
	r.sent = append(r.sent, append([]byte(nil), b...))
	return r.Conn.Write(b)
}

// TestRefusalsAreCounted does to a Listener what an attacker would. Each deed
// is counted once under its cause, and there is one record of it, with the
// address it came from and no secret.
func TestRefusalsAreCounted(t *testing.T) {
	good, old, other := seal.NewSecret(), seal.NewSecret(), seal.NewSecret()
	ring := func(keys ...seal.Key) *seal.Keyring {
		r, err := seal.NewKeyring(seal.Keys{Keys: keys})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	mine := ring(seal.Key{ID: "k", Secret: good})
	allow, err := NewAllow(Policy{[]Rule{{Identity: "order", Topics: []string{"t"}, Claimed: true}}})
	if err != nil {
		t.Fatal(err)
	}
	y := newTally()
	l := ringing(t, Security{Allow: allow, Gate: Gate{Handshakes: 4}, Keys: ring(seal.Key{ID: "k", Secret: good},
		seal.Key{ID: "old", Secret: old, NotAfter: time.Now().Add(-time.Hour)})}, y)
	var all strings.Builder
	call := func(t *testing.T) net.Conn {
		raw, err := net.Dial("tcp", l.Bound().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { raw.Close() })
		return raw
	}
	// shake returns once the listener is through with raw, or has taken it.
	shake := func(t *testing.T, raw net.Conn, c seal.Config) *seal.Conn {
		conn, err := seal.Client(t.Context(), raw, c)
		if e := new(seal.Error); err != nil && (!errors.As(err, &e) || e.Cause != seal.Refused) {
			t.Errorf("the client is told: %v", err)
		}
		return conn
	}
	for _, c := range []struct {
		cause seal.Cause
		do    func(t *testing.T) (from net.Addr)
	}{
		{seal.Forged, func(t *testing.T) net.Addr {
			raw := call(t)
			shake(t, raw, seal.Config{Keys: ring(seal.Key{ID: "k", Secret: other}), Identity: "order"})
			return raw.LocalAddr()
		}},
		{seal.Replayed, func(t *testing.T) net.Addr {
			first := &recorder{Conn: call(t)}
			if conn := shake(t, first, seal.Config{Keys: mine, Identity: "order"}); conn != nil {
				conn.Close() // in order: it is not refused
			}
			raw := call(t)
			raw.Write(first.sent[0])
			io.Copy(io.Discard, raw)
			return raw.LocalAddr()
		}},
		{seal.UnknownKey, func(t *testing.T) net.Addr {
			raw := call(t)
			shake(t, raw, seal.Config{Keys: ring(seal.Key{ID: "nobody", Secret: other}), Identity: "order"})
			return raw.LocalAddr()
		}},
		{seal.ExpiredKey, func(t *testing.T) net.Addr {
			raw := call(t)
			shake(t, raw, seal.Config{Keys: ring(seal.Key{ID: "old", Secret: old}), Identity: "order"})
			return raw.LocalAddr()
		}},
		{seal.Oversized, func(t *testing.T) net.Addr {
			raw := call(t)
			shake(t, raw, seal.Config{Keys: mine, Identity: "order"})
			raw.Write([]byte{2, 0xff, 0xff, 0xff}) // a record of 16 MiB begins
			io.Copy(io.Discard, raw)
			return raw.LocalAddr()
		}},
		{causeUnauthorised, func(t *testing.T) net.Addr { // a topic
			var raw net.Conn
			k := &Link{Addr: l.Bound().String(), Security: Security{Keys: mine, Identity: "order"},
				Observe: observe.Sinks{Log: slog.New(slog.DiscardHandler)}, Dialer: dialer(func() net.Conn { raw = call(t); return raw })}
			defer k.Close()
			if _, err := k.Open(t.Context(), "payments", Options{}); !errors.Is(err, ErrRefused) {
				t.Error(err)
			}
			return raw.LocalAddr()
		}},
		{causeUnauthorised, func(t *testing.T) net.Addr { // everything
			raw := call(t)
			shake(t, raw, seal.Config{Keys: mine, Identity: "guest"})
			io.Copy(io.Discard, raw)
			return raw.LocalAddr()
		}},
		{causeFlood, func(t *testing.T) net.Addr {
			call(t)
			call(t)
			until(t, "two handshakes are under way", func() bool { return l.door.gate.inside() == 2 })
			raw := call(t) // the third from one address: half of 4 is 2
			io.Copy(io.Discard, raw)
			return raw.LocalAddr()
		}},
	} {
		t.Run(string(c.cause), func(t *testing.T) {
			y.forget(l.door)
			from := c.do(t)
			until(t, "it is logged", func() bool { return len(y.logged(c.cause)) > 0 })
			y.mu.Lock()
			all.WriteString(y.log.String())
			y.mu.Unlock()
			y.took(t, l.door, c.cause, from.String())
		})
	}
	for _, s := range []seal.Secret{good, old, other} {
		raw, _ := base64.StdEncoding.DecodeString(s.Reveal())
		for _, form := range []string{s.Reveal(), string(raw), hex.EncodeToString(raw), fmt.Sprint(raw)} {
			if strings.Contains(all.String(), form) {
				t.Error("a secret was logged")
			}
		}
	}
}

// dialer makes a Dialer of a function.
type dialer func() net.Conn

func (d dialer) DialContext(context.Context, string, string) (net.Conn, error) { return d(), nil }

// inside returns how many handshakes are under way.
func (g *gate) inside() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.all
}

// TestAlarmsPerTime: a record in 10s for each cause and address, whatever the
// port, with how many it stands for; each refusal is counted.
func TestAlarmsPerTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newTally()
		a := newAlarms(y.sinks())
		at := func(last byte, port int) net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, last), Port: port} }
		for i := range 3000 { // 30s
			a.refuse(seal.Forged, at(1, 1000+i), "forged")
			a.refuse(seal.Forged, at(2, 7), "forged")
			a.refuse(seal.Replayed, at(1, 7), "replayed")
			time.Sleep(10 * time.Millisecond)
		}
		if n := y.counted(); n["forged"] != 6000 || n["replayed"] != 3000 {
			t.Error(n)
		}
		lines := y.logged(seal.Forged)
		if len(lines) != 6 || len(y.logged(seal.Replayed)) != 3 {
			t.Fatalf("%d and %d records in 30s, want 6 and 3:\n%s", len(lines), len(y.logged(seal.Replayed)), &y.log)
		}
		for i, want := range []string{"peer=10.0.0.1:1000 refused=1 ", "peer=10.0.0.2:7 refused=1 ", "peer=10.0.0.1:2000 refused=1000 ", "peer=10.0.0.2:7 refused=1000 "} {
			if !strings.Contains(lines[i], want) || !strings.Contains(lines[i], "level=WARN") {
				t.Errorf("record %d: %s, want %s", i, lines[i], want)
			}
		}
	})
}
