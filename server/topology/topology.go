// Package topology draws the map of a running system from its spans: who
// calls whom, how often, how well, and which of the callees lie outside.
//
//	var g topology.Graph
//	g.Fold(spans, now)
//	t := g.Snapshot(now)
//	fmt.Print(topology.Mermaid(t))
//
// The room is pure: it reads no clock and starts no goroutine. Its memory is
// bounded whatever it is fed (see Limits). It does not judge: see detect; and
// it does not keep spans: see store.
package topology

import "time"

// Kinds of node.
const (
	Service  = "service"  // sends us spans of its own
	External = "external" // seen only through the client spans of its callers
	Database = "database" // an External whose client spans carry db.system
)

// States of a node or an edge. Snapshot knows Idle, OK and Warn; Bad takes a
// detector's word (see detect.Paint).
const (
	OK   = "ok"
	Warn = "warn" // 3 % of the calls of the last minute failed, or more
	Bad  = "bad"  // a symptom is active
	Idle = "idle" // no calls in the last minute
)

// Protocols of an edge.
const (
	HTTP  = "http"
	GRPC  = "grpc"
	DB    = "db"
	Other = "other"
)

// Topology is the map at one moment: nodes sorted by name, edges by from, to
// and protocol. It shares nothing with the Graph it came from; treat it as
// read-only and hand it to as many goroutines as you like.
type Topology struct {
	At    time.Time `json:"at"` // UTC, whole milliseconds
	Nodes []Node    `json:"nodes"`
	Edges []Edge    `json:"edges"`
	// Operations of each service by its name, sorted by name and kind.
	Operations map[string][]Operation `json:"-"`
}

// Rates is how often and how well something was called in the last minute.
type Rates struct {
	Rate       float64 `json:"rate"`       // calls per second
	ErrorShare float64 `json:"errorShare"` // 0 to 1
	P50        float64 `json:"p50Ms"`      // milliseconds
	P99        float64 `json:"p99Ms"`      // milliseconds
}

// Node is a service, or something outside that services call. Rates are those
// of its own server spans; for what sends none, and for a service that no call
// reached in the last minute, those of its callers' client spans.
type Node struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`  // Service, External or Database
	State string `json:"state"` // OK, Warn, Bad or Idle
	Rates
	Owner    string    `json:"owner"`    // empty until somebody who knows the catalog fills it
	Findings int       `json:"findings"` // open ones of the service itself, see package vitals; somebody who knows them fills it
	Versions []Version `json:"versions"` // never nil; sorted
}

// Version is the part of a service's traffic that one version served.
type Version struct {
	Version string `json:"version"`
	Rates
}

// Edge is the calls from one node to another over one protocol, as the
// caller's client spans tell them.
//
// Strong means that the caller does not get through a request without the
// callee: synchronous calls on more than half of the caller's requests. Once
// found strong an edge stays so until a healthy minute of at least 20 calls
// shows fewer than a quarter of the requests calling, so that an open
// breaker does not make a dependency look weak.
type Edge struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Protocol string `json:"protocol"` // HTTP, GRPC, DB or Other
	Rates
	Strong   bool   `json:"strong"`
	External bool   `json:"external"` // To is External or Database
	State    string `json:"state"`
}

// Operation is one server or consumer operation of a service.
type Operation struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // "server" or "consumer"
	Rates
}

// Node returns the node of that name.
func (t Topology) Node(name string) (Node, bool) {
	for _, n := range t.Nodes {
		if n.Name == name {
			return n, true
		}
	}
	return Node{}, false
}

// Callers returns the edges that end at name, Callees those that start there;
// never nil.
func (t Topology) Callers(name string) []Edge {
	out := []Edge{}
	for _, e := range t.Edges {
		if e.To == name {
			out = append(out, e)
		}
	}
	return out
}

// Callees returns the edges that start at name; never nil.
func (t Topology) Callees(name string) []Edge {
	out := []Edge{}
	for _, e := range t.Edges {
		if e.From == name {
			out = append(out, e)
		}
	}
	return out
}
