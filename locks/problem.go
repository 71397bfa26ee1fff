package locks

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Kinds of problems.
const (
	KindOrder         = "order"          // locks taken in orders that can deadlock together
	KindNested        = "nested"         // two locks of one Name held together without Rank, or against it
	KindRecursive     = "recursive"      // a goroutine waits for a lock that it holds
	KindRecursiveRead = "recursive read" // a goroutine locks for reading twice, and a writer may come between
	KindHold          = "hold"           // held longer than Checks.Hold
	KindWait          = "wait"           // waited for longer than Checks.Wait
	KindOwner         = "owner"          // unlocked by another goroutine
	KindMore          = "more"           // stands for what was found beyond 256 problems
)

// Problem is what a checked lock found.
type Problem struct {
	Kind   string        `json:"kind"`            // one of the Kind constants
	Name   string        `json:"name"`            // the lock that was being taken, held or unlocked
	Other  string        `json:"other,omitempty"` // the other lock of an order; "" when there is none
	For    time.Duration `json:"forNs,omitempty"` // how long, for KindHold and KindWait: the longest so far
	Count  uint64        `json:"count"`           // how often it was seen so far at these places
	Stacks []Stack       `json:"stacks"`          // the goroutines that take part, the one found last first
	Text   string        `json:"text"`            // all of it but the stacks, in a sentence
}

// Stack says what a goroutine did, and where.
type Stack struct {
	Text  string `json:"text"`  // "goroutine 7 locks cart", for example
	Trace string `json:"trace"` // function and file:line by turns, innermost first
}

// maxProblems bounds the problems that are told apart.
const maxProblems = 256

// problems are those found, by kind and places.
type problems struct {
	mu    sync.Mutex
	byKey map[string]*Problem
	order []*Problem
}

// add counts a problem and reports whether it is a new one. The Text and Stacks are
// made by fill, for a new one only.
func (f *problems) add(p Problem, fill func(*Problem), sites ...string) (*Problem, bool) {
	key := p.Kind + "\n" + p.Name + "\n" + p.Other + "\n" + strings.Join(sites, "\n")
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byKey[key] == nil && len(f.byKey) >= maxProblems {
		key = KindMore
		p = Problem{Kind: KindMore, Text: "more than 256 problems with locks; what follows is counted only"}
		fill = func(*Problem) {}
	}
	if old := f.byKey[key]; old != nil {
		old.Count++
		old.For = max(old.For, p.For)
		return old, false
	}
	if f.byKey == nil {
		f.byKey = map[string]*Problem{}
	}
	p.Count = 1
	fill(&p)
	f.byKey[key] = &p
	f.order = append(f.order, &p)
	return &p, true
}

// again counts a problem known already.
func (f *problems) again(p *Problem) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p.Count++
}

func (f *problems) list() []Problem {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]Problem, len(f.order))
	for i, p := range f.order {
		out[i] = *p
		out[i].Stacks = slices.Clone(p.Stacks)
	}
	return out
}

// report counts a problem and tells it when it is new. No lock of this package is
// held meanwhile, and what Report locks is not checked.
func (c *checker) report(p Problem, fill func(*Problem), sites ...string) *Problem {
	at, fresh := c.found.add(p, fill, sites...)
	if !fresh {
		return at
	}
	c.found.mu.Lock()
	told := *at
	c.found.mu.Unlock()
	defer c.unchecked(goroutineID())()
	c.Report(told)
	return at
}
