package pipe

import (
	"bytes"
	"errors"
	"time"
)

// read is the reader of a connection.
func (s *session) read(a *attached) error {
	var (
		f    frame
		mem  arena
		c    *Channel
		last time.Time
	)
	for {
		if now := time.Now(); now.Sub(last) > s.heartbeat/4 {
			last = now
			a.rec.SetReadDeadline(now.Add(s.limit))
			if a.stopped.Load() {
				return errStopped
			}
		}
		rec, err := a.rec.ReadRecord()
		if err != nil {
			return err
		}
		c = nil
		for len(rec) > 0 {
			if rec, err = parse(&f, rec); err != nil {
				return broke("a frame makes no sense")
			}
			if f.kind == kindPing {
				continue
			}
			if f.kind == kindHello {
				return broke("a second hello")
			}
			if c == nil || c.id != f.channel {
				if c != nil {
					c.in.after()
				}
				if c, err = s.lookup(&f); err != nil {
					return err
				}
				if c == nil {
					continue
				}
			}
			switch f.kind {
			case kindData, kindPart, kindMore:
				err = c.onData(&f, &mem)
			default:
				s.mu.Lock()
				err = c.on(&f)
				gone := c.state == over
				s.mu.Unlock()
				if gone {
					c = nil
				}
			}
			if err != nil {
				return err
			}
		}
		if c != nil {
			c.in.after()
		}
	}
}

var errStopped = errors.New("pipe: the connection was ended on this side")

// lookup finds the channel of a frame, or makes it. It is nil where there is
// nothing to do.
func (s *session) lookup(f *frame) (*Channel, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.chans[f.channel]
	switch {
	case c != nil:
		// The policy may have changed since the channel was opened.
		if !s.dialer && c.state == open && f.kind <= kindMore && s.admit != nil && !s.admit(c.peer, c.topic) {
			c.full = true
			c.closeSend()
			c.closeSent, c.err = false, ErrRefused
			s.touch(c)
			c.in.kill()
		}
		return c, nil
	case f.channel <= s.last:
		switch f.kind {
		case kindOpen, kindState, kindClose:
			return nil, s.reply(kindReset, f.channel, 0)
		}
		return nil, nil
	case f.kind != kindOpen || s.dialer:
		return nil, broke("a channel that was not opened")
	}
	s.last = f.channel
	o, ok := proposed(f)
	if !ok || len(f.payload) > mostTopic {
		return nil, broke("an open that makes no sense")
	}
	if len(s.chans) >= s.most {
		s.stats.refused.Add(1)
		return nil, s.reply(kindRefuse, f.channel, uint64(busy))
	}
	c = s.channel(f.channel, string(f.payload))
	if why := s.opened(c, o); why != accepted {
		delete(s.chans, c.id)
		s.stats.channels.Add(-1)
		s.stats.refused.Add(1)
		return nil, s.reply(kindRefuse, f.channel, uint64(why))
	}
	c.due |= dueAccept
	s.touch(c)
	return nil, nil
}

func (s *session) reply(kind byte, channel uint32, n uint64) error {
	if len(s.replies) >= mostReplies {
		return broke("too much about channels that are not there")
	}
	s.replies = append(s.replies, reply{kind, channel, n})
	s.conn.kick()
	return nil
}

// proposed reads the options in an Open or Accept frame.
func proposed(f *frame) (Options, bool) {
	if f.n[0] > mostCapacity+1 || f.n[1] == 0 || f.n[1] > mostBytes || f.n[2] == 0 || f.n[2] > mostMessage || f.n[0] == 1 {
		return Options{}, false
	}
	return Options{Capacity: int(f.n[0]) - 1, Bytes: int(f.n[1]), MaxMessage: int(f.n[2]),
		Ack: f.kind == kindOpen && f.flags&flagAck != 0}, true
}

// onData takes a message or a part of one.
func (c *Channel) onData(f *frame, mem *arena) error {
	if c.in.s == nil {
		return broke("a message before the channel is open")
	}
	switch f.kind {
	case kindData:
		if c.part != nil || len(f.payload) > c.opt.MaxMessage {
			return broke("a message is too long or cuts another")
		}
		return c.onMessage(mem.copy(f.payload), f.flags&flagDup != 0)
	case kindPart:
		if c.part != nil || f.n[0] > uint64(c.opt.MaxMessage) || uint64(len(f.payload)) >= f.n[0] {
			return broke("a message is too long or cuts another")
		}
		c.part = append(make([]byte, 0, f.n[0]), f.payload...)
		c.total, c.dup = int(f.n[0]), f.flags&flagDup != 0
		return nil
	}
	if c.part == nil || len(c.part)+len(f.payload) > c.total || len(f.payload) == 0 {
		return broke("a part of no message")
	}
	if c.part = append(c.part, f.payload...); len(c.part) < c.total {
		return nil
	}
	data := c.part
	c.part = nil
	return c.onMessage(data, c.dup)
}

func (c *Channel) onMessage(data []byte, dup bool) error {
	if !c.in.deliver(data, dup) {
		return broke("more than the window allows")
	}
	st := c.s.stats
	st.received.Add(1)
	st.receivedBytes.Add(int64(len(data)))
	if dup {
		st.duplicates.Add(1)
	}
	return nil
}

// on takes a frame that is no message. It is called with s.mu locked.
func (c *Channel) on(f *frame) error {
	s := c.s
	if c.state == over {
		return nil
	}
	if s.dialer && f.kind == kindOpen || !s.dialer && (f.kind == kindAccept || f.kind == kindRefuse) {
		return broke("a frame of the other side's")
	}
	switch f.kind {
	case kindOpen: // again: the answer was lost
		if !bytes.Equal(f.payload, []byte(c.topic)) {
			return broke("a channel opened twice")
		}
		c.due |= dueAccept
		s.touch(c)
		if !c.synced {
			return c.sync([4]uint64{})
		}
	case kindAccept:
		return c.onAccept(f)
	case kindRefuse:
		if c.state == opening {
			c.end(refusal(f.n[0]).err())
			s.hollow()
		}
	case kindReset:
		// The peer is done with the channel, and so has released all of it.
		if c.state == opening {
			c.end(ErrRefused)
		} else {
			c.held, c.next, c.heldBytes, c.off = queue[heldM]{}, 0, 0, 0
			c.wake(nil)
			c.end(ErrClosed)
		}
		s.hollow()
	}
	if c.state != open {
		return nil
	}
	switch f.kind {
	case kindAbort:
		c.part = nil
	case kindCredit:
		if f.n[0] > c.sent || f.n[1] > c.sentBytes || f.n[0] < c.released || f.n[1] < c.releasedBytes {
			return broke("a credit that cannot be")
		}
		c.release(f.n[0], f.n[1])
	case kindState:
		if c.synced {
			return broke("a state nobody asked for")
		}
		return c.sync(f.n)
	case kindGap:
		if f.n[0] < c.heard {
			return broke("a gap that shrinks")
		}
		n := f.n[0] - c.heard
		c.heard = f.n[0]
		s.stats.missed.Add(int64(min(n, 1<<32)))
		c.in.lost(int64(min(n, 1<<30)))
	case kindClose:
		c.peerClosed = true
		c.in.finish()
		c.due |= dueDone
		if f.flags&flagFull != 0 {
			c.peerFull = true
			c.closeSend()
			if n := c.held.len(); n > 0 {
				c.lost += uint64(n)
				s.stats.lost.Add(int64(n))
				c.held, c.next, c.heldBytes, c.off = queue[heldM]{}, 0, 0, 0
			}
			c.wake(ErrClosed)
		}
		s.touch(c)
	case kindDone:
		c.closeDone = c.closeSent
		s.remove(c)
	}
	return nil
}

// onAccept begins a channel, or goes on with it in a new session.
func (c *Channel) onAccept(f *frame) error {
	o, ok := proposed(f)
	if !ok {
		return broke("an accept that makes no sense")
	}
	if c.state != opening {
		return nil
	}
	o.Ack, o.Manual = c.opt.Ack, c.opt.Manual
	if o != c.opt.meet(o) {
		return broke("an accept of more than was asked for")
	}
	if c.epoch > 0 && o.handoff() < c.in.opt.handoff() {
		c.end(ErrMismatch) // its Go channel has been made
		return nil
	}
	c.begin(o)
	c.answered()
	c.s.touch(c)
	return nil
}

// release takes over what the peer has released.
func (c *Channel) release(messages, bytes uint64) {
	if c.opt.Ack && !c.peerFull {
		for range messages - c.released {
			c.heldBytes -= len(c.held.pop().data)
			c.next--
		}
	}
	c.released, c.releasedBytes = messages, bytes
	c.admitOps()
	c.wake(nil)
	if c.ops.len() > 0 || c.next < c.held.len() || c.closing {
		c.s.touch(c)
	}
}

// sync goes on after a reconnect from what has arrived: n is messages and
// bytes received, messages and bytes released.
func (c *Channel) sync(n [4]uint64) error {
	if n[0] > c.sent || n[1] > c.sentBytes || n[2] > n[0] || n[3] > n[1] || n[2] < c.released || n[3] < c.releasedBytes {
		return broke("a state that cannot be")
	}
	missing := c.sent - n[0]
	c.sent, c.sentBytes = n[0], n[1]
	c.synced = true
	c.release(n[2], n[3])
	if c.opt.Ack {
		c.next = min(int(n[0]-n[2]), c.held.len())
	} else if missing > 0 {
		c.lost += missing
		c.gap += missing
		c.due |= dueGap
		c.s.stats.lost.Add(int64(missing))
		c.wake(ErrLost)
	}
	c.s.touch(c)
	return nil
}
