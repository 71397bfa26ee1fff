package balance_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/resilience/balance"
)

// instances are named a, b, c, ...
func instances(n int) []balance.Instance {
	list := make([]balance.Instance, n)
	for i := range list {
		id := string(rune('a' + i))
		list[i] = balance.Instance{ID: id, Addr: id + ":80"}
	}
	return list
}

func seeded(seed uint64) func() uint64 { return rand.New(rand.NewPCG(seed, 0)).Uint64 }

// world is a target in fake time: what each instance does with a call.
type world struct {
	b      *balance.Balancer
	random *rand.Rand
	does   func(id string) (latency time.Duration, o balance.Outcome)
	late   []call
	picked map[string]int
}

type call struct {
	pick    balance.Pick
	ends    time.Time
	latency time.Duration
	o       balance.Outcome
}

func newWorld(b *balance.Balancer, seed uint64, does func(id string) (time.Duration, balance.Outcome)) *world {
	b.Rand = seeded(seed)
	return &world{b: b, random: rand.New(rand.NewPCG(seed, 1)), does: does}
}

// run lets calls arrive at random, rate a second on average, and returns the
// share that each instance got.
func (w *world) run(t *testing.T, rate float64, d time.Duration) map[string]float64 {
	t.Helper()
	w.picked = map[string]int{}
	total := 0
	for end, next := time.Now().Add(d), time.Now(); next.Before(end); next = next.Add(time.Duration(w.random.ExpFloat64() / rate * 1e9)) {
		w.advance(next)
		p, err := w.b.Pick()
		if err != nil {
			t.Fatal(err)
		}
		id := p.Instance().ID
		latency, o := w.does(id)
		w.late = append(w.late, call{p, time.Now().Add(latency), latency, o})
		w.picked[id]++
		total++
	}
	shares := map[string]float64{}
	for id, n := range w.picked {
		shares[id] = float64(n) / float64(total)
	}
	return shares
}

// advance ends the calls that are over by then, in their order.
func (w *world) advance(to time.Time) {
	slices.SortStableFunc(w.late, func(a, b call) int { return a.ends.Compare(b.ends) })
	for len(w.late) > 0 && !w.late[0].ends.After(to) {
		time.Sleep(time.Until(w.late[0].ends))
		w.late[0].pick.Done(w.late[0].o, w.late[0].latency)
		w.late = w.late[1:]
	}
	time.Sleep(time.Until(to))
}

func status(t *testing.T, b *balance.Balancer, id string) balance.Status {
	t.Helper()
	for _, s := range b.Snapshot() {
		if s.ID == id {
			return s
		}
	}
	t.Fatalf("no instance %q", id)
	return balance.Status{}
}

// Shares under steady traffic, 60 s of it, on fixed seeds.
func TestShares(t *testing.T) {
	ms := time.Millisecond
	type latencies = map[string]time.Duration
	table := []struct {
		name     string
		weights  []int
		latency  latencies
		rate     float64
		min, max map[string]float64
	}{
		{"equal, idle", []int{1, 1, 1}, latencies{"a": 10 * ms, "b": 10 * ms, "c": 10 * ms}, 20, map[string]float64{"a": .25, "b": .25, "c": .25}, nil},
		{"equal, busy", []int{1, 1, 1}, latencies{"a": 10 * ms, "b": 10 * ms, "c": 10 * ms}, 1000, map[string]float64{"a": .32, "b": .32, "c": .32}, nil},
		{"one 10 % slower", []int{1, 1, 1}, latencies{"a": 10 * ms, "b": 10 * ms, "c": 11 * ms}, 200, map[string]float64{"c": .2}, map[string]float64{"c": .33}},
		{"one 10 times slower, idle", []int{1, 1, 1}, latencies{"a": 10 * ms, "b": 10 * ms, "c": 100 * ms}, 20, map[string]float64{"a": .42, "c": .001}, map[string]float64{"c": .05}},
		{"one 10 times slower, busy", []int{1, 1, 1}, latencies{"a": 10 * ms, "b": 10 * ms, "c": 100 * ms}, 500, map[string]float64{"a": .45, "c": .0002}, map[string]float64{"c": .02}},
		{"one 10 times slower of two", []int{1, 1}, latencies{"a": 10 * ms, "b": 100 * ms}, 200, nil, map[string]float64{"b": .02}},
		{"weights, idle", []int{3, 1}, latencies{"a": 10 * ms, "b": 10 * ms}, 20, map[string]float64{"a": .65, "b": .2}, map[string]float64{"a": .8, "b": .35}},
		{"weights, busy", []int{3, 1, 4}, latencies{"a": 10 * ms, "b": 10 * ms, "c": 10 * ms}, 2000, map[string]float64{"a": .36, "b": .11, "c": .48}, map[string]float64{"a": .39, "b": .14, "c": .52}},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var b balance.Balancer
				list := instances(len(c.weights))
				for i := range list {
					list[i].Weight = c.weights[i]
				}
				b.Set(list)
				var w *world
				w = newWorld(&b, 7, func(id string) (time.Duration, balance.Outcome) {
					return c.latency[id]/2 + time.Duration(w.random.ExpFloat64()*float64(c.latency[id]/2)), balance.Success
				})
				got := w.run(t, c.rate, time.Minute)
				t.Logf("shares a %.4f, b %.4f, c %.4f", got["a"], got["b"], got["c"])
				for id, m := range c.min {
					if got[id] < m {
						t.Errorf("%s got %.4f, want at least %v", id, got[id], m)
					}
				}
				for id, m := range c.max {
					if got[id] > m {
						t.Errorf("%s got %.4f, want at most %v", id, got[id], m)
					}
				}
			})
		})
	}
}

// A dead instance is out after 5 failures, and comes back by steps once it lives.
func TestDeadInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(balance.Balancer)
		b.Set(instances(3))
		dead := true
		w := newWorld(b, 3, func(id string) (time.Duration, balance.Outcome) {
			if id == "c" && dead {
				return 100 * time.Microsecond, balance.Failure
			}
			return 10 * time.Millisecond, balance.Success
		})
		w.run(t, 100, 10*time.Second)
		s := status(t, b, "c")
		if !s.Ejected || s.Share != 0 || w.picked["c"] != 5 || s.Counts.Failures != 5 || s.Counts.Ejections != 1 || s.Until.IsZero() {
			t.Fatalf("%d calls, %+v", w.picked["c"], s)
		}
		// Dead for five minutes: each return costs one call, and comes later.
		w.run(t, 100, 5*time.Minute)
		s = status(t, b, "c")
		t.Logf("5 minutes more cost %d calls of %d", w.picked["c"], w.picked["a"]+w.picked["b"]+w.picked["c"])
		if w.picked["c"] > 5 || s.Counts.Ejections < 3 {
			t.Errorf("%d calls, %+v", w.picked["c"], s)
		}
		dead = false
		time.Sleep(time.Until(s.Until))
		first := w.run(t, 100, time.Second)
		w.run(t, 100, 9*time.Second)
		last := w.run(t, 100, 20*time.Second)
		t.Logf("alive again: share %.3f in the first second, %.3f after ten", first["c"], last["c"])
		if first["c"] > .15 || first["c"] == 0 || last["c"] < .28 || status(t, b, "c").Share != 1 {
			t.Errorf("%+v", status(t, b, "c"))
		}
	})
}

// An instance that answers half of its calls never fails 5 times in a row for
// sure, and yet goes.
func TestOutlier(t *testing.T) {
	for name, c := range map[string]struct {
		share   map[string]float64 // of failures
		ejected bool
	}{
		"one at 40 %":      {map[string]float64{"c": .4}, true},
		"one at 10 %":      {map[string]float64{"c": .1}, false},
		"all at 40 %":      {map[string]float64{"a": .4, "b": .4, "c": .4}, false},
		"all well":         {nil, false},
		"two of three bad": {map[string]float64{"b": .6, "c": .6}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := balance.New(balance.Settings{Failures: -1})
				b.Set(instances(3))
				var w *world
				w = newWorld(b, 11, func(id string) (time.Duration, balance.Outcome) {
					if w.random.Float64() < c.share[id] {
						return 10 * time.Millisecond, balance.Failure
					}
					return 10 * time.Millisecond, balance.Success
				})
				w.run(t, 100, time.Minute)
				out := 0
				for _, s := range b.Snapshot() {
					out += int(s.Counts.Ejections)
				}
				t.Logf("%d ejections, calls %v", out, w.picked)
				if name != "two of three bad" && (out > 0) != c.ejected {
					t.Errorf("%d ejections", out)
				}
				if s := status(t, b, "a"); c.share["a"] == 0 && s.Counts.Ejections > 0 {
					t.Errorf("the good one was ejected: %+v", s)
				}
			})
		})
	}
}

// However many fail, at least half stay; and a set that loses its good half
// takes the others back.
func TestNeverMoreThanHalf(t *testing.T) {
	for n, most := range map[int]int{1: 0, 2: 1, 3: 1, 4: 2, 10: 5} {
		synctest.Test(t, func(t *testing.T) {
			var b balance.Balancer
			b.Set(instances(n))
			w := newWorld(&b, 1, func(string) (time.Duration, balance.Outcome) { return time.Millisecond, balance.Failure })
			w.run(t, 500, 20*time.Second)
			count := func() (out int) {
				for _, s := range b.Snapshot() {
					if s.Ejected {
						out++
					}
				}
				return out
			}
			if out := count(); out != most {
				t.Errorf("%d of %d are out", out, n)
			}
			var bad []balance.Instance
			for _, s := range b.Snapshot() {
				if s.Ejected {
					bad = append(bad, s.Instance)
				}
			}
			if b.Set(bad) && count() != len(bad)/2 {
				t.Errorf("%d of the %d that are left are out", count(), len(bad))
			}
		})
	}
}

// One that joins is neither flooded nor starved, and its first call is no
// verdict.
func TestJoining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b balance.Balancer
		b.Set(instances(3))
		w := newWorld(&b, 5, func(string) (time.Duration, balance.Outcome) { return 20 * time.Millisecond, balance.Success })
		w.run(t, 300, 20*time.Second)
		b.Set(instances(4))
		first := w.run(t, 300, 2*time.Second)
		w.run(t, 300, 8*time.Second)
		last := w.run(t, 300, 20*time.Second)
		t.Logf("the new one got %.3f in the first 2 s, %.3f after 10 s", first["d"], last["d"])
		if first["d"] < .01 || first["d"] > .12 || last["d"] < .22 || last["d"] > .28 {
			t.Errorf("%.3f, %.3f", first["d"], last["d"])
		}
	})
}

func TestAvoid(t *testing.T) {
	table := []struct {
		name  string
		n     int
		avoid []string
		out   string // an ejected one
		want  string
	}{
		{"one of three", 3, []string{"a"}, "", "bc"},
		{"two of three", 3, []string{"a", "b"}, "", "c"},
		{"all", 2, []string{"a", "b"}, "", "ab"},
		{"the only one", 1, []string{"a"}, "", "a"},
		{"rather tried than ejected", 2, []string{"a"}, "b", "a"},
		{"unknown", 2, []string{"x"}, "", "ab"},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			var b balance.Balancer
			b.Set(instances(c.n))
			for c.out != "" && !status(t, &b, c.out).Ejected {
				p, _ := b.Pick()
				o := balance.Success
				if p.Instance().ID == c.out {
					o = balance.Failure
				}
				p.Done(o, time.Millisecond)
			}
			seen := map[string]bool{}
			for range 200 {
				p, err := b.Pick(c.avoid...)
				if err != nil {
					t.Fatal(err)
				}
				seen[p.Instance().ID] = true
				p.Done(balance.Ignored, 0)
			}
			if len(seen) != len(c.want) {
				t.Errorf("picked %v, want %q", seen, c.want)
			}
			for _, r := range c.want {
				if !seen[string(r)] {
					t.Errorf("picked %v, want %q", seen, c.want)
				}
			}
		})
	}
}

func TestPickVersion(t *testing.T) {
	var b balance.Balancer
	if _, err := b.PickVersion("v2"); !errors.Is(err, balance.ErrNone) {
		t.Error(err)
	}
	list := instances(5)
	for i := range list {
		list[i].Version = "v1"
	}
	list[3].Version, list[4].Version = "v2", "v2"
	b.Set(list)
	versions := func(want string, avoid ...string) map[string]int {
		seen := map[string]int{}
		for range 300 {
			p, err := b.PickVersion(want, avoid...)
			if err != nil {
				t.Fatal(err)
			}
			seen[p.Instance().Version]++
			p.Done(balance.Ignored, 0)
		}
		return seen
	}
	if s := versions("v2"); s["v2"] != 300 {
		t.Errorf("%v", s)
	}
	if s := versions("v2", "d"); s["v2"] != 300 {
		t.Errorf("one to avoid: %v", s)
	}
	if s := versions("v2", "d", "e"); s["v1"] != 300 {
		t.Errorf("both to avoid: %v", s)
	}
	if s := versions("v3"); s["v1"] == 0 || s["v2"] == 0 {
		t.Errorf("unknown: %v", s)
	}
	for range 20 {
		p, _ := b.PickVersion("v2")
		p.Done(balance.Failure, time.Millisecond)
	}
	if s := versions("v2"); s["v1"] != 300 {
		t.Errorf("all ejected: %v", s)
	}
}

func TestSet(t *testing.T) {
	var b balance.Balancer
	if _, err := b.Pick(); !errors.Is(err, balance.ErrNone) || b.Snapshot() != nil {
		t.Error("a Balancer without instances has one")
	}
	if b.Set(nil) {
		t.Error("nothing was taken")
	}
	ids := func() string {
		s := ""
		for _, i := range b.Snapshot() {
			s += i.ID + "@" + i.Addr + " "
		}
		return s
	}
	if !b.Set([]balance.Instance{{Addr: "a:1"}, {ID: "b", Addr: "b:1"}, {ID: "b", Addr: "b:2"}, {ID: "c", Addr: "c:1", Weight: -1}, {}}) || ids() != "a:1@a:1 b@b:1 " {
		t.Error(ids())
	}
	for _, none := range [][]balance.Instance{nil, {}, {{}}, {{ID: "c", Weight: -1}}} {
		if b.Set(none) || ids() != "a:1@a:1 b@b:1 " {
			t.Errorf("%v replaced a good set: %s", none, ids())
		}
	}
	p, _ := b.Pick("b")
	p.Done(balance.Success, time.Millisecond)
	b.Set([]balance.Instance{{Addr: "a:1", Version: "v2"}, {ID: "b", Addr: "b:2"}})
	if s := status(t, &b, "a:1"); s.Counts.Successes != 1 || s.Version != "v2" {
		t.Errorf("%+v", s)
	}
	var zero balance.Pick
	if zero.Done(balance.Failure, 0) || zero.Elapsed() != 0 || zero.Instance().ID != "" {
		t.Error("zero Pick")
	}
}

func TestSettings(t *testing.T) {
	want := balance.Settings{Failures: 5, Margin: .3, MinCalls: 20, Window: 10 * time.Second, Ejection: 30 * time.Second,
		MaxEjection: 5 * time.Minute, MaxShare: .5, Ramp: 10 * time.Second}
	var b balance.Balancer
	if b.Settings() != want || (balance.Settings{}).OrDefault() != want {
		t.Errorf("%+v", b.Settings())
	}
	for _, off := range []balance.Settings{{Ejection: -1}, {MaxShare: -1}, {Failures: -1, Margin: -1}} {
		b := balance.New(off)
		b.Set(instances(4))
		for range 1000 {
			p, _ := b.Pick()
			o := balance.Success
			if p.Instance().ID == "a" {
				o = balance.Failure
			}
			p.Done(o, time.Millisecond)
		}
		if status(t, b, "a").Counts.Ejections != 0 {
			t.Errorf("%+v ejects", off)
		}
	}
}

// An instance that only ever loses hedges is not asked less for want of an
// answer: what is known is that it took at least so long.
func TestLosersAreKnownToBeSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b balance.Balancer
		b.Set(instances(3))
		w := newWorld(&b, 9, func(id string) (time.Duration, balance.Outcome) {
			if id == "c" {
				return 50 * time.Millisecond, balance.Ignored // canceled when the hedge won
			}
			return 10 * time.Millisecond, balance.Success
		})
		got := w.run(t, 50, time.Minute)
		t.Logf("the loser got %.4f", got["c"])
		if got["c"] > .05 || status(t, &b, "c").Counts.Ejections > 0 {
			t.Errorf("%+v", status(t, &b, "c"))
		}
	})
}

// Everything at once; run with -race.
func TestConcurrentUse(t *testing.T) {
	b := balance.New(balance.Settings{Ejection: time.Microsecond, Ramp: time.Microsecond})
	b.Set(instances(4))
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				p, err := b.PickVersion("v"+fmt.Sprint(i%3), "a")
				if err != nil {
					t.Error(err)
					return
				}
				p.Done(balance.Outcome(i%3), time.Duration(i))
				if i%100 == 0 {
					list := instances(2 + i%5)
					list[i%2].Version = "v1"
					b.Set(list)
					b.Snapshot()
					b.Tune(b.Settings())
				}
				_ = g
			}
		})
	}
	wg.Wait()
	b.Set(instances(4))
	for _, s := range b.Snapshot() {
		if s.InFlight != 0 {
			t.Errorf("%+v", s)
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	var b balance.Balancer
	list := instances(10)
	list[0].Version, list[1].Weight = "v2", 3
	b.Set(list)
	avoid := []string{"c"}
	if n := testing.AllocsPerRun(1000, func() {
		p, _ := b.Pick()
		p.Done(balance.Success, time.Millisecond)
		p, _ = b.PickVersion("v2", avoid...)
		p.Done(balance.Failure, time.Millisecond)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
