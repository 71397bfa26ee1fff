package pipe

import (
	"context"
	"sync"

	"github.com/surefoot-go/surefoot/safe"
)

// An inbox is the receiving half of a channel. The connection's reader puts
// messages into it and never waits; who receives takes them from a Go channel.
//
// While that has room the reader fills it itself. When it is full the messages
// queue up in over and a pump, a goroutine that lives as long as the queue is
// not empty, moves them. A sender that has used up its window hears of room in
// the end: after the last message that had arrived was put into the Go
// channel, at most half the window is in there, and so the other half was taken
// and can be told.
type inbox struct {
	tell func(news) // the peer
	s    *session

	mu     sync.Mutex
	opt    Options
	out    chan Message
	sizes  []uint32 // of what was put into out and not seen taken, oldest first
	over   queue[Message]
	pend   queue[pending] // with Manual, what was received and not released
	stop   chan struct{}  // closed to end the pump
	missed int32          // what the next message will say
	epoch  uint32         // counts the peer's sessions

	pumping bool
	eof     bool // the peer has closed: after over is empty, out is closed
	dead    bool // this side has closed: what comes is dropped
	closed  bool // out is, or will be when it is made

	// Messages and bytes since the channel began. base is where the peer's
	// session began: all before it is not the peer's business any more.
	base, received, released, told                     uint64
	baseBytes, receivedBytes, releasedBytes, toldBytes uint64
}

// pending is a message that the receiver has to acknowledge.
type pending struct {
	size  uint32
	acked bool
}

// stale is the size of a message of an earlier session of the peer.
const stale = ^uint32(0)

// C is the Go channel. It is made when somebody asks.
func (in *inbox) C() <-chan Message {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.make()
	return in.out
}

func (in *inbox) make() {
	if in.out == nil {
		in.out = make(chan Message, in.opt.handoff())
		if in.closed {
			close(in.out)
		}
	}
}

// deliver takes a message from the peer; false means that the peer sent more
// than it may.
func (in *inbox) deliver(data []byte, dup bool) bool {
	in.mu.Lock()
	size := uint64(len(data))
	flight, bytes := in.received-in.told, in.receivedBytes-in.toldBytes
	if flight >= in.opt.window() || flight > 0 && bytes+size > uint64(in.opt.Bytes) {
		in.mu.Unlock()
		return false
	}
	in.received++
	in.receivedBytes += size
	if in.dead || in.eof {
		in.released, in.releasedBytes = in.received, in.receivedBytes
		in.mu.Unlock()
		return true
	}
	m := Message{Data: data, Duplicate: dup, Missed: in.missed, seq: in.received}
	in.missed = 0
	if in.opt.Manual {
		m.in = in
		in.pend.push(pending{size: uint32(size)})
	}
	in.make()
	if in.pumping {
		in.over.push(m)
	} else {
		select {
		case in.out <- m:
			in.gone(m)
		default:
			in.over.push(m)
			in.pumping = true
			if in.stop == nil {
				in.stop = make(chan struct{})
			}
			in.s.pumps.Add(1)
			safe.Go(context.Background(), "pipe pump", in.pump)
		}
	}
	in.mu.Unlock()
	return true
}

// gone counts m, which was put into out.
func (in *inbox) gone(m Message) {
	switch {
	case in.opt.Manual:
	case cap(in.out) > 0:
		size := uint32(len(m.Data))
		if m.seq <= in.base {
			size = stale
		}
		in.sizes = append(in.sizes, size)
	case m.seq > in.base:
		in.released++
		in.releasedBytes += uint64(len(m.Data))
	}
}

// due says whether the peer should be told what was released, and marks it as
// told.
func (in *inbox) due() (n news, ok bool) {
	taken := len(in.sizes) - len(in.out)
	if taken > 0 {
		for _, size := range in.sizes[:taken] {
			if size != stale {
				in.released++
				in.releasedBytes += uint64(size)
			}
		}
		in.sizes = append(in.sizes[:0], in.sizes[taken:]...)
	}
	fresh := in.released - in.told
	ok = fresh > 0 && (2*fresh >= in.opt.window() || 2*(in.releasedBytes-in.toldBytes) >= uint64(in.opt.Bytes) ||
		in.opt.Ack && in.released == in.received)
	if ok {
		in.told, in.toldBytes = in.released, in.releasedBytes
	}
	return news{in.epoch, in.told - in.base, in.toldBytes - in.baseBytes}, ok
}

// news is what the peer should be told: how much was released in its session.
type news struct {
	epoch           uint32
	messages, bytes uint64
}

// after tells the peer what was released, if that is enough.
func (in *inbox) after() {
	in.mu.Lock()
	n, ok := in.due()
	in.mu.Unlock()
	if ok {
		in.tell(n)
	}
}

// pump moves messages from over to out until there are none.
func (in *inbox) pump(context.Context) error {
	defer in.s.pumps.Done()
	for {
		in.mu.Lock()
		m, more := in.fill()
		if !more {
			in.pumping = false
			if in.eof || in.dead {
				in.shut()
			}
		}
		n, ok := in.due()
		in.mu.Unlock()
		if ok {
			in.tell(n)
		}
		if !more {
			return nil
		}
		select {
		case in.out <- m:
			in.mu.Lock()
			in.gone(m)
			in.mu.Unlock()
		case <-in.stop:
		case <-in.s.quit:
			in.kill()
		}
	}
}

// fill moves messages for as long as out has room, and returns the first that
// must wait.
func (in *inbox) fill() (Message, bool) {
	for !in.dead && in.over.len() > 0 {
		m := in.over.pop()
		select {
		case in.out <- m:
			in.gone(m)
		default:
			return m, true
		}
	}
	return Message{}, false
}

// ack is Message.Ack.
func (in *inbox) ack(seq uint64) {
	in.mu.Lock()
	if seq <= in.released || seq > in.received || in.dead {
		in.mu.Unlock()
		return
	}
	in.pend.at(int(seq - in.released - 1)).acked = true
	for in.pend.len() > 0 && in.pend.at(0).acked {
		in.released++
		in.releasedBytes += uint64(in.pend.pop().size)
	}
	n, ok := in.due()
	in.mu.Unlock()
	if ok {
		in.tell(n)
	}
}

// settled says whether the peer was told of all it had sent.
func (in *inbox) settled() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.told == in.received
}

// finish closes out after everything that has arrived was taken.
func (in *inbox) finish() {
	in.mu.Lock()
	in.eof = true
	if !in.pumping {
		in.shut()
	}
	in.mu.Unlock()
}

// kill closes out now. What is inside it can still be taken.
func (in *inbox) kill() {
	in.mu.Lock()
	if !in.dead {
		in.dead = true
		in.over, in.pend = queue[Message]{}, queue[pending]{}
		if in.stop != nil {
			close(in.stop)
		}
		if !in.pumping {
			in.shut()
		}
	}
	in.mu.Unlock()
}

func (in *inbox) shut() {
	if !in.closed {
		in.closed = true
		if in.out != nil {
			close(in.out)
		}
	}
}

// lost says that n messages did not arrive; negative means that nobody knows.
func (in *inbox) lost(n int64) {
	in.mu.Lock()
	switch {
	case n < 0 || in.missed < 0:
		in.missed = -1
	default:
		in.missed = int32(min(int64(in.missed)+n, 1<<30))
	}
	in.mu.Unlock()
}

// state is what a resumed session says about the channel.
func (in *inbox) state() [4]uint64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.due()
	in.told, in.toldBytes = in.released, in.releasedBytes
	return [4]uint64{in.received - in.base, in.receivedBytes - in.baseBytes,
		in.released - in.base, in.releasedBytes - in.baseBytes}
}

// restart begins to count anew, for a new session of the peer. What is here
// of the old one can still be taken, up to one window of it: so there are
// never more than two windows of messages here, however often the peer comes
// anew.
func (in *inbox) restart() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.due()
	for i := range in.sizes {
		in.sizes[i] = stale
	}
	dropped := 0
	for bytes := 0; ; dropped++ {
		bytes = 0
		for i := range in.over.len() {
			bytes += len(in.over.at(i).Data)
		}
		if in.over.len() <= int(in.opt.window()) && bytes <= in.opt.Bytes {
			break
		}
		in.over.pop()
	}
	if dropped > 0 {
		in.s.stats.missed.Add(int64(dropped))
		if in.over.len() > 0 {
			in.over.at(0).Missed = int32(dropped)
		}
	}
	in.pend = queue[pending]{}
	in.epoch++
	in.base, in.released, in.told = in.received, in.received, in.received
	in.baseBytes, in.releasedBytes, in.toldBytes = in.receivedBytes, in.receivedBytes, in.receivedBytes
	in.missed = -1
}

// A queue is first in, first out. It gives its memory back when it is empty.
type queue[T any] struct {
	items []T
	head  int
}

func (q *queue[T]) len() int { return len(q.items) - q.head }

func (q *queue[T]) at(i int) *T { return &q.items[q.head+i] }

func (q *queue[T]) push(v T) {
	if q.head > 0 && len(q.items) == cap(q.items) && q.head >= len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, v)
}

func (q *queue[T]) pop() T {
	var zero T
	v := q.items[q.head]
	q.items[q.head] = zero
	q.head++
	if q.head == len(q.items) {
		q.head = 0
		if cap(q.items) > 1024 {
			q.items = nil
		} else {
			q.items = q.items[:0]
		}
	}
	return v
}

// An arena copies what the reader hands out: short messages into shared
// chunks, one allocation for many.
type arena struct{ free []byte }

const (
	arenaChunk = 16 << 10
	arenaShort = 2 << 10
)

func (a *arena) copy(p []byte) []byte {
	if len(p) > arenaShort {
		return append([]byte(nil), p...) // it need not be zeroed first
	}
	if len(a.free) < len(p) {
		a.free = make([]byte, arenaChunk)
	}
	b := a.free[:len(p):len(p)]
	a.free = a.free[len(p):]
	copy(b, p)
	return b
}
