package vitals_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/vitals"
)

// a crowd is goroutines of one group at a time, by their ids from..to.
type crowd struct {
	name     string
	from, to int64
	conn     bool
}

// world is a process: what it is like after so many seconds.
type world struct {
	crowds func(s float64) []crowd
	sample func(s float64, at *vitals.Sample)
	heap   func(s float64) []vitals.Site
	timers func(s float64) int
	blind  bool // no dumps
	leaks  bool // the runtime has a leak profile
}

type said struct {
	after time.Duration
	vitals.Finding
}

// judge runs a world past a Judge, with a beat each 2s.
func (w world) judge(t *testing.T, length time.Duration) (out []said) {
	t.Helper()
	j := &vitals.Judge{Version: "v1.8"}
	begin := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	profiles := 0
	for at := time.Duration(0); at <= length; at += 2 * time.Second {
		sec := at.Seconds()
		s := vitals.Sample{Goroutines: 20, GCs: uint64(sec / 2), LiveHeap: 50e6}
		var crowds []crowd
		if w.crowds != nil {
			crowds = w.crowds(sec)
		}
		for _, c := range crowds {
			s.Goroutines += int(c.to - c.from)
		}
		if w.sample != nil {
			w.sample(sec, &s)
		}
		v := j.Step(begin.Add(at), s)
		for n := 0; ; n++ {
			for _, f := range v.Report {
				out = append(out, said{at, f})
			}
			if v.Want == 0 {
				break
			}
			if n == 5 {
				t.Fatal("it wants more and more")
			}
			profiles++
			v = j.Look(begin.Add(at), w.profile(crowds, sec, v.Want))
		}
	}
	if most := 30 + int(length.Minutes())*18; profiles > most {
		t.Errorf("%d profiles in %v", profiles, length)
	}
	return out
}

func (w world) profile(crowds []crowd, sec float64, want vitals.Want) (p vitals.Profile) {
	p.Groups = []vitals.Group{{Function: "main.main", Blocked: "main.go:1", Count: 20}}
	p.Stacks = want&vitals.WantStacks != 0 && !w.blind
	for _, c := range crowds {
		if c.to <= c.from {
			continue
		}
		g := vitals.Group{Function: c.name, Blocked: c.name + ".go:1", Count: int(c.to - c.from), Connection: c.conn}
		if p.Stacks {
			g.Wait, g.Created, g.Creator = "chan send", "order/outbox.go:88", "order.Flush"
			for id := c.from; id < c.to; id++ {
				g.IDs = append(g.IDs, id)
			}
		}
		p.Groups = append(p.Groups, g)
		if w.leaks && want&vitals.WantLeaks != 0 && strings.HasPrefix(c.name, "leak") {
			g.Wait, g.Created, g.Creator = "chan send", "order/outbox.go:88", "order.Flush"
			p.Leaks = append(p.Leaks, g)
		}
	}
	if want&vitals.WantHeap != 0 && w.heap != nil {
		p.Heap = w.heap(sec)
	}
	if want&vitals.WantHeap != 0 && w.timers != nil {
		p.Heap, p.Timers = []vitals.Site{}, w.timers(sec)
	}
	return p
}

func leak(rate float64) func(float64) []crowd {
	return func(s float64) []crowd { return []crowd{{"leak", 0, int64(s * rate), false}} }
}

// load is n goroutines that each stay for a while.
func load(name string, n func(s float64) float64, stay float64) func(float64) []crowd {
	return func(s float64) []crowd {
		from := int64(s / stay * 1000)
		return []crowd{{name, from, from + int64(n(s)), false}}
	}
}

func both(a, b func(float64) []crowd) func(float64) []crowd {
	return func(s float64) []crowd { return append(a(s), b(s)...) }
}

func TestGoroutines(t *testing.T) {
	noise := rand.New(rand.NewPCG(1, 2))
	steady := func(n float64) func(float64) float64 {
		return func(float64) float64 { return n * (0.9 + 0.2*noise.Float64()) }
	}
	conns := func(per float64, most int64) func(float64) []crowd {
		return func(s float64) []crowd { return []crowd{{"conn", 0, min(most, int64(s*per)), true}} }
	}
	for _, c := range []struct {
		name   string
		world  world
		length time.Duration
		within time.Duration // a finding; 0 means none
		closed bool
	}{
		{name: "20 a second", world: world{crowds: leak(20)}, length: 70 * time.Second, within: 50 * time.Second},
		{name: "20 a second under load", world: world{crowds: both(load("work", steady(150), 0.2), leak(20))}, length: 70 * time.Second, within: 56 * time.Second},
		{name: "20 a second under heavy load", world: world{crowds: both(load("work", steady(2000), 0.2), leak(20))}, length: 9 * time.Minute, within: 8 * time.Minute},
		{name: "200 a second", world: world{crowds: leak(200)}, length: 70 * time.Second, within: 50 * time.Second},
		{name: "proven", world: world{crowds: leak(20), leaks: true}, length: 70 * time.Second, within: 16 * time.Second},
		{name: "without dumps", world: world{crowds: leak(20), blind: true}, length: 5 * time.Minute, within: 150 * time.Second},
		{name: "1 a minute", world: world{crowds: both(load("work", steady(1000), 0.2), leak(1.0/60))}, length: 8 * time.Hour, within: 6 * time.Hour},
		{name: "1 a minute, proven", world: world{crowds: leak(1.0 / 60), leaks: true}, length: 2 * time.Hour, within: time.Hour},
		{name: "beside connections", world: world{crowds: both(conns(100, 20_000), leak(20))}, length: 2 * time.Minute, within: 60 * time.Second},
		{name: "beside connections that leave", world: world{crowds: both(func(s float64) []crowd {
			return []crowd{{"conn", 0, int64(max(0, 8000-s)), true}}
		}, leak(0.5))}, length: 3 * time.Hour, within: 2 * time.Hour},
		{name: "that ends", world: world{crowds: func(s float64) []crowd { return leak(20)(min(s, 120)) }}, length: 15 * time.Minute, within: 50 * time.Second, closed: true},
		{name: "that goes", world: world{crowds: func(s float64) []crowd {
			if s > 90 {
				return nil
			}
			return leak(20)(s)
		}}, length: 5 * time.Minute, within: 50 * time.Second, closed: true},

		{name: "a plateau", world: world{crowds: func(float64) []crowd { return []crowd{{"pool", 0, 5000, false}} }}, length: time.Hour},
		{name: "a pool that fills", world: world{crowds: func(s float64) []crowd { return []crowd{{"pool", 0, int64(min(5000, s*500)), false}} }}, length: time.Hour},
		{name: "a sawtooth", world: world{crowds: load("work", func(s float64) float64 { return 3000 * math.Mod(s, 120) / 120 }, 5)}, length: 2 * time.Hour},
		{name: "a burst that drains", world: world{crowds: load("work", func(s float64) float64 {
			return 200 + 4000*math.Exp(-(s-600)*(s-600)/10_000)
		}, 1)}, length: time.Hour},
		{name: "a day", world: world{crowds: load("work", func(s float64) float64 { return 3000 - 2500*math.Cos(s*2*math.Pi/86400) }, 1)}, length: 26 * time.Hour},
		{name: "20,000 idle connections in minutes", world: world{crowds: both(load("work", steady(200), 0.2), conns(100, 20_000))}, length: time.Hour},
		{name: "20,000 idle connections at once", world: world{crowds: conns(20_000, 20_000)}, length: time.Hour},
		{name: "a leak of fewer than anybody minds", world: world{crowds: leak(0.1)}, length: 30 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := c.world.judge(t, c.length)
			if c.within == 0 {
				if len(out) > 0 {
					t.Errorf("after %v: %s", out[0].after, out[0].Text)
				}
				return
			}
			if len(out) == 0 {
				t.Fatal("no finding")
			}
			t.Logf("after %v: %s", out[0].after, out[0].Text)
			last := out[len(out)-1]
			if out[0].after > c.within || out[0].Groups[0].Function != "leak" || closed(last) != c.closed {
				t.Errorf("%+v ... %+v", out[0], last)
			}
			for _, f := range out {
				if f.Groups[0].Function != "leak" {
					t.Errorf("after %v: %s", f.after, f.Text)
				}
			}
		})
	}
}

func closed(s said) bool { return s.State == vitals.Closed }

func TestHeap(t *testing.T) {
	const MB = 1e6
	noise := rand.New(rand.NewPCG(1, 2))
	live := func(f func(min float64) float64) func(float64, *vitals.Sample) {
		return func(s float64, at *vitals.Sample) { at.LiveHeap = int64(f(s/60) * MB * (0.98 + 0.04*noise.Float64())) }
	}
	for _, c := range []struct {
		name   string
		live   func(min float64) float64 // MB
		every  float64                   // seconds between collections; 0 means 2
		within time.Duration
		closed bool
	}{
		{name: "20 MB a minute", live: func(m float64) float64 { return 100 + 20*m }, within: 10 * time.Minute},
		{name: "12 MB a minute on 1 GB", live: func(m float64) float64 { return 1000 + 12*m }, within: 90 * time.Minute},
		{name: "20 MB a minute, few collections", live: func(m float64) float64 { return 100 + 20*m }, every: 120, within: 20 * time.Minute},
		{name: "that ends", live: func(m float64) float64 { return 100 + 20*min(m, 15) }, within: 10 * time.Minute, closed: true},
		{name: "a start", live: func(m float64) float64 { return 500 * min(1, m/3) }},
		{name: "a cache that fills", live: func(m float64) float64 { return 100 + 800*(1-math.Exp(-m/6)) }},
		{name: "a sawtooth", live: func(m float64) float64 { return 100 + 25*math.Mod(m, 4) }},
		{name: "5 MB a minute", live: func(m float64) float64 { return 100 + 5*m }},
		{name: "a plateau", live: func(float64) float64 { return 2000 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := world{sample: func(s float64, at *vitals.Sample) {
				live(c.live)(s, at)
				if c.every > 0 {
					at.GCs = uint64(s / c.every)
				}
			}, heap: func(s float64) []vitals.Site {
				return []vitals.Site{{Place: "order/cart.go:12", Function: "order.load", Value: 40 * MB, Count: 1},
					{Place: "order/cache.go:31", Function: "order.(*Cache).Put", Value: c.live(s/60) * MB, Count: int64(s)}}
			}}
			out := w.judge(t, 2*time.Hour)
			if c.within == 0 {
				if len(out) > 0 {
					t.Errorf("after %v: %s", out[0].after, out[0].Text)
				}
				return
			}
			if len(out) == 0 {
				t.Fatal("no finding")
			}
			t.Logf("after %v: %s", out[0].after, out[0].Text)
			if f := out[0]; f.after > c.within || f.Kind != vitals.Heap || f.Created != "order/cache.go:31" || closed(out[len(out)-1]) != c.closed {
				t.Errorf("%+v", f)
			}
		})
	}
}

func TestOthers(t *testing.T) {
	calm := func(s float64) bool { return s < 300 || s > 900 }
	for _, c := range []struct {
		kind  string
		world world
		none  bool
	}{
		{kind: vitals.GC, world: world{sample: func(s float64, at *vitals.Sample) {
			if at.GCShare = 0.4; calm(s) {
				at.GCShare = 0.02
			}
		}}},
		{kind: vitals.GC, world: world{sample: func(s float64, at *vitals.Sample) {
			if at.GCPause = 20 * time.Millisecond; calm(s) {
				at.GCPause = 0
			}
		}}},
		{kind: vitals.Scheduler, world: world{sample: func(s float64, at *vitals.Sample) {
			if at.SchedWait = 80 * time.Millisecond; calm(s) {
				at.SchedWait = time.Millisecond
			}
		}}},
		{kind: vitals.Mutex, world: world{sample: func(s float64, at *vitals.Sample) {
			at.MutexWait = time.Duration(20 * float64(time.Second) * (min(max(s, 300), 900) - 300))
		}}},
		{kind: vitals.Stack, world: world{sample: func(s float64, at *vitals.Sample) {
			at.Stack = int64(300e6 + 1e6*(min(max(s, 300), 1200)-300))
		}}},
		{kind: vitals.Descriptors, world: world{sample: func(s float64, at *vitals.Sample) {
			at.Descriptors, at.DescriptorLimit = int(100+10*min(s, 900)), 1<<20
		}}},
		{kind: vitals.Descriptors, world: world{sample: func(s float64, at *vitals.Sample) {
			at.Descriptors, at.DescriptorLimit = 900, 1024
			if calm(s) {
				at.Descriptors = 500
			}
		}}},
		{kind: vitals.Timers, world: world{timers: func(s float64) int { return int(100 * min(s, 4000)) }}},

		{kind: "descriptors of idle connections", none: true, world: world{
			crowds: func(s float64) []crowd { return []crowd{{"conn", 0, int64(min(20_000, 100*s)), true}} },
			sample: func(s float64, at *vitals.Sample) {
				at.Descriptors, at.DescriptorLimit = int(100+min(20_000, 100*s)), 1<<20
			}}},
		{kind: "a moment", none: true, world: world{sample: func(s float64, at *vitals.Sample) {
			if math.Mod(s, 60) < 20 {
				at.SchedWait, at.GCPause, at.GCShare = time.Second, time.Second, 1
			}
		}}},
		{kind: "stacks of many goroutines", none: true, world: world{
			crowds: func(s float64) []crowd { return []crowd{{"conn", 0, int64(min(50_000, 40*s)), true}} },
			sample: func(s float64, at *vitals.Sample) { at.Stack = int64(8<<10) * int64(at.Goroutines) }}},
	} {
		t.Run(c.kind, func(t *testing.T) {
			out := c.world.judge(t, 3*time.Hour)
			switch {
			case c.none && len(out) > 0:
				t.Errorf("after %v: %s", out[0].after, out[0].Text)
			case c.none:
			case len(out) == 0:
				t.Error("no finding")
			case out[0].Kind != c.kind || !closed(out[len(out)-1]):
				t.Errorf("%+v ... %+v", out[0], out[len(out)-1])
			default:
				t.Logf("after %v: %s / %s", out[0].after, out[0].Text, out[0].TextZh)
			}
		})
	}
}

// However much is wrong, what is open stays bounded, and End closes it.
func TestBound(t *testing.T) {
	j := &vitals.Judge{}
	now := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	open := map[string]bool{}
	note := func(report []vitals.Finding) {
		for _, f := range report {
			if open[f.ID] = f.State == vitals.Open; !open[f.ID] {
				delete(open, f.ID)
			}
		}
	}
	for i := range 300 {
		now = now.Add(2 * time.Second)
		var p vitals.Profile
		for g := range 50 {
			p.Groups = append(p.Groups, vitals.Group{Function: fmt.Sprint("leak", g), Count: 10 * i})
		}
		p.Leaks = p.Groups
		v := j.Step(now, vitals.Sample{Goroutines: 500 * i, GCShare: 1, GCPause: time.Second, SchedWait: time.Second,
			MutexWait: time.Duration(i) * time.Minute, Descriptors: 1000, DescriptorLimit: 1000})
		for v.Want != 0 {
			note(v.Report)
			v = j.Look(now, p)
		}
		note(v.Report)
	}
	if n := len(j.Findings()); n < 5 || n > 12 || n != len(open) {
		t.Errorf("%d findings, %d of them told", n, len(open))
	}
	if note(j.End(now)); len(open) != 0 || len(j.Findings()) != 0 {
		t.Errorf("%v are open after the end", open)
	}
}
