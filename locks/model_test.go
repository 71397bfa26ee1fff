package locks_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/surefoot-go/surefoot/locks"
)

// both is what a Mutex and an RWMutex have in common.
type both interface {
	sync.Locker
	TryLock() bool
}

// peg is a lock with its place in the one order of a model.
type peg struct {
	level  int
	gate   int          // of those of a level that may be taken in any order: the lock held meanwhile; -1 for none
	name   string       // "" when it has none
	rank   int          // as of Mutex
	mutex  *locks.Mutex // or
	rw     *locks.RWMutex
	single bool // no two of its level are held together
}

func (p *peg) side(reads bool) both {
	switch {
	case p.mutex != nil:
		return p.mutex
	case reads:
		return tryReader{p.rw}
	}
	return p.rw
}

type tryReader struct{ *locks.RWMutex }

func (r tryReader) Lock()         { r.RLock() }
func (r tryReader) Unlock()       { r.RUnlock() }
func (r tryReader) TryLock() bool { return r.TryRLock() }

// board is the locks of a model: single ones, a gate with those behind it, some of a name
// by rank, and some of a name that are never held together.
func board(r *rand.Rand) []*peg {
	var all []*peg
	add := func(p peg) {
		if r.IntN(2) == 0 {
			p.mutex = &locks.Mutex{Name: p.name, Rank: p.rank}
		} else {
			p.rw = &locks.RWMutex{Name: p.name, Rank: p.rank}
		}
		all = append(all, &p)
	}
	for level := range 8 + r.IntN(5) {
		switch r.IntN(8) {
		case 0:
			add(peg{level: 10 * level, gate: -1, name: fmt.Sprint("gate", level)})
			gate := len(all) - 1
			for n := range 2 + r.IntN(2) {
				add(peg{level: 10*level + 1, gate: gate, name: []string{"", fmt.Sprint("inner", level, n)}[r.IntN(2)]})
			}
		case 1:
			for rank := range 3 {
				add(peg{level: 10*level + rank, gate: -1, name: fmt.Sprint("row", level), rank: rank + 1})
			}
		case 2:
			for range 3 {
				add(peg{level: 10 * level, gate: -1, name: fmt.Sprint("crowd", level), single: true})
			}
		default:
			add(peg{level: 10 * level, gate: -1, name: []string{"", fmt.Sprint("one", level)}[r.IntN(2)]})
		}
	}
	return all
}

// orderly takes steps at random that obey the order, and unlocks what is left.
func orderly(all []*peg, r *rand.Rand, steps int) {
	type held struct {
		*peg
		lock  both
		reads bool
	}
	var mine []held
	holds := func(p *peg, writing bool) bool {
		return slices.ContainsFunc(mine, func(h held) bool { return h.peg == p && !(writing && h.reads) })
	}
	unlock := func(i int) {
		mine[i].lock.Unlock()
		mine = slices.Delete(mine, i, i+1)
	}
	for range steps {
		if len(mine) > 0 && (len(mine) > 4 || r.IntN(3) == 0) {
			unlock(r.IntN(len(mine)))
			continue
		}
		p := all[r.IntN(len(all))]
		reads := p.rw != nil && r.IntN(2) == 0
		lock := p.side(reads)
		top, level := -1, false
		for _, h := range mine {
			top, level = max(top, h.level), level || h.level == p.level
		}
		waits := p.level > top ||
			p.level == top && p.gate >= 0 && !holds(p, false) && holds(all[p.gate], true)
		switch {
		case waits && r.IntN(5) > 0:
			lock.Lock()
		case p.single && level || !lock.TryLock(): // who does not wait may try in any order
			continue
		}
		mine = append(mine, held{p, lock, reads})
	}
	for len(mine) > 0 {
		unlock(len(mine) - 1)
	}
}

// play runs several goroutines that obey the order at once.
func play(all []*peg, r *rand.Rand, steps int) {
	var wg sync.WaitGroup
	for range 4 {
		own := rand.New(rand.NewPCG(r.Uint64(), 0))
		wg.Go(func() { orderly(all, own, steps) })
	}
	wg.Wait()
}

// Whoever takes locks in one order is not told anything, whatever else he does.
func TestModelOfOrder(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			f := checked(t, locks.Checks{Order: true, Owner: true, Hold: -1, Wait: -1})
			r := rand.New(rand.NewPCG(seed, 1))
			play(board(r), r, 300)
			if len(f.all) > 0 {
				t.Errorf("found %s: %+v", f.kinds(), f.all)
			}
		})
	}
}

// act is what one goroutine of a possible deadlock does: it takes all in turn.
type act []both

// ring makes up a possible deadlock of n goroutines: each holds a lock that the one
// before wants, and perhaps another that is in nobody's way. Where two that read meet there
// is a writer too.
func ring(all []*peg, r *rand.Rand, n int) (acts []act) {
	var kinds []*peg // of different names
	for _, i := range r.Perm(len(all)) {
		if p := all[i]; p.name == "" || !slices.ContainsFunc(kinds, func(o *peg) bool { return o.name == p.name }) {
			kinds = append(kinds, p)
		}
	}
	spare := kinds[n:]
	acts = make([]act, n)
	wants := make([]both, n)
	for i, p := range kinds[:n] {
		holderReads, taker := p.rw != nil && r.IntN(2) == 0, p.rw != nil && r.IntN(2) == 0
		if len(spare) > 0 && r.IntN(3) == 0 {
			acts[i], spare = append(acts[i], spare[0].side(false)), spare[1:]
		}
		acts[i] = append(acts[i], p.side(holderReads))
		wants[(i+n-1)%n] = p.side(taker)
		if holderReads && taker {
			acts = append(acts, act{p.rw})
		}
	}
	for i, w := range wants {
		acts[i] = append(acts[i], w)
	}
	r.Shuffle(len(acts), func(i, j int) { acts[i], acts[j] = acts[j], acts[i] })
	return acts
}

// Whoever closes a ring is told before he has the lock that closes it, with the stacks of all,
// whatever else was learned.
func TestModelOfRings(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 2))
			all := board(r)
			steps := []int{0, 20, 200}[seed%3]
			acts := ring(all, r, 2+r.IntN(3))
			f := new(found)
			first := true
			var wanted both // by an act, which runs alone
			t.Cleanup(locks.Check(locks.Checks{Order: true, Hold: -1, Wait: -1, Report: func(p locks.Problem) {
				switch {
				case wanted == nil && first:
					t.Errorf("found in order: %+v", p)
				case wanted == nil: // others close a ring with an act
				case wanted.TryLock():
					wanted.Unlock()
				default:
					t.Error("told after the lock was taken")
				}
				f.report(p)
			}}))
			for _, a := range acts {
				play(all, r, steps)
				first = false
				do(func() {
					for _, l := range a {
						wanted = l
						l.Lock()
					}
					wanted = nil
					for _, l := range a {
						l.Unlock()
					}
				})
			}
			i := slices.IndexFunc(f.all, func(p locks.Problem) bool { return p.Kind == locks.KindOrder })
			if i < 0 {
				t.Fatalf("%d acts that can deadlock were not told: found %q, %+v", len(acts), f.kinds(), locks.Limited())
			}
			if n := len(f.all[i].Stacks); n < 4 {
				t.Errorf("%d stacks", n)
			}
			for _, s := range f.all[i].Stacks {
				if !strings.Contains(s.Trace, "locks_test.") {
					t.Errorf("%s: no stack: %q", s.Text, s.Trace)
				}
			}
		})
	}
}
