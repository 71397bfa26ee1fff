package topology

import (
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/server/store"
)

// Graph folds spans into a Topology. The zero value is ready. It is not safe
// for concurrent use: one goroutine folds and takes snapshots, and hands the
// snapshots on.
//
// A client span and the server span below it meet by trace and parent id, in
// whatever order and batch they arrive. A client span says whom it called in
// attributes (see Callee); whom it reached is the server span's service. The
// first time the two meet the Graph learns that this caller means that service
// by that name, and from then on counts the caller's spans at once, also when
// nobody answers: so a service that is down still is the one that fails.
// A client span that nobody has answered for Limits.Match, under a name that is
// no service's, called something outside. Everything is counted in the second
// in which it arrived: a sender's wrong clock hides nothing.
type Graph struct {
	Limits Limits // set before the first Fold

	now      int64 // newest second seen
	swept    int64
	nodes    map[string]*node
	edges    map[edgeKey]*edge
	names    map[nameKey]*meaning
	clients  waiting[client] // client spans waiting for their server span
	servers  waiting[string] // services by the key of the client span they wait for
	ops      int
	versions int
	dropped  Dropped
}

// Limits bounds a Graph's memory: at the defaults, with every table full, it
// is under 96 MB (TestMemoryIsBounded).
type Limits struct {
	Nodes      int           // 0 means 500
	Edges      int           // 0 means 1000
	Operations int           // of all services together; 0 means 1000, further ones count as "(other)"
	Versions   int           // of all services together; 0 means 500
	Waiting    int           // spans that wait for their other half, each way; 0 means 65536, full drops the oldest
	Match      time.Duration // how long a client span waits for its server span; 0 means 10s
	Forget     time.Duration // how long something is remembered without a call; 0 means 10m
}

// Dropped counts what a Graph could not keep.
type Dropped struct {
	Nodes, Edges, Operations, Versions uint64 // spans beyond the limit
	Waiting                            uint64 // client spans pushed out unanswered; counted as if nobody had answered
	Unnamed                            uint64 // client spans that nobody answered and that name no callee
}

func (l Limits) orDefault() Limits {
	for _, f := range []struct {
		v *int
		d int
	}{{&l.Nodes, 500}, {&l.Edges, 1000}, {&l.Operations, 1000}, {&l.Versions, 500}, {&l.Waiting, 65536}} {
		if *f.v == 0 {
			*f.v = f.d
		}
		*f.v = max(*f.v, 1)
	}
	if l.Match == 0 {
		l.Match = 10 * time.Second
	}
	if l.Forget == 0 {
		l.Forget = 10 * time.Minute
	}
	return l
}

type node struct {
	name, kind string
	born, last int64
	own        *counter // server spans
	seen       *counter // client spans of callers
	versions   map[string]*counter
	ops        map[opKey]*counter
}

type opKey struct {
	name string
	kind store.Kind
}

type edgeKey struct{ from, to, protocol string }

type edge struct {
	counter
	async  bool
	strong bool
	traces [32]uint64 // the latest traces that called, to tell a request's first call
	at     int
}

// counter counts calls in a window and since ever.
type counter struct {
	win        window
	total      Stat
	born, last int64
}

func (c *counter) add(sec int64, bucket int, failed, first bool) {
	c.last = max(c.last, sec)
	c.win.add(sec, bucket, failed, first)
	c.total.Calls++
	c.total.Latency[bucket]++
	if failed {
		c.total.Errors++
	}
}

// nameKey is a name as one caller uses it.
type nameKey struct{ from, name string }

type meaning struct {
	service string
	mixed   bool // stands for several services, as a proxy's address does
	last    int64
}

// client is what is kept of a client span while it waits.
type client struct {
	from, name, kind, protocol string
	to                         string // where it has been counted already; empty means nowhere
	trace                      uint64
	sec                        int64
	bucket                     int
	failed, rejected, async    bool
}

func (g *Graph) init() {
	if g.nodes != nil {
		return
	}
	g.Limits = g.Limits.orDefault()
	g.nodes = map[string]*node{}
	g.edges = map[edgeKey]*edge{}
	g.names = map[nameKey]*meaning{}
	g.clients.limit = g.Limits.Waiting
	g.servers.limit = g.Limits.Waiting
}

// tick moves time on and settles what has waited long enough.
func (g *Graph) tick(now time.Time) {
	g.init()
	g.now = max(g.now, now.Unix())
	g.clients.expire(g.now-int64(g.Limits.Match/time.Second), g.unanswered)
	g.servers.expire(g.now-int64(3*g.Limits.Match/time.Second), func(string) {})
	if g.now-g.swept >= 10 {
		g.swept = g.now
		g.sweep(g.now - int64(g.Limits.Forget/time.Second))
	}
}

// Fold takes in spans that arrived at now. It keeps nothing of the slice.
func (g *Graph) Fold(spans []store.Span, now time.Time) {
	g.tick(now)
	for i := range spans {
		s := &spans[i]
		n := g.node(clip(s.Service), Service)
		if n == nil {
			continue
		}
		switch s.Kind {
		case store.KindServer, store.KindConsumer:
			g.server(n, s)
		case store.KindClient, store.KindProducer:
			g.client(n, s)
		}
		for j := range s.Events {
			if e := &s.Events[j]; e.Name == "surefoot.breaker.rejected" {
				g.rejected(n.name, e.Attrs["surefoot.target"])
			}
		}
	}
}

// rejected counts a call that from's guard refused to send to the target it
// calls by name. Such a call has no span of its own.
func (g *Graph) rejected(from, name string) {
	if to := g.nodes[g.means(from, name, External)]; to != nil && to.seen != nil {
		to.seen.total.Rejected++
	}
}

func (g *Graph) server(n *node, s *store.Span) {
	b, failed := bucket(int64(s.Duration)), Failed(s)
	if n.own == nil {
		n.own = &counter{born: g.now, total: Stat{Target: n.name, Kind: Service, View: Own}}
	}
	n.own.add(g.now, b, failed, false)
	if v := g.version(n, s.Version); v != nil {
		v.add(g.now, b, failed, false)
	}
	if op := g.operation(n, opKey{s.Name, s.Kind}); op != nil {
		op.add(g.now, b, failed, false)
	}
	if s.Parent.IsZero() {
		return
	}
	k := key{s.TraceID, s.Parent}
	c, ok := g.clients.take(k)
	if !ok {
		g.servers.put(k, n.name, g.now, func(string) {})
		return
	}
	g.learn(c.from, c.name, n.name)
	switch {
	case c.to == "":
		c.rejected = false
		g.call(c, n.name)
	case c.to != n.name && g.nodes[c.to] != nil && g.nodes[c.to].kind != Service:
		g.moveEdge(edgeKey{c.from, c.to, c.protocol}, n.name) // taken for something outside, wrongly
	}
}

func (g *Graph) client(n *node, s *store.Span) {
	c := client{
		from: n.name, protocol: protocol(s), sec: g.now, bucket: bucket(int64(s.Duration)),
		failed: Failed(s), rejected: Rejected(s), async: s.Kind == store.KindProducer,
		trace: traceHash(s.TraceID),
	}
	c.name, c.kind = Callee(s)
	k := key{s.TraceID, s.ID}
	if svc, ok := g.servers.take(k); ok {
		g.learn(c.from, c.name, svc)
		c.rejected = false
		g.call(c, svc)
		return
	}
	if to := g.means(c.from, c.name, c.kind); to != "" && !c.rejected {
		g.call(c, to)
		c.to = to
		if c.kind == Database {
			return // a database never answers with a span
		}
	}
	g.clients.put(k, c, g.now, func(old client) {
		g.dropped.Waiting++
		g.unanswered(old)
	})
}

// means returns whom from calls by name, empty when that is not known yet.
func (g *Graph) means(from, name, kind string) string {
	if name == "" {
		return ""
	}
	if m := g.names[nameKey{from, name}]; m != nil {
		m.last = g.now
		if m.mixed {
			return ""
		}
		return m.service
	}
	if n := g.nodes[name]; n != nil || kind == Database {
		return name
	}
	return ""
}

// learn notes that from reached service by name.
func (g *Graph) learn(from, name, service string) {
	if name == "" || name == service {
		return
	}
	k := nameKey{from, name}
	m := g.names[k]
	if m == nil {
		if len(g.names) >= 2*g.Limits.Edges {
			return
		}
		m = &meaning{service: service}
		g.names[nameKey{from, strings.Clone(name)}] = m
	}
	m.last = g.now
	if m.service != service {
		m.mixed = true
	}
}

// unanswered settles a client span that no server span has met in time.
func (g *Graph) unanswered(c client) {
	switch {
	case c.to != "":
	case c.name == "":
		g.dropped.Unnamed++
	default:
		g.call(c, c.name)
	}
}

// call counts one call on its edge and its callee.
func (g *Graph) call(c client, to string) {
	callee := g.node(to, c.kind)
	if callee == nil {
		return
	}
	callee.last = max(callee.last, g.now)
	k := edgeKey{c.from, callee.name, c.protocol}
	e := g.edges[k]
	if e == nil {
		if len(g.edges) >= g.Limits.Edges {
			g.dropped.Edges++
			return
		}
		e = &edge{counter: counter{born: c.sec}, async: c.async}
		g.edges[k] = e
	}
	if callee.seen == nil {
		callee.seen = &counter{born: c.sec, total: Stat{Target: callee.name, View: Callers}}
	}
	e.last = max(e.last, c.sec)
	if c.rejected {
		callee.seen.total.Rejected++
		return
	}
	first := e.first(c.trace)
	e.add(c.sec, c.bucket, c.failed, first)
	callee.seen.add(c.sec, c.bucket, c.failed, first)
}

// first tells whether a trace calls over e for the first time lately.
func (e *edge) first(trace uint64) bool {
	for _, t := range e.traces {
		if t == trace {
			return false
		}
	}
	e.traces[e.at] = trace
	e.at = (e.at + 1) % len(e.traces)
	return true
}

func traceHash(t store.TraceID) (h uint64) {
	h = 14695981039346656037 // FNV-1a
	for _, b := range t {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return h
}

// node returns the node of that name, making it when there is room. Whoever
// sends spans becomes a Service, whatever it was taken for before.
func (g *Graph) node(name, kind string) *node {
	n := g.nodes[name]
	if n == nil {
		if len(g.nodes) >= g.Limits.Nodes {
			g.dropped.Nodes++
			return nil
		}
		name = strings.Clone(name)
		n = &node{name: name, kind: kind, born: g.now}
		g.nodes[name] = n
	}
	if kind == Service {
		n.kind = Service
		n.last = g.now
	}
	return n
}

func (g *Graph) version(n *node, version string) *counter {
	c := n.versions[version]
	if c == nil {
		if g.versions >= g.Limits.Versions {
			g.dropped.Versions++
			return nil
		}
		if n.versions == nil {
			n.versions = map[string]*counter{}
		}
		v := strings.Clone(clip(version))
		c = &counter{born: g.now, total: Stat{Target: n.name + "@" + v, Kind: Service, Service: n.name, Version: v, View: Own}}
		n.versions[strings.Clone(version)] = c
		g.versions++
	}
	return c
}

// other stands for the operations beyond the limit.
const other = "(other)"

func (g *Graph) operation(n *node, k opKey) *counter {
	c := n.ops[k]
	if c != nil {
		return c
	}
	if n.ops == nil {
		n.ops = map[opKey]*counter{}
	}
	k.name = clip(k.name)
	if g.ops >= g.Limits.Operations {
		g.dropped.Operations++
		k = opKey{other, k.kind}
	}
	if c = n.ops[k]; c == nil {
		k.name = strings.Clone(k.name)
		c = &counter{born: g.now}
		n.ops[k] = c
		g.ops++
	}
	return c
}
