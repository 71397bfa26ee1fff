// Package shed decides at a server's door which requests to work on, so that
// overload costs the requests that are too many and not all of them.
//
//	var door shed.Door // the zero value works; one per server
//	pass, err := door.Enter(ctx, shed.Request{Priority: shed.Critical, User: "ada"})
//	if err != nil { ... } // a *shed.Refused: answer 503 and its RetryDelay
//	outcome := shed.Ignored
//	defer func() { pass.Done(outcome) }() // also when the handler panics
//	serve()
//	outcome = shed.Success
//
// It admits as many requests at once as the service does well, which it finds
// by itself; refuses at once what cannot be done before its deadline; and lets
// the others wait a moment: the important first, then those of users who have
// not had their share, then, under overload, the newest, because the oldest are
// the ones whose callers are about to give up.
//
// A Door is safe for concurrent use and starts no goroutine. It does not cancel
// work it has admitted, and does not limit calls to others: see package limit.
package shed

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"time"
)

// Priority is how much a request matters; higher is served first, and lower is
// refused first. Any int may be given: beyond the named ones it counts as the
// nearest.
type Priority int

// The levels.
const (
	Background Priority = -2 // nobody waits: batches, prefetching
	Low        Priority = -1 // somebody can do without, or try later
	Normal     Priority = 0  // somebody waits
	Critical   Priority = 1  // money or safety depends on it
)

const levels = 4

// String is "background", "low", "normal" or "critical".
func (p Priority) String() string {
	return [levels]string{"background", "low", "normal", "critical"}[p.level()]
}

// ParsePriority is the reverse of String; false for any other name.
func ParsePriority(name string) (Priority, bool) {
	for p := Background; p <= Critical; p++ {
		if p.String() == name {
			return p, true
		}
	}
	return Normal, false
}

// level is 0 for Background to 3 for Critical.
func (p Priority) level() int { return int(min(max(p, Background), Critical) - Background) }

// Request is what the door knows about a request besides its ctx.
type Request struct {
	Priority Priority
	// User is whoever shares the service fairly with others: a user, a tenant, a
	// peer's address. The requests of "" are nobody's and have no share to exceed.
	User string
	// Op is what is asked for. Operations are told apart, 256 of them and the
	// others together: each has its own latency, by which its deadlines are
	// judged, and one that holds more than half of the places lets the others go
	// first and leaves them an eighth. So one Door does for a whole service.
	Op string
}

// Outcome is what a request that was worked on says about the service's
// capacity.
type Outcome uint8

// The outcomes of a request.
const (
	Ignored  Outcome = iota // nothing: the caller went away, the request was wrong, the handler panicked
	Success                 // the work was done; how long it took counts
	Overload                // it ran out of time, or something behind the service has too much to do
)

// Reason says why a request was refused.
type Reason string

// The reasons.
const (
	Full     Reason = "full"     // the queue was, and nobody in it mattered less
	Waited   Reason = "waited"   // for as long as a request may
	Deadline Reason = "deadline" // it cannot be done before that
)

// Refused is the error for a request that is not worked on.
type Refused struct {
	reason Reason
	after  time.Duration
}

// ErrShed is what every Refused is, for errors.Is.
var ErrShed = errors.New("shed: refused")

// Error says the reason, not the time: like requests fail alike.
func (r *Refused) Error() string { return "shed: refused: " + string(r.reason) }

// Reason says why.
func (r *Refused) Reason() Reason { return r.reason }

// RetryDelay says when to try again at the earliest: after as long again as the
// overload has lasted, between 100ms and 5s, in rough steps. Package retry asks
// for it by this name.
func (r *Refused) RetryDelay() time.Duration { return r.after }

// Is makes errors.Is(err, ErrShed) true.
func (r *Refused) Is(target error) bool { return target == ErrShed }

// Door admits requests to one server. The zero value follows the zero Settings.
// A Door is safe for concurrent use and must not be copied.
type Door struct {
	mu    sync.Mutex
	began time.Time
	m     machine
}

// New returns a Door that follows s.
func New(s Settings) *Door {
	d := new(Door)
	d.Set(s)
	return d
}

// Set replaces the settings; what was learned stays, Start is for a new Door.
// Requests that wait keep the longest wait they were given.
func (d *Door) Set(s Settings) {
	at := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clock(at)
	d.m.set(s.OrDefault())
	d.m.fill(now)
	d.tell()
}

// Settings are the settings in force, defaults filled in.
func (d *Door) Settings() Settings {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.m.ready()
	return d.m.s
}

// Pass is the right to work on one request. The zero Pass may be handed back
// too.
type Pass struct {
	d    *Door
	slot int32
	gen  uint32
}

// Done hands the pass back with the outcome of the work, exactly once, however
// it ends. Only the first Done does anything, whatever copies were made of the
// Pass; later ones report false and are counted as Strays.
func (p Pass) Done(o Outcome) bool {
	d := p.d
	if d == nil {
		return true
	}
	at := time.Now()
	d.mu.Lock()
	now := d.clock(at)
	ok := d.m.done(now, p.slot, p.gen, o)
	d.tell()
	d.mu.Unlock()
	return ok
}

// Enter asks to work on a request whose caller waits as long as ctx does. It
// blocks for at most MaxWait. The error is a *Refused, or ctx's if that ended.
func (d *Door) Enter(ctx context.Context, r Request) (Pass, error) {
	if err := ctx.Err(); err != nil {
		return Pass{}, err
	}
	at := time.Now()
	left := time.Duration(-1)
	if deadline, ok := ctx.Deadline(); ok {
		left = max(deadline.Sub(at), 0)
	}
	var user uint64
	if r.User != "" {
		user = maphash.String(seed, r.User) | 1
	}
	d.mu.Lock()
	now := d.clock(at)
	o := d.m.op(r.Op)
	v, slot := d.m.arrive(now, left, r.Priority.level(), user, o)
	if v != queue {
		p := Pass{d, slot, 0}
		var err error
		switch v {
		case admit:
			p.gen = d.m.slots[slot].gen
		case unbounded:
			p = Pass{}
		default:
			p, err = Pass{}, d.m.refusal(now, v)
		}
		d.mu.Unlock()
		return p, err
	}
	w := &waiter{answer: make(chan answer, 1)}
	wait := d.m.enqueue(now, left, r.Priority.level(), user, o, w)
	d.m.fill(now)
	d.tell()
	d.mu.Unlock()
	return d.wait(ctx, w, wait)
}

// wait blocks until w is answered, its time is up, or ctx ends.
func (d *Door) wait(ctx context.Context, w *waiter, limit time.Duration) (Pass, error) {
	t := time.NewTimer(limit)
	defer t.Stop()
	var err error
	select {
	case a := <-w.answer:
		return a.pass, a.err
	case <-t.C:
	case <-ctx.Done():
		err = ctx.Err()
	}
	at := time.Now()
	d.mu.Lock()
	now := d.clock(at)
	if w.queued {
		d.m.leave(now, w, err == nil)
		if err == nil {
			err = d.m.refusal(now, waited)
		}
		d.tell()
		d.mu.Unlock()
		return Pass{}, err
	}
	d.mu.Unlock()
	a := <-w.answer // it came at the same moment
	if err != nil && a.err == nil {
		a.pass.Done(Ignored)
		return Pass{}, err
	}
	return a.pass, a.err
}

// tell answers those whom the machine has decided about. mu is held.
func (d *Door) tell() {
	for i, w := range d.m.settled {
		a := answer{err: w.err}
		if w.err == nil && w.slot >= 0 {
			a.pass = Pass{d, w.slot, d.m.slots[w.slot].gen}
		}
		w.answer <- a
		d.m.settled[i] = nil
	}
	d.m.settled = d.m.settled[:0]
}

// Do calls fn when r is admitted, and hands the pass back also if fn panics or
// calls runtime.Goexit. nil is a Success, an error that wraps
// context.DeadlineExceeded is an Overload, any other is Ignored, and so is a
// panic; use Enter for another view. The error is fn's, or Enter's without
// calling fn.
func (d *Door) Do(ctx context.Context, r Request, fn func() error) error {
	p, err := d.Enter(ctx, r)
	if err != nil {
		return err
	}
	o := Ignored
	defer func() { p.Done(o) }()
	err = fn()
	switch {
	case err == nil:
		o = Success
	case errors.Is(err, context.DeadlineExceeded):
		o = Overload
	}
	return err
}

// Snapshot is a Door at one moment. Counts are since it was made and only grow.
type Snapshot struct {
	Limit      int           // requests at once, now
	Running    int           // requests worked on
	Waiting    int           // requests in the queue
	Overloaded bool          // newest first
	Latency    time.Duration // mean of the last ones done; 0 before the first
	Admitted   uint64
	Refused    map[Reason]uint64
	Left       uint64 // requests whose ctx ended while they waited
	Strays     uint64 // Dones of a pass that had been handed back
}

// Snapshot is the door at this moment.
func (d *Door) Snapshot() Snapshot {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.m.ready()
	return d.m.snapshot()
}

// seed keeps strangers from choosing with whom they share a bucket.
var seed = maphash.MakeSeed()

// clock is t for the machine: since the Door was first used. mu is held.
func (d *Door) clock(t time.Time) int64 {
	if d.began.IsZero() {
		d.began = t
	}
	return int64(t.Sub(d.began))
}
