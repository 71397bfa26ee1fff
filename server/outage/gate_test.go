//go:build unix

package outage

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"
)

// gate is a way through to an address that can be cut, for all or for the
// connections of one etcd member.
type gate struct {
	addr string

	mu    sync.Mutex
	cut   bool
	ice   chan struct{}   // closed when what passes may go on; nil means it may
	from  map[uint64]bool // members whose connections are cut
	conns map[net.Conn]uint64
}

// through opens a gate to an address; it ends with the test.
func through(t *testing.T, to string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{addr: l.Addr().String(), from: map[uint64]bool{}, conns: map[net.Conn]uint64{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { g.pass(c, to) })
		}
	})
	t.Cleanup(func() { l.Close(); g.set(true); all.Wait() })
	return g
}

// set cuts everything, or lets it through again.
func (g *gate) set(cut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cut = cut
	for c := range g.conns {
		if cut {
			c.Close()
		}
	}
}

// freeze lets nothing pass and closes nothing: to both sides the other hangs.
// It returns what ends that, once.
func (g *gate) freeze() (thaw func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	ice := make(chan struct{})
	g.ice = ice
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.ice = nil
		close(ice)
	}
}

// thawed is a reader that waits while the gate is frozen.
type thawed struct {
	io.Reader
	g *gate
}

func (r thawed) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.g.mu.Lock()
	ice := r.g.ice
	r.g.mu.Unlock()
	if ice != nil {
		<-ice
	}
	return n, err
}

// bar cuts what comes from a member, or lets it through again.
func (g *gate) bar(member uint64, cut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.from[member] = cut
	for c, from := range g.conns {
		if cut && from == member {
			c.Close()
		}
	}
}

// pass joins one connection to the address.
func (g *gate) pass(c net.Conn, to string) {
	defer c.Close()
	in := bufio.NewReader(c)
	from, peer := sender(c, in)
	if !g.enter(c, from) {
		return
	}
	defer func() { g.mu.Lock(); delete(g.conns, c); g.mu.Unlock() }()
	out, err := net.DialTimeout("tcp", to, time.Second)
	if err != nil {
		return
	}
	defer out.Close()
	if peer && from == 0 { // a probe, on a connection that would be used for the rest too
		line, _ := in.ReadBytes('\n')
		_, _ = out.Write(append(line, "Connection: close\r\n"...))
	}
	var back sync.WaitGroup
	back.Go(func() { _, _ = io.Copy(c, thawed{out, g}); c.Close() })
	_, _ = io.Copy(out, thawed{in, g})
	out.Close()
	back.Wait()
}

func (g *gate) enter(c net.Conn, from uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cut || g.from[from] {
		return false
	}
	g.conns[c] = from
	return true
}

// sender is the etcd member that opens a connection, as the head of its first
// request says, or 0; and whether this is a request as peers make them. Peers
// have a pool of connections each, so that it is the sender of all that follows.
func sender(c net.Conn, in *bufio.Reader) (from uint64, peer bool) {
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	defer func() { _ = c.SetReadDeadline(time.Time{}) }()
	for n := 1; n <= 4096; n = in.Buffered() + 1 {
		if _, err := in.Peek(n); err != nil {
			return 0, false
		}
		head, _ := in.Peek(in.Buffered())
		if bytes.HasPrefix(head, []byte("PRI ")) { // HTTP/2: a client's
			return 0, false
		}
		head, _, whole := bytes.Cut(head, []byte("\r\n\r\n"))
		if !whole {
			continue
		}
		_, head, _ = bytes.Cut(head, []byte("X-Server-From: "))
		id, _, _ := bytes.Cut(head, []byte("\r\n"))
		from, _ = strconv.ParseUint(string(id), 16, 64)
		return from, true
	}
	return 0, false
}
