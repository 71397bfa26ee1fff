package diagnose_test

import (
	"context"
	"fmt"
	"time"

	"github.com/surefoot-go/surefoot/server/alert"
	"github.com/surefoot-go/surefoot/server/diagnose"
	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/topology"
)

// spans is a store that holds what it was made from, in order of start.
type spans []store.Span

func (s spans) Window(_ context.Context, from, to time.Time, yield func(store.Span) bool) error {
	for _, sp := range s {
		if !sp.Start.Before(from) && sp.Start.Before(to) && !yield(sp) {
			break
		}
	}
	return nil
}

// Ten orders fail because payment's calls to the bank do.
func Example() {
	start := time.Date(2026, 11, 23, 4, 5, 6, 0, time.UTC)
	var all spans
	for n := range byte(10) {
		payment, at := store.Resource{Service: "payment"}, start.Add(time.Duration(n)*time.Second)
		all = append(all,
			store.Span{Resource: payment, TraceID: store.TraceID{n + 1}, ID: store.SpanID{1}, Kind: store.KindServer, Start: at, Error: true},
			store.Span{Resource: payment, TraceID: store.TraceID{n + 1}, ID: store.SpanID{2}, Parent: store.SpanID{1}, Kind: store.KindClient,
				Start: at, Error: true, Message: "connection refused", Attrs: map[string]string{"peer.service": "bank"}})
	}
	incident := alert.Incident{ID: "inc-1", OpenedAt: start.Add(2 * time.Second)}
	report, err := diagnose.Doctor{Spans: all}.Diagnose(context.Background(), start.Add(time.Minute), incident, topology.Topology{})
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println(report.Title)
	fmt.Println(report.Evidence[1].Text)
	// Output:
	// bank is failing
	// seen by payment ×10: connection refused
}
