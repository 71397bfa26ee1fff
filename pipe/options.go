package pipe

import (
	"github.com/surefoot-go/surefoot/errs"
)

// Options are the properties of one channel. Both sides give theirs, and the
// smaller bound counts for both directions; Ack must be the same on both. The
// zero value is a channel of 64 messages without acknowledgement. It is plain
// data.
type Options struct {
	// Capacity is how many messages may be sent and not yet taken from C, as
	// in make(chan T, Capacity); 0 means 64, at most 65536 are kept to.
	// Negative means unbuffered: Send returns when the message was taken, or
	// with Manual acknowledged. A sender that has used up the window hears of
	// room when half of it was taken, so that a message of credit serves many.
	Capacity int
	// Bytes bounds the same in bytes; 0 or negative means 4 MiB. One message is always
	// let through. A channel takes this much memory on the receiving side if
	// its messages are not taken, and with Ack as much on the sending side.
	Bytes int
	// MaxMessage is the longest message in bytes; 0 or negative means 128 KiB,
	// at most 64 MiB. Send refuses longer ones.
	MaxMessage int
	// Ack keeps each message with its sender until it is acknowledged, and
	// sends it again after a reconnect: see the package comment.
	Ack bool
	// Manual means that a message this side receives is acknowledged by
	// Message.Ack and not when it is taken from C. It needs Ack. It is this
	// side's own business: the other side need not set it.
	Manual bool
}

const (
	defaultCapacity   = 64
	defaultBytes      = 4 << 20
	defaultMaxMessage = 128 << 10
	mostCapacity      = 1 << 16
	mostMessage       = 64 << 20
	mostBytes         = 1 << 40
	mostTopic         = 255
	handoff           = 16 // most messages inside the Go channel of C
)

// OrDefault returns o with every zero field replaced by its default.
func (o Options) OrDefault() Options {
	switch {
	case o.Capacity == 0:
		o.Capacity = defaultCapacity
	case o.Capacity < 0:
		o.Capacity = -1
	}
	o.Capacity = min(o.Capacity, mostCapacity)
	if o.Bytes <= 0 {
		o.Bytes = defaultBytes
	}
	o.Bytes = min(o.Bytes, mostBytes)
	if o.MaxMessage <= 0 {
		o.MaxMessage = defaultMaxMessage
	}
	o.MaxMessage = min(o.MaxMessage, mostMessage)
	return o
}

// window is how many messages may be on their way: an unbuffered channel has
// one, and its Send waits for it.
func (o Options) window() uint64 { return uint64(max(o.Capacity, 1)) }

// handoff is the capacity of the Go channel of C. The rest of the window
// waits in a queue of ours, because a Go channel does not tell when something
// was taken from it: only a send that had to wait does. With at most half the
// window in the Go channel, in messages and in bytes, a sender that has used
// up its window is always told in the end (see (*inbox).due). An
// acknowledgement must come even if nothing follows, so with Ack there is none.
func (o Options) handoff() int {
	if o.Ack {
		return 0
	}
	return max(0, min(handoff, o.Capacity/2, o.Bytes/2/o.MaxMessage))
}

// meet returns what both sides agree on.
func (o Options) meet(p Options) Options {
	o.Capacity = min(o.Capacity, p.Capacity)
	o.Bytes = min(o.Bytes, p.Bytes)
	o.MaxMessage = min(o.MaxMessage, p.MaxMessage)
	return o
}

// Message is one message received. Its Data belongs to the receiver. Short
// messages that arrive together share memory: one that is kept keeps up to
// 16 KiB of its neighbours.
type Message struct {
	Data []byte
	// Missed is how many messages before this one were lost on the way;
	// negative means that the peer's process or session came anew, and what it
	// had under way before is not known. It is 0 for the first message of a
	// channel.
	Missed int32
	// Duplicate says that the message had been sent before to a process that
	// went away without acknowledging it.
	Duplicate bool

	seq uint64
	in  *inbox
}

// Ack acknowledges the message where Options.Manual asks for it, and does
// nothing otherwise or the second time. Messages may be acknowledged in any
// order and from any goroutine; the sender's window moves over those that are
// acknowledged without a gap.
func (m Message) Ack() {
	if m.in != nil {
		m.in.ack(m.seq)
	}
}

var (
	// ErrClosed says that the channel, or the Link or Listener it belongs to,
	// was closed on this side or by the peer.
	ErrClosed = errs.New(errs.FailedPrecondition, "pipe", "the channel is closed").ID("pipe_closed")
	// ErrLost says that the peer's session is gone, and with it what had not been
	// acknowledged: it did not come back within Listener.Resume, or it came
	// back as another process while Flush or an unbuffered Send waited.
	ErrLost = errs.New(errs.Unavailable, "pipe", "the peer went away before it had taken everything").ID("pipe_lost")
	// ErrTooLong says that a message is longer than Options.MaxMessage of
	// either side.
	ErrTooLong = errs.New(errs.Invalid, "pipe.Send", "the message is longer than the channel takes").ID("pipe_too_long")
	// ErrRefused says that the listener does not take this topic from this
	// peer. It does not say why.
	ErrRefused = errs.New(errs.Forbidden, "pipe.Open", "the listener does not take this topic from here").ID("pipe_refused")
	// ErrMismatch says that the two sides do not agree on Options.Ack.
	ErrMismatch = errs.New(errs.FailedPrecondition, "pipe.Open", "the listener has another setting of Ack for this topic").ID("pipe_mismatch")
	// ErrBusy says that the listener has as many channels as it takes.
	ErrBusy = errs.New(errs.TooMany, "pipe.Open", "the listener has too many channels open").ID("pipe_busy")
)
