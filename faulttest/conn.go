package faulttest

import (
	"context"
	"io"
	"net"
	"sync"
)

// Network is a network in memory, with a fate for each connection that is
// dialed. The zero value is a good one. It is safe for concurrent use and must
// not be copied after first use. Its connections are pairs of net.Pipe: they
// have no buffer, and they work inside testing/synctest.
type Network struct {
	Plan Plan

	tally     tally
	mu        sync.Mutex
	listeners map[string]*listener
}

// Counts says how often each What was planned so far.
func (n *Network) Counts() map[What]int { return n.tally.counts() }

// Listen takes addr, any text, and refuses it while another has it.
func (n *Network) Listen(addr string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[addr] != nil {
		return nil, &net.OpError{Op: "listen", Net: "memory", Addr: address(addr), Err: net.ErrClosed}
	}
	if n.listeners == nil {
		n.listeners = map[string]*listener{}
	}
	l := &listener{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
	l.leave = func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.listeners, addr)
	}
	n.listeners[addr] = l
	return l, nil
}

// DialContext connects to whoever listens on addr, whatever the network is
// called. It blocks until the connection is accepted, the listener is closed, or
// ctx ends. It fits http.Transport.DialContext.
func (n *Network) DialContext(ctx context.Context, _, addr string) (net.Conn, error) {
	return dial(ctx, n.tally.next(n.Plan), func(ctx context.Context) (net.Conn, error) {
		n.mu.Lock()
		l := n.listeners[addr]
		n.mu.Unlock()
		if l == nil {
			return nil, refused()
		}
		near, far := net.Pipe()
		select {
		case l.conns <- far:
			return near, nil
		case <-l.done:
			return nil, refused()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
}

type address string

func (address) Network() string  { return "memory" }
func (a address) String() string { return string(a) }

type listener struct {
	addr  string
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	leave func()
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.done); l.leave() })
	return nil
}

func (l *listener) Addr() net.Addr { return address(l.addr) }

// Dialer gives each connection that Dial makes its fate. It is safe for
// concurrent use and must not be copied after first use.
type Dialer struct {
	Dial func(ctx context.Context, network, addr string) (net.Conn, error) // nil means a net.Dialer's
	Plan Plan

	tally tally
}

// Counts says how often each What was planned so far.
func (d *Dialer) Counts() map[What]int { return d.tally.counts() }

// DialContext dials. It fits http.Transport.DialContext.
func (d *Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	f := d.Dial
	if f == nil {
		f = new(net.Dialer).DialContext
	}
	return dial(ctx, d.tally.next(d.Plan), func(ctx context.Context) (net.Conn, error) { return f(ctx, network, addr) })
}

func dial(ctx context.Context, f Fault, open func(context.Context) (net.Conn, error)) (net.Conn, error) {
	if err := sleep(ctx, f.Delay); err != nil {
		return nil, err
	}
	if f.What == Refuse {
		return nil, refused()
	}
	c, err := open(ctx)
	if err != nil {
		return nil, err
	}
	return wrap(c, f), nil
}

// Listener gives each connection it accepts its fate: bytes that come in are
// those of the client. Refuse closes a connection at once; Delay holds up Accept
// and so all that wait behind. It is safe for concurrent use and must not be
// copied after first use.
type Listener struct {
	net.Listener
	Plan Plan

	tally tally
}

// Counts says how often each What was planned so far.
func (l *Listener) Counts() map[What]int { return l.tally.counts() }

// Accept waits for the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		f := l.tally.next(l.Plan)
		_ = sleep(context.Background(), f.Delay) // the background does not end
		if f.What != Refuse {
			return wrap(c, f), nil
		}
		_ = c.Close() // refused is refused
	}
}

func wrap(c net.Conn, f Fault) net.Conn {
	if f.What == Pass {
		return c
	}
	return &conn{Conn: c, f: f}
}

// conn is a connection with a fault in what it reads.
type conn struct {
	net.Conn
	f    Fault
	mu   sync.Mutex // orders reads
	read int64
}

// Read obeys the deadlines and the Close of the connection below, because it
// waits in that one's Read; only the pauses of Trickle it sees to their end.
func (c *conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := c.f.At - c.read
	switch c.f.What {
	case Corrupt:
		n, err := c.Conn.Read(p)
		flip(p[:n], left)
		c.read += int64(n)
		return n, err
	case Drop:
		return 0, c.swallow()
	case Trickle:
		_ = sleep(context.Background(), c.f.Pause) // a deadline or a Close is noticed after it
		return c.Conn.Read(p[:min(int64(len(p)), c.f.At)])
	}
	if left <= 0 && len(p) > 0 {
		switch c.f.What {
		case Truncate:
			return 0, io.EOF
		case Stall:
			return 0, c.swallow()
		}
		_ = c.Conn.Close() // the other side learns of it too
		return 0, reset()
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), max(left, 0))])
	c.read += int64(n)
	return n, err
}

// swallow reads until the connection ends.
func (c *conn) swallow() error {
	var waste [4096]byte
	for {
		if _, err := c.Conn.Read(waste[:]); err != nil {
			return err
		}
	}
}

// Write sends; of a dropped connection it only says so.
func (c *conn) Write(p []byte) (int, error) {
	if c.f.What == Drop {
		return len(p), nil
	}
	return c.Conn.Write(p)
}
