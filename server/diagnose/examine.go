package diagnose

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/surefoot-go/surefoot/server/alert"
	"github.com/surefoot-go/surefoot/server/detect"
	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/topology"
)

// period is the minute before, or since.
type period int

const (
	past period = iota
	present
)

// calls counts calls in both periods.
type calls struct {
	n, failed [2]int
	took      [2][]int64
}

func (c *calls) add(p period, s *span) {
	c.n[p]++
	if s.failed {
		c.failed[p]++
	}
	c.took[p] = append(c.took[p], s.dur)
}

func (c *calls) share(p period) float64 {
	if c.n[p] == 0 {
		return 0
	}
	return float64(c.failed[p]) / float64(c.n[p])
}

// p99 in milliseconds.
func (c *calls) p99(p period) float64 {
	t := c.took[p]
	if len(t) == 0 {
		return 0
	}
	slices.Sort(t)
	return float64(t[min(len(t)*99/100, len(t)-1)]) / 1e6
}

// node is what is known of a service or of something outside.
type node struct {
	name, kind string
	calls
	versions  map[string]*calls
	callers   map[string]*calls
	blamed    [2]float64 // traces that lead here
	byRelease map[string]float64
	lostTime  float64    // part of blamed[present] that is about time
	own       [2]float64 // milliseconds of own time, all traces together
	refused   [2]int
	seen      map[string]*example // by what the failing spans say; at most 50
	slowest   example
	entry     bool
	first     int64     // start of the first blamed span since the incident began
	waits     [2][]wait // own time, span by span
}

// example is a trace that shows something.
type example struct {
	trace  store.TraceID
	at     int64
	text   string
	count  int
	ns     float64
	caller string
}

// wait is own time from a moment on.
type wait struct {
	at int64
	ms float64
}

// caseFile is everything a diagnosis knows.
type caseFile struct {
	inc     alert.Incident
	topo    topology.Topology
	nodes   map[string]*node
	aliases map[[2]string]string
	traces  [2]int
	failing [2]float64
	scale   int // one trace read stands for so many
	onset   int64
}

// examine looks at the traces twice: symptoms are seen later than they begin,
// by an unknown time, so the first look finds out when what is at fault began,
// and the second compares with the time before that.
func examine(r *reader, t topology.Topology, inc alert.Incident) *caseFile {
	c := look(r, t, inc)
	if best := c.candidates(); len(best) > 0 {
		if onset := c.nodes[best[0].Name].onset(best[0].Slow); onset > r.since {
			r.since = onset
			again := look(r, t, inc)
			again.onset = onset
			if b := again.candidates(); len(b) > 0 && b[0].Name == best[0].Name {
				return again
			}
		}
	}
	return c
}

func look(r *reader, t topology.Topology, inc alert.Incident) *caseFile {
	c := &caseFile{inc: inc, topo: t, nodes: map[string]*node{}, aliases: map[[2]string]string{}, scale: 1 << r.level}
	ids := make([]store.TraceID, 0, len(r.traces))
	for id, spans := range r.traces {
		ids = append(ids, id)
		c.learn(spans)
	}
	slices.SortFunc(ids, func(a, b store.TraceID) int {
		return cmp.Or(cmp.Compare(r.traces[a][0].start, r.traces[b][0].start), bytes.Compare(a[:], b[:]))
	})
	for _, id := range ids {
		p := past
		if slices.ContainsFunc(r.traces[id], func(s span) bool { return s.start >= r.since }) {
			p = present
		}
		c.trace(p, id, plant(r.traces[id], c.target))
	}
	return c
}

// onset returns when n's trouble began: its first failure when it had none
// before, its first wait of more than three times the longest before; 0 when
// that cannot be told.
func (n *node) onset(slow bool) int64 {
	switch {
	case n == nil:
	case slow && len(n.waits[past]) >= 20:
		longest := 0.0
		for _, w := range n.waits[past] {
			longest = max(longest, w.ms)
		}
		first := int64(0)
		for _, w := range n.waits[present] {
			if w.ms > 3*longest && (first == 0 || w.at < first) {
				first = w.at
			}
		}
		return first
	case !slow && n.blamed[past] == 0:
		return n.first
	}
	return 0
}

// learn notes which services answer to which names.
func (c *caseFile) learn(spans []span) {
	at := make(map[store.SpanID]*span, len(spans))
	for i := range spans {
		at[spans[i].id] = &spans[i]
	}
	for i := range spans {
		s := &spans[i]
		if p := at[s.parent]; s.in() && p != nil && p.out() && p.callee != "" {
			k := [2]string{p.service, p.callee}
			// Of several answers, as a proxy gives, the least: any, but the same each time.
			if old, ok := c.aliases[k]; !ok || s.service < old {
				c.aliases[k] = s.service
			}
		}
	}
}

func (c *caseFile) resolve(from, name string) string {
	if s, ok := c.aliases[[2]string{from, name}]; ok {
		return s
	}
	return name
}

func (c *caseFile) target(s *span) string {
	if s.callee == "" {
		return ""
	}
	return c.resolve(s.service, s.callee)
}

func (c *caseFile) node(name, kind string) *node {
	n := c.nodes[name]
	if n == nil {
		n = &node{name: name, kind: kind, versions: map[string]*calls{}, callers: map[string]*calls{}, byRelease: map[string]float64{}, seen: map[string]*example{}}
		if known, ok := c.topo.Node(name); ok {
			n.kind = known.Kind
		}
		c.nodes[name] = n
	}
	if kind == topology.Service {
		n.kind = kind
	}
	return n
}

func of(m map[string]*calls, k string) *calls {
	if m[k] == nil {
		m[k] = &calls{}
	}
	return m[k]
}

// trace takes one trace in.
func (c *caseFile) trace(p period, id store.TraceID, t *tree) {
	c.traces[p]++
	for i := range t.spans {
		s := &t.spans[i]
		n := c.node(s.service, topology.Service)
		if s.refused != "" {
			c.node(c.resolve(s.service, s.refused), topology.External).refused[p]++
		}
		switch {
		case s.in():
			n.add(p, s)
			of(n.versions, s.version).add(p, s)
			n.entry = n.entry || s.parent.IsZero()
		case s.out():
			c.call(p, t, i)
		}
		if name, ns := t.own(i, c.target); name != "" {
			o := c.node(name, topology.External)
			ms := float64(ns) / 1e6
			o.own[p] += ms
			o.waits[p] = append(o.waits[p], wait{s.start, ms})
			if p == present && ms > o.slowest.ns {
				o.slowest = example{trace: id, at: s.start, ns: ms, text: s.name, caller: s.service}
			}
		}
	}
	c.judge(p, id, t)
}

// call counts a call that s made.
func (c *caseFile) call(p period, t *tree, i int) {
	s := &t.spans[i]
	name := c.target(s)
	if name == "" {
		return
	}
	kind := s.calleeKind
	answered := slices.ContainsFunc(t.kids[i], func(k int) bool { return t.spans[k].in() })
	n := c.node(name, kind)
	if s.rejected {
		n.refused[p]++
		return
	}
	of(n.callers, s.service).add(p, s)
	if n.kind != topology.Service || s.failed && !answered {
		n.add(p, s)
	}
}

// judge shares a failed trace out among those it leads to.
func (c *caseFile) judge(p period, id store.TraceID, t *tree) {
	bs := t.blames(c.target, c.resolve)
	total := 0.0
	for _, b := range bs {
		total += b.weight
	}
	if total == 0 {
		return
	}
	c.failing[p]++
	for _, b := range bs {
		n := c.node(b.name, topology.External)
		part := b.weight / total
		n.blamed[p] += part
		if p == past {
			continue
		}
		n.byRelease[b.version] += part
		s := &t.spans[b.at]
		if b.slow {
			n.lostTime += part
		}
		if n.first == 0 || s.start < n.first {
			n.first = s.start
		}
		text := s.fault
		if s.message != "" && s.message != text {
			if text != "" {
				text += ": "
			}
			text += s.message
		}
		if b.refused {
			text = "its breaker is open"
		}
		e := n.seen[text]
		if e == nil {
			if len(n.seen) >= 50 {
				continue
			}
			e = &example{trace: id, at: s.start, text: text, caller: s.service}
			n.seen[text] = e
		}
		e.count++
	}
}

// began returns the onset, or else when the first symptom was seen to begin.
func (c *caseFile) began(seen time.Time) time.Time {
	if c.onset != 0 {
		seen = time.Unix(0, c.onset)
	}
	return seen.UTC().Truncate(time.Millisecond)
}

// callers returns who calls name, the most failing first.
func (c *caseFile) callers(name string) []string {
	n := c.nodes[name]
	if n == nil {
		return nil
	}
	out := keys(n.callers)
	slices.SortStableFunc(out, func(a, b string) int {
		return cmp.Or(cmp.Compare(n.callers[b].failed[present], n.callers[a].failed[present]), cmp.Compare(n.callers[b].n[present], n.callers[a].n[present]))
	})
	return out
}

func keys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// impact lists what each service's callers felt, the worst first.
func (c *caseFile) impact() []Impact {
	out := []Impact{}
	for _, name := range keys(c.nodes) {
		n := c.nodes[name]
		if n.kind != topology.Service || n.n[present] == 0 {
			continue
		}
		out = append(out, Impact{
			Service: name, ErrorShare: round4(n.share(present)), Requests: n.n[present] * c.scale, ErrorShareBefore: round4(n.share(past)),
			P99: round1(n.p99(present)), P99Before: round1(n.p99(past)), Entry: n.entry,
		})
	}
	slices.SortStableFunc(out, func(a, b Impact) int {
		return cmp.Or(cmp.Compare(b.harm(), a.harm()), cmp.Compare(btoi(b.Entry), btoi(a.Entry)), cmp.Compare(b.Requests, a.Requests))
	})
	return out
}

// harm orders impacts: failures, then slowness beyond noise.
func (i Impact) harm() float64 {
	h := 1e9 * math.Floor(100*max(i.ErrorShare-i.ErrorShareBefore, 0))
	if g := i.P99 - i.P99Before; g > 20 && g > i.P99Before/2 {
		h += g
	}
	return h
}

// symptomatic returns the incident's symptoms of a node.
func (c *caseFile) symptomatic(name string) bool {
	return slices.ContainsFunc(c.inc.Symptoms, func(s alert.Symptom) bool {
		service, _, _ := detect.Split(s.Target)
		return s.Target == name || service == name
	})
}
