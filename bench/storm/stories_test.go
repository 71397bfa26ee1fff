package main

import (
	"encoding/json"
	"flag"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/resilience"
)

var (
	figuresTo = flag.String("storm.figures", "", "file to write every figure to, ours and the peers'")
	seeds     = flag.Int("storm.seeds", 1, "seeds for each of our storms; peers and other tables have at most 3")
)

// promise fails t if one of our goals in f's table and case does not hold.
func promise(t *testing.T, f figure, table, which string) {
	t.Helper()
	known := false
	for _, g := range goals {
		if g.table != table || g.which != which {
			continue
		}
		known = true
		if v := f.Values[g.value]; !g.holds(v) {
			t.Errorf("%s: %.4g, want %s", g.what, v, g.bound())
		}
	}
	if known {
		t.Logf("%s, %s: %.4v", table, which, f.Values)
	}
}

func TestOverload(t *testing.T) {
	for _, c := range overloads {
		t.Run(c.name, func(t *testing.T) {
			if testing.Short() && c.length > time.Minute {
				t.Skip("1.2 million requests")
			}
			promise(t, tellOverload(t, 7, c.overload, shedDoor), tableOverload, c.name)
		})
	}
}

func TestStorm(t *testing.T) {
	n := uint64(4)
	if testing.Short() {
		n = 1
	}
	for _, c := range storms {
		t.Run(c.name, func(t *testing.T) {
			for seed := range n {
				promise(t, tellStorm(t, c.storm, callers[0].open, watch, seed), tableStorm, c.name)
			}
		})
	}
}

// The article's numbers are in the library as they are, with what they do.
func TestStormWithClassic(t *testing.T) {
	if testing.Short() {
		t.Skip("105 s of 600 calls each")
	}
	for _, c := range storms[:2] {
		f := tellStorm(t, c.storm, callers[1].open, long, 7)
		if r := f.Values["recovered"]; r < 50 || r > 65 {
			t.Errorf("%s: good again after %vs, its documentation says 58", c.name, r)
		}
	}
}

func TestLayers(t *testing.T) {
	for _, c := range outages {
		t.Run(c.name, func(t *testing.T) {
			f := c.tell(t, 7, hops(resilience.Default()))
			promise(t, f, tableLayers, c.name)
			// Not promised: what two layers' budgets and reserves come to.
			if v := f.Values["attempts"]; v > 1.3 {
				t.Errorf("%.3f attempts at C", v)
			}
		})
	}
}

func TestHedging(t *testing.T) {
	for _, c := range tailStories {
		t.Run(c.name, func(t *testing.T) {
			with, without := c.tell(t, 7, hedged), c.tell(t, 7, alone)
			promise(t, with, tableHedge, c.name)
			if a, b := with.Values["p99"], without.Values["p99"]; a > 0.7*b {
				t.Errorf("p99 %vms with hedging, %vms without", a, b)
			}
			// Not promised: what the retry budget and its reserve allow.
			if v := with.Values["attempts"]; v > 1.12 {
				t.Errorf("%.3f attempts per call", v)
			}
		})
	}
}

// TestFigures measures everything the document shows. Nothing in it can fail a
// test but a story that cannot be told.
func TestFigures(t *testing.T) {
	if *figuresTo == "" {
		t.Skip("run by go run ./bench/storm")
	}
	hush(t)
	file, err := os.Create(*figuresTo)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	e := json.NewEncoder(file)
	write := func(f figure, table, which, library string) {
		f.Table, f.Case, f.Library = table, which, library
		if err := e.Encode(f); err != nil {
			t.Fatal(err)
		}
	}
	few := uint64(min(*seeds, 3))
	for _, d := range doors {
		for _, c := range overloads {
			n := few
			if c.length > time.Minute {
				n = 1
			}
			for seed := range n {
				write(tellOverload(t, 7+seed, c.overload, d.open), tableOverload, c.name, d.name)
			}
		}
	}
	for _, d := range realDoors {
		s := overload{load: 2, length: 5 * time.Second, from: 2 * time.Second}
		write(s.tell(7, d.open), tableReal, caseTwo, d.name)
	}
	for _, l := range callers {
		for _, c := range storms {
			n := few
			switch {
			case l.name == self:
				n = uint64(*seeds)
			case l.name != classic && !c.peers:
				continue
			}
			for seed := range n {
				write(tellStorm(t, c.storm, l.open, l.after, seed), tableStorm, c.name, l.name)
			}
		}
	}
	for _, s := range stacks {
		for _, c := range outages {
			for seed := range few {
				write(c.tell(t, seed, s.open), tableLayers, c.name, s.name)
			}
		}
	}
	for _, a := range askers {
		for _, c := range tailStories {
			for seed := range few {
				write(c.tell(t, seed, a.open), tableHedge, c.name, a.name)
			}
		}
	}
}

// A story is the same story each time it is told, but for what the policies
// themselves leave to chance.
func TestStoriesRepeat(t *testing.T) {
	s := overload{load: 2, length: 3 * time.Second, from: time.Second}
	a, b := tellOverload(t, 7, s, gradientDoor), tellOverload(t, 7, s, gradientDoor)
	if a.Values["goodput"] != b.Values["goodput"] {
		t.Errorf("goodput %v, then %v", a.Values, b.Values)
	}
	c := storm{kind: failures}
	x, y := tellStorm(t, c, none, time.Second, 7), tellStorm(t, c, none, time.Second, 7)
	if !slices.Equal(x.Line, y.Line) {
		t.Errorf("%v, then %v", x.Line, y.Line)
	}
}
