package topology_test

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/topology"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var t0 = time.Date(2026, 11, 23, 4, 5, 0, 0, time.UTC)

func at(seconds float64) time.Time { return t0.Add(time.Duration(seconds * float64(time.Second))) }

// ids hands out trace and span ids in order.
type ids struct{ n uint64 }

func (i *ids) trace() (t store.TraceID) {
	i.n++
	binary.BigEndian.PutUint64(t[8:], i.n)
	return t
}

func (i *ids) span() (s store.SpanID) {
	i.n++
	binary.BigEndian.PutUint64(s[:], i.n)
	return s
}

// call is a client span of from and the server span of to below it.
func (i *ids) call(trace store.TraceID, parent store.SpanID, from, to, peer string) (client, server store.Span) {
	client = store.Span{
		Resource: store.Resource{Service: from, Version: "v1"}, TraceID: trace, ID: i.span(), Parent: parent,
		Name: "call", Kind: store.KindClient, Duration: 10 * time.Millisecond,
		Attrs: map[string]string{"peer.service": peer, "http.request.method": "GET"},
	}
	server = store.Span{
		Resource: store.Resource{Service: to, Version: "v1"}, TraceID: trace, ID: i.span(), Parent: client.ID,
		Name: "GET /x", Kind: store.KindServer, Duration: 8 * time.Millisecond,
	}
	return client, server
}

func (i *ids) root(service string) store.Span {
	return store.Span{
		Resource: store.Resource{Service: service, Version: "v1"}, TraceID: i.trace(), ID: i.span(),
		Name: "GET /", Kind: store.KindServer, Duration: 20 * time.Millisecond,
	}
}

func edges(t topology.Topology) string {
	var out []string
	for _, e := range t.Edges {
		s := e.From + ">" + e.To
		if e.External {
			s += "(ext)"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func TestJoin(t *testing.T) {
	var i ids
	root := i.root("a")
	tests := []struct {
		name  string
		feed  func(g *topology.Graph)
		after float64
		want  string
	}{
		{"client first", func(g *topology.Graph) {
			c, s := i.call(root.TraceID, root.ID, "a", "b", "b-name")
			g.Fold([]store.Span{c}, at(0))
			g.Fold([]store.Span{s}, at(4))
		}, 5, "a>b"},
		{"server first", func(g *topology.Graph) {
			c, s := i.call(root.TraceID, root.ID, "a", "b", "b-name")
			g.Fold([]store.Span{s}, at(0))
			g.Fold([]store.Span{c}, at(9))
		}, 9, "a>b"},
		{"nobody answers, not yet", func(g *topology.Graph) {
			c, _ := i.call(root.TraceID, root.ID, "a", "", "bank")
			g.Fold([]store.Span{c}, at(0))
		}, 10, ""},
		{"nobody answers", func(g *topology.Graph) {
			c, _ := i.call(root.TraceID, root.ID, "a", "", "bank")
			g.Fold([]store.Span{c}, at(0))
		}, 11, "a>bank(ext)"},
		{"nobody answers, but the name is a service's", func(g *topology.Graph) {
			c, _ := i.call(root.TraceID, root.ID, "a", "", "b")
			g.Fold([]store.Span{i.root("b"), c}, at(0))
		}, 0, "a>b"},
		{"nobody answers, but the name was learnt", func(g *topology.Graph) {
			c, s := i.call(root.TraceID, root.ID, "a", "b", "10.0.0.1")
			g.Fold([]store.Span{c, s}, at(0))
			c, _ = i.call(root.TraceID, root.ID, "a", "b", "10.0.0.1")
			c.Error = true
			g.Fold([]store.Span{c}, at(1))
		}, 1, "a>b"},
		{"taken for external, answers after all", func(g *topology.Graph) {
			c, _ := i.call(root.TraceID, root.ID, "a", "b", "lb")
			g.Fold([]store.Span{c}, at(0))
			c, s := i.call(root.TraceID, root.ID, "a", "b", "lb")
			g.Fold([]store.Span{c}, at(12))
			g.Fold([]store.Span{s}, at(13))
		}, 14, "a>b"},
		{"a proxy's name stands for several", func(g *topology.Graph) {
			for _, to := range []string{"b", "c"} {
				c, s := i.call(root.TraceID, root.ID, "a", to, "mesh")
				g.Fold([]store.Span{c}, at(0))
				g.Fold([]store.Span{s}, at(0))
			}
			c, s := i.call(root.TraceID, root.ID, "a", "c", "mesh")
			g.Fold([]store.Span{c}, at(1))
			g.Fold([]store.Span{s}, at(1))
		}, 2, "a>b a>c"},
		{"an external that starts to send is a service", func(g *topology.Graph) {
			c, _ := i.call(root.TraceID, root.ID, "a", "", "b")
			g.Fold([]store.Span{c}, at(0))
			g.Fold([]store.Span{i.root("b")}, at(12))
		}, 12, "a>b"},
		{"a database is known at once", func(g *topology.Graph) {
			c, _ := i.call(root.TraceID, root.ID, "a", "", "")
			c.Attrs = map[string]string{"db.system.name": "postgresql", "db.namespace": "orders", "server.address": "db1"}
			g.Fold([]store.Span{c}, at(0))
		}, 0, "a>postgresql/orders@db1(ext)"},
		{"an embedded database is its caller's own", func(g *topology.Graph) {
			c, _ := i.call(root.TraceID, root.ID, "a", "", "")
			c.Attrs = map[string]string{"db.system": "sqlite", "db.name": "main"}
			g.Fold([]store.Span{c}, at(0))
		}, 0, "a>sqlite/main@a(ext)"},
		{"address", func(g *topology.Graph) {
			c, _ := i.call(root.TraceID, root.ID, "a", "", "")
			c.Attrs = map[string]string{"server.address": "10.0.0.9", "server.port": "443"}
			g.Fold([]store.Span{c}, at(0))
		}, 11, "a>10.0.0.9:443(ext)"},
		{"a queue's consumer", func(g *topology.Graph) {
			c, s := i.call(root.TraceID, root.ID, "a", "b", "")
			c.Kind, s.Kind = store.KindProducer, store.KindConsumer
			c.Attrs = map[string]string{"messaging.system": "kafka", "messaging.destination.name": "orders"}
			g.Fold([]store.Span{s, c}, at(0))
			c, _ = i.call(root.TraceID, root.ID, "d", "", "")
			c.Kind = store.KindProducer
			c.Attrs = map[string]string{"messaging.system": "kafka", "messaging.destination.name": "orders"}
			g.Fold([]store.Span{c}, at(0))
		}, 11, "a>b d>kafka/orders(ext)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var g topology.Graph
			tt.feed(&g)
			if got := edges(g.Snapshot(at(tt.after))); got != tt.want {
				t.Errorf("edges = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestServiceThatIsDownFails(t *testing.T) {
	var g topology.Graph
	var i ids
	for n := range 100 {
		root := i.root("a")
		c, s := i.call(root.TraceID, root.ID, "a", "b", "b")
		g.Fold([]store.Span{root, c, s}, at(float64(n)))
	}
	for n := 100; n < 200; n++ {
		root := i.root("a")
		c, _ := i.call(root.TraceID, root.ID, "a", "b", "b")
		c.Error = true
		g.Fold([]store.Span{root, c}, at(float64(n)))
	}
	snap := g.Snapshot(at(199))
	b, _ := snap.Node("b")
	if b.Kind != topology.Service || b.ErrorShare != 1 || b.State != topology.Warn {
		t.Errorf("b = %+v, want a service whose calls all fail", b)
	}
}

func TestRates(t *testing.T) {
	var g topology.Graph
	var i ids
	for s := range 90 {
		for n := range 10 {
			sp := i.root("a")
			sp.Version = fmt.Sprint("v", 1+n%2)
			sp.Error = n == 0
			g.Fold([]store.Span{sp}, at(float64(s)))
		}
	}
	snap := g.Snapshot(at(89))
	a, _ := snap.Node("a")
	if a.Rate != 10 || a.ErrorShare != .1 || math.Abs(a.P50-20) > 4 || a.State != topology.Warn {
		t.Errorf("a = %+v, want 10/s, 10 %% failed, p50 about 20 ms", a)
	}
	want := []string{"v1 5 0.2", "v2 5 0"}
	for k, v := range a.Versions {
		if got := fmt.Sprint(v.Version, " ", v.Rate, " ", v.ErrorShare); got != want[k] {
			t.Errorf("version %d = %s, want %s", k, got, want[k])
		}
	}
	if ops := snap.Operations["a"]; len(ops) != 1 || ops[0].Name != "GET /" || ops[0].Kind != "server" || ops[0].Rate != 10 {
		t.Errorf("operations = %+v", ops)
	}
	if a, _ := g.Snapshot(at(150)).Node("a"); a.State != topology.Idle || a.Rate != 0 {
		t.Errorf("a minute later a = %+v, want idle", a)
	}
	if n := len(g.Snapshot(at(89 + 620)).Nodes); n != 0 {
		t.Errorf("ten minutes later %d nodes, want none", n)
	}
}

func TestFailed(t *testing.T) {
	tests := []struct {
		attrs map[string]string
		want  bool
	}{
		{nil, true},
		{map[string]string{"http.response.status_code": "503"}, true},
		{map[string]string{"http.response.status_code": "404"}, false},
		{map[string]string{"http.response.status_code": "429"}, true},
		{map[string]string{"error.type": "canceled"}, false},
		{map[string]string{"error.type": "timeout"}, true},
		{map[string]string{"rpc.grpc.status_code": "14"}, true},
		{map[string]string{"rpc.grpc.status_code": "5"}, false},
	}
	for _, tt := range tests {
		if got := topology.Failed(&store.Span{Error: true, Attrs: tt.attrs}); got != tt.want {
			t.Errorf("Failed(%v) = %v, want %v", tt.attrs, got, tt.want)
		}
	}
	if topology.Failed(&store.Span{}) {
		t.Error("a span without error failed")
	}
}

// TestStrong: an open breaker does not make a dependency look weak, but not
// being needed any more does.
func TestStrong(t *testing.T) {
	var g topology.Graph
	var i ids
	sec := 0.0
	run := func(seconds int, share float64, fail bool) topology.Edge {
		for range seconds {
			for n := range 10 {
				root := i.root("payment")
				batch := []store.Span{root}
				if float64(n) < share*10 {
					for range 2 { // a retry of the same request counts once
						c, _ := i.call(root.TraceID, root.ID, "payment", "", "bank")
						c.Error = fail
						batch = append(batch, c)
					}
				}
				g.Fold(batch, at(sec))
			}
			sec++
		}
		snap := g.Snapshot(at(sec - 1))
		if len(snap.Edges) == 0 {
			return topology.Edge{}
		}
		return snap.Edges[0]
	}
	if e := run(80, .3, false); e.Strong {
		t.Errorf("called by 30 %% of the requests: %+v is strong", e)
	}
	if e := run(60, 1, false); !e.Strong || !e.External {
		t.Errorf("called by every request: %+v is not strong", e)
	}
	if e := run(90, .1, true); !e.Strong {
		t.Errorf("breaker open, probes fail: %+v is not strong", e)
	}
	if e := run(90, .1, false); e.Strong {
		t.Errorf("healthy and hardly called: %+v is strong", e)
	}
}

func TestRejectedCallsAreNeutral(t *testing.T) {
	var g topology.Graph
	var i ids
	root := i.root("payment")
	c, _ := i.call(root.TraceID, root.ID, "payment", "", "bank")
	g.Fold([]store.Span{c}, at(0))
	g.Snapshot(at(11))
	c, _ = i.call(root.TraceID, root.ID, "payment", "", "bank")
	c.Error = true
	c.Attrs["error.type"] = "breaker_open"
	ok := i.root("payment")
	ok.Events = []store.Event{{Name: "surefoot.breaker.rejected", Attrs: map[string]string{"surefoot.target": "bank"}}}
	g.Fold([]store.Span{c, ok}, at(12))
	for _, s := range g.Stats(at(30)) {
		if s.Target == "bank" && (s.Calls != 1 || s.Errors != 0 || s.Rejected != 2) {
			t.Errorf("bank: %d calls, %d errors, %d rejected, want 1, 0, 2", s.Calls, s.Errors, s.Rejected)
		}
	}
}

func TestSnapshotIsDeterministic(t *testing.T) {
	shop := func() topology.Topology { return shopGraph().Snapshot(at(40)) }
	want := shop()
	for range 20 {
		if got := shop(); !reflect.DeepEqual(got, want) {
			t.Fatalf("two snapshots of the same spans differ:\n%+v\n%+v", got, want)
		}
	}
}

// shopGraph is the reference shop's graph after 40 seconds.
func shopGraph() *topology.Graph {
	g := &topology.Graph{}
	var i ids
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 400 {
		root := i.root("gateway")
		batch := []store.Span{root}
		link := func(from, to string, parent store.SpanID, proto string) store.SpanID {
			c, s := i.call(root.TraceID, parent, from, to, to)
			switch proto {
			case "grpc":
				c.Attrs = map[string]string{"peer.service": to, "rpc.system": "grpc"}
			case "db":
				c.Attrs = map[string]string{"db.system.name": "sqlite", "db.namespace": from}
			}
			batch = append(batch, c)
			if to != "bank" && to != "warehouse" && proto != "db" {
				batch = append(batch, s)
			}
			return s.ID
		}
		link("gateway", "user", root.ID, "http")
		order := link("gateway", "order", root.ID, "grpc")
		link("order", "", order, "db")
		pay := link("order", "payment", order, "grpc")
		link("payment", "bank", pay, "http")
		inv := link("order", "inventory", order, "grpc")
		if n%4 == 0 {
			link("inventory", "warehouse", inv, "http")
		}
		r.Shuffle(len(batch), func(a, b int) { batch[a], batch[b] = batch[b], batch[a] })
		g.Fold(batch, at(float64(n)/10))
	}
	return g
}

func TestGolden(t *testing.T) {
	shop := shopGraph().Snapshot(at(40))
	for k := range shop.Nodes {
		if shop.Nodes[k].Name == "bank" {
			shop.Nodes[k].State = topology.Bad
		}
	}
	evil := topology.Topology{
		Nodes: []topology.Node{
			{Name: "a\"] --> x\nclick n0 javascript:alert(1)", Kind: topology.Service},
			{Name: "b\\\"];evil[label=\"&lt;b&gt;<script>#quot;`\u202e", Kind: topology.External},
			{Name: "订单", Kind: topology.Service},
		},
		Edges: []topology.Edge{{From: "订单", To: "a\"] --> x\nclick n0 javascript:alert(1)", Protocol: "http|\"", Strong: true}},
	}
	golden(t, "shop.mmd", topology.Mermaid(shop))
	golden(t, "shop.dot", topology.DOT(shop))
	golden(t, "evil.mmd", topology.Mermaid(evil))
	golden(t, "evil.dot", topology.DOT(evil))
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-update rewrites it):\n%s", name, got)
	}
}

func TestQuantileIsCloseEnough(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var g topology.Graph
	var all []float64
	var i ids
	for range 20000 {
		ms := 5 * math.Exp(r.NormFloat64())
		all = append(all, ms)
		sp := i.root("a")
		sp.Duration = time.Duration(ms * 1e6)
		g.Fold([]store.Span{sp}, t0)
	}
	slices.Sort(all)
	a, _ := g.Snapshot(t0).Node("a")
	for _, c := range []struct{ got, want float64 }{{a.P50, all[10000]}, {a.P99, all[19800]}} {
		if off := math.Abs(c.got-c.want) / c.want; off > .2 {
			t.Errorf("quantile %.2f ms, true %.2f ms: %.0f %% off", c.got, c.want, 100*off)
		}
	}
	t.Logf("p50 %.2f (true %.2f), p99 %.2f (true %.2f)", a.P50, all[10000], a.P99, all[19800])
}

func TestMemoryIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("allocates on purpose")
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	g := &topology.Graph{}
	var i ids
	for n := range 200000 {
		root := i.root(fmt.Sprint("svc", n%5000))
		root.Name = fmt.Sprint("op", n)
		root.Version = fmt.Sprint("v", n%7000)
		root.Parent = i.span()
		c, _ := i.call(root.TraceID, root.ID, fmt.Sprint("svc", n%500), "", fmt.Sprint("peer", n, strings.Repeat("x", 1000)))
		c2, _ := i.call(root.TraceID, root.ID, fmt.Sprint("svc", n%400), "", fmt.Sprint("svc", n%499))
		g.Fold([]store.Span{root, c, c2}, at(float64(n)/10000))
	}
	d := g.Dropped()
	mb := float64(heap()-before) / (1 << 20)
	t.Logf("%.1f MB, dropped %+v", mb, d)
	if d.Nodes == 0 || d.Edges == 0 || d.Operations == 0 || d.Versions == 0 || d.Waiting == 0 {
		t.Errorf("not every table filled: %+v", d)
	}
	if mb > 96 {
		t.Errorf("%.1f MB, want at most 96", mb)
	}
	runtime.KeepAlive(g)
}
