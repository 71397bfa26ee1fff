package server

import (
	"context"
	"time"

	"github.com/surefoot-go/surefoot/server/detect"
	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/topology"
)

// recalls are the lengths of the past that a start plays again, and the time it
// may take: a busy system gets a shorter memory rather than a late start. Five
// minutes are the half-life of what detect learns.
var recalls = [...]struct{ past, limit time.Duration }{
	{5 * time.Minute, 1200 * time.Millisecond},
	{time.Minute, 600 * time.Millisecond},
}

// window is the part of store.Spans that recall reads.
type window interface {
	Window(ctx context.Context, from, to time.Time, yield func(store.Span) bool) error
}

// recall plays the kept spans of the last minutes through the graph and the
// detector, second by second. Without it a plane that is restarted in the
// middle of an outage would take the outage for usual. It returns how many
// spans it has played; 0 when there were too many for the time.
func (w *watch) recall(ctx context.Context, spans window, now time.Time) int {
	for _, r := range recalls {
		w.graph, w.detector = topology.Graph{}, detect.Detector{}
		if n, ok := w.play(ctx, spans, now, r.past, r.limit); ok {
			return n
		}
	}
	w.graph, w.detector = topology.Graph{}, detect.Detector{}
	return 0
}

func (w *watch) play(ctx context.Context, spans window, now time.Time, past, limit time.Duration) (n int, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	at := now.Add(-past).Truncate(time.Second)
	var second []store.Span
	pass := func(until time.Time) { // ends the seconds before until
		for ; at.Before(until) && ctx.Err() == nil; at = at.Add(time.Second) {
			w.graph.Fold(second, at)
			second = second[:0]
			w.detector.Step(at, w.graph.Stats(at))
		}
	}
	err := spans.Window(ctx, at, now, func(s store.Span) bool {
		pass(s.Start.Truncate(time.Second))
		second = append(second, s)
		n++
		return ctx.Err() == nil
	})
	pass(now.Truncate(time.Second))
	return n, err == nil && ctx.Err() == nil
}
