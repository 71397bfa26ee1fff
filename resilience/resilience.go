// Package resilience puts one fixed set of policies around a call: fallback,
// retry within a budget, circuit breaker, and a time limit for each try.
//
//	bank := resilience.New("bank", resilience.Policy{Idempotent: true}, observe.Sinks{})
//	receipt, err := resilience.Do(ctx, bank,
//		func(ctx context.Context) (Receipt, error) { return charge(ctx, order) },
//		resilience.Fallback(func(ctx context.Context, err error) (Receipt, error) {
//			return Pending(order), outbox.Put(ctx, order)
//		}))
//
// The order never varies: fallback(retry(budget(breaker(timeout(attempt))))).
// The call must obey its ctx: a Guard starts no goroutine and cannot abandon a
// call that does not return. For HTTP and gRPC, use packages httpx and grpcx,
// which have a Guard inside.
package resilience

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience/breaker"
	"github.com/surefoot-go/surefoot/resilience/retry"
)

// Policy is everything a Guard does to a call. The zero value is the safe
// default. A Policy is plain data: decode it, compare it, replace it with Set
// while calls run.
type Policy struct {
	// Timeout bounds all tries and the waits between them; 0 means 10s,
	// negative means only the caller's deadline. Ten seconds hold 4 tries of 2s
	// and the longest default waits.
	Timeout time.Duration
	// AttemptTimeout bounds one try; 0 means 2s, the article's read limit,
	// negative means none.
	AttemptTimeout time.Duration
	// Retry says how often to try again. Only idempotent calls are tried again,
	// and only those that no other layer tries again (see flow.Attempt).
	Retry retry.Policy
	// Breaker says when to stop calling; Rule Off means never.
	Breaker breaker.Settings
	// Idempotent says that repeating a call does no harm; without it nothing is
	// tried again. The option Idempotent says so for a single call.
	Idempotent bool
}

// Default is the zero Policy: it recovers by itself after an outage.
func Default() Policy { return Policy{} }

// Classic is the article's set of numbers, exactly: each try 2s; 3 further
// tries after 1s, 2s and 4s, no jitter, no budget; a breaker that opens for 60s
// after more than 5 failures in a row. It has no limit of its own over all
// tries. After a 5s stall at 60 % load calls fail for another 58s; with Default
// for 5s (go test -run RecoveryFromAStall -v ./resilience). Prefer Default.
func Classic() Policy {
	return Policy{Timeout: -1, AttemptTimeout: 2 * time.Second, Retry: retry.Classic(), Breaker: breaker.Classic()}
}

// OrDefault returns p with every zero field replaced by its default.
func (p Policy) OrDefault() Policy {
	if p.Timeout == 0 {
		p.Timeout = 10 * time.Second
	}
	if p.AttemptTimeout == 0 {
		p.AttemptTimeout = 2 * time.Second
	}
	p.Retry = p.Retry.OrDefault()
	p.Breaker = p.Breaker.OrDefault()
	return p
}

// Guard keeps what the calls to one target share: its breaker and its retry
// budget. Make one per target with New and use it for every call. A Guard is
// safe for concurrent use, starts no goroutine and needs no Close.
type Guard struct {
	name    string
	policy  atomic.Pointer[Policy]
	breaker breaker.Breaker
	budget  retry.Budget
	log     *slog.Logger

	told        sync.Mutex // orders the reports of transitions
	state       metric.Int64Gauge
	transitions metric.Int64Counter
	attempts    metric.Int64Counter
	refused     metric.Int64Counter
	fallbacks   metric.Int64Counter
	target      attribute.KeyValue
	set         metric.MeasurementOption // just target, made once
}

// New returns a Guard for calls to the target called name, reporting to sinks.
//
// Metrics, each with attribute surefoot.target: surefoot.breaker.state (0
// closed, 1 half-open, 2 open), surefoot.breaker.transitions (by
// surefoot.breaker.state entered), surefoot.retry.attempts,
// surefoot.retry.refused (by surefoot.reason) and surefoot.fallback.calls (by
// surefoot.ok). Each transition is one log record; retries, refusals and
// fallbacks are events on the caller's span.
func New(name string, p Policy, sinks observe.Sinks) *Guard {
	sinks = sinks.OrDefault()
	g := &Guard{name: name, log: sinks.Log, target: attribute.String("surefoot.target", name)}
	g.set = metric.WithAttributeSet(attribute.NewSet(g.target))
	g.breaker.OnChange = g.changed
	g.Set(p)

	// An instrument that cannot be made is replaced by one that does nothing:
	// a call must not fail because it cannot be counted.
	meter := sinks.Meter.Meter("github.com/surefoot-go/surefoot/resilience")
	g.state, _ = meter.Int64Gauge("surefoot.breaker.state",
		metric.WithDescription("What the breaker does: 0 closed, 1 half-open, 2 open."))
	g.transitions, _ = meter.Int64Counter("surefoot.breaker.transitions",
		metric.WithDescription("Changes of the breaker's state."), metric.WithUnit("{transition}"))
	g.attempts, _ = meter.Int64Counter("surefoot.retry.attempts",
		metric.WithDescription("Further tries made."), metric.WithUnit("{attempt}"))
	g.refused, _ = meter.Int64Counter("surefoot.retry.refused",
		metric.WithDescription("Further tries not made although the call could be repeated."), metric.WithUnit("{attempt}"))
	g.fallbacks, _ = meter.Int64Counter("surefoot.fallback.calls",
		metric.WithDescription("Calls answered by the fallback."), metric.WithUnit("{call}"))
	g.state.Record(context.Background(), int64(breaker.Closed), g.set)
	return g
}

// Name is the target's name.
func (g *Guard) Name() string { return g.name }

// Set replaces the policy for calls that begin from now on. The breaker's state
// and the budget stay.
func (g *Guard) Set(p Policy) {
	p = p.OrDefault()
	g.policy.Store(&p)
	g.breaker.Set(p.Breaker)
}

// Policy is the policy in force, defaults filled in.
func (g *Guard) Policy() Policy { return *g.policy.Load() }

// State is the breaker's state.
func (g *Guard) State() breaker.State { return g.breaker.State() }

// Snapshot is the breaker at this moment, with its counts and transitions.
func (g *Guard) Snapshot() breaker.Snapshot { return g.breaker.Snapshot() }

// changed reports a transition of the breaker.
func (g *Guard) changed(c breaker.Change) {
	g.told.Lock()
	defer g.told.Unlock()
	ctx := context.Background()
	// Not c.To: of two transitions told out of order the gauge keeps the truth.
	g.state.Record(ctx, int64(g.breaker.State()), g.set)
	g.transitions.Add(ctx, 1, metric.WithAttributes(g.target, attribute.String("surefoot.breaker.state", c.To.String())))
	level := slog.LevelInfo
	attrs := []slog.Attr{
		slog.String("target", g.name), slog.String("from", c.From.String()), slog.String("to", c.To.String()),
	}
	if c.Err != nil {
		attrs = append(attrs, slog.Any("error", c.Err))
	}
	if c.To == breaker.Open {
		level = slog.LevelWarn
	}
	g.log.LogAttrs(ctx, level, "breaker "+c.To.String(), attrs...)
}
