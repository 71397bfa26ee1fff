package topology

import (
	"cmp"
	"slices"
	"time"

	"github.com/surefoot-go/surefoot/server/store"
)

// View is whose spans a Stat counts.
type View string

// Views of a target.
const (
	Own     View = "own"     // its server spans
	Callers View = "callers" // the client spans of those who call it
)

// Stat is the running totals of one target in one view since the Graph first
// saw it. Totals only grow; a target that was forgotten and comes back starts
// at zero again.
type Stat struct {
	Target   string // service, external, or service@version
	Kind     string // Service, External or Database
	Service  string // of a version; else empty
	Version  string // of a version; else empty
	View     View
	Calls    uint64
	Errors   uint64
	Rejected uint64 // calls the callers' own guards refused; not among Calls
	Latency  Histogram
}

// Stats returns the running totals of every target, sorted by target and view.
func (g *Graph) Stats(now time.Time) []Stat {
	g.tick(now)
	out := make([]Stat, 0, 2*len(g.nodes)+g.versions)
	for _, n := range g.nodes {
		if n.own != nil {
			out = append(out, n.own.total)
		}
		if n.seen != nil {
			s := n.seen.total
			s.Kind = n.kind
			out = append(out, s)
		}
		for _, v := range n.versions {
			out = append(out, v.total)
		}
	}
	slices.SortFunc(out, func(a, b Stat) int {
		return cmp.Or(cmp.Compare(a.Target, b.Target), cmp.Compare(a.View, b.View))
	})
	return out
}

// Dropped returns what could not be kept since the Graph began.
func (g *Graph) Dropped() Dropped { return g.dropped }

// warnShare is the error share from which a node's state is Warn: the
// rollback rule's 3 %.
const warnShare = 0.03

func state(r Rates, calls uint64) string {
	switch {
	case calls == 0:
		return Idle
	case r.ErrorShare >= warnShare:
		return Warn
	}
	return OK
}

// Snapshot returns the map of the minute before now. The same spans folded at
// the same times give the same snapshot.
func (g *Graph) Snapshot(now time.Time) Topology {
	g.tick(now)
	t := Topology{
		At:         now.UTC().Truncate(time.Millisecond),
		Nodes:      make([]Node, 0, len(g.nodes)),
		Edges:      make([]Edge, 0, len(g.edges)),
		Operations: map[string][]Operation{},
	}
	for _, n := range g.nodes {
		t.Nodes = append(t.Nodes, g.drawNode(n))
		if len(n.ops) > 0 {
			t.Operations[n.name] = g.drawOperations(n)
		}
	}
	for k, e := range g.edges {
		t.Edges = append(t.Edges, g.drawEdge(k, e))
	}
	slices.SortFunc(t.Nodes, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(t.Edges, func(a, b Edge) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Protocol, b.Protocol))
	})
	return t
}

func (g *Graph) drawNode(n *node) Node {
	out := Node{Name: n.name, Kind: n.kind, State: Idle, Versions: []Version{}}
	for _, c := range []*counter{n.own, n.seen} {
		if c == nil {
			continue
		}
		r := c.win.rates(g.now, c.born)
		if c.win.calls > 0 {
			out.Rates, out.State = r, state(r, c.win.calls)
			break
		}
	}
	for _, c := range n.versions {
		if r := c.win.rates(g.now, c.born); c.win.calls > 0 {
			out.Versions = append(out.Versions, Version{Version: c.total.Version, Rates: r})
		}
	}
	slices.SortFunc(out.Versions, func(a, b Version) int { return cmp.Compare(a.Version, b.Version) })
	return out
}

func (g *Graph) drawOperations(n *node) []Operation {
	out := []Operation{}
	for k, c := range n.ops {
		kind := "server"
		if k.kind == store.KindConsumer {
			kind = "consumer"
		}
		if r := c.win.rates(g.now, c.born); c.win.calls > 0 {
			out = append(out, Operation{Name: k.name, Kind: kind, Rates: r})
		}
	}
	slices.SortFunc(out, func(a, b Operation) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
	})
	return out
}

func (g *Graph) drawEdge(k edgeKey, e *edge) Edge {
	r := e.win.rates(g.now, e.born)
	g.weigh(k, e, r)
	out := Edge{From: k.from, To: k.to, Protocol: k.protocol, Rates: r, Strong: e.strong, State: state(r, e.win.calls)}
	if n := g.nodes[k.to]; n != nil {
		out.External = n.kind != Service
	}
	return out
}

// weigh decides whether e is strong; see Edge. A caller that gets no requests
// itself, a worker, depends strongly on nothing.
func (g *Graph) weigh(k edgeKey, e *edge, r Rates) {
	from := g.nodes[k.from]
	if e.async || from == nil || from.own == nil {
		return
	}
	from.own.win.advance(g.now)
	requests := from.own.win.calls
	if requests < 5 {
		return
	}
	share := float64(e.win.firsts) / float64(requests)
	switch {
	case share > 0.5:
		e.strong = true
	case share < 0.25 && e.win.calls >= 20 && r.ErrorShare < warnShare:
		e.strong = false
	}
}

// sweep forgets what has had no call since the second before.
func (g *Graph) sweep(before int64) {
	for k, e := range g.edges {
		if e.last < before {
			delete(g.edges, k)
		}
	}
	for name, n := range g.nodes {
		for v, c := range n.versions {
			if c.last < before {
				delete(n.versions, v)
				g.versions--
			}
		}
		for k, c := range n.ops {
			if c.last < before {
				delete(n.ops, k)
				g.ops--
			}
		}
		if n.last < before {
			g.versions -= len(n.versions)
			g.ops -= len(n.ops)
			delete(g.nodes, name)
		}
	}
	for k, m := range g.names {
		if m.last < before {
			delete(g.names, k)
		}
	}
}

// moveEdge gives an edge that was a mistake its true callee, and removes the
// mistaken one when nothing else called it.
func (g *Graph) moveEdge(k edgeKey, to string) {
	right := edgeKey{k.from, to, k.protocol}
	if e := g.edges[k]; e != nil && g.edges[right] == nil {
		g.edges[right] = e
	}
	delete(g.edges, k)
	for other := range g.edges {
		if other.to == k.to {
			return
		}
	}
	delete(g.nodes, k.to)
}
