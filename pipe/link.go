package pipe

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	mrand "math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/pipe/seal"
	"github.com/surefoot-go/surefoot/safe"
)

// Link is one connection to a Listener that any number of channels share. It
// is made when the first is opened, and made again for as long as the Link is
// open, whenever it breaks. Set the fields first; only Addr and Security are
// required. Close it when done. It must not be copied after the first Open.
type Link struct {
	Addr     string // host:port; several, with commas between, are tried in turn
	Security Security
	Observe  observe.Sinks

	// Heartbeat is the longest this side is silent; 0 or negative means 2s, at most 1m.
	// A side that hears nothing for three times the longer of both sides'
	// takes the connection for broken.
	Heartbeat time.Duration
	// Base and Cap bound the waits between tries to connect: each is a random
	// part of Base, twice that and so on up to Cap (full jitter). 0 or
	// negative means 100ms and 5s. A connection that held for a second begins
	// at Base again. There is no last try.
	Base, Cap time.Duration
	// Timeout bounds one try; 0 or negative means 5s.
	Timeout time.Duration
	// Linger bounds how long Close waits for what was sent to go out and, with
	// Options.Ack, to be acknowledged; 0 means 1s, negative means not at all.
	Linger time.Duration
	// Dialer makes connections; nil means a net.Dialer.
	Dialer interface {
		DialContext(ctx context.Context, network, addr string) (net.Conn, error)
	}

	once  sync.Once
	err   error // of the start
	s     *session
	stats stats
	pumps sync.WaitGroup
	log   *slog.Logger
	door  *door
	stop  func()
	tasks *safe.Task
	done  sync.Once

	mu      sync.Mutex
	failure error // why there is no connection
}

// Dial opens a channel of a topic at addr, over a Link of its own. Closing the
// channel closes the link. ctx bounds the wait for the listener's answer only.
func Dial(ctx context.Context, addr, topic string, s Security) (*Channel, error) {
	k := &Link{Addr: addr, Security: s}
	c, err := k.Open(ctx, topic, Options{})
	if err != nil {
		k.Close()
		return nil, err
	}
	c.own = k.Close
	return c, nil
}

func or(d, zero time.Duration) time.Duration {
	if d <= 0 {
		return zero
	}
	return d
}

func (k *Link) start() {
	k.log = k.Observe.OrDefault().Log
	if k.door, k.err = newDoor(k.Security, k.Observe); k.err != nil {
		return
	}
	var id [16]byte
	rand.Read(id[:])
	ctx, cancel := context.WithCancel(context.Background())
	k.s = newSession(id, &k.stats, min(or(k.Heartbeat, defaultHeartbeat), mostHeartbeat), &k.pumps, ctx.Done())
	k.s.dialer = true
	unregister := k.stats.register(k.Observe, "link")
	k.stop = func() { cancel(); unregister() }
	k.tasks = safe.Go(ctx, "pipe link", k.run)
}

const defaultHeartbeat = 2 * time.Second

// Open opens a channel of a topic, a name of 1 to 255 bytes that the listener
// knows. It waits until the listener has answered, through as many connections
// as that takes, or ctx ends. The error is ErrRefused, ErrMismatch, ErrBusy,
// ErrClosed, or ctx's with what was in the way as its cause.
func (k *Link) Open(ctx context.Context, topic string, o Options) (*Channel, error) {
	const op = "pipe.Open"
	if topic == "" || len(topic) > mostTopic {
		return nil, errs.New(errs.Invalid, op, "a topic has 1 to 255 bytes")
	}
	k.once.Do(k.start)
	if k.err != nil {
		return nil, errs.Wrap(k.err, op)
	}
	c, err := k.s.open(ctx, topic, o.OrDefault())
	if err != nil && ctx.Err() != nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.failure != nil {
			return nil, errs.From(err).Because(k.failure)
		}
	}
	return c, err
}

// run keeps the connection up.
func (k *Link) run(ctx context.Context) error {
	watching := safe.Go(ctx, "pipe keys", k.door.watch)
	defer watching.Wait()
	addrs := strings.Split(k.Addr, ",")
	base, most := or(k.Base, 100*time.Millisecond), or(k.Cap, 5*time.Second)
	wait := base
	for n := 0; ; n++ {
		began := time.Now()
		addr := strings.TrimSpace(addrs[n%len(addrs)])
		up, err := k.connect(ctx, addr)
		if ctx.Err() != nil {
			return nil
		}
		k.mu.Lock()
		k.failure = err
		k.mu.Unlock()
		if up {
			k.log.Warn("pipe: the connection broke", "addr", addr, "after", time.Since(began), "err", err)
			k.stats.reconnects.Add(1)
			n = -1 // the first of the list again
			if time.Since(began) > time.Second {
				wait = base
			}
		} else {
			k.log.Debug("pipe: no connection", "addr", addr, "err", err)
		}
		timer := time.NewTimer(mrand.N(wait) + 1)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		wait = min(2*wait, most)
	}
}

// connect makes a connection and runs the session on it. up says that it was
// made.
func (k *Link) connect(ctx context.Context, addr string) (up bool, err error) {
	dial := k.Dialer
	if dial == nil {
		dial = &net.Dialer{}
	}
	within, cancel := context.WithTimeout(ctx, or(k.Timeout, 5*time.Second))
	defer cancel()
	raw, err := dial.DialContext(within, "tcp", addr)
	if err != nil {
		return false, err
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	rec, peer, err := k.door.dial(within, raw, host)
	if err != nil {
		return false, err
	}
	unwatch := context.AfterFunc(within, func() { rec.SetReadDeadline(time.Now()) })
	s := k.s
	s.mu.Lock()
	resume := s.before
	s.mu.Unlock()
	if err = hello(rec, s.id, resume, s.heartbeat); err != nil {
		rec.Close()
		return false, err
	}
	_, resumed, theirs, err := greeted(rec, s.heartbeat)
	if !unwatch() && err == nil {
		err = within.Err()
	}
	if err != nil {
		rec.Close()
		return false, err
	}
	s.mu.Lock()
	s.peer = peer
	for _, c := range s.chans {
		c.peer = peer
	}
	s.mu.Unlock()
	k.stats.connections.Add(1)
	defer k.stats.connections.Add(-1)
	err = s.run(ctx, rec, 3*max(s.heartbeat, theirs), resumed)
	k.door.ended(err, peer)
	return true, err
}

// ended tells of a connection that did not end as it should.
func (d *door) ended(err error, p Peer) {
	if v := new(violation); errors.As(err, &v) {
		d.refuse(seal.Malformed, p.Addr, v.what)
		return
	}
	if e := new(seal.Error); errors.As(err, &e) {
		d.refuse(e.Cause, p.Addr, e.Error())
	}
}

// Close ends all channels, waits at most Linger for what was sent to go out,
// and ends the connection. It returns when every goroutine of the Link has
// ended. Channels not closed before are closed by it.
func (k *Link) Close() error {
	k.once.Do(func() { k.err = ErrClosed })
	if k.s == nil {
		return nil
	}
	k.done.Do(func() {
		if k.Linger >= 0 {
			ctx, cancel := context.WithTimeout(context.Background(), or(k.Linger, time.Second))
			k.s.drain(ctx)
			cancel()
		}
		k.s.end(ErrClosed, true)
		k.stop()
	})
	k.tasks.Wait()
	k.pumps.Wait()
	return nil
}
