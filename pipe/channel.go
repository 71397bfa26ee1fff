package pipe

import (
	"context"

	"github.com/surefoot-go/surefoot/errs"
)

// Channel is one channel between two processes, made by Link.Open or handed
// out by a Listener. It goes both ways. All methods are safe for concurrent
// use. Close it when done: until both sides have, it takes memory.
type Channel struct {
	s     *session
	id    uint32
	topic string
	peer  Peer
	in    inbox
	own   func() error // closes the link that Dial made
	// opened is closed when the listener has answered.
	opened chan struct{}
	part   []byte // of a message; the reader's
	total  int
	dup    bool

	// All below is guarded by s.mu.
	opt    Options
	state  uint8
	synced bool // the peer has said what arrived, so messages may go
	queued bool // in s.ready
	after  *Channel
	epoch  uint32 // counts the sessions
	due    uint8
	credit [2]uint64
	gap    uint64 // messages lost in this session, which the peer is told
	heard  uint64 // messages that the peer has told to be lost

	sent, sentBytes, released, releasedBytes uint64

	ops       queue[*op]   // calls of Send that wait
	held      queue[heldM] // with Ack, what is not acknowledged
	heldBytes int
	next      int    // the first of held that is not on its way
	off       int    // how much of the message at the head has gone
	accepted  uint64 // messages for which Send returns nil
	waits     []*wait
	lost      uint64

	closing    bool // nothing more will be sent
	full       bool // nor received
	closeSent  bool
	closeDone  bool // the peer has seen it
	peerClosed bool
	peerFull   bool
	doneSent   bool
	err        error
}

const (
	opening uint8 = iota
	open
	over
)

// What is due to be written of a channel, besides messages and the close.
const (
	dueOpen uint8 = 1 << iota
	dueAccept
	dueState
	dueGap
	dueCredit
	dueAbort
	dueDone
)

// heldM is a message kept until it is acknowledged.
type heldM struct {
	data []byte
	dup  bool
}

// op is a call of Send that waits.
type op struct {
	data []byte
	done chan struct{}
	err  error
	at   uint64 // what accepted became
}

// call returns an op for data. A session keeps a few, and not the process: a
// Go channel must not leave the testing/synctest bubble it was made in.
func (s *session) call(data []byte) *op {
	if n := len(s.idle); n > 0 {
		o := s.idle[n-1]
		s.idle = s.idle[:n-1]
		o.data, o.err = data, nil
		return o
	}
	return &op{data: data, done: make(chan struct{}, 1)}
}

const mostIdle = 64

// wait is a call that waits until the first at messages are released.
type wait struct {
	at   uint64
	done chan struct{}
	err  error
}

// Topic returns the name the channel was opened with.
func (c *Channel) Topic() string { return c.topic }

// Peer returns who is on the other side.
func (c *Channel) Peer() Peer {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.peer
}

// Options returns what both sides have agreed on.
func (c *Channel) Options() Options {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.opt
}

// C is where messages of the other side arrive. It is closed when the other
// side has closed and all it sent before was taken, when this side calls
// Close, or when the peer is given up: Err then says why. It is always the
// same Go channel. The sender's window moves when messages are taken from it.
func (c *Channel) C() <-chan Message { return c.in.C() }

// Err says why nothing can be sent any more: ErrClosed, ErrLost or ErrRefused.
// It is nil while the channel is open, also while there is no connection.
func (c *Channel) Err() error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.err == nil && c.closing {
		return ErrClosed
	}
	return c.err
}

// Lost is how many messages that Send had accepted are known not to have
// reached the peer's process, or to have been in the memory of one that went
// away: those at most. With Options.Ack it stays 0 while the channel is open.
func (c *Channel) Lost() uint64 {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.lost
}

// Send gives data to the other side and returns when it is in the window: see
// the package comment for what that promises. It blocks while the window is
// full and, unless Options.Ack is set, while there is no connection, until ctx
// ends; then the message is not sent, unless the channel is unbuffered and it
// was already on its way. The caller may use data again when Send returns.
//
// The error is ErrClosed after Close or CloseSend of this side or Close of the
// other, ErrTooLong, ErrLost, or ctx's.
func (c *Channel) Send(ctx context.Context, data []byte) error {
	if err := ctx.Err(); err != nil {
		return errs.Wrap(err, "pipe.Send")
	}
	s := c.s
	s.mu.Lock()
	if err := c.refuses(len(data)); err != nil {
		s.mu.Unlock()
		return err
	}
	var at uint64
	if c.ops.len() == 0 && c.accept(data) {
		at = c.accepted
		if c.opt.Capacity > 0 {
			s.mu.Unlock()
			return nil
		}
	} else {
		o := s.call(data)
		c.ops.push(o)
		if !c.opt.Ack && c.clear(len(data)) {
			s.touch(c) // only room in the buffer is missing
		}
		unbuffered := c.opt.Capacity < 0
		s.mu.Unlock()
		err := c.await(ctx, o)
		at = o.at
		s.mu.Lock()
		if o.data = nil; len(s.idle) < mostIdle {
			s.idle = append(s.idle, o)
		}
		if err != nil || !unbuffered {
			s.mu.Unlock()
			return err
		}
	}
	return c.until(ctx, at, "pipe.Send") // unlocks
}

// refuses says why a message of n bytes cannot be sent.
func (c *Channel) refuses(n int) error {
	switch {
	case c.err != nil:
		return c.err
	case c.closing:
		return ErrClosed
	case n > c.opt.MaxMessage:
		return ErrTooLong
	}
	return nil
}

// accept takes the message if it can go, or be held, at once.
func (c *Channel) accept(data []byte) bool {
	s := c.s
	if c.opt.Ack {
		if !c.holds(len(data)) {
			return false
		}
		c.hold(data)
		s.touch(c)
		return true
	}
	a := s.conn
	if a == nil || !c.synced || s.ready.head != nil || !c.clear(len(data)) || len(data) > a.fragment || !a.room(len(data)+mostHead) {
		return false
	}
	a.out = appendData(a.out, 0, c.id, data)
	c.wrote(len(data))
	c.accepted++
	a.kick()
	return true
}

// clear says whether the peer's buffer has room for n bytes more.
func (c *Channel) clear(n int) bool {
	flight := c.sent - c.released
	return flight == 0 || flight < c.opt.window() && c.sentBytes-c.releasedBytes+uint64(n) <= uint64(c.opt.Bytes)
}

// holds says whether this side's may keep n bytes more until they are
// acknowledged.
func (c *Channel) holds(n int) bool {
	return c.held.len() == 0 || uint64(c.held.len()) < c.opt.window() && c.heldBytes+n <= c.opt.Bytes
}

func (c *Channel) hold(data []byte) {
	c.held.push(heldM{data: c.s.arena.copy(data)})
	c.heldBytes += len(data)
	c.accepted++
}

// wrote counts a message that is on its way.
func (c *Channel) wrote(n int) {
	c.sent++
	c.sentBytes += uint64(n)
	c.s.stats.sent.Add(1)
	c.s.stats.sentBytes.Add(int64(n))
}

// await waits for an op in c.ops.
func (c *Channel) await(ctx context.Context, o *op) error {
	began := c.s.stats.blocked()
	defer c.s.stats.unblocked(began)
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
	}
	s := c.s
	s.mu.Lock()
	for i := range c.ops.len() {
		if *c.ops.at(i) == o {
			c.drop(i)
			s.mu.Unlock()
			return errs.Wrap(ctx.Err(), "pipe.Send")
		}
	}
	s.mu.Unlock()
	<-o.done // it was faster than ctx
	return o.err
}

// drop takes the op at i out of the queue.
func (c *Channel) drop(i int) {
	if i == 0 && !c.opt.Ack && c.off > 0 {
		c.off = 0
		c.due |= dueAbort
	}
	var kept queue[*op]
	for k := range c.ops.len() {
		if k != i {
			kept.push(*c.ops.at(k))
		}
	}
	c.ops = kept
	c.s.touch(c) // the next may go now, or the abort
}

// settled is how many of the accepted messages are no longer under way.
func (c *Channel) settled() uint64 {
	if c.opt.Ack {
		return c.accepted - uint64(c.held.len())
	}
	return c.accepted - (c.sent - c.released)
}

// until waits until the first at messages are released. It is called with s.mu
// locked and unlocks it.
func (c *Channel) until(ctx context.Context, at uint64, op string) error {
	if c.settled() >= at {
		c.s.mu.Unlock()
		return nil
	}
	if c.err != nil {
		c.s.mu.Unlock()
		return c.err
	}
	w := &wait{at: at, done: make(chan struct{})}
	c.waits = append(c.waits, w)
	c.s.mu.Unlock()
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
	}
	c.s.mu.Lock()
	for i, x := range c.waits {
		if x == w {
			c.waits = append(c.waits[:i], c.waits[i+1:]...)
			break
		}
	}
	c.s.mu.Unlock()
	return errs.Wrap(ctx.Err(), op)
}

// wake ends the waits that are over; with an error, all.
func (c *Channel) wake(err error) {
	if len(c.waits) == 0 {
		return
	}
	settled := c.settled()
	kept := c.waits[:0]
	for _, w := range c.waits {
		if err != nil || w.at <= settled {
			if w.at > settled {
				w.err = err
			}
			close(w.done)
			continue
		}
		kept = append(kept, w)
	}
	clear(c.waits[len(kept):])
	c.waits = kept
}

// Flush waits, with Options.Ack, until all that Send has accepted before is
// acknowledged: nil means that the receiver has it. Without Ack it waits until
// the peer's C has handed out enough of it for the peer to say so, which for
// the last messages may be never: use Ack, or an unbuffered channel.
func (c *Channel) Flush(ctx context.Context) error {
	c.s.mu.Lock()
	return c.until(ctx, c.accepted, "pipe.Flush")
}

// CloseSend says that nothing more will be sent, like close of a Go channel:
// the other side's C is closed after everything sent before was taken. C of
// this side goes on. It returns at once and may be called again.
func (c *Channel) CloseSend() error {
	c.s.mu.Lock()
	c.closeSend()
	c.s.mu.Unlock()
	return nil
}

// closeSend ends the sending half. Calls of Send that wait fail.
func (c *Channel) closeSend() {
	if !c.closing {
		c.closing = true
		c.failOps(ErrClosed)
		c.s.touch(c)
	}
}

// Close is CloseSend, and nothing more is received: C is closed, and the other
// side's Send fails. What Send has accepted still goes out, and with
// Options.Ack is still sent again after a reconnect, as long as the Link or
// Listener is open. It returns at once, except for a channel made by Dial,
// where it closes the link as Link.Close does. It may be called again.
func (c *Channel) Close() error {
	c.s.mu.Lock()
	if !c.full {
		c.full = true
		c.closeSend()
		c.closeSent = false // it was a CloseSend at most
		c.s.touch(c)
	}
	c.s.mu.Unlock()
	c.in.kill()
	if c.own != nil {
		return c.own()
	}
	return nil
}

// failOps ends the calls of Send that wait.
func (c *Channel) failOps(err error) {
	if c.off > 0 && !c.opt.Ack {
		c.off = 0
		c.due |= dueAbort
	}
	for c.ops.len() > 0 {
		o := c.ops.pop()
		o.err = err
		o.done <- struct{}{}
	}
}

// end makes the channel a thing of the past. It is called with s.mu locked.
func (c *Channel) end(err error) {
	if c.state == over {
		return
	}
	if c.state == opening {
		c.answered()
	}
	c.state, c.err, c.closing = over, err, true
	delete(c.s.chans, c.id)
	c.s.stats.channels.Add(-1)
	if n := c.held.len(); n > 0 {
		c.lost += uint64(n)
		c.s.stats.lost.Add(int64(n))
	}
	c.failOps(err)
	c.wake(err)
	c.held, c.next, c.heldBytes = queue[heldM]{}, 0, 0
	if c.in.s != nil {
		c.in.finish()
	}
}

func (c *Channel) answered() {
	select {
	case <-c.opened:
	default:
		close(c.opened)
	}
}
