package pipe

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/pipe/seal"
	"github.com/surefoot-go/surefoot/safe"
)

// A session is what outlives a connection: channels and what they have under
// way. It is attached to one connection at a time; without one it waits.
type session struct {
	id        [16]byte
	dialer    bool
	heartbeat time.Duration
	limit     time.Duration // silence after which the peer counts as dead
	stats     *stats
	// opened decides on a channel that the peer opens, and begins it; on
	// listeners only. It must not wait.
	opened func(c *Channel, proposed Options) refusal
	// admit says whether the peer may still use a topic.
	admit func(p Peer, topic string) bool
	most  int // channels

	pumps *sync.WaitGroup
	quit  <-chan struct{} // ends all pumps

	mu      sync.Mutex
	peer    Peer
	arena   arena // of held messages
	chans   map[uint32]*Channel
	last    uint32 // the highest number seen
	conn    *attached
	ready   fifo
	idle    []*op // to be used again
	replies []reply
	ended   error // why it is gone for good
	empty   chan struct{}
	before  bool // it had a connection
}

// reply is a frame about a channel that is not here.
type reply struct {
	kind    byte
	channel uint32
	n       uint64
}

const mostReplies = 1 << 16

// refusal is why a channel is refused; 0 is not.
type refusal uint64

const (
	accepted refusal = iota
	refused
	mismatch
	busy
)

func (r refusal) err() error {
	switch r {
	case mismatch:
		return ErrMismatch
	case busy:
		return ErrBusy
	}
	return ErrRefused
}

func newSession(id [16]byte, st *stats, heartbeat time.Duration, pumps *sync.WaitGroup, quit <-chan struct{}) *session {
	return &session{id: id, pumps: pumps, quit: quit, stats: st, heartbeat: heartbeat, limit: 3 * heartbeat,
		chans: map[uint32]*Channel{}, empty: make(chan struct{}, 1)}
}

// channel makes a channel. It is called with s.mu locked.
func (s *session) channel(id uint32, topic string) *Channel {
	c := &Channel{s: s, id: id, topic: topic, peer: s.peer, opened: make(chan struct{})}
	s.chans[id] = c
	s.stats.channels.Add(1)
	return c
}

// begin gives c the options both sides agree on.
func (c *Channel) begin(o Options) {
	o.Manual = o.Manual && o.Ack
	c.opt = o
	in := &c.in
	in.mu.Lock()
	in.opt, in.tell, in.s = o, c.grant, c.s
	in.mu.Unlock()
	c.state, c.synced = open, true
}

// open opens a channel towards the listener and waits for its answer.
func (s *session) open(ctx context.Context, topic string, o Options) (*Channel, error) {
	s.mu.Lock()
	if s.ended != nil {
		s.mu.Unlock()
		return nil, s.ended
	}
	s.last++
	c := s.channel(s.last, topic)
	c.opt = o
	c.due = dueOpen
	s.touch(c)
	s.mu.Unlock()
	select {
	case <-c.opened:
		s.mu.Lock()
		defer s.mu.Unlock()
		if c.err != nil {
			return nil, c.err
		}
		return c, nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.state == open { // it was faster than ctx
		return c, nil
	}
	err := errs.Wrap(ctx.Err(), "pipe.Open")
	switch {
	case c.state == opening && s.conn == nil:
		c.end(err)
	case c.state == opening: // the listener may still accept it
		c.full, c.closing = true, true
		c.in.kill()
	}
	return nil, err
}

// run attaches the session to a connection until that fails or ctx ends, and
// returns why; nil means that the peer closed it. resumed says that the peer
// still has the session.
func (s *session) run(ctx context.Context, rec records, limit time.Duration, resumed bool) error {
	a := newAttached(rec)
	s.mu.Lock()
	if s.ended != nil {
		s.mu.Unlock()
		rec.Close()
		return s.ended
	}
	s.limit = limit
	s.attach(a, resumed)
	s.mu.Unlock()
	defer context.AfterFunc(ctx, a.stop)()
	writer := safe.Go(context.Background(), "pipe writer", func(context.Context) error { return s.write(a) }, func(error) { a.stop() })
	err := safe.Call(func() error { return s.read(a) })
	s.mu.Lock()
	s.conn = nil
	s.mu.Unlock()
	close(a.done)
	rec.SetWriteDeadline(time.Now().Add(time.Second)) // frees a writer that is stuck
	if werr := writer.Wait(); werr != nil && !errors.As(err, new(*violation)) {
		err = werr
	}
	rec.Close()
	return err
}

// attach begins a connection: all that has to be said anew is due.
func (s *session) attach(a *attached, resumed bool) {
	s.conn = a
	s.replies = nil
	restarted := s.before && !resumed
	s.before = true
	for _, c := range s.chans {
		c.part = nil
		if c.off = 0; c.due&dueAbort != 0 {
			c.due &^= dueAbort
		}
		if c.state == open && restarted {
			c.restart()
		}
		switch c.state {
		case opening:
			c.due = dueOpen
		case open:
			c.synced = false
			c.closeSent = false
			c.due = dueState
			if c.gap > 0 {
				c.due |= dueGap
			}
			if c.peerClosed {
				c.due |= dueDone
			}
		}
		if c.state != over {
			s.touch(c)
		}
	}
}

// restart gets c ready for a peer that has forgotten it.
func (c *Channel) restart() {
	flight := c.sent - c.released
	if c.opt.Ack {
		for i := range c.next {
			c.held.at(i).dup = true
		}
		c.next = 0
	} else if flight > 0 {
		c.lost += flight
		c.s.stats.lost.Add(int64(flight))
	}
	c.sent, c.sentBytes, c.released, c.releasedBytes = 0, 0, 0, 0
	c.credit, c.gap, c.heard = [2]uint64{}, 0, 0
	c.epoch++
	c.in.restart()
	if !c.opt.Ack && flight > 0 {
		c.wake(ErrLost)
	}
	if c.full && c.held.len() == 0 {
		c.end(ErrClosed)
		return
	}
	c.state, c.synced = opening, false
	c.closeDone, c.peerFull, c.doneSent = false, false, false
}

// remove forgets c when both sides are done with it.
func (s *session) remove(c *Channel) {
	if c.state == open && c.closeDone && c.peerClosed && c.doneSent && c.held.len() == 0 &&
		(!c.opt.Ack || c.full || c.in.settled()) {
		c.end(ErrClosed)
	}
	s.hollow()
}

// hollow tells who waits for the session to be empty.
func (s *session) hollow() {
	if len(s.chans) == 0 {
		select {
		case s.empty <- struct{}{}:
		default:
		}
	}
}

// end ends the session for good. killed says that what has arrived is not
// wanted any more.
func (s *session) end(err error, killed bool) {
	s.mu.Lock()
	if s.ended == nil {
		s.ended = err
	}
	if s.conn != nil {
		s.conn.stop()
	}
	var all []*Channel
	for _, c := range s.chans {
		all = append(all, c)
		c.end(err)
	}
	s.mu.Unlock()
	if killed {
		for _, c := range all {
			c.in.kill()
		}
	}
}

// violation is what an honest peer never does.
type violation struct{ what string }

func (v *violation) Error() string { return "pipe: the peer broke the protocol: " + v.what }

func broke(what string) error { return &violation{what} }

// hello is the first record of each side.
func hello(rec records, id [16]byte, resume bool, heartbeat time.Duration) error {
	kind := kindHello
	if resume {
		kind |= flagResume
	}
	b := append(make([]byte, 0, 128), make([]byte, seal.Head)...)
	b = appendHead(b, kind, 0, version, uint64(heartbeat/time.Millisecond))
	rec.SetWriteDeadline(time.Now().Add(3 * heartbeat))
	return rec.WriteRecord(appendPayload(b, id[:]))
}

// version of the frames.
const version = 1

// greeted reads the other side's hello.
func greeted(rec records, heartbeat time.Duration) (id [16]byte, resume bool, theirs time.Duration, err error) {
	rec.SetReadDeadline(time.Now().Add(3 * heartbeat))
	b, err := rec.ReadRecord()
	if err != nil {
		return id, false, 0, err
	}
	var f frame
	if len(b) == 0 {
		return id, false, 0, broke("an empty hello")
	}
	rest, err := parse(&f, b)
	switch {
	case err != nil || f.kind != kindHello || len(rest) > 0 || len(f.payload) != len(id):
		return id, false, 0, broke("no hello")
	case f.n[0] != version:
		return id, false, 0, broke("another version")
	}
	copy(id[:], f.payload)
	theirs = time.Duration(min(f.n[1], uint64(mostHeartbeat/time.Millisecond))) * time.Millisecond
	return id, f.flags&flagResume != 0, theirs, nil
}

const mostHeartbeat = time.Minute

// drain closes all channels and waits until the peer has seen it, and with Ack
// has acknowledged everything, or ctx ends, or there is nobody to wait for.
func (s *session) drain(ctx context.Context) {
	s.mu.Lock()
	for _, c := range s.chans {
		c.full = true
		c.closeSent = false
		c.closing = false
		c.closeSend()
	}
	for len(s.chans) > 0 && ctx.Err() == nil && (s.conn != nil || s.holds()) {
		s.mu.Unlock()
		select {
		case <-s.empty:
		case <-ctx.Done():
		}
		s.mu.Lock()
	}
	s.mu.Unlock()
	s.flush(ctx)
}

// holds says whether messages wait for a connection.
func (s *session) holds() bool {
	for _, c := range s.chans {
		if c.held.len() > 0 {
			return true
		}
	}
	return false
}
