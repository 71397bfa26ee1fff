package topology_test

import (
	"fmt"
	"time"

	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/topology"
)

// An order calls payment, which answers with a span, and payment calls a bank,
// which does not.
func Example() {
	now := time.Date(2026, 11, 23, 4, 5, 6, 0, time.UTC)
	trace := store.TraceID{1}
	order := store.Resource{Service: "order"}
	payment := store.Resource{Service: "payment"}
	spans := []store.Span{
		{Resource: order, TraceID: trace, ID: store.SpanID{1}, Kind: store.KindServer},
		{Resource: order, TraceID: trace, ID: store.SpanID{2}, Parent: store.SpanID{1}, Kind: store.KindClient,
			Attrs: map[string]string{"peer.service": "payment", "rpc.system": "grpc"}},
		{Resource: payment, TraceID: trace, ID: store.SpanID{3}, Parent: store.SpanID{2}, Kind: store.KindServer},
		{Resource: payment, TraceID: trace, ID: store.SpanID{4}, Parent: store.SpanID{3}, Kind: store.KindClient,
			Attrs: map[string]string{"peer.service": "bank", "http.request.method": "POST"}},
	}
	var g topology.Graph
	g.Fold(spans, now)
	for _, e := range g.Snapshot(now.Add(11 * time.Second)).Edges {
		fmt.Println(e.From, e.Protocol, e.To, "external:", e.External)
	}
	// Output:
	// order grpc payment external: false
	// payment http bank external: true
}
