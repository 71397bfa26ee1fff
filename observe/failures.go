package observe

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Failures counts the errors of one operation as the metric surefoot.errors,
// with the attributes surefoot.op, surefoot.kind and error.type. Made by
// NewFailures, it is safe for concurrent use.
type Failures struct {
	op      string
	counter metric.Int64Counter
	ids     Names
	sets    Attributes[failure]
}

type failure struct{ op, kind, id string }

func (f failure) attributes() []attribute.KeyValue {
	return []attribute.KeyValue{attribute.String("surefoot.op", f.op), attribute.String("surefoot.kind", f.kind), attribute.String("error.type", f.id)}
}

// NewFailures returns the Failures of operation op that m counts.
func NewFailures(m metric.Meter, op string) *Failures {
	f := &Failures{op: op}
	f.counter, _ = m.Int64Counter("surefoot.errors", // on an error it is one that counts nothing
		metric.WithUnit("{error}"), metric.WithDescription("Requests that ended in an error, by operation and kind."))
	return f
}

// ID returns what to count an error by: its id, which is the kind's or the
// service's own, or the kind's where the id came from another service or is one
// of more than 100: a label must stay bounded.
func (f *Failures) ID(kind, id string, remote bool) string {
	if id != kind && (remote || !f.ids.Known(id)) {
		return kind
	}
	return id
}

// Count counts an error by what ID returned. ctx has the request's span, from
// which the SDK takes the trace id of an exemplar.
func (f *Failures) Count(ctx context.Context, kind, id string) {
	f.counter.Add(ctx, 1, f.sets.Of(failure{f.op, kind, id}, failure.attributes).Add...)
}

// Refusals tells of the requests of one operation that were not admitted: each
// counts in the metric surefoot.shed.refused, with the attributes
// surefoot.reason and surefoot.priority, and there is one log record in 10s at
// most. Made by NewRefusals, it is safe for concurrent use.
type Refusals struct {
	op      string
	counter metric.Int64Counter
	log     *slog.Logger
	sets    Attributes[refusal]
	last    atomic.Int64 // when the log was told, Unix ns
	untold  atomic.Int64
}

// every is how often refusals are logged.
const every = 10 * time.Second

type refusal struct{ reason, priority string }

func (r refusal) attributes() []attribute.KeyValue {
	return []attribute.KeyValue{attribute.String("surefoot.reason", r.reason), attribute.String("surefoot.priority", r.priority)}
}

// NewRefusals returns the Refusals of operation op that m counts and log tells;
// a nil log means slog.Default(), looked up when used.
func NewRefusals(m metric.Meter, log *slog.Logger, op string) *Refusals {
	r := &Refusals{op: op, log: log}
	r.counter, _ = m.Int64Counter("surefoot.shed.refused",
		metric.WithUnit("{request}"), metric.WithDescription("Requests that were not admitted."))
	return r
}

// Count counts a refusal.
func (r *Refusals) Count(ctx context.Context, reason, priority string) {
	r.counter.Add(ctx, 1, r.sets.Of(refusal{reason, priority}, refusal.attributes).Add...)
	r.untold.Add(1)
	now, last := time.Now().UnixNano(), r.last.Load()
	if now-last < int64(every) || !r.last.CompareAndSwap(last, now) {
		return
	}
	log := r.log
	if log == nil {
		log = slog.Default()
	}
	log.LogAttrs(ctx, slog.LevelWarn, "requests refused: overload", slog.String("op", r.op),
		slog.Int64("refused", r.untold.Swap(0)), slog.String("reason", reason), slog.String("priority", priority))
}
