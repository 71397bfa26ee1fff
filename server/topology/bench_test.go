package topology_test

import (
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/topology"
)

// BenchmarkFold folds the shop's traces of 11 spans each, with fresh ids, in
// batches of 1,100 a tenth of a second apart.
func BenchmarkFold(b *testing.B) {
	var i ids
	var g topology.Graph
	const traces = 100
	batch := make([]store.Span, 0, 11*traces)
	for range traces {
		root := i.root("gateway")
		batch = append(batch, root)
		for _, l := range [][2]string{{"gateway", "user"}, {"gateway", "order"}, {"order", "payment"}, {"order", "inventory"}, {"payment", "bank"}} {
			c, s := i.call(root.TraceID, root.ID, l[0], l[1], l[1])
			batch = append(batch, c, s)
		}
	}
	now := time.Unix(1e9, 0)
	spans := 0
	b.ReportAllocs()
	for b.Loop() {
		for k := range batch { // every round is new traces
			batch[k].TraceID[0]++
			if batch[k].TraceID[0] == 0 {
				batch[k].TraceID[1]++
			}
		}
		g.Fold(batch, now)
		now = now.Add(100 * time.Millisecond)
		spans += len(batch)
	}
	b.ReportMetric(float64(spans)/b.Elapsed().Seconds(), "spans/s")
}

func BenchmarkSnapshot(b *testing.B) {
	g := shopGraph()
	b.ReportAllocs()
	for b.Loop() {
		g.Snapshot(at(40))
	}
}
