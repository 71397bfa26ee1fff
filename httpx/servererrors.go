package httpx

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/resilience/shed"
)

// counted is what errors are counted by.
type counted struct{ op, kind, id string }

func (f counted) attributes() []attribute.KeyValue {
	return []attribute.KeyValue{keyOp.String(f.op), keyKind.String(f.kind), keyErrorType.String(f.id)}
}

// id is the id of an error to count by: the service's own ids are few, and
// another's are not ours to count by.
func (t *serverTelemetry) id(e *errs.Error) string {
	id, kind := e.Code(), e.Kind().ID()
	if id != kind && (e.Remote() || !t.ids.Known(id)) {
		return kind
	}
	return id
}

// failed counts an error. ctx has the span, so that the SDK adds an exemplar.
func (t *serverTelemetry) failed(ctx context.Context, k errs.Kind, id string) {
	set := t.failures.Of(counted{t.op, k.ID(), id}, counted.attributes)
	t.errors.Add(ctx, 1, set.Add...)
}

// refusal is what refused requests are counted by.
type refusal struct {
	reason   string
	priority shed.Priority
}

func (r refusal) attributes() []attribute.KeyValue {
	return []attribute.KeyValue{keyReason.String(r.reason), keyPriority.String(r.priority.String())}
}

// refused tells of a request that was not admitted: counts, and a line of the
// log once in a while.
func (t *serverTelemetry) refused(ctx context.Context, r *http.Request, reason string, p shed.Priority, status int, elapsed time.Duration) {
	p = min(max(p, shed.Background), shed.Critical)
	t.refusals.Add(ctx, 1, t.refusedAt.Of(refusal{reason, p}, refusal.attributes).Add...)
	id, kind := overloaded, strconv.Itoa(status)
	if status == http.StatusServiceUnavailable {
		kind = overloaded
		t.failed(ctx, errs.Unavailable, id)
	}
	if status < 500 {
		kind = "" // the caller went away
	}
	set := t.durations.Of(answered{method(r), scheme(r), routeOf(r), kind, status}, answered.attributes)
	t.duration.Record(ctx, elapsed.Seconds(), set.Record...)
	if n := t.summary.due(time.Now()); n > 0 {
		logger := t.logger
		if logger == nil {
			logger = slog.Default()
		}
		logger.LogAttrs(ctx, slog.LevelWarn, "requests refused: overload", slog.String("op", t.op), slog.Int64("refused", n), slog.String("reason", reason))
	}
}

// summary makes one log record of many refusals.
type summary struct{ last, count atomic.Int64 }

// summaryEvery is how often refusals are logged.
const summaryEvery = 10 * time.Second

// due counts a refusal and returns how many there were since the last record if
// it is time for one, else 0.
func (s *summary) due(now time.Time) int64 {
	s.count.Add(1)
	last := s.last.Load()
	if now.UnixNano()-last < int64(summaryEvery) || !s.last.CompareAndSwap(last, now.UnixNano()) {
		return 0
	}
	return s.count.Swap(0)
}
