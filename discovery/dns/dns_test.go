package dns_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/discovery/dns"
	"github.com/surefoot-go/surefoot/discovery/driver"
	"github.com/surefoot-go/surefoot/discovery/drivertest"
	"github.com/surefoot-go/surefoot/errs"
)

// zone is a name server on loopback that knows one name.
type zone struct {
	conn net.PacketConn

	mu    sync.Mutex
	mode  string // "", "nxdomain", "servfail" or "silent"
	addrs []driver.Instance
	asked int
}

func serve(t *testing.T) *zone {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	z := &zone{conn: conn}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			if out := z.answer(b[:n]); out != nil {
				conn.WriteTo(out, from)
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return z
}

func (z *zone) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", z.conn.LocalAddr().String())
	}}
}

func (z *zone) set(mode string, in ...driver.Instance) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.mode, z.addrs = mode, in
}

const (
	typeA   = 1
	typeSRV = 33
)

// answer writes the answer to a question by hand: a header of 12 bytes, the
// question, and records that point back to its name.
func (z *zone) answer(q []byte) []byte {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.asked++
	end := 12
	for q[end] != 0 {
		end += int(q[end]) + 1
	}
	end += 5
	kind := binary.BigEndian.Uint16(q[end-4:])
	out := append([]byte{}, q[:end]...)
	out[2], out[3] = 0x84, 0x00 // an answer, with authority
	binary.BigEndian.PutUint16(out[10:], 0)
	n := uint16(0)
	record := func(data []byte) {
		n++
		out = append(out, 0xc0, 12)
		out = binary.BigEndian.AppendUint16(out, kind)
		out = append(out, 0, 1, 0, 0, 0, 0)
		out = binary.BigEndian.AppendUint16(out, uint16(len(data)))
		out = append(out, data...)
	}
	switch z.mode {
	case "silent":
		return nil
	case "nxdomain":
		out[3] = 3
	case "servfail":
		out[3] = 2
	default:
		for i, in := range z.addrs {
			host, port, _ := net.SplitHostPort(in.Addr)
			switch kind {
			case typeA:
				record(net.ParseIP(host).To4())
			case typeSRV:
				var p uint16
				fmt.Sscan(port, &p)
				data := []byte{0, byte(1 + i/2), 0, byte(in.Weight)} // two of each priority
				data = binary.BigEndian.AppendUint16(data, p)
				for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
					data = append(append(data, byte(len(label))), label...)
				}
				record(append(data, 0))
			}
		}
	}
	binary.BigEndian.PutUint16(out[6:], n)
	return out
}

func TestDriver(t *testing.T) {
	drivertest.Run(t, func(t *testing.T) drivertest.Lab {
		z := serve(t)
		return drivertest.Lab{
			Watcher: &dns.Driver{Resolver: z.resolver(), Every: 20 * time.Millisecond, Timeout: 200 * time.Millisecond},
			Service: "pay.example.:8080", Plain: true,
			Set:   func(_ *testing.T, _ string, in []driver.Instance) { z.set("", in...) },
			Break: func(*testing.T) func() { z.set("servfail"); return func() {} },
		}
	})
}

// TestNoAnswer: a name that is gone, a server that fails and one that is silent
// are no answers; nothing is told, and nobody is asked in a loop.
func TestNoAnswer(t *testing.T) {
	for _, mode := range []string{"nxdomain", "servfail", "silent"} {
		z := serve(t)
		z.set(mode)
		d := &dns.Driver{Resolver: z.resolver(), Every: 50 * time.Millisecond, Timeout: 50 * time.Millisecond}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		err := d.Watch(ctx, "pay.example.:80", func(in []driver.Instance) { t.Errorf("%s: told %v", mode, in) })
		cancel()
		if errs.KindOf(err) != errs.Timeout {
			t.Errorf("%s: %v", mode, err)
		}
		z.mu.Lock()
		if z.asked == 0 || z.asked > 100 {
			t.Errorf("%s: asked %d times in half a second", mode, z.asked)
		}
		z.mu.Unlock()
	}
}

func TestSRV(t *testing.T) {
	z := serve(t)
	z.set("", driver.Instance{Addr: "a.pay.example.:81", Weight: 3}, driver.Instance{Addr: "b.pay.example.:82", Weight: 1}, driver.Instance{Addr: "c.spare.example.:83"})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var got []driver.Instance
	d := &dns.Driver{Resolver: z.resolver(), Zone: "z"}
	_ = d.Watch(ctx, "_http._tcp.pay.example.", func(in []driver.Instance) { got = in; cancel() })
	if len(got) != 2 || got[0].Addr != "a.pay.example:81" || got[0].Weight != 3 || got[0].Zone != "z" || got[1].Weight != 1 {
		t.Errorf("%+v", got)
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"", "pay", "pay:", ":80", "pay:http", "pay:70000", "pay:0", "_http._tcp", "a:b:c"} {
		if err := new(dns.Driver).Watch(t.Context(), name, nil); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func ExampleDriver() {
	err := new(dns.Driver).Watch(context.Background(), "payment", nil)
	fmt.Println(err)
	// Output: dns.Watch: invalid_request: a name to look up is "_service._proto.name" or "name:port"
}
