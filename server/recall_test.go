package server

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/server/store"
)

// past answers Window with one span each 50 ms, failing from a time on.
type past struct {
	fails time.Time
	slow  chan struct{} // when set, Window waits for the end of ctx first
}

func (p past) Window(ctx context.Context, from, to time.Time, yield func(store.Span) bool) error {
	if p.slow != nil {
		<-ctx.Done()
		return ctx.Err()
	}
	n := uint64(0)
	for at := from; at.Before(to); at = at.Add(50 * time.Millisecond) {
		n++
		s := store.Span{
			Resource: store.Resource{Service: "pay"}, Name: "charge", Kind: store.KindServer, Start: at, Duration: time.Millisecond,
			Error: !at.Before(p.fails), TraceID: store.TraceID{byte(n), byte(n >> 8), 1}, ID: store.SpanID{byte(n), byte(n >> 8), 1},
		}
		if !yield(s) {
			return nil
		}
	}
	return nil
}

func newWatch() *watch { return &watch{log: slog.New(slog.DiscardHandler)} }

// After a restart in an outage the very first look still sees it.
func TestRecallKnowsWhatIsUsual(t *testing.T) {
	now := time.Date(2026, 11, 23, 4, 5, 6, 0, time.UTC)
	for _, c := range []struct {
		name  string
		fails time.Time
		want  int
	}{{"outage", now.Add(-30 * time.Second), 1}, {"all well", now, 0}} {
		w := newWatch()
		if n := w.recall(t.Context(), past{fails: c.fails}, now); n != 6000 {
			t.Errorf("%s: %d spans", c.name, n)
		}
		if got := w.detector.Step(now, w.graph.Stats(now)); len(got) != c.want {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// A past that takes too long to read is done without.
func TestRecallIsBounded(t *testing.T) {
	w := newWatch()
	start := time.Now()
	if n := w.recall(t.Context(), past{slow: make(chan struct{})}, start); n != 0 {
		t.Errorf("%d spans", n)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("took %s", took)
	}
	if n := len(w.graph.Stats(start)); n != 0 {
		t.Errorf("%d stats of half a past", n)
	}
}

func BenchmarkRecall(b *testing.B) {
	now := time.Now()
	for b.Loop() {
		newWatch().recall(b.Context(), past{fails: now}, now)
	}
}
