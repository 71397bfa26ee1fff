package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"
)

// A message has a number at both ends, so that one cut or mixed is seen at
// once, and a pattern between; the time is when it was due, 0 if nobody asks.
//
//	8 number | 8 due, ns since 1970 | 1 kind | pattern ... | 8 number
const (
	smallest = 64
	largest  = 64 << 10
	head     = 17
	kindAt   = 16
	last     = 1 // the kind of a round's last message
)

// newMessage is a message of size bytes with its pattern in place.
func newMessage(size int) []byte {
	b := make([]byte, size)
	for i := head; i < size-8; i++ {
		b[i] = byte(i * 7)
	}
	return b
}

// stamp numbers b and says when it was due.
func stamp(b []byte, number uint64, due int64, kind byte) {
	binary.LittleEndian.PutUint64(b, number)
	binary.LittleEndian.PutUint64(b[8:], uint64(due))
	b[kindAt] = kind
	binary.LittleEndian.PutUint64(b[len(b)-8:], number)
}

// arrived is what a receiver saw of a round.
type arrived struct {
	Count int64
	Took  time.Duration // from the first message to the last
	Wrong string        // the first thing that was not as sent
	P50   time.Duration
	P99   time.Duration
	Most  time.Duration
}

// sink takes the messages of a receiver, one at a time, and puts what it saw on
// rounds when a round's last message is there.
type sink struct {
	want   []byte
	next   uint64
	first  time.Time
	now    arrived
	times  histogram
	rounds chan arrived
}

func newSink(size int) *sink {
	return &sink{want: newMessage(size), rounds: make(chan arrived, 1)}
}

// take looks at one message. Every message has its numbers looked at, and each
// sixteenth its whole pattern, which would otherwise cost the fast wires more
// than the wire.
func (s *sink) take(b []byte) {
	if s.now.Count == 0 {
		s.first = time.Now()
	}
	s.now.Count++
	if len(b) != len(s.want) {
		s.wrong("a message of %d bytes, want %d", len(b), len(s.want))
		return
	}
	number, end := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[len(b)-8:])
	if number != s.next || end != number {
		s.wrong("message %d (%d at its end) where %d was next", number, end, s.next)
	}
	s.next = number + 1
	if number%16 == 0 && !bytes.Equal(b[head:len(b)-8], s.want[head:len(b)-8]) {
		s.wrong("message %d has other bytes than were sent", number)
	}
	if due := int64(binary.LittleEndian.Uint64(b[8:])); due != 0 {
		s.times.add(time.Duration(time.Now().UnixNano() - due))
	}
	if b[kindAt] == last {
		s.end()
	}
}

func (s *sink) wrong(format string, args ...any) {
	if s.now.Wrong == "" {
		s.now.Wrong = fmt.Sprintf(format, args...)
	}
}

func (s *sink) end() {
	s.now.Took = time.Since(s.first)
	s.now.P50, s.now.P99, s.now.Most = s.times.quantile(0.5), s.times.quantile(0.99), s.times.most
	s.rounds <- s.now
	s.now, s.times = arrived{}, histogram{}
}
