// Package hedge asks again when an answer is late, and takes the first success.
//
//	var bank hedge.Hedge // one per target; the zero value works
//	rate, err := hedge.Do(ctx, &bank, hedge.Call[Rate]{Take: budget},
//		func(ctx context.Context, try int) (Rate, error) { return fetch(ctx, "EUR") })
//
// A slow twentieth of the calls costs a twentieth more load and is answered
// about as fast as the rest. It does not know which of your calls may be made
// twice: give Do only calls that are idempotent. It does not try again after an
// error: see package retry. While the first try is fast it starts no goroutine.
package hedge

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/surefoot-go/surefoot/safe"
)

// Settings say when to ask again. The zero value asks once more, after the
// 95th percentile of the latencies seen: "The Tail at Scale" (Dean, Barroso,
// 2013) advises it because it bounds the load added at about 5 %. They are
// plain data: decode them, compare them, replace them with Set while calls run.
type Settings struct {
	Max int // further tries; 0 means 1, negative means none
	// Delay is the time between the starts of two tries; 0 means by Quantile,
	// negative means no time: all tries start at once.
	Delay    time.Duration
	Quantile float64 // of the first tries' latencies; 0, NaN and what is not below 1 mean 0.95
	// Floor is the shortest delay by Quantile; 0 means 1ms, negative means
	// none. Below it another try costs more than it saves.
	Floor time.Duration
	// MinCalls is how many latencies must be known before there is a delay by
	// Quantile, and so a further try; 0 or negative means 100, the fewest that
	// leave five above the 95th percentile.
	MinCalls int
}

// OrDefault returns s with every zero field replaced by its default.
func (s Settings) OrDefault() Settings {
	if s.Max == 0 {
		s.Max = 1
	}
	if !(s.Quantile > 0 && s.Quantile < 1) {
		s.Quantile = 0.95
	}
	if s.Floor == 0 {
		s.Floor = time.Millisecond
	}
	if s.MinCalls <= 0 {
		s.MinCalls = 100
	}
	return s
}

// Counts are totals since the hedge was made. They only grow.
type Counts struct {
	Further uint64 // further tries made
	Won     uint64 // calls answered by one of them
	Refused uint64 // further tries not made because Take said no
}

// Hedge keeps what the calls to one target share: the latencies seen. The zero
// value follows the zero Settings. A Hedge is safe for concurrent use, takes
// less than 3 KiB however many calls it has seen (it remembers the latest 1024 to
// 2047, to a sixteenth), needs no Close and must not be copied.
type Hedge struct {
	settings              atomic.Pointer[Settings]
	delay                 atomic.Int64 // by Quantile; 0 while there is none
	further, won, refused atomic.Uint64

	mu   sync.Mutex
	seen sketch
}

var defaults = Settings{}.OrDefault()

// New returns a Hedge that follows s.
func New(s Settings) *Hedge {
	h := new(Hedge)
	h.Set(s)
	return h
}

// Set replaces the settings for calls that begin from now on; the latencies
// seen stay.
func (h *Hedge) Set(s Settings) {
	s = s.OrDefault()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settings.Store(&s)
	h.refresh(&s)
}

// Settings are the settings in force, defaults filled in.
func (h *Hedge) Settings() Settings { return *h.rules() }

func (h *Hedge) rules() *Settings {
	if s := h.settings.Load(); s != nil {
		return s
	}
	return &defaults
}

// Delay is the time after which a call that begins now asks again; ok is false
// if it does not.
func (h *Hedge) Delay() (d time.Duration, ok bool) {
	s := h.rules()
	switch {
	case s.Max < 0:
		return 0, false
	case s.Delay != 0:
		return max(s.Delay, 0), true
	}
	d = time.Duration(h.delay.Load())
	return d, d > 0
}

// Counts are the totals at this moment.
func (h *Hedge) Counts() Counts {
	return Counts{Further: h.further.Load(), Won: h.won.Load(), Refused: h.refused.Load()}
}

// Observe tells of the latency of a first try that Do did not make. Do calls it
// for those it makes: the successes, and those that lost, which took at least
// as long as they were let.
func (h *Hedge) Observe(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen.add(d)
	s := h.rules()
	if n := h.seen.total(); n == s.MinCalls || n%refreshEvery == 0 {
		h.refresh(s)
	}
}

// refreshEvery is how many latencies one look at the quantile serves.
const refreshEvery = 32

// refresh works the delay out; h.mu is held.
func (h *Hedge) refresh(s *Settings) {
	if h.seen.total() < min(s.MinCalls, half) {
		h.delay.Store(0)
		return
	}
	h.delay.Store(int64(max(h.seen.quantile(s.Quantile), s.Floor, 1)))
}

// Call is what a call has of its own. The zero value asks again without a
// budget.
type Call[T any] struct {
	// Take pays for one further try and says whether it may be made; nil means
	// always. It must not block; retry.Budget.Take is meant to be called here,
	// so that hedges and retries share one budget.
	Take func() bool
	// Final says of an error that no other try can do better, so that Do
	// returns it at once; nil means that of none.
	Final func(error) bool
	// Drop gets every value that Do does not return, also one beside an error;
	// nil forgets them.
	Drop func(T)
	// Keep is for a value that lives on after Do, such as a response whose
	// body is still to be read: the ctx of its try is not ended when Do
	// returns but when release is called, which keep must see to, exactly
	// once. It gets the value Do is about to return, with or without an error.
	Keep func(v T, release context.CancelFunc) T
}

// Do calls fn and, each time the delay passes without an answer, calls it again
// beside the tries under way, at most Max times and as c.Take pays for. It
// returns the first success; if all tries fail, what the first of them
// returned; or at once an error that is Final. try is 0 for the first call,
// which is made in this goroutine; the others have one each, named "hedge".
//
// Do blocks until every try has returned: those that lost have their ctx ended,
// and fn must obey it. A panic in a try is its error, a *safe.Panic; one in a
// further try is logged too. If the first try fails before the delay, that is
// the answer: trying again after an error is for package retry.
func Do[T any](ctx context.Context, h *Hedge, c Call[T], fn func(ctx context.Context, try int) (T, error)) (T, error) {
	delay, ok := h.Delay()
	if !ok {
		return alone(ctx, h, &c, fn)
	}
	if deadline, has := ctx.Deadline(); has && time.Until(deadline) <= delay {
		return alone(ctx, h, &c, fn)
	}
	r := &race[T]{ctx: ctx, h: h, c: c, fn: fn, delay: delay, left: h.rules().Max, winner: -1}
	first, cancel := context.WithCancel(ctx)
	r.cancels = append(r.room[:0], cancel)
	begun := time.Now()
	r.mu.Lock() // or the timer's goroutine might look before r.timer is set
	r.timer = time.AfterFunc(delay, r.further)
	r.mu.Unlock()

	returned := false
	defer func() {
		if !returned { // fn called runtime.Goexit, or Final panicked
			r.settle(false)
		}
	}()
	v, err := once(first, fn, 0)
	took := time.Since(begun)
	late := r.finish(0, v, err)
	returned = true
	if late || err == nil {
		h.Observe(took)
	}
	r.settle(true)
	return r.answer()
}

// alone is Do for a call that is made once.
func alone[T any](ctx context.Context, h *Hedge, c *Call[T], fn func(ctx context.Context, try int) (T, error)) (T, error) {
	if c.Keep != nil {
		var release context.CancelFunc
		ctx, release = context.WithCancel(ctx)
		v, err := timed(ctx, h, fn)
		return c.Keep(v, release), err
	}
	return timed(ctx, h, fn)
}

func timed[T any](ctx context.Context, h *Hedge, fn func(ctx context.Context, try int) (T, error)) (T, error) {
	begun := time.Now()
	v, err := once(ctx, fn, 0)
	if err == nil {
		h.Observe(time.Since(begun))
	}
	return v, err
}

func once[T any](ctx context.Context, fn func(ctx context.Context, try int) (T, error), n int) (v T, err error) {
	err = safe.Call(func() (err error) {
		v, err = fn(ctx, n)
		return err
	})
	return v, err
}
