// Package resilience puts one fixed set of policies around a call: fallback,
// retry within a budget, circuit breaker, hedging, limits, and a time limit for
// each try.
//
//	bank := resilience.New("bank", resilience.Policy{Idempotent: true}, observe.Sinks{})
//	receipt, err := resilience.Do(ctx, bank,
//		func(ctx context.Context) (Receipt, error) { return charge(ctx, order) },
//		resilience.Fallback(func(ctx context.Context, err error) (Receipt, error) {
//			return Pending(order), outbox.Put(ctx, order)
//		}))
//
// The order never varies:
// fallback(retry(budget(breaker(hedge(limit(timeout(attempt))))))). Hedging and
// the limits are off until the Policy asks for them. A Board lists the Guards of
// a process and opens or closes their breakers by hand.
//
// The call must obey its ctx: a Guard cannot abandon a call that does not
// return, and starts a goroutine only to hedge. For HTTP and gRPC, use packages
// httpx and grpcx, which have a Guard inside.
package resilience

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience/breaker"
	"github.com/surefoot-go/surefoot/resilience/hedge"
	"github.com/surefoot-go/surefoot/resilience/limit"
	"github.com/surefoot-go/surefoot/resilience/retry"
)

// Guard keeps what the calls to one target share: its breaker, its retry budget
// and its limits. Make one per target with New and use it for every call. A
// Guard is safe for concurrent use and needs no Close.
type Guard struct {
	name     string
	plan     atomic.Pointer[plan]
	breaker  breaker.Breaker
	budget   retry.Budget
	rate     limit.Rate
	bulkhead limit.Bulkhead
	refused  [refusals]atomic.Uint64 // by limit
	log      *slog.Logger
	report

	hedges struct{ further, won, refused atomic.Uint64 }

	setting  sync.Mutex                     // orders Set
	hedging  map[string]*hedge.Hedge        // by pattern, "" being the Policy's own
	adaptive atomic.Pointer[limit.Adaptive] // nil before it is first asked for
}

// New returns a Guard for calls to the target called name, reporting to sinks.
//
// Metrics, each with attribute surefoot.target: surefoot.breaker.state (0
// closed, 1 half-open, 2 open), surefoot.breaker.forced (0 auto, 1 open, 2
// closed; from the first Force on), surefoot.breaker.transitions (by surefoot.breaker.state entered),
// surefoot.retry.attempts, surefoot.retry.refused (by surefoot.reason),
// surefoot.hedge.calls (by surefoot.outcome: further, won, refused),
// surefoot.limit.refused (by surefoot.limit: rate, bulkhead, adaptive),
// surefoot.limit.adaptive (the limit found) and surefoot.fallback.calls (by
// surefoot.ok). Each transition is one log record; retries, hedges, refusals
// and fallbacks are events on the caller's span.
func New(name string, p Policy, sinks observe.Sinks) *Guard {
	return NewOn(nil, name, p, sinks)
}

// NewOn is New for a Guard that board lists; nil lists it nowhere.
func NewOn(board *Board, name string, p Policy, sinks observe.Sinks) *Guard {
	sinks = sinks.OrDefault()
	g := &Guard{name: name, log: sinks.Log, hedging: map[string]*hedge.Hedge{}}
	g.report.open(name, sinks.Meter)
	g.breaker.OnChange = g.changed
	g.Set(p)
	g.state.Record(context.Background(), int64(breaker.Closed), g.set)
	if board != nil {
		board.add(g)
	}
	return g
}

// Name is the target's name.
func (g *Guard) Name() string { return g.name }

// Set replaces the policy for calls that begin from now on. The breaker's
// state, the budget, what is used of the limits and the latencies known stay.
// It takes any Policy; Validate says whether p makes sense.
func (g *Guard) Set(p Policy) {
	g.setting.Lock()
	defer g.setting.Unlock()
	// Hedges that no pattern asks for any more are forgotten.
	before, after := g.hedging, make(map[string]*hedge.Hedge)
	c := compile(p, func(pattern string, s hedge.Settings) *hedge.Hedge {
		h := after[pattern]
		if h == nil {
			if h = before[pattern]; h == nil {
				h = new(hedge.Hedge)
			}
			after[pattern] = h
			h.Set(s)
		}
		return h
	})
	g.hedging = after
	p = c.policy
	g.rate.Set(p.Rate)
	g.bulkhead.Set(p.Bulkhead)
	if c.adaptive {
		if a := g.adaptive.Load(); a != nil {
			a.Set(p.Adaptive)
		} else {
			g.adaptive.Store(limit.NewAdaptive(p.Adaptive))
			g.watch(g)
		}
	}
	g.breaker.Set(p.Breaker)
	g.plan.Store(c)
}

// Policy is the policy in force, defaults filled in.
func (g *Guard) Policy() Policy { return g.plan.Load().policy }

// State is the breaker's state.
func (g *Guard) State() breaker.State { return g.breaker.State() }

// Forced says whether a person has taken the decision away from the breaker.
type Forced = breaker.Forced

// What a person may decide about a breaker.
const (
	Auto         = breaker.Auto
	ForcedOpen   = breaker.ForcedOpen
	ForcedClosed = breaker.ForcedClosed
)

// Force opens or closes the breaker until Force(Auto), which returns it to what
// it would be.
func (g *Guard) Force(f Forced) {
	if g.breaker.Force(f) {
		g.forced()
	}
}

// Snapshot is a Guard at one moment: the breaker's own, and the figures of
// hedging and of the limits since the Guard was made.
type Snapshot struct {
	breaker.Snapshot
	Hedge    hedge.Counts // of all methods together
	Rate     RateSnapshot
	Bulkhead limit.BulkheadSnapshot
	Adaptive limit.AdaptiveSnapshot // zero while there is none
}

// RateSnapshot is a rate limit at one moment.
type RateSnapshot struct {
	Delay   time.Duration // until a call may start
	Refused uint64        // calls refused, since the Guard was made
}

// Snapshot is the Guard at this moment.
func (g *Guard) Snapshot() Snapshot {
	s := Snapshot{
		Snapshot: g.breaker.Snapshot(),
		Rate:     RateSnapshot{g.rate.Delay(), g.refused[byRate].Load()},
		Bulkhead: g.bulkhead.Snapshot(),
		Hedge:    hedge.Counts{Further: g.hedges.further.Load(), Won: g.hedges.won.Load(), Refused: g.hedges.refused.Load()},
	}
	if a := g.adaptive.Load(); a != nil && g.plan.Load().adaptive {
		s.Adaptive = a.Snapshot()
	}
	// The limits do not know of calls that ran out of their own time in a queue.
	s.Bulkhead.Refused, s.Adaptive.Refused = g.refused[byBulkhead].Load(), g.refused[byAdaptive].Load()
	return s
}
