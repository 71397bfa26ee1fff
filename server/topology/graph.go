package topology

import (
	"time"

	"github.com/surefoot-go/surefoot/server/store"
)

// Graph folds spans into a Topology. The zero value is ready. It is not safe
// for concurrent use: one goroutine folds and takes snapshots, and hands the
// snapshots on.
type Graph struct {
	Limits Limits
}

// Limits bounds a Graph's memory.
type Limits struct{}

// Stat is the running totals of one target.
type Stat struct {
	Target string
}

// Fold takes in spans that arrived at now.
func (g *Graph) Fold(spans []store.Span, now time.Time) {}

// Stats returns the running totals of every target.
func (g *Graph) Stats(now time.Time) []Stat { return nil }

// Snapshot returns the map of the minute before now.
func (g *Graph) Snapshot(now time.Time) Topology {
	return Topology{At: now.UTC().Truncate(time.Millisecond), Nodes: []Node{}, Edges: []Edge{}}
}

// Mermaid draws t as a Mermaid flowchart.
func Mermaid(t Topology) string { return "flowchart LR\n" }

// DOT draws t in Graphviz' language.
func DOT(t Topology) string { return "digraph surefoot {\n}\n" }
