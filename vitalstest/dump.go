package vitalstest

import (
	"bytes"
	"cmp"
	"maps"
	"runtime"
	"runtime/pprof"
	"slices"

	"github.com/surefoot-go/surefoot/internal/stacks"
)

// dump is all goroutines at one moment, and what was known of their labels in
// the next.
type dump struct {
	self    int64
	all     []stacks.Goroutine
	samples []stacks.Sample
}

// most is how much text of goroutines is read: about 100,000 of them.
const most = 256 << 20

func look() *dump {
	d := &dump{self: self()}
	text, _ := stacks.Dump(most)
	d.all = stacks.Parse(text)
	var profile bytes.Buffer
	if p := pprof.Lookup("goroutine"); p != nil && p.WriteTo(&profile, 1) == nil {
		d.samples = stacks.ParseProfile(profile.Bytes())
	}
	return d
}

// self is the id of the goroutine that calls it.
func self() int64 {
	text := make([]byte, 1<<10)
	gs := stacks.Parse(text[:runtime.Stack(text, false)])
	if len(gs) == 0 {
		return 0
	}
	return gs[0].ID
}

// of are the goroutines that carry owner's label, or no test's label and have
// root above them, without root itself.
//
// A dump has no labels, a profile has nothing but labels and stacks. So each
// labelled sample of the profile takes as many goroutines with its stack from
// the dump, the relations of root first. A goroutine that moved in between is
// in the profile only, and is given as it is there, without its creation.
func (d *dump) of(owner string, root int64) []stacks.Goroutine {
	parent := map[int64]int64{}
	byKey := map[string][]stacks.Goroutine{}
	for _, g := range d.all {
		parent[g.ID] = g.Parent
		if g.ID != d.self && g.ID != root {
			byKey[g.Key()] = append(byKey[g.Key()], g)
		}
	}
	related := func(g stacks.Goroutine) int {
		for id, steps := g.ID, 0; id != 0 && steps < len(d.all); id, steps = parent[id], steps+1 {
			if id == root {
				return 0
			}
		}
		return 1
	}
	var mine []stacks.Goroutine
	left := map[string]int{} // of each stack, how many of others' are not taken yet
	for _, s := range d.samples {
		k := s.Key()
		if s.Labels[Label] != owner {
			if s.Labels[Label] != "" {
				left[k] += s.Count
			}
			continue
		}
		if looking(s) {
			continue
		}
		same := byKey[k]
		slices.SortStableFunc(same, func(a, b stacks.Goroutine) int { return cmp.Compare(related(a), related(b)) })
		n := min(s.Count, len(same))
		mine = append(mine, same[:n]...)
		byKey[k] = same[n:]
		for range s.Count - n {
			mine = append(mine, stacks.Goroutine{Wait: "not known", Frames: s.Frames})
		}
	}
	for _, k := range slices.Sorted(maps.Keys(byKey)) {
		// What others' labels speak for is theirs; those of them that are not
		// related to root go first.
		same := slices.DeleteFunc(byKey[k], func(g stacks.Goroutine) bool { return related(g) != 0 })
		if unrelated := len(byKey[k]) - len(same); left[k] > unrelated {
			same = same[:max(0, len(same)-(left[k]-unrelated))]
		}
		mine = append(mine, same...)
	}
	return mine
}

// looking tells the goroutine that takes the profile.
func looking(s stacks.Sample) bool {
	return slices.ContainsFunc(s.Frames, func(f stacks.Frame) bool { return f.Func == lookFunc })
}

const lookFunc = "github.com/surefoot-go/surefoot/vitalstest.look"
