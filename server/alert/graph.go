package alert

import (
	"github.com/surefoot-go/surefoot/server/detect"
	"github.com/surefoot-go/surefoot/server/topology"
)

// graph answers along which way calls lead.
type graph struct {
	nodes   map[string]string // kind by name
	callees map[string][]string
	callers map[string][]string
	memo    map[string]map[string]bool
}

func newGraph(t topology.Topology) graph {
	g := graph{nodes: map[string]string{}, callees: map[string][]string{}, callers: map[string][]string{}, memo: map[string]map[string]bool{}}
	for _, n := range t.Nodes {
		g.nodes[n.Name] = n.Kind
	}
	for _, e := range t.Edges {
		g.callees[e.From] = append(g.callees[e.From], e.To)
		g.callers[e.To] = append(g.callers[e.To], e.From)
	}
	return g
}

// node returns the node a target belongs to: itself, or the service before "@".
func (g graph) node(target string) string {
	if _, ok := g.nodes[target]; ok {
		return target
	}
	name, _, version := detect.Split(target)
	if _, ok := g.nodes[name]; version && (ok || len(g.nodes) == 0) {
		return name
	}
	return target
}

// leads tells whether calls lead from a to b, directly or through others.
func (g graph) leads(a, b string) bool {
	seen := g.memo[a]
	if seen == nil {
		seen = map[string]bool{}
		todo := []string{a}
		for len(todo) > 0 {
			n := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			for _, c := range g.callees[n] {
				if !seen[c] {
					seen[c] = true
					todo = append(todo, c)
				}
			}
		}
		g.memo[a] = seen
	}
	return seen[b]
}

func (g graph) connected(a, b string) bool { return a == b || g.leads(a, b) || g.leads(b, a) }

// affected returns the services a symptom is felt by: the one that has it, or
// the callers of something outside.
func (g graph) affected(s detect.Symptom) []string {
	name := g.node(s.Target)
	if s.Kind == topology.Service {
		return []string{name}
	}
	return g.callers[name]
}
