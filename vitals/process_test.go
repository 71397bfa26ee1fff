package vitals

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/internal/stacks"
	"github.com/surefoot-go/surefoot/safe"
)

// Connections that others keep open are told from handlers that hang in them
// and from connections that we opened ourselves.
func TestConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var old, both http.Protocols
	old.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	hang := make(chan struct{})
	in := make(chan struct{}, 2*fewest)
	srv := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hang" {
			in <- struct{}{}
			<-hang
		}
	}), Protocols: &http.Protocols{}}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	serving := safe.Go(t.Context(), "server", func(context.Context) error { return srv.Serve(l) })
	g := safe.Group{Max: 2 * fewest}
	var all []*http.Transport
	for i := range 2 * fewest {
		p := &old
		if i%2 == 1 {
			p = &both
		}
		tr := &http.Transport{Protocols: p}
		all = append(all, tr)
		c := &http.Client{Transport: tr}
		get := func(path string) error {
			resp, err := c.Get("http://" + l.Addr().String() + path)
			if err != nil {
				return err
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			return resp.Body.Close()
		}
		if err := get("/"); err != nil { // leaves an idle connection
			t.Fatal(err)
		}
		g.Go(t.Context(), func(context.Context) error { return get("/hang") })
	}
	for range 2 * fewest {
		<-in
	}
	// A connection is on its way to where it rests for a moment after it was used.
	want := []string{"http.(*http2serverConn).readFrames", "http.(*connReader).backgroundRead"}
	var groups []Group
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(20 * time.Second); time.Now().Before(limit); <-tick.C {
		groups = slices.DeleteFunc(newTaker().take(WantStacks).Groups, func(g Group) bool { return g.Count < fewest })
		if !slices.ContainsFunc(want, func(fn string) bool {
			return !slices.ContainsFunc(groups, func(g Group) bool { return g.Function == fn && g.Count == fewest })
		}) {
			break
		}
	}
	kinds := map[string]bool{}
	for _, g := range groups {
		kinds[g.Function] = g.Connection
		hanging := strings.HasPrefix(g.Blocked, "vitals/process_test.go")
		ours := strings.Contains(g.Function, "persistConn") || strings.Contains(g.Function, "ClientConn") || strings.Contains(g.Function, "clientStream")
		if g.Connection == (hanging || ours) {
			t.Errorf("connection %v: %s at %s", g.Connection, g.Function, g.Blocked)
		}
		if !g.Connection && (len(g.IDs) != g.Count || g.Created == "" || g.Wait == "" || !slices.IsSorted(g.IDs)) {
			t.Errorf("%+v", g)
		}
	}
	for _, fn := range want {
		if !kinds[fn] {
			t.Errorf("no %s among %v", fn, kinds)
		}
	}
	close(hang)
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	for _, tr := range all {
		tr.CloseIdleConnections()
	}
	_ = srv.Close()
	<-serving.Done()
}

// site and timer of what is allocated here are found in the heap.
func TestHeapSites(t *testing.T) {
	before := runtime.MemProfileRate
	runtime.MemProfileRate = 4096 // one in 4 KiB, or a few seconds would not show
	defer func() { runtime.MemProfileRate = before }()
	var kept [][]byte
	for range 1000 {
		kept = append(kept, make([]byte, 8<<10))
	}
	timers := make([]*time.Timer, 20_000)
	for i := range timers {
		timers[i] = time.NewTimer(time.Hour)
	}
	runtime.GC()
	runtime.GC()
	sites, n := heap()
	i := slices.IndexFunc(sites, func(s Site) bool {
		return s.Function == "vitals.TestHeapSites" && s.Value > 5e6
	})
	if i < 0 || sites[i].Value > 11e6 || sites[i].Count < 700 || sites[i].Count > 1300 {
		t.Errorf("%+v", first(sites, top))
	}
	if n < 14_000 || n > 26_000 {
		t.Errorf("%d timers", n)
	}
	runtime.KeepAlive(kept)
	runtime.KeepAlive(timers)
}

// The mutex profile is on while locks are a finding, and as before afterwards.
func TestLockProfile(t *testing.T) {
	l := quiet()
	defer l.end(context.Background())
	l.lockProfile(true)
	l.lockProfile(true)
	if n := runtime.SetMutexProfileFraction(1); n != 100 {
		t.Errorf("one in %d", n)
	}
	var mu sync.Mutex
	g := safe.Group{Max: 8}
	for range 8 {
		g.Go(t.Context(), func(context.Context) error { fight(&mu); return nil })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	sites := contended()
	if i := slices.IndexFunc(sites, func(s Site) bool { return s.Function == "vitals.fight" && s.Value > 0 }); i < 0 {
		t.Errorf("%+v", sites)
	}
	l.lockProfile(false)
	if n := runtime.SetMutexProfileFraction(-1); n != 0 {
		t.Errorf("one in %d after", n)
	}
}

func fight(mu *sync.Mutex) {
	for range 2000 {
		mu.Lock()
		for i := range 1000 {
			_ = i
		}
		runtime.Gosched()
		mu.Unlock()
	}
}

// What a beat reads makes sense, and a finding sets the trace aside.
func TestBeat(t *testing.T) {
	w := &Watch{Settings: Settings{Trace: time.Second}}
	l := newLoop(w)
	var b bytes.Buffer
	if err := w.WriteTrace(&b); err == nil {
		t.Error("a trace before a finding")
	}
	runtime.GC()
	l.beat(t.Context(), time.Now())
	s := w.Last()
	if s.Goroutines < 2 || s.LiveHeap < 100_000 || s.GCs == 0 || s.Stack < 10_000 || s.GCPause <= 0 || s.GCPause > time.Second ||
		runtime.GOOS == "linux" && (s.Descriptors < 3 || s.DescriptorLimit < s.Descriptors) {
		t.Errorf("%+v", s)
	}
	at := time.Now()
	l.tell(t.Context(), []Finding{{ID: "heap-1", Kind: Heap, State: Open, Since: at, At: at}})
	if err := w.WriteTrace(&b); err != nil || !bytes.HasPrefix(b.Bytes(), []byte("go 1.")) {
		t.Errorf("%v, %d bytes", err, b.Len())
	}
	l.end(t.Context())
}

func TestQuantile(t *testing.T) {
	r := newReader()
	for range 3 {
		runtime.GC()
		if s := r.read(); s.GCPause <= 0 || s.GCPause > time.Second {
			t.Errorf("%v", s.GCPause)
		}
		if s := r.read(); s.GCPause != 0 {
			t.Errorf("%v without a collection", s.GCPause)
		}
	}
}

// Run leaves nothing behind and can be called once.
func TestRunEnds(t *testing.T) {
	w := &Watch{Settings: Settings{Every: time.Millisecond}}
	ctx, stop := context.WithCancel(t.Context())
	task := safe.Go(ctx, "vitals", w.Run)
	for w.Last().Goroutines == 0 {
		runtime.Gosched()
	}
	stop()
	if err := task.Wait(); err != nil {
		t.Error(err)
	}
	text := make([]byte, 1<<20)
	for _, g := range stacks.Parse(text[:runtime.Stack(text, true)]) {
		for _, f := range g.Frames {
			if strings.Contains(f.Func, "vitals.(*Watch)") {
				t.Errorf("%+v", g)
			}
		}
	}
	if w.Run(t.Context()) == nil {
		t.Error("it ran twice")
	}
	if err := (&Watch{Settings: Settings{Every: -1}}).Run(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSites(t *testing.T) {
	for in, want := range map[string]string{
		"shop/order.(*Outbox).Flush.func1":     "order.(*Outbox).Flush",
		"shop/order.(*Outbox).Flush.func1.2":   "order.(*Outbox).Flush",
		"shop/order.Flush.gowrap1":             "order.Flush",
		"shop/order.Run[...].func2":            "order.Run[...]",
		"main.main.func1.deferwrap2":           "main.main",
		"shop/order.(*Outbox).Flush-range1":    "order.(*Outbox).Flush",
		"github.com/a/b.v2/c.(*T).Start.func3": "c.(*T).Start",
	} {
		if got := creator(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	for in, want := range map[int]string{0: "0", 12: "12", 999: "999", 4812: "4,812", 1234567: "1,234,567", -4812: "-4,812", -481: "-481"} {
		if got := grouped(in); got != want {
			t.Errorf("%d: %s", in, got)
		}
	}
}

// Text that is not a profile gives nothing, and no place.
func FuzzStart(f *testing.F) {
	f.Add([]byte("1 @ 0x1\n#\t0x46\tmain.f+0x1d\t/a/b.go:7\n"), "main.f")
	f.Add([]byte("\tmain.f+0x"), "main.f")
	f.Add([]byte("\t0x\tmain.f+0x"), "main.f")
	f.Fuzz(func(t *testing.T, text []byte, fn string) {
		if at := start(text, fn); strings.Contains(at, "\n") {
			t.Errorf("%q", at)
		}
		for _, s := range stacks.ParseProfile(text) {
			_, _ = group(s.Frames)
		}
		join(nil, stacks.Parse(text))
	})
}
