// Package faulttest makes a network misbehave in tests, by script or by chance.
//
//	client := &http.Client{Transport: &faulttest.Transport{
//		Base: http.DefaultTransport,
//		Plan: faulttest.Script(
//			faulttest.Fault{What: faulttest.Lose}, // the order is placed, the answer is lost
//			faulttest.Fault{Delay: 3 * time.Second},
//		)}} // and from then on all is well
//
// The same plan does the same each time. All waits are on the time package, so
// inside testing/synctest they take no time; Network is a network in memory for
// it. It starts no goroutine. It is for tests: in a running system use a proxy
// such as toxiproxy.
package faulttest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"
)

// What goes wrong.
type What uint8

// What can go wrong. Each happens to one request of a Transport, or to one
// connection of a Network, Dialer or Listener, where bytes are those that come
// in.
const (
	Pass     What = iota // nothing
	Refuse               // the connection is refused; nothing was sent
	Drop                 // nothing is sent and nothing ever comes back
	Reset                // the connection is reset before the target sees a thing; of a connection, after At bytes
	Lose                 // the target does what it was asked, then the connection is reset; of a connection, like Reset
	Answer               // another than the target answers, with Status, Header and Body; of a connection, like Reset
	Truncate             // the body ends after At bytes, too early
	Stall                // the body stops after At bytes and does not end
	Corrupt              // the byte at offset At has one bit wrong, and nobody says so
	Trickle              // the body comes At bytes at a time, a Pause before each
)

var names = [...]string{"pass", "refuse", "drop", "reset", "lose", "answer", "truncate", "stall", "corrupt", "trickle"}

// String is the name in lower case.
func (w What) String() string {
	if int(w) < len(names) {
		return names[w]
	}
	return fmt.Sprintf("What(%d)", uint8(w))
}

// Fault is the fate of one request or connection. The zero value is no fault.
// It is plain data.
type Fault struct {
	What  What
	Delay time.Duration // before anything else, What included; 0 or negative means none
	At    int64         // bytes let through before Truncate, Stall, Reset and Corrupt, or at a time by Trickle (0 means 1); negative means 0
	Pause time.Duration // of Trickle; 0 or negative means 1s
	// Of Answer: the status, 0 means 503, and the rest.
	Status int
	Header http.Header
	Body   string
}

// Plan gives request or connection n, counted from 0 in the order they come, its
// fate. It must be safe for concurrent use, and the same n must have the same
// fate. A nil Plan passes all.
type Plan func(n int) Fault

func (p Plan) fate(n int) Fault {
	if p == nil {
		return Fault{}
	}
	return p(n)
}

// Script plans the given faults, one after the other, and none after them.
func Script(faults ...Fault) Plan {
	return func(n int) Fault {
		if n < len(faults) {
			return faults[n]
		}
		return Fault{}
	}
}

// Always plans the same fault for all.
func Always(f Fault) Plan { return func(int) Fault { return f } }

// Odds is a fault and how likely it is.
type Odds struct {
	Share float64 // 0 to 1
	Fault Fault
}

// Seeded plans each fault with its share of all, and none for the rest, the same
// way for the same seed, however many ask at once. A fault's Delay is the most:
// each is drawn evenly from nothing to it.
func Seeded(seed uint64, odds ...Odds) Plan {
	return func(n int) Fault {
		r := rand.New(rand.NewPCG(seed, uint64(n)))
		draw := r.Float64()
		for _, o := range odds {
			if draw -= o.Share; draw < 0 {
				o.Fault.Delay = time.Duration(r.Float64() * float64(o.Fault.Delay))
				return o.Fault
			}
		}
		return Fault{}
	}
}

// During plans as in from start for length, and passes before and after: an
// outage.
func During(start time.Time, length time.Duration, in Plan) Plan {
	return func(n int) Fault {
		if d := time.Since(start); d >= 0 && d < length {
			return in.fate(n)
		}
		return Fault{}
	}
}

// tally counts what happened.
type tally struct {
	mu   sync.Mutex
	n    int
	what map[What]int
}

// next draws the next fate.
func (t *tally) next(p Plan) Fault {
	t.mu.Lock()
	n := t.n
	t.n++
	t.mu.Unlock()
	f := p.fate(n) // not under the lock: it is the user's
	f.At = max(f.At, 0)
	if f.What == Trickle {
		f.At = max(f.At, 1)
		if f.Pause <= 0 {
			f.Pause = time.Second
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.what == nil {
		t.what = map[What]int{}
	}
	t.what[f.What]++
	return f
}

func (t *tally) counts() map[What]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.what)
}

// patience is how long a lost request is waited for when nothing else ends the
// wait: what Linux takes to give up a connection nobody answers
// (tcp_syn_retries 6).
const patience = 127 * time.Second

// The errors are those of a real network, so that errors.Is and errors.As find
// in them what they would there.
func reset() error {
	return &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
}

func refused() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

func timedOut() error {
	return &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ETIMEDOUT)}
}

var errClosed = errors.New("faulttest: the body was closed")
