package main

import "math"

// The tables of figures.
const (
	tableOverload = "overload"
	tableReal     = "overload, real time"
	tableStorm    = "storm"
	tableLayers   = "layers"
	tableHedge    = "hedge"
)

// The cases of tableOverload; tableReal has caseTwo only.
const (
	caseHalf      = "0.5x"
	caseOne       = "1x"
	caseTwo       = "2x"
	caseFour      = "4x"
	caseTen       = "10x"
	caseRandomTwo = "2x, exponential"
	caseRandomLow = "0.8x, exponential"
	caseSlower    = "2x, 3x slower midway"
	caseLow       = "2x, first limit 10x too low"
	caseHigh      = "2x, first limit 10x too high"
	caseLong      = "2x, ten minutes"
)

// The cases of tableStorm.
const (
	caseStall         = "stall"
	caseError         = "error"
	caseStallDoor     = "stall, behind shed"
	caseErrorDoor     = "error, behind shed"
	caseStallStubborn = "stall, stubborn"
	caseErrorStubborn = "error, stubborn"
)

// The cases of tableLayers and tableHedge.
const (
	caseDown   = "C is down"
	caseAiling = "C fails 4 of 10"
	caseTail   = "2 % take 20 times as long"
	caseSick   = "the same, and all take 10 times as long for a third of the time"
)

// Our names among the libraries.
const (
	self    = "surefoot"
	classic = "surefoot Classic"
)

// never is how many seconds a recovery takes that was not seen.
const never = 1e6

// goal bounds one value of ours in one case.
type goal struct {
	what, table, which, value string
	least, most               float64 // least is 0 and most infinite if there is no such bound
	worst                     bool    // the worst seed counts, not the median
}

func atLeast(what, which, value string, least float64) goal {
	return goal{what, tableOverload, which, value, least, math.Inf(1), false}
}

func atMost(what, table, which, value string, most float64, worst bool) goal {
	return goal{what, table, which, value, 0, most, worst}
}

// goals are the plan's, in the order of the document.
var goals = append([]goal{
	atLeast("goodput at 2x", caseTwo, "goodput", 0.98),
	atMost("p99 of the admitted at 2x", tableOverload, caseTwo, "p99", 40, false),
	atLeast("goodput at 4x", caseFour, "goodput", 0.98),
	atMost("p99 of the admitted at 4x", tableOverload, caseFour, "p99", 40, false),
	atLeast("goodput at 10x", caseTen, "goodput", 0.98),
	atMost("p99 of the admitted at 10x", tableOverload, caseTen, "p99", 40, false),
	atMost("share refused at 0.5x", tableOverload, caseHalf, "refused", 0, false),
	atLeast("goodput at 1x", caseOne, "goodput", 0.98),
	atLeast("goodput at 2x, exponential service times", caseRandomTwo, "goodput", 0.92),
	atLeast("goodput at 0.8x, exponential service times", caseRandomLow, "goodput", 0.78),
	atLeast("goodput of the new capacity, from 3 s after service became 3x slower", caseSlower, "goodput", 0.95),
	atLeast("goodput from 3 s after a start with the limit 10x too low", caseLow, "goodput", 0.95),
	atLeast("goodput from 3 s after a start with the limit 10x too high", caseHigh, "goodput", 0.95),
	atLeast("the worst of ten minutes at 2x", caseLong, "minute", 0.98),
}, stormGoals()...)

func stormGoals() (all []goal) {
	for _, which := range []string{caseStall, caseError, caseStallDoor, caseErrorDoor} {
		all = append(all,
			atMost("seconds from the end of the storm to 95 % goodput ("+which+")", tableStorm, which, "recovered", 1, true),
			atMost("attempts per call, mean ("+which+")", tableStorm, which, "mean", 1.1, true),
			atMost("attempts per call, the worst second ("+which+")", tableStorm, which, "peak", 2, true),
			atMost("breakers that opened again after recovery ("+which+")", tableStorm, which, "retrips", 0, true))
	}
	return append(all,
		atMost("attempts at C per call at A, C down", tableLayers, caseDown, "attempts", 1.2, true),
		atMost("attempts per call with hedging, about 5 % more", tableHedge, caseTail, "attempts", 1.06, true))
}

// result is our value and whether the goal is met; ok is false if nothing was
// measured.
func (g goal) result(all figures) (v float64, met, ok bool) {
	some := all.of(g.table, g.which, self)
	v = some.median(g.value)
	if g.worst {
		v = some.worst(g.value)
	}
	return v, g.holds(v), len(some.values(g.value)) > 0
}

func (g goal) holds(v float64) bool { return v >= g.least && v <= g.most }

func (g goal) bound() string {
	if math.IsInf(g.most, 1) {
		return "≥ " + number(g.least)
	}
	if g.most == 0 {
		return "0"
	}
	return "≤ " + number(g.most)
}
