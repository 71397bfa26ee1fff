package pipe

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/surefoot-go/surefoot/pipe/seal"
)

// records is the connection below: whole, sealed records in order.
// *seal.Conn is one.
type records interface {
	WriteRecord(b []byte) error // b has seal.Head free bytes before the payload
	ReadRecord() ([]byte, error)
	MaxPayload() int
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	Close() error
}

const (
	mostBatch    = 256 << 10 // most bytes in a record
	mostFragment = 64 << 10  // most bytes of a message in a frame
	quantum      = 64 << 10  // most bytes of a channel before others have their turn
	leastPart    = 8 << 10   // smaller rests of a record are not worth a part
)

// attached is a session's connection. All but rec is guarded by session.mu.
type attached struct {
	rec        records
	out, spare []byte
	limit      int // most bytes of out, with seal.Head
	fragment   int
	idle       bool // the writer waits for wake
	wake       chan struct{}
	done       chan struct{} // closed when the connection is over
	flushed    chan struct{} // see flush
	stopped    atomic.Bool
}

// stop has the reader, and so the connection, end. It may be called at any
// time.
func (a *attached) stop() {
	a.stopped.Store(true)
	a.rec.SetReadDeadline(time.Now())
}

func newAttached(rec records) *attached {
	limit := min(mostBatch, rec.MaxPayload())
	return &attached{rec: rec, limit: seal.Head + limit, fragment: min(mostFragment, limit-mostHead),
		out: make([]byte, seal.Head, 1<<10), spare: make([]byte, seal.Head, 1<<10),
		wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// room says whether n bytes more fit into the record, and makes them fit into
// the buffer.
func (a *attached) room(n int) bool {
	need := len(a.out) + n
	if need > a.limit {
		return false
	}
	if need+seal.Tail > cap(a.out) {
		b := make([]byte, len(a.out), min(max(2*cap(a.out), need+seal.Tail), a.limit+seal.Tail))
		copy(b, a.out)
		a.out = b
	}
	return true
}

// left is how many bytes fit into the record.
func (a *attached) left() int { return a.limit - len(a.out) }

// kick wakes the writer if it sleeps.
func (a *attached) kick() {
	if a.idle {
		a.idle = false
		a.wake <- struct{}{}
	}
}

// fifo is the channels that have something to write, each once.
type fifo struct{ head, tail *Channel }

func (f *fifo) push(c *Channel) {
	if f.tail == nil {
		f.head = c
	} else {
		f.tail.after = c
	}
	f.tail = c
}

func (f *fifo) pop() *Channel {
	c := f.head
	f.head, c.after = c.after, nil
	if f.head == nil {
		f.tail = nil
	}
	return c
}

// touch has the writer look at c. It is called with s.mu locked.
func (s *session) touch(c *Channel) {
	if !c.queued {
		c.queued = true
		s.ready.push(c)
	}
	if s.conn != nil {
		s.conn.kick()
	}
}

// write is the writer: whatever has come together while it wrote one record is
// the next.
func (s *session) write(a *attached) error {
	beat := time.NewTimer(s.heartbeat)
	defer beat.Stop()
	s.mu.Lock()
	for {
		s.fill(a)
		if len(a.out) == seal.Head {
			a.idle = true
			if a.flushed != nil {
				close(a.flushed)
				a.flushed = nil
			}
			s.mu.Unlock()
			select {
			case <-a.wake:
				s.mu.Lock()
			case <-beat.C:
				s.mu.Lock()
				a.idle = false
				select {
				case <-a.wake:
				default:
				}
				if len(a.out) == seal.Head {
					a.out = append(a.out, kindPing)
				}
			case <-a.done:
				return nil
			}
			continue
		}
		full := a.out
		a.out, a.spare = a.spare[:seal.Head], nil
		s.fill(a)
		s.mu.Unlock()
		a.rec.SetWriteDeadline(time.Now().Add(s.limit))
		if err := a.rec.WriteRecord(full); err != nil {
			return err
		}
		beat.Reset(s.heartbeat)
		s.mu.Lock()
		a.spare = full[:seal.Head]
	}
}

// fill moves what channels have to write into the record, each up to a quantum
// in turn.
func (s *session) fill(a *attached) {
	for len(s.replies) > 0 && a.room(mostHead) {
		r := s.replies[0]
		s.replies = s.replies[1:]
		if r.kind == kindRefuse {
			a.out = appendHead(a.out, r.kind, r.channel, r.n)
		} else {
			a.out = appendHead(a.out, r.kind, r.channel)
		}
	}
	for s.ready.head != nil && a.left() > mostHead+mostTopic {
		c := s.ready.pop()
		c.queued = false
		if c.state != over && c.emit(a) {
			c.queued = true
			s.ready.push(c)
			if a.left() < leastPart {
				return
			}
		}
	}
}

// emit writes what c has to, up to a quantum, and says whether there is more
// that could go.
func (c *Channel) emit(a *attached) bool {
	if !c.emitDue(a) {
		return true
	}
	if !c.synced {
		return false
	}
	for quota := quantum; quota > 0; {
		n, more := c.emitMessage(a)
		if n == 0 {
			if more {
				return true
			}
			break
		}
		if quota -= n; quota <= 0 {
			return true
		}
	}
	if c.closing && !c.closeSent && c.ops.len() == 0 && c.next == c.held.len() {
		if !a.room(mostHead) {
			return true
		}
		kind := kindClose
		if c.full {
			kind |= flagFull
		}
		a.out = appendHead(a.out, kind, c.id)
		c.closeSent = true
	}
	c.s.remove(c)
	return false
}

// emitDue writes control frames; false means that there is no room.
func (c *Channel) emitDue(a *attached) bool {
	for c.due != 0 {
		if !a.room(mostHead + mostTopic) {
			return false
		}
		bit := c.due & -c.due
		c.due &^= bit
		o := c.opt
		switch bit {
		case dueOpen:
			kind := kindOpen
			if o.Ack {
				kind |= flagAck
			}
			a.out = appendHead(a.out, kind, c.id, uint64(o.Capacity+1), uint64(o.Bytes), uint64(o.MaxMessage))
			a.out = appendPayload(a.out, []byte(c.topic))
		case dueAccept:
			a.out = appendHead(a.out, kindAccept, c.id, uint64(o.Capacity+1), uint64(o.Bytes), uint64(o.MaxMessage))
		case dueState:
			n := c.in.state()
			a.out = appendHead(a.out, kindState, c.id, n[:]...)
			c.due &^= dueCredit
		case dueGap:
			a.out = appendHead(a.out, kindGap, c.id, c.gap)
		case dueCredit:
			a.out = appendHead(a.out, kindCredit, c.id, c.credit[:]...)
		case dueAbort:
			a.out = appendHead(a.out, kindAbort, c.id)
		case dueDone:
			a.out = appendHead(a.out, kindDone, c.id)
			c.doneSent = true
		}
	}
	return true
}

// emitMessage writes the next message or a part of it, n bytes on the wire. If
// n is 0, more says whether room was missing.
func (c *Channel) emitMessage(a *attached) (n int, more bool) {
	var data []byte
	var flags byte
	switch {
	case c.opt.Ack && c.next < c.held.len():
		m := c.held.at(c.next)
		data = m.data
		if m.dup {
			flags = flagDup
		}
	case !c.opt.Ack && c.ops.len() > 0:
		data = (*c.ops.at(0)).data
	default:
		return 0, false
	}
	if c.off == 0 && !c.clear(len(data)) {
		return 0, false
	}
	size := len(data) - c.off
	if size > a.fragment || size+mostHead > a.left() {
		size = min(a.fragment, a.left()-mostHead)
		if size < leastPart && size < a.fragment {
			return 0, true
		}
	}
	if !a.room(size + mostHead) {
		return 0, true
	}
	piece := data[c.off : c.off+size]
	switch {
	case size == len(data):
		a.out = appendData(a.out, flags, c.id, data)
	case c.off == 0:
		a.out = appendPayload(appendHead(a.out, kindPart|flags, c.id, uint64(len(data))), piece)
	default:
		a.out = appendPayload(appendHead(a.out, kindMore, c.id), piece)
	}
	if c.off += size; c.off == len(data) {
		c.off = 0
		c.wrote(len(data))
		if c.opt.Ack {
			c.next++
		} else {
			c.accepted++
			c.complete()
		}
	}
	return size + 4, false
}

// complete ends the oldest call of Send that waits.
func (c *Channel) complete() {
	o := c.ops.pop()
	o.at, o.err = c.accepted, nil
	o.done <- struct{}{}
}

// admitOps lets calls of Send go on that waited until the window moved.
func (c *Channel) admitOps() {
	for c.opt.Ack && c.ops.len() > 0 {
		data := (*c.ops.at(0)).data
		if !c.holds(len(data)) {
			return
		}
		c.hold(data)
		c.complete()
	}
}

// grant tells the peer of c what was released.
func (c *Channel) grant(n news) {
	s := c.s
	s.mu.Lock()
	if c.state != over && n.epoch == c.epoch && n.messages >= c.credit[0] {
		c.credit = [2]uint64{n.messages, n.bytes}
		c.due |= dueCredit
		s.touch(c)
	}
	s.mu.Unlock()
}

// flush waits until the writer has nothing to do.
func (s *session) flush(ctx context.Context) {
	s.mu.Lock()
	a := s.conn
	if a == nil || a.idle && len(a.out) == seal.Head {
		s.mu.Unlock()
		return
	}
	if a.flushed == nil {
		a.flushed = make(chan struct{})
	}
	done := a.flushed
	s.mu.Unlock()
	select {
	case <-done:
	case <-a.done:
	case <-ctx.Done():
	}
}
