// Package breaker stops calls to a target that keeps failing, and lets a few
// through later to see whether it has recovered.
//
//	var bank breaker.Breaker // the zero value works
//	receipt, err := breaker.Do(&bank, func() (Receipt, error) { return charge(ctx) })
//	if errors.Is(err, breaker.ErrOpen) { ... } // answered at once, nothing was sent
//
// A Breaker is safe for concurrent use and starts no goroutine. It does not
// retry and does not limit time: see packages retry and resilience.
package breaker

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// ErrOpen is the answer instead of a call while the breaker is open, and to
// the calls beyond the few it lets through while half-open.
var ErrOpen = errors.New("breaker: open")

// State is what a breaker does with the next call. Its numbers are those of the
// metric surefoot.breaker.state.
type State uint8

// The states of a breaker.
const (
	Closed   State = 0 // calls go through
	HalfOpen State = 1 // some calls go through, to see whether the target is back
	Open     State = 2 // no call goes through
)

// String is "closed", "half-open" or "open".
func (s State) String() string {
	switch s {
	case Closed:
		return "closed"
	case HalfOpen:
		return "half-open"
	case Open:
		return "open"
	}
	return "unknown"
}

// MarshalText is String, for JSON and logs.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Outcome is what a finished call says about the target.
type Outcome uint8

// The outcomes of a call.
const (
	Ignored  Outcome = iota // nothing: canceled by the caller, over a limit, shed, or never sent
	Success                 // it works
	Failure                 // it does not
	Answered                // it refused this request (a 4xx): alive, so a probe succeeds, but no evidence either way while closed
)

// Change is one transition.
type Change struct {
	At       time.Time
	From, To State
	Err      error // the failure that opened the breaker; nil when it did not open
}

// Counts are totals since the breaker was made. They only grow.
type Counts struct {
	Successes uint64 // calls that ended in Success
	Failures  uint64 // calls that ended in Failure
	Answered  uint64 // calls that ended in Answered
	Ignored   uint64 // calls that ended in Ignored
	Rejected  uint64 // calls answered ErrOpen
	Changes   uint64 // transitions
}

// Snapshot is a breaker at one moment.
type Snapshot struct {
	State       State
	Since       time.Time // of the last transition; zero before the first
	Consecutive int       // failures in a row, Ignored and Answered aside
	Counts      Counts
	LastErr     error     // the last failure; nil before the first
	LastErrAt   time.Time // when it ended
	Changes     []Change  // the last 16 transitions, oldest first
	Forced      Forced    // what a person decided; then State is that
	ForcedAt    time.Time // when, or when it was last given back; zero before the first
}

// Breaker guards calls to one target. The zero value is closed and follows the
// zero Settings. A Breaker is safe for concurrent use and must not be copied.
//
// It changes state only when somebody calls: an open breaker that nobody uses
// stays open.
type Breaker struct {
	// OnChange, if not nil, is told of each transition, on the goroutine whose
	// call caused it and without the breaker's lock held. Two transitions at
	// the same instant may be told in either order; Snapshot is the truth. Set
	// it before the first call.
	OnChange func(Change)

	settings atomic.Pointer[Settings]
	base     atomic.Pointer[time.Time] // see clock
	until    atomic.Pointer[time.Time] // when the present opening ends: lets an open breaker refuse without the lock
	gate     atomic.Uint64             // generation<<2 | state: lets a closed breaker admit without the lock, if it is not watched
	slotEnd  atomic.Int64              // until then, ns since base, successes count in good and not under the lock

	_        [64]byte      // what is above is read by all and seldom changes; this keeps it apart from what does
	refused  atomic.Uint64 // without the lock, in addition to the machine's count
	mu       sync.Mutex
	m        machine
	forced   Forced
	forcedAt time.Time
	good     stripes
}

// New returns a closed breaker that follows s.
func New(s Settings) *Breaker {
	b := new(Breaker)
	b.Set(s)
	return b
}

// Set replaces the settings; the state and the counts stay. Off closes it.
func (b *Breaker) Set(s Settings) {
	s = s.OrDefault()
	now := time.Now()
	b.mu.Lock()
	b.fold()
	b.slotEnd.Store(0) // until the machine has begun a window of that width
	b.settings.Store(&s)
	change, changed := Change{}, false
	if s.Rule == Off && b.m.state != Closed {
		change, changed = b.m.move(now, Closed, nil), true
	}
	if s.Rule.byInterval() && b.m.epoch.IsZero() {
		b.m.forget(now) // Interval begins now and not with the first call
	}
	b.publish()
	b.mu.Unlock()
	if changed {
		b.tell(change)
	}
}

// Settings are the settings in force, defaults filled in.
func (b *Breaker) Settings() Settings {
	if s := b.settings.Load(); s != nil {
		return *s
	}
	return defaults
}

var defaults = Settings{}.OrDefault()

func (b *Breaker) rules() *Settings {
	if s := b.settings.Load(); s != nil {
		return s
	}
	return &defaults
}

// Permit is the right to make one call. Hand it back with Done exactly once,
// however the call ends. A zero Permit may be handed back too.
type Permit struct {
	b   *Breaker
	gen uint64
}

// Allow asks to make one call: the answer is a Permit, or ErrOpen. It does not
// block.
func (b *Breaker) Allow() (Permit, error) {
	switch g := b.gate.Load(); State(g & 3) {
	case Closed:
		return Permit{b, g >> 2}, nil
	case Open:
		if until := b.until.Load(); until != nil && time.Until(*until) > 0 {
			b.refused.Add(1)
			return Permit{}, ErrOpen
		}
	}
	now := time.Now()
	b.mu.Lock()
	before := b.m.state
	ok := b.forced != ForcedOpen && b.m.allow(now, b.rules())
	change, changed := b.m.last(), b.m.state != before
	p := Permit{b, b.m.gen}
	switch {
	case b.forced == ForcedOpen:
		b.m.counts.Rejected++
	case b.forced == ForcedClosed && !ok:
		// Let through against the breaker's judgement: no evidence for it.
		b.m.counts.Rejected--
		ok, p.gen = true, stray
	}
	b.publish()
	b.mu.Unlock()
	if changed {
		b.tell(change)
	}
	if !ok {
		return Permit{}, ErrOpen
	}
	return p, nil
}

// Done hands the permit back with the outcome of the call; err is what a
// Failure failed with. It reports whether the breaker changed state.
func (p Permit) Done(o Outcome, err error) bool {
	b := p.b
	if b == nil {
		return false
	}
	var now time.Time
	var draw float64
	if o == Success && b.gate.Load() == p.gen<<2|uint64(Closed) {
		var since int64
		if now, since = b.clock(); since < b.slotEnd.Load() {
			b.good.add()
			return false
		}
	} else {
		now = time.Now()
	}
	if o == Failure {
		draw = rand.Float64()
	}
	b.mu.Lock()
	b.fold()
	before := b.m.gen
	change, changed := b.m.done(now, b.rules(), p.gen, o, err, draw)
	if b.m.gen != before {
		b.publish()
	}
	b.extend()
	b.mu.Unlock()
	if changed {
		b.tell(change)
	}
	return changed
}

// Record counts an outcome that no Permit stands for, as of a stream that fails
// long after it was opened. While half-open it counts as that of a probe. It
// reports whether the breaker changed state.
func (b *Breaker) Record(o Outcome, err error) bool {
	now, draw := time.Now(), rand.Float64()
	b.mu.Lock()
	b.fold()
	before := b.m.gen
	if b.m.state == HalfOpen && b.m.ramp.IsZero() {
		b.m.flying++
	}
	change, changed := b.m.done(now, b.rules(), before, o, err, draw)
	if b.m.gen != before {
		b.publish()
	}
	b.mu.Unlock()
	if changed {
		b.tell(change)
	}
	return changed
}

// fold tells the machine of the successes that it has not heard of. mu is held.
func (b *Breaker) fold() {
	if n := b.good.take(); n != 0 {
		b.m.succeed(int(n), b.rules())
	}
}

// extend lets successes count without the lock until the window turns. mu is
// held.
func (b *Breaker) extend() {
	end := int64(0)
	base, s := b.base.Load(), b.rules()
	if base != nil && b.m.state == Closed && s.Rule == Windowed && b.m.width == s.width() {
		end = int64(b.m.epoch.Add(b.m.width * time.Duration(b.m.head+1)).Sub(*base))
	}
	if b.slotEnd.Load() != end {
		b.slotEnd.Store(end)
	}
}

// clock is a cheaper time.Now: it reads the monotonic clock only. Its wall time
// does not follow when the system's clock is set, so it is not for a time that
// anybody is shown. The other result is the time since base, in ns.
func (b *Breaker) clock() (time.Time, int64) {
	base := b.base.Load()
	if base == nil {
		now := time.Now()
		b.base.CompareAndSwap(nil, &now)
		return now, math.MaxInt64 // ask the machine
	}
	d := time.Since(*base)
	return base.Add(d), int64(d)
}

// watched is, in the gate, a closed breaker whose Allow must look at the clock:
// Consecutive and Ratio start over by intervals, and a call belongs to the one in which
// it was let through.
const watched = 3

// stray is the generation of a call that is no evidence: no machine gets there.
const stray = 1<<62 - 1

// publish makes the state visible to Allow's fast path; b.mu is held.
func (b *Breaker) publish() {
	state, until := uint64(b.m.state), b.m.until
	switch s := b.rules(); {
	case b.forced == ForcedOpen:
		state, until = uint64(Open), forever
	case b.forced == ForcedClosed, b.m.state == Closed && s.Rule.byInterval() && s.Interval > 0:
		state = watched
	}
	if state == uint64(Open) {
		if known := b.until.Load(); known == nil || *known != until {
			end := until        // only an opening costs an allocation
			b.until.Store(&end) // before the gate that leads to it
		}
	}
	b.gate.Store(b.m.gen<<2 | state)
}

func (b *Breaker) tell(c Change) {
	if b.OnChange != nil {
		b.OnChange(c)
	}
}

// State is the current state.
func (b *Breaker) State() State {
	if s := b.gate.Load() & 3; s != watched {
		return State(s)
	}
	return Closed
}

// Wait is how long the breaker stays open before it lets a call through, and 0
// if it may do so now. Of one forced open nobody knows: it is Settings.Timeout.
func (b *Breaker) Wait() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.forced {
	case ForcedOpen:
		return b.rules().Timeout
	case ForcedClosed:
		return 0
	}
	if b.m.state != Open {
		return 0
	}
	return max(time.Until(b.m.until), 0)
}

// Snapshot is the breaker at this moment.
func (b *Breaker) Snapshot() Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fold()
	s := b.m.snapshot()
	s.Counts.Rejected += b.refused.Load()
	s.Forced, s.ForcedAt = b.forced, b.forcedAt
	switch b.forced {
	case ForcedOpen:
		s.State = Open
	case ForcedClosed:
		s.State = Closed
	}
	return s
}

// Do makes one call through b: fn, or ErrOpen without calling it. nil is a
// Success, an error that wraps context.Canceled is Ignored, any other error is
// a Failure; use Allow for another view. If fn panics or calls runtime.Goexit
// the permit is handed back as Ignored and the panic goes on.
func Do[T any](b *Breaker, fn func() (T, error)) (v T, err error) {
	p, err := b.Allow()
	if err != nil {
		return v, err
	}
	o := Ignored
	defer func() { p.Done(o, err) }()
	v, err = fn()
	switch {
	case err == nil:
		o = Success
	case !errors.Is(err, context.Canceled):
		o = Failure
	}
	return v, err
}
