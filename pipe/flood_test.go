package pipe

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/observe"
)

// drip sends the beginnings of a handshake, byte by byte, on many connections,
// in one goroutine.
type drip struct {
	mu    sync.Mutex
	conns []net.Conn
}

// from opens n connections from an address of this machine.
func (d *drip) from(t *testing.T, ip, to string, n int) {
	t.Helper()
	dial := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	for range n {
		c, err := dial.DialContext(t.Context(), "tcp", to)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		d.mu.Lock()
		d.conns = append(d.conns, c)
		d.mu.Unlock()
	}
}

func (d *drip) run(begin string, stop <-chan struct{}) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	sent := map[net.Conn]int{}
	for {
		d.mu.Lock()
		for _, c := range d.conns {
			b := []byte{'a'}
			if n := sent[c]; n < len(begin) {
				b[0] = begin[n]
			}
			sent[c]++
			c.Write(b)
		}
		d.mu.Unlock()
		select {
		case <-tick.C:
		case <-stop:
			return
		}
	}
}

// TestFlood: hundreds of connections that never finish their handshake take
// the gate's bound, half of it an address, and no more; the rest is refused at
// once, and who dripped is out when its time is. A client from elsewhere gets
// in meanwhile, and any client when the places are free again.
func TestFlood(t *testing.T) {
	root := newAuthority(t)
	for _, c := range []struct {
		name, begin string
		tls         bool
	}{
		{name: "sealed", begin: "sfp\x01\x40"},
		{name: "TLS", begin: "\x16\x03\x01\x20\x00\x01\x00\x1f\xfc", tls: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			const places, most = 16, 300
			s := Security{Keys: aRing(t)}
			server := s
			server.Gate = Gate{Handshakes: places, Rate: -1, Timeout: 2 * time.Second}
			if c.tls {
				near := root.write(t, t.TempDir(), x509.Certificate{DNSNames: []string{"order"}})
				far := root.write(t, t.TempDir(), x509.Certificate{DNSNames: []string{"payment"}})
				near.ServerName = "payment"
				s.TLS, server.TLS = &near, &far
			}
			y := newTally()
			l := ringing(t, server, y)
			addr := l.Bound().String()
			open := func(ip string, within time.Duration) error {
				k := &Link{Addr: addr, Security: s, Observe: observe.Sinks{Log: slog.New(slog.DiscardHandler)}, Cap: 100 * time.Millisecond,
					Dialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}}
				defer k.Close()
				ctx, cancel := context.WithTimeout(t.Context(), within)
				defer cancel()
				_, err := k.Open(ctx, "t", Options{Ack: true})
				return err
			}
			if err := open("127.0.0.2", 5*time.Second); err != nil {
				t.Skip("this machine has 127.0.0.1 only: ", err)
			}
			until(t, "the gate is empty", func() bool { return l.door.gate.inside() == 0 })
			var d drip
			before, routines := memory(), runtime.NumGoroutine()
			d.from(t, "127.0.0.1", addr, most)
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() { defer close(stopped); d.run(c.begin, stop) }()
			defer func() { close(stop); <-stopped }()
			until(t, "half the places are taken, the rest is refused", func() bool {
				return l.door.gate.inside() == places/2 && y.counted()["flood"] == most-places/2
			})
			if err := open("127.0.0.2", time.Second); err != nil {
				t.Error("a good client from elsewhere: ", err)
			}
			d.from(t, "127.0.0.3", addr, most)
			until(t, "all places are taken", func() bool { return y.counted()["flood"] == 2*(most-places/2) })
			if n := l.door.gate.inside(); n > places {
				t.Errorf("%d inside, bound %d", n, places)
			}
			grown, more := memory()-before, runtime.NumGoroutine()-routines
			t.Logf("%d connections: %d kB, %d goroutines more", 2*most, grown>>10, more)
			if grown > 8<<20 || more > 4*places+10 {
				t.Error("a flood costs too much")
			}
			if err := open("127.0.0.1", 10*time.Second); err != nil {
				t.Error("a good client after the flood: ", err)
			}
			until(t, "who dripped is out", func() bool { return l.door.gate.inside() == 0 && y.counted()["timeout"] == places })
			until(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= routines+4 })
			if n := len(y.logged(causeFlood)); n != 2 {
				t.Errorf("%d records of a flood from two addresses", n)
			}
		})
	}
}

func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
