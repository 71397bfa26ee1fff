package pipe_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/pipe"
)

// proxy stands between a Link and a Listener and spoils connections.
type proxy struct {
	ln   net.Listener
	to   string
	mu   sync.Mutex
	rng  *rand.Rand
	open map[net.Conn]bool
	// spoil says what happens to connection n; nil is nothing.
	spoil func(n int, rng *rand.Rand) fate
	seen  map[string]int
	wg    sync.WaitGroup
}

// fate is what happens to the bytes of one direction.
type fate struct {
	kind string // "", cut, flip, replay, reorder, delay, half, stall
	at   int    // after so many bytes
	back bool   // of the direction from the listener
}

func newProxy(t testing.TB, to string, seed uint64, spoil func(int, *rand.Rand) fate) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln, to: to, rng: rand.New(rand.NewPCG(seed, 1)), open: map[net.Conn]bool{}, spoil: spoil, seen: map[string]int{}}
	p.wg.Add(1)
	go p.serve()
	t.Cleanup(func() { ln.Close(); p.cut(); p.wg.Wait() })
	return p
}

func (p *proxy) addr() string { return p.ln.Addr().String() }

func (p *proxy) serve() {
	defer p.wg.Done()
	for n := 0; ; n++ {
		in, err := p.ln.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.to)
		if err != nil {
			in.Close()
			continue
		}
		p.mu.Lock()
		var f fate
		if p.spoil != nil {
			f = p.spoil(n, p.rng)
		}
		p.seen[f.kind]++
		p.open[in], p.open[out] = true, true
		p.mu.Unlock()
		none := fate{}
		p.wg.Add(2)
		if f.back {
			go p.copy(in, out, none)
			go p.copy(out, in, f)
		} else {
			go p.copy(in, out, f)
			go p.copy(out, in, none)
		}
	}
}

// copy moves bytes from a to b and spoils them.
func (p *proxy) copy(a, b net.Conn, f fate) {
	defer p.wg.Done()
	defer func() {
		a.Close()
		b.Close()
		p.mu.Lock()
		delete(p.open, a)
		delete(p.open, b)
		p.mu.Unlock()
	}()
	buf := make([]byte, 32<<10)
	var held, last []byte
	for total := 0; ; {
		n, err := a.Read(buf)
		if err != nil {
			return
		}
		chunk := buf[:n]
		if f.kind != "" && total+n > f.at {
			i := max(0, f.at-total)
			switch f.kind {
			case "cut":
				b.Write(chunk[:i])
				return
			case "flip":
				chunk[i] ^= 1 << (f.at % 8)
				f.kind = ""
			case "replay":
				chunk = append(append([]byte{}, chunk...), append(last, chunk...)...)
				f.kind = ""
			case "reorder":
				if held == nil {
					held = append([]byte{}, chunk...)
					continue
				}
				chunk = append(append([]byte{}, chunk...), held...)
				f.kind = ""
			case "delay":
				<-time.After(time.Duration(f.at%20) * time.Millisecond)
				f.at += 50_000
			case "half":
				b.Write(chunk[:i])
				b.(*net.TCPConn).CloseWrite()
				f.kind = "swallow"
				continue
			case "swallow":
				continue
			}
		}
		total += n
		last = append(last[:0], chunk...)
		if _, err := b.Write(chunk); err != nil {
			return
		}
	}
}

// cut ends all connections that are open now.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		c.Close()
	}
}

var kinds = []string{"cut", "flip", "replay", "reorder", "delay", "half"}

// spoilMost spoils eleven connections of twelve, each in the middle of
// the first 400 kB.
func spoilMost(n int, rng *rand.Rand) fate {
	return fate{kind: kinds[rng.IntN(len(kinds))], at: 200 + rng.IntN(400_000), back: rng.IntN(3) == 0}
}

// TestFaults sends numbered messages both ways through a proxy that spoils
// connection after connection.
func TestFaults(t *testing.T) {
	for _, o := range []pipe.Options{{}, {Capacity: 512}, {Ack: true}, {Capacity: 300, Ack: true, Manual: true}} {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("%d,%t,%t/%d", o.Capacity, o.Ack, o.Manual, seed), func(t *testing.T) {
				t.Parallel()
				testFaults(t, o, seed)
			})
		}
	}
}

func testFaults(t *testing.T, o pipe.Options, seed uint64) {
	const n = 4000
	ctx := within(t, 60*time.Second)
	l := &pipe.Listener{Security: security(t), Heartbeat: 50 * time.Millisecond}
	type result struct {
		wrong string
		n     int
		c     *pipe.Channel
	}
	far := make(chan result, 1)
	l.Handle("n", o, func(ctx context.Context, c *pipe.Channel) error {
		got, wrong := both(ctx, c, n, seed+100, o)
		far <- result{wrong, got, c}
		return nil
	})
	p := newProxy(t, serve(t, l), seed, spoilMost)
	k := &pipe.Link{Addr: p.addr(), Security: l.Security, Observe: quiet, Heartbeat: 50 * time.Millisecond, Base: time.Millisecond, Cap: 5 * time.Millisecond}
	defer k.Close()
	c, err := k.Open(ctx, "n", o)
	if err != nil {
		t.Fatal(err)
	}
	near, wrong := both(ctx, c, n, seed, o)
	if wrong != "" {
		t.Error("link:", wrong)
	}
	c.Close()
	select {
	case far := <-far:
		if far.wrong != "" {
			t.Error("listener:", far.wrong)
		}
		// What one side lost is what the other did not get.
		if int(c.Lost())+far.n != n || int(far.c.Lost())+near != n {
			t.Errorf("of %d: %d lost, %d received; back: %d lost, %d received", n, c.Lost(), far.n, far.c.Lost(), near)
		}
	case <-ctx.Done():
		t.Error("the handler goes on")
	}
	p.mu.Lock()
	t.Log("connections:", p.seen)
	p.mu.Unlock()
}

// both sends n numbered messages and checks the n that come. The lengths are
// of every kind: empty but for the number, short, in parts.
func both(ctx context.Context, c *pipe.Channel, n int, seed uint64, o pipe.Options) (got int, wrong string) {
	failed := make(chan string, 1)
	go func() {
		rng := rand.New(rand.NewPCG(seed, 2))
		for i := range n {
			size := 8 + rng.IntN(200)
			if rng.IntN(100) == 0 {
				size = 8 + rng.IntN(120<<10)
			}
			b := make([]byte, size)
			binary.LittleEndian.PutUint64(b, uint64(i))
			for j := 8; j < size; j++ {
				b[j] = byte(i + j)
			}
			if err := c.Send(ctx, b); err != nil {
				failed <- fmt.Sprintf("Send %d: %v", i, err)
				return
			}
		}
		if o.Ack {
			if err := c.Flush(ctx); err != nil {
				failed <- fmt.Sprint("Flush: ", err)
				return
			}
		}
		c.CloseSend()
		failed <- ""
	}()
	want := 0
	for m := range c.C() {
		if len(m.Data) < 8 {
			return got, "a message is too short"
		}
		i := int(binary.LittleEndian.Uint64(m.Data))
		for j := 8; j < len(m.Data); j++ {
			if m.Data[j] != byte(i+j) {
				return got, fmt.Sprintf("message %d is spoilt", i)
			}
		}
		if want += int(m.Missed); i != want {
			return got, fmt.Sprintf("message %d in place of %d (missed %d)", i, want, m.Missed)
		}
		if m.Duplicate || o.Ack && m.Missed != 0 {
			return got, fmt.Sprintf("message %d: duplicate %t, missed %d", i, m.Duplicate, m.Missed)
		}
		want++
		got++
		m.Ack()
	}
	if s := <-failed; s != "" {
		return got, s
	}
	if o.Ack && want != n {
		return got, fmt.Sprintf("%d messages of %d", want, n)
	}
	if lost := c.Lost(); o.Ack && lost > 0 {
		return got, fmt.Sprint("lost ", lost)
	}
	return got, ""
}
