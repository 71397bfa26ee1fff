package pipe

import (
	"encoding/binary"
	"errors"
	"math"
)

// A record holds whole frames. The first byte of a frame is its kind, and in
// the high half its flags; then come the number of the channel, the numbers of
// its kind and, where it has one, the payload with its length, all numbers as
// uvarints. Nothing else is on the wire: the order of records, and that none
// is missing or forged, is the business of package seal.
const (
	kindData   byte = 1 + iota // a whole message
	kindPart                   // its whole length; the first part of a message
	kindMore                   // the next part
	kindAbort                  // the message begun will not come
	kindCredit                 // messages and bytes released so far
	kindOpen                   // capacity, bytes, longest message; payload: the topic
	kindAccept                 // the same, agreed
	kindRefuse                 // why
	kindClose                  // nothing more will be sent; flagFull: nor read
	kindDone                   // the close and all before it has arrived
	kindReset                  // the channel is not known here
	kindState                  // messages and bytes received, messages and bytes released
	kindGap                    // messages lost before the next
	kindPing                   // no channel; nothing
	kindHello                  // no channel; version, heartbeat in ms; payload: the session
	kinds
)

// The flags of a frame.
const (
	flagDup    = 0x10 // of Data, Part: sent before
	flagFull   = 0x10 // of Close
	flagAck    = 0x10 // of Open
	flagResume = 0x10 // of Hello: the session is to go on, or does
)

// shapes says what a kind has after its first byte.
var shapes = [kinds]struct {
	channel bool
	numbers int
	payload bool
	flags   byte
}{
	kindData:   {true, 0, true, flagDup},
	kindPart:   {true, 1, true, flagDup},
	kindMore:   {true, 0, true, 0},
	kindAbort:  {true, 0, false, 0},
	kindCredit: {true, 2, false, 0},
	kindOpen:   {true, 3, true, flagAck},
	kindAccept: {true, 3, false, 0},
	kindRefuse: {true, 1, false, 0},
	kindClose:  {true, 0, false, flagFull},
	kindDone:   {true, 0, false, 0},
	kindReset:  {true, 0, false, 0},
	kindState:  {true, 4, false, 0},
	kindGap:    {true, 1, false, 0},
	kindPing:   {false, 0, false, 0},
	kindHello:  {false, 2, true, flagResume},
}

// most is how long a frame without payload can be, or the head of one with.
const mostHead = 1 + 5 + 4*binary.MaxVarintLen64 + 5

// A frame is one frame of a record. Its payload is the record's memory.
type frame struct {
	kind    byte
	flags   byte
	channel uint32
	n       [4]uint64
	payload []byte
}

var errFrame = errors.New("pipe: a frame makes no sense")

// parse reads the first frame of a record that is not empty, and returns what
// is left of the record.
func parse(f *frame, rec []byte) ([]byte, error) {
	f.kind, f.flags = rec[0]&0x0f, rec[0]&0xf0
	if f.kind == 0 || f.kind >= kinds {
		return nil, errFrame
	}
	shape := &shapes[f.kind]
	if f.flags&^shape.flags != 0 {
		return nil, errFrame
	}
	rec = rec[1:]
	f.channel, f.payload = 0, nil
	if shape.channel {
		v, n := uvarint(rec)
		if n <= 0 || v == 0 || v > math.MaxUint32 {
			return nil, errFrame
		}
		f.channel, rec = uint32(v), rec[n:]
	}
	for i := range shape.numbers {
		v, n := binary.Uvarint(rec)
		if n <= 0 || v > math.MaxInt64 {
			return nil, errFrame
		}
		f.n[i], rec = v, rec[n:]
	}
	if shape.payload {
		v, n := uvarint(rec)
		if n <= 0 || v > uint64(len(rec)-n) {
			return nil, errFrame
		}
		rec = rec[n:]
		f.payload, rec = rec[:v:v], rec[v:]
	}
	return rec, nil
}

// uvarint is binary.Uvarint with the usual short number in line.
func uvarint(b []byte) (uint64, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return binary.Uvarint(b)
}

// appendHead appends a frame up to its payload.
func appendHead(b []byte, kindFlags byte, channel uint32, n ...uint64) []byte {
	b = append(b, kindFlags)
	if channel != 0 {
		b = binary.AppendUvarint(b, uint64(channel))
	}
	for _, v := range n {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

// appendPayload appends a payload and its length.
func appendPayload(b, payload []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(payload)))
	return append(b, payload...)
}

// appendData appends a Data frame.
func appendData(b []byte, flags byte, channel uint32, data []byte) []byte {
	b = append(b, kindData|flags)
	b = binary.AppendUvarint(b, uint64(channel))
	b = binary.AppendUvarint(b, uint64(len(data)))
	return append(b, data...)
}
