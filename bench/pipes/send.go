package main

import (
	"context"
	"fmt"
	"time"
)

// sender gives messages to a wire, one goroutine at a time.
type sender interface {
	// Send gives b to the wire; b is the caller's again when it returns. It
	// blocks while the wire is full.
	Send(ctx context.Context, b []byte) error
	// Flush says that there is nothing more to send for now. A wire that
	// flushes by itself does nothing.
	Flush() error
	Close() error
}

// quantum is how short a pause of a paced sender is at least: a message that
// is due meanwhile waits for its end, which counts as latency.
const quantum = 20 * time.Microsecond

// source numbers the messages of one sender.
type source struct {
	to   sender
	b    []byte
	next uint64
}

// flood sends as fast as the wire takes it, and returns how many it sent.
func (s *source) flood(ctx context.Context, each time.Duration) (int64, error) {
	every := max(1, 16<<10/len(s.b)) // so often is the clock read
	end := time.Now().Add(each)
	for n := int64(1); ; n++ {
		kind := byte(0)
		if n%int64(every) == 0 && time.Now().After(end) {
			kind = last
		}
		if err := s.send(ctx, 0, kind); err != nil {
			return n, err
		}
		if kind == last {
			return n, s.to.Flush()
		}
	}
}

// pace sends rate messages a second, whatever becomes of them. Each carries
// the time it was due: if the wire blocks, the wait counts for all that were
// due meanwhile.
func (s *source) pace(ctx context.Context, rate float64, each time.Duration) (int64, error) {
	gap := float64(time.Second) / rate
	all := max(1, int64(float64(each)/gap))
	began, free := time.Now(), exact()
	defer free()
	for n := int64(0); n < all; {
		due := time.Duration(float64(n) * gap)
		if ahead := due - time.Since(began); ahead > 0 {
			if err := s.to.Flush(); err != nil {
				return n, err
			}
			pause(max(ahead, quantum))
			continue
		}
		kind := byte(0)
		if n == all-1 {
			kind = last
		}
		if err := s.send(ctx, began.Add(due).UnixNano(), kind); err != nil {
			return n, err
		}
		n++
	}
	return all, s.to.Flush()
}

func (s *source) send(ctx context.Context, due int64, kind byte) error {
	stamp(s.b, s.next, due, kind)
	if err := s.to.Send(ctx, s.b); err != nil {
		return fmt.Errorf("message %d: %w", s.next, err)
	}
	s.next++
	return nil
}
