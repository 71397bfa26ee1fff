package resilience

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"weak"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/resilience/breaker"
)

// Board lists the Guards of a process while they live: what their breakers do,
// why, and since when. The zero value is an empty Board, ready to use. A Board
// is safe for concurrent use and must not be copied.
//
// It holds Guards weakly: one that nobody uses any more disappears from it, so
// that Guards made for each instance of a target do not pile up.
type Board struct {
	mu     sync.Mutex
	guards []weak.Pointer[Guard]
	prune  int // when guards is that long, those that are gone are dropped

	told     func(target string, p Policy) // of Follow
	policies map[string]Policy             // of Set, by target

	following sync.Mutex // one call of told at a time
	known     map[string]bool
}

func (b *Board) add(g *Guard) {
	b.list(g)
	b.mu.Lock()
	told := b.told
	b.mu.Unlock()
	if told != nil {
		b.tell(told, g)
	}
	// Last, with what Set said meanwhile.
	b.mu.Lock()
	defer b.mu.Unlock()
	if p, ok := b.policies[g.callee()]; ok {
		g.Set(p)
	}
}

func (b *Board) list(g *Guard) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.guards) >= b.prune {
		b.guards = slices.DeleteFunc(b.guards, func(w weak.Pointer[Guard]) bool { return w.Value() == nil })
		b.prune = max(2*len(b.guards), 16)
	}
	b.guards = append(b.guards, weak.Make(g))
}

// live returns the Guards that are still in use, by name.
func (b *Board) live() []*Guard {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []*Guard
	for _, w := range b.guards {
		if g := w.Value(); g != nil {
			all = append(all, g)
		}
	}
	slices.SortStableFunc(all, func(a, b *Guard) int { return cmp.Compare(a.name, b.name) })
	return all
}

// Status is one Guard at one moment, for people and programs to look at. It
// holds nothing that a stranger may not read but the target's name.
type Status struct {
	Target      string        `json:"target"`
	State       breaker.State `json:"state"`               // closed, half-open, open
	Forced      Forced        `json:"forced"`              // auto, open, closed
	Since       time.Time     `json:"since,omitzero"`      // of the last transition or decision by a person
	LastError   *LastError    `json:"lastError,omitempty"` // nil before the first
	Transitions []Transition  `json:"transitions"`         // the last 16, oldest first
	Calls       Calls         `json:"calls"`
	Limit       Limits        `json:"limit"`
}

// LastError is the public part of the last failure: what a person at a client
// may read.
type LastError struct {
	ID      string    `json:"id"` // errs.Error.Code
	Message string    `json:"message"`
	At      time.Time `json:"at"`
}

// Transition is one change of a breaker's state.
type Transition struct {
	At   time.Time     `json:"at"`
	From breaker.State `json:"from"`
	To   breaker.State `json:"to"`
}

// Calls are totals since the Guard was made.
type Calls struct {
	Successes    uint64 `json:"successes"`
	Failures     uint64 `json:"failures"`
	Answered     uint64 `json:"answered"` // 4xx
	Ignored      uint64 `json:"ignored"`
	Rejected     uint64 `json:"rejected"` // by the breaker
	Hedged       uint64 `json:"hedged"`   // further tries
	HedgesWon    uint64 `json:"hedgesWon"`
	HedgeRefused uint64 `json:"hedgesRefused"`
}

// Limits are the figures of the limits; zero where there is none.
type Limits struct {
	Running         int    `json:"running"` // calls inside the bulkhead and, if there is none, the adaptive limit
	Waiting         int    `json:"waiting"`
	Bulkhead        int    `json:"bulkhead,omitempty"` // calls at once
	Adaptive        int    `json:"adaptive,omitempty"` // calls at once, as found
	RateRefused     uint64 `json:"rateRefused"`
	BulkheadRefused uint64 `json:"bulkheadRefused"`
	AdaptiveRefused uint64 `json:"adaptiveRefused"`
}

// List is the Guards in use, sorted by name. Guards of one name are each
// listed.
func (b *Board) List() []Status {
	list := []Status{} // [] and not null in JSON
	for _, g := range b.live() {
		list = append(list, g.status())
	}
	return list
}

// Force opens or closes the breakers of all Guards called name, until Auto
// returns them to what they would be. The error is of Kind errs.NotFound if
// there is no such Guard.
func (b *Board) Force(name string, f Forced) error {
	found := false
	for _, g := range b.live() {
		if g.name == name {
			found = true
			g.Force(f)
		}
	}
	if !found {
		return errs.New(errs.NotFound, "resilience.Board.Force", fmt.Sprintf("no target in use is called %.64q", name)).ID("unknown_target")
	}
	return nil
}

// callee is the Guard's name without a version: of payment@v2 it is payment.
func (g *Guard) callee() string {
	target, _, _ := strings.Cut(g.name, "@")
	return target
}

// Set replaces the policy of all Guards for target, those of its versions
// (payment@v2) too, while their calls run, and of those that are made later. It
// takes any Policy, as Guard.Set does.
func (b *Board) Set(target string, p Policy) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.policies == nil {
		b.policies = map[string]Policy{}
	}
	b.policies[target] = p
	for _, w := range b.guards {
		if g := w.Value(); g != nil && g.callee() == target {
			g.Set(p)
		}
	}
}

// Follow calls fn once for each target that has or gets a Guard, with the policy
// of its first one, defaults filled in: one call at a time, before that Guard's
// NewOn returns. fn may call Set and must not make a Guard on this Board. There
// is one fn; nil ends it.
func (b *Board) Follow(fn func(target string, p Policy)) {
	b.mu.Lock()
	b.told = fn
	b.mu.Unlock()
	b.following.Lock()
	b.known = map[string]bool{}
	b.following.Unlock()
	if fn == nil {
		return
	}
	for _, g := range b.live() {
		b.tell(fn, g)
	}
}

func (b *Board) tell(fn func(target string, p Policy), g *Guard) {
	b.following.Lock()
	defer b.following.Unlock()
	if target := g.callee(); !b.known[target] {
		b.known[target] = true
		fn(target, g.Policy())
	}
}

func (g *Guard) status() Status {
	s := g.Snapshot()
	out := Status{
		Target: g.name, State: s.State, Forced: s.Forced, Since: s.Since,
		Transitions: make([]Transition, 0, len(s.Changes)),
		Calls: Calls{
			Successes: s.Counts.Successes, Failures: s.Counts.Failures, Answered: s.Counts.Answered,
			Ignored: s.Counts.Ignored, Rejected: s.Counts.Rejected,
			Hedged: s.Hedge.Further, HedgesWon: s.Hedge.Won, HedgeRefused: s.Hedge.Refused,
		},
		Limit: Limits{
			Running: s.Bulkhead.Running, Waiting: s.Bulkhead.Waiting + s.Adaptive.Waiting,
			Bulkhead: max(g.bulkhead.Settings().Max, 0), Adaptive: s.Adaptive.Limit,
			RateRefused: s.Rate.Refused, BulkheadRefused: s.Bulkhead.Refused, AdaptiveRefused: s.Adaptive.Refused,
		},
	}
	if out.Limit.Bulkhead == 0 {
		out.Limit.Running = s.Adaptive.Running
	}
	if s.ForcedAt.After(out.Since) {
		out.Since = s.ForcedAt
	}
	if s.LastErr != nil {
		e := errs.From(s.LastErr)
		out.LastError = &LastError{ID: e.Code(), Message: e.Message(), At: s.LastErrAt}
	}
	for _, c := range s.Changes {
		out.Transitions = append(out.Transitions, Transition{c.At, c.From, c.To})
	}
	return out
}
