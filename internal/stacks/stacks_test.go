package stacks_test

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/surefoot-go/surefoot/internal/stacks"
)

func TestParse(t *testing.T) {
	const text = `goroutine 1 [running]:
main.main()
	/src/shop/main.go:12 +0x1d

goroutine 34 gp=0xc000 m=nil [chan send (durable), 11 minutes, locked to thread, synctest bubble 7]:
runtime.gopark(0x1, 0x2)
	/go/src/runtime/proc.go:1 +0x1
shop/order.(*Outbox[...]).send(0xc0000b4000, {0xc0001, 0x5}, 0x7b)
	/src/shop/order/outbox.go:88 +0x8f
...additional frames elided...
shop/order.(*Outbox[...]).Start.func1()
	/src/shop/order/outbox.go:41 +0x25
created by shop/order.(*Outbox[...]).Start in goroutine 1
	/src/shop/order/outbox.go:40 +0x9b

goroutine 35 [select (no cases) (leaked) labels:{"a": "b]\"", c: "d"}]:
net/http.(*persistConn).readLoop(0xc0)
	/go/src/net/http/transport.go:2000
created by net/http.(*Transport).dialConn
	/go/src/net/http/transport.go:1

goroutine 36 [running]:
	goroutine running on other thread; stack unavailable
created by a.F in goroutine 1
	C:/x/y.go:3 +0x1
`
	outbox := func(fn string, line int) stacks.Frame {
		return stacks.Frame{Func: "shop/order.(*Outbox[...])." + fn, File: "/src/shop/order/outbox.go", Line: line}
	}
	want := []stacks.Goroutine{
		{ID: 1, Wait: "running", Frames: []stacks.Frame{{Func: "main.main", File: "/src/shop/main.go", Line: 12}}},
		{ID: 34, Parent: 1, Wait: "chan send", Minutes: 11, Locked: true, Durable: true, Bubble: 7,
			Frames: []stacks.Frame{outbox("send", 88), outbox("Start.func1", 41)}, Created: outbox("Start", 40)},
		{ID: 35, Wait: "select (no cases)", Leaked: true, Labels: map[string]string{"a": `b]"`, "c": "d"},
			Frames:  []stacks.Frame{{Func: "net/http.(*persistConn).readLoop", File: "/go/src/net/http/transport.go", Line: 2000}},
			Created: stacks.Frame{Func: "net/http.(*Transport).dialConn", File: "/go/src/net/http/transport.go", Line: 1}},
		{ID: 36, Parent: 1, Wait: "running", Created: stacks.Frame{Func: "a.F", File: "C:/x/y.go", Line: 3}},
	}
	got := stacks.Parse([]byte(text))
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if s := got[1].Created.Site(); s != "order/outbox.go:40" {
		t.Error(s)
	}
	if b := got[1].Blocked(); b != outbox("send", 88) || b.Package() != "shop/order" || b.Standard() {
		t.Error(b, b.Package())
	}
	if b := got[2].Blocked(); !b.Standard() || b.Package() != "net/http" || b != got[2].Leaf() {
		t.Error(b)
	}
	if e := got[1].Entry(); e != outbox("Start.func1", 41) {
		t.Error(e)
	}
}

// park starts n goroutines that wait to receive and ends them with the test.
func park(t *testing.T, n int, label string) {
	stop := make(chan struct{})
	var all sync.WaitGroup
	pprof.Do(t.Context(), pprof.Labels("of", label), func(context.Context) {
		for range n {
			all.Go(func() { <-stop })
		}
	})
	t.Cleanup(func() { close(stop); all.Wait() })
	for {
		waiting := 0
		dump, _ := stacks.Dump(64 << 20)
		for _, g := range stacks.Parse(dump) {
			if g.Wait == "chan receive" && strings.Contains(g.Blocked().Func, "park.func") {
				waiting++
			}
		}
		if waiting >= n {
			return
		}
		runtime.Gosched()
	}
}

func TestDumpAndProfileHaveTheSameKeys(t *testing.T) {
	park(t, 30, "a")
	dump, cut := stacks.Dump(64 << 20)
	if cut {
		t.Error("cut")
	}
	groups := stacks.Groups(stacks.Parse(dump))
	i := slices.IndexFunc(groups, func(g stacks.Group) bool { return g.Count == 30 })
	if i < 0 {
		t.Fatalf("no group of 30 in\n%s", dump)
	}
	g := groups[i]
	if g.Created.Package() != "sync" || g.Parent == 0 || g.Wait != "chan receive" || !strings.HasSuffix(g.Blocked().File, "stacks_test.go") {
		t.Errorf("%+v", g)
	}
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		t.Fatal(err)
	}
	for _, s := range stacks.ParseProfile(profile.Bytes()) {
		if s.Key() == g.Key() {
			if s.Count != 30 || s.Labels["of"] != "a" {
				t.Errorf("%+v", s)
			}
			return
		}
	}
	t.Errorf("no sample of %q in\n%s", g.Key(), profile.Bytes())
}

func TestLabelsInADump(t *testing.T) {
	t.Setenv("GODEBUG", "tracebacklabels=1")
	park(t, 3, `quo"te, brac}e]`)
	dump, _ := stacks.Dump(64 << 20)
	for _, g := range stacks.Parse(dump) {
		if g.Labels["of"] == `quo"te, brac}e]` {
			return
		}
	}
	t.Errorf("no such label in\n%s", dump)
}

func TestBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() { <-stop })
		synctest.Wait()
		dump, _ := stacks.Dump(64 << 20)
		found := false
		for _, g := range stacks.Parse(dump) {
			found = found || g.Bubble > 0 && g.Durable && g.Wait == "chan receive"
		}
		if !found {
			t.Errorf("no durable one in\n%s", dump)
		}
		close(stop)
		all.Wait()
	})
}

func TestDumpStopsAtItsLimit(t *testing.T) {
	if text, cut := stacks.Dump(100); !cut || len(text) != 100 {
		t.Error(len(text), cut)
	}
}

func TestGroupsKeepTheLongestWait(t *testing.T) {
	groups := stacks.Groups([]stacks.Goroutine{{ID: 9, Wait: "select"}, {ID: 1, Wait: "chan send", Minutes: 2}, {ID: 2, Wait: "chan send", Minutes: 5}})
	if len(groups) != 2 || groups[0].Count != 2 || groups[0].ID != 2 || groups[1].ID != 9 {
		t.Errorf("%+v", groups)
	}
}

func FuzzParse(f *testing.F) {
	dump, _ := stacks.Dump(1 << 20)
	f.Add(dump)
	f.Add([]byte("goroutine 1 [a (leaked), 3 minutes labels:{\"a\": \"b\"}]:\na.b(0x1)\n\tf.go:3 +0x1\ncreated by x in goroutine 2\n\tg.go:1\n"))
	f.Add([]byte("goroutine 5 []:\n)\n\t:\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, g := range stacks.Groups(stacks.Parse(text)) {
			if g.ID <= 0 || g.Count <= 0 {
				t.Errorf("%+v", g)
			}
			for _, fr := range append(g.Frames, g.Created, g.Blocked(), g.Entry()) {
				_, _ = fr.Site(), fr.Standard()
				if fr.Line < 0 {
					t.Errorf("%+v", fr)
				}
			}
		}
	})
}

func FuzzParseProfile(f *testing.F) {
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		f.Fatal(err)
	}
	f.Add(profile.Bytes())
	f.Add([]byte("3 @ 0x1 0x2\n# labels: {\"a\":\"b\"}\n#\t0x1\tm.f+0x1\t\t/x.go:3\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, s := range stacks.ParseProfile(text) {
			if s.Count <= 0 {
				t.Errorf("%+v", s)
			}
			_ = s.Key()
		}
	})
}

func BenchmarkDump(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			stop := make(chan struct{})
			var all sync.WaitGroup
			for range n {
				all.Go(func() { <-stop })
			}
			for b.Loop() {
				dump, _ := stacks.Dump(256 << 20)
				if len(stacks.Parse(dump)) < n {
					b.Fatal("too few")
				}
			}
			close(stop)
			all.Wait()
		})
	}
}
