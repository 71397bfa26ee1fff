package pipe

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/safe"
)

// Listener takes the connections of Links and hands out their channels. Set
// the fields and name the topics with Handle or Topic first, then have
// service.Service run it among its Servers, or call Serve. Only Security is
// required. It must not be copied after first use.
type Listener struct {
	Addr     string // host:port; "" means ":7000"
	Security Security
	Observe  observe.Sinks

	// Heartbeat is as in Link.
	Heartbeat time.Duration
	// Resume is how long the channels of a peer whose connection broke wait
	// for it to come back; 0 means 1m, negative means not at all. Then they
	// end with ErrLost.
	Resume time.Duration
	// Sessions is how many peers there may be, those away counted in; 0 or
	// negative means 1024. A new one takes the place of the one that has been
	// away for longest; if none is away it is refused.
	Sessions int
	// Channels is how many channels one peer may have open; 0 or negative
	// means 16384.
	Channels int
	// Backlog is how many channels of a topic may wait for Accept; 0 or
	// negative means 1024. More are refused with ErrBusy.
	Backlog int
	// Linger is as in Link, for when Serve ends.
	Linger time.Duration
	// Listener takes the place of listening on Addr; Serve closes it.
	Listener net.Listener

	once  sync.Once
	err   error
	log   *slog.Logger
	door  *door
	stats stats
	work  context.Context // ends with Serve
	stop  context.CancelFunc
	conns context.Context // ends when the handlers have, and what was sent went out
	cut   context.CancelFunc
	own   *safe.Task // Serve, where Listen started it

	handlers, connections, pumps sync.WaitGroup

	naming sync.Mutex // the innermost
	topics map[string]*topic
	deaf   bool // no channel is taken any more

	mu       sync.Mutex // taken before session.mu
	ln       net.Listener
	sessions map[[16]byte]*guest
	closed   bool
}

// topic is what the listener does with channels of one name.
type topic struct {
	options Options
	handle  func(context.Context, *Channel) error
	backlog chan *Channel
}

// guest is a session of a peer.
type guest struct {
	s      *session
	peer   Peer
	conn   *attachment // nil while it is away
	away   time.Time
	expire *time.Timer
}

// attachment is a connection of a guest.
type attachment struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// Listen listens at addr and serves in the background until Close. Take the
// channels of each topic with Accept.
func Listen(ctx context.Context, addr string, s Security, topics ...string) (*Listener, error) {
	l := &Listener{Addr: addr, Security: s}
	for _, name := range topics {
		l.Topic(name, Options{})
	}
	if err := l.Listen(ctx); err != nil {
		return nil, err
	}
	l.own = safe.Go(context.Background(), "pipe listener", l.Serve)
	return l, nil
}

// Topic says that channels of this name are taken, for Accept. Call it before
// Serve.
func (l *Listener) Topic(name string, o Options) { l.add(name, &topic{options: o.OrDefault()}) }

// Handle says that channels of this name are taken, and that handle is called
// with each, in a goroutine of its own. Its ctx ends when the Listener stops;
// the channel is closed when it returns. Its error is logged. Call it before
// Serve.
func (l *Listener) Handle(name string, o Options, handle func(ctx context.Context, c *Channel) error) {
	l.add(name, &topic{options: o.OrDefault(), handle: handle})
}

func (l *Listener) add(name string, t *topic) {
	l.naming.Lock()
	defer l.naming.Unlock()
	if l.topics == nil {
		l.topics = map[string]*topic{}
	}
	n := l.Backlog
	if n <= 0 {
		n = 1024
	}
	t.backlog = make(chan *Channel, n)
	l.topics[name] = t
}

func (l *Listener) topic(name string) *topic {
	l.naming.Lock()
	defer l.naming.Unlock()
	return l.topics[name]
}

// Accept waits for a peer to open a channel of a topic that was named with
// Topic. The error is ErrClosed when the Listener has stopped, or ctx's.
func (l *Listener) Accept(ctx context.Context, name string) (*Channel, error) {
	const op = "pipe.Accept"
	t := l.topic(name)
	if t == nil || t.handle != nil {
		return nil, errs.New(errs.Internal, op, "this topic is not for Accept").With("topic", name)
	}
	l.start()
	select {
	case c := <-t.backlog:
		return c, nil
	case <-ctx.Done():
		return nil, errs.Wrap(ctx.Err(), op)
	case <-l.work.Done():
		return nil, ErrClosed
	}
}

func (l *Listener) start() {
	l.once.Do(func() {
		l.log = l.Observe.OrDefault().Log
		l.work, l.stop = context.WithCancel(context.Background())
		l.conns, l.cut = context.WithCancel(context.Background())
		l.sessions = map[[16]byte]*guest{}
		l.door, l.err = newDoor(l.Security, l.Observe)
	})
}

// Listen opens the port, so that a taken one is known before Serve. Serve
// calls it if nobody has.
func (l *Listener) Listen(ctx context.Context) error {
	const op = "pipe.Listen"
	l.start()
	if l.err != nil {
		return errs.Wrap(l.err, op)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return ErrClosed
	case l.ln != nil:
		return nil
	case l.Listener != nil:
		l.ln = l.Listener
		return nil
	}
	addr := l.Addr
	if addr == "" {
		addr = ":7000"
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return errs.Wrap(err, op)
	}
	l.ln = ln
	return nil
}

// Bound returns the address the Listener listens at, nil before Listen.
func (l *Listener) Bound() net.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ln == nil {
		return nil
	}
	return l.ln.Addr()
}

// Serve takes connections until ctx ends. Then it tells the handlers, closes
// all channels, waits at most Linger for what was sent to go out, and returns
// nil when every goroutine of the Listener has ended. It waits for handlers
// without limit.
func (l *Listener) Serve(ctx context.Context) error {
	if err := l.Listen(ctx); err != nil {
		return err
	}
	defer l.stats.register(l.Observe, "listener")()
	defer context.AfterFunc(ctx, l.stop)()
	closing := context.AfterFunc(l.work, func() { l.ln.Close() })
	defer closing()
	watching := safe.Go(l.work, "pipe keys", l.door.watch)
	err := l.accept()
	if l.work.Err() != nil {
		err = nil
	}
	l.stop()
	l.ln.Close()
	l.finish()
	watching.Wait()
	return err
}

// accept takes connections until the port is closed.
func (l *Listener) accept() error {
	pause := 5 * time.Millisecond
	for {
		raw, err := l.ln.Accept()
		if err != nil {
			if l.work.Err() != nil || errors.Is(err, net.ErrClosed) {
				return err
			}
			// Out of descriptors, or the like: others may give some back.
			l.log.Warn("pipe: cannot accept a connection", "err", err)
			select {
			case <-time.After(pause):
			case <-l.work.Done():
			}
			pause = min(2*pause, time.Second)
			continue
		}
		pause = 5 * time.Millisecond
		if !l.door.enter(raw) {
			continue
		}
		l.connections.Add(1)
		safe.Go(l.conns, "pipe connection", func(ctx context.Context) error {
			l.connection(ctx, raw)
			return nil
		}, func(error) { l.connections.Done() })
	}
}

// connection serves one connection.
func (l *Listener) connection(ctx context.Context, raw net.Conn) {
	rec, peer, err := l.door.accept(ctx, raw)
	if err != nil {
		return
	}
	heartbeat := min(or(l.Heartbeat, defaultHeartbeat), mostHeartbeat)
	unwatch := context.AfterFunc(ctx, func() { rec.SetReadDeadline(time.Now()) })
	id, resume, theirs, err := greeted(rec, heartbeat)
	unwatch()
	if err != nil || ctx.Err() != nil {
		rec.Close()
		l.door.ended(err, peer)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	at := &attachment{cancel: cancel, done: make(chan struct{})}
	defer close(at.done)
	g, resumed := l.guest(ctx, id, peer, resume, at, heartbeat)
	if g == nil {
		rec.Close()
		return
	}
	if err = hello(rec, id, resumed, heartbeat); err == nil {
		l.stats.connections.Add(1)
		err = g.s.run(ctx, rec, 3*max(heartbeat, theirs), resumed)
		l.stats.connections.Add(-1)
		l.door.ended(err, peer)
	} else {
		rec.Close()
	}
	l.left(id, g, at)
}

// guest finds the session of a peer, or makes one.
func (l *Listener) guest(ctx context.Context, id [16]byte, peer Peer, resume bool, at *attachment, heartbeat time.Duration) (g *guest, resumed bool) {
	for {
		l.mu.Lock()
		g := l.sessions[id]
		if g == nil {
			break
		}
		if !same(g.peer, peer) || !resume {
			l.mu.Unlock()
			l.door.refuse(causeResume, peer.Addr, "the session belongs to another peer")
			return nil, false
		}
		old := g.conn
		if old == nil {
			g.conn = at
			if g.expire != nil {
				g.expire.Stop()
			}
			l.mu.Unlock()
			g.s.mu.Lock()
			g.s.peer = peer
			g.s.mu.Unlock()
			return g, true
		}
		l.mu.Unlock()
		old.cancel() // it has not noticed yet that it is dead
		select {
		case <-old.done:
		case <-ctx.Done():
			return nil, false
		}
	}
	defer l.mu.Unlock()
	most := l.Sessions
	if most <= 0 {
		most = 1024
	}
	if len(l.sessions) >= most && !l.evict() || l.closed {
		l.stats.refused.Add(1)
		return nil, false
	}
	s := newSession(id, &l.stats, heartbeat, &l.pumps, l.conns.Done())
	s.peer, s.most = peer, l.Channels
	if s.most <= 0 {
		s.most = 16384
	}
	s.opened, s.admit = l.opened, l.door.admit
	g = &guest{s: s, peer: peer, conn: at}
	l.sessions[id] = g
	return g, false
}

// same says whether two connections are of the same peer. The key may have
// been rotated in between.
func same(a, b Peer) bool { return a.Identity == b.Identity && a.Proof == b.Proof && a.TLS == b.TLS }

// evict ends the session that has been away for longest, if one is.
func (l *Listener) evict() bool {
	var oldest [16]byte
	var found *guest
	for id, g := range l.sessions {
		if g.conn == nil && (found == nil || g.away.Before(found.away)) {
			oldest, found = id, g
		}
	}
	if found == nil {
		return false
	}
	l.drop(oldest, found)
	return true
}

// drop forgets a session. It is called with l.mu locked.
func (l *Listener) drop(id [16]byte, g *guest) {
	delete(l.sessions, id)
	if g.expire != nil {
		g.expire.Stop()
	}
	g.s.end(ErrLost, false)
}

// left is called when the connection of a guest is over.
func (l *Listener) left(id [16]byte, g *guest, at *attachment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if g.conn != at {
		return
	}
	g.conn, g.away = nil, time.Now()
	g.s.mu.Lock()
	none := len(g.s.chans) == 0
	g.s.mu.Unlock()
	switch {
	case l.sessions[id] != g:
	case none || l.Resume < 0:
		l.drop(id, g)
	default:
		g.expire = time.AfterFunc(or(l.Resume, time.Minute), func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			if g.conn == nil && l.sessions[id] == g {
				l.drop(id, g)
			}
		})
	}
}

// opened decides on a channel that a peer wants to open.
func (l *Listener) opened(c *Channel, o Options) refusal {
	t := l.topic(c.topic)
	allowed := l.door.admit(c.peer, c.topic)
	switch {
	case t == nil || !allowed:
		return refused
	case o.Ack != t.options.Ack:
		return mismatch
	}
	agreed := t.options.meet(o)
	if t.handle == nil {
		if len(t.backlog) == cap(t.backlog) {
			return busy
		}
		c.begin(agreed)
		select {
		case t.backlog <- c:
			return accepted
		default:
			return busy
		}
	}
	l.naming.Lock()
	defer l.naming.Unlock()
	if l.deaf {
		return busy
	}
	c.begin(agreed)
	l.handlers.Add(1)
	safe.Go(l.work, "pipe handler", func(ctx context.Context) error {
		return t.handle(ctx, c)
	}, func(err error) {
		c.Close()
		if err != nil && l.work.Err() == nil {
			l.log.Error("pipe: a handler failed", "topic", c.topic, "peer", c.peer.Identity, "err", err)
		}
		l.handlers.Done()
	})
	return accepted
}

// finish ends all that runs: handlers, then channels, then connections.
func (l *Listener) finish() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.naming.Lock()
	l.deaf = true
	l.naming.Unlock()
	l.handlers.Wait()
	l.mu.Lock()
	var all []*guest
	for _, g := range l.sessions {
		all = append(all, g)
	}
	l.mu.Unlock()
	if l.Linger >= 0 {
		ctx, cancel := context.WithTimeout(context.Background(), or(l.Linger, time.Second))
		group := safe.Group{Name: "pipe close", Max: -1, All: true}
		for _, g := range all {
			group.Go(ctx, func(ctx context.Context) error { g.s.drain(ctx); return nil })
		}
		group.Wait()
		cancel()
	}
	l.cut()
	l.connections.Wait()
	for _, g := range all {
		g.s.end(ErrClosed, true)
	}
	l.pumps.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range all {
		if g.expire != nil {
			g.expire.Stop()
		}
	}
	clear(l.sessions)
}

// Close stops a Listener that Listen began, as the end of Serve's ctx would,
// and waits for it.
func (l *Listener) Close() error {
	l.start()
	l.stop()
	if l.own != nil {
		return l.own.Wait()
	}
	return nil
}
