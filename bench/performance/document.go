package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ours is our name among the libraries.
const ours = "surefoot"

// A goal is one promise about one case.
type goal struct {
	what  string
	which string // the case
	ns    float64
	// allocs and bytes are limits too; 0 means none at all, negative no limit.
	allocs, bytes float64
	// serial, if set, is the case that which must be as fast as; ns is unused.
	serial string
	// over, if set, is the library whose cost is taken off every other's.
	over string
}

// slack is how much slower a parallel run may be and still count as no worse:
// what two rounds of the same benchmark differ by on a shared machine.
const slack = 1.1

// goals in the order of the document.
var goals = []goal{
	{what: "five policies around a no-op, real context", which: "Policies/five", ns: 800, allocs: 5, bytes: 300},
	{what: "breaker closed, windowed", which: "Breaker/closed", ns: 70},
	{what: "breaker closed, parallel", which: "Breaker/closed-parallel", serial: "Breaker/closed"},
	{what: "breaker open", which: "Breaker/open", ns: 45},
	{what: "breaker open, parallel", which: "Breaker/open-parallel", serial: "Breaker/open"},
	{what: "retry with no failure, without a budget as its peers", which: "Retry/success", ns: 15},
	{what: "rate limit, per call", which: "Rate/allowed", ns: 45},
	{what: "fixed concurrency limit, per call", which: "Bulkhead/free", ns: 25},
	{what: "adaptive concurrency limit, per call", which: "Adaptive/free", ns: 150},
	{what: "HTTP client add-on", which: "HTTPClient/get", over: "bare", ns: 150, allocs: 2, bytes: -1},
	{what: "gRPC client add-on", which: "GRPCClient/call", over: "bare", ns: 1000, allocs: 6, bytes: -1},
}

// unmeasured are goals that no benchmark here speaks for.
var unmeasured = []string{
	"Five policies with the deadline context made lazily: at most 300 ns, 1 alloc. Not built: each try gets a context of the standard library.",
	"HTTP server with all guards and telemetry: at least 0.80 of bare net/http, best of all. Not measured.",
	"gRPC server, likewise: at least 0.85 of bare. Not measured.",
	"Overload and retry storms beside peers, and 100,000 requests in flight: not measured here. Ours alone: the tests of `resilience/shed` and `resilience`.",
}

func (g goal) limit() string {
	if g.serial != "" {
		return "no worse than serial, " + allocations(g.allocs)
	}
	text := fmt.Sprintf("≤ %g ns, %s", g.ns, allocations(g.allocs))
	if g.over != "" {
		text += " more than " + g.over
	}
	if g.bytes > 0 {
		text += fmt.Sprintf(", %g B", g.bytes)
	}
	return text
}

// met compares c with the limit; serial is the cost of g.serial, if any.
func (g goal) met(c, serial cost) bool {
	ns := g.ns
	if g.serial != "" {
		ns = serial.ns * slack
	}
	return c.ns <= ns && c.allocs <= g.allocs && (g.bytes < 0 || c.bytes <= g.bytes)
}

const preamble = `# Performance

Written by ` + "`go run ./bench/performance`" + `, never by hand. Each row compares libraries within the same run; the machine was
shared with other work, so trust a figure's ratio to its neighbour more than the figure. Goals are those of the library's
plan. What a thing adds is its cost less that of the bare one. A parallel run counts as no worse than a serial one if it
is at most 10 % slower. What each library does in its row is said in the comments of ` + "`bench/peers`" + `: the hand-written loop
has two of the five policies, and our HTTP and gRPC clients carry telemetry, which the others there do not.

`

// document writes the goals, what is missed first, then every figure. It fails
// if a goal has no figure of ours: a benchmark was renamed or did not run.
func document(at string, f figures) (string, error) {
	var table strings.Builder
	var missed []string
	table.WriteString("| What | Goal | surefoot | | Peers in the same run | Command |\n|---|---|---|---|---|---|\n")
	for _, g := range goals {
		c, ok := f.cost(g.which, ours)
		serial, known := f.cost(g.serial, ours)
		bare, based := f.cost(g.which, g.over)
		c = c.minus(bare)
		if !ok || g.serial != "" && !known || g.over != "" && !based {
			return "", fmt.Errorf("no figure for %q (%s)", g.what, g.which)
		}
		verdict := "met"
		if !g.met(c, serial) {
			verdict = "**missed**"
			line := fmt.Sprintf("- %s: %v; goal %s", g.what, c, g.limit())
			if g.serial != "" {
				line += fmt.Sprintf(" (%s ns)", number(serial.ns))
			}
			missed = append(missed, line)
		}
		fmt.Fprintf(&table, "| %s | %s | %v | %s | %s | `%s` |\n", g.what, g.limit(), c, verdict, f.peers(g), command(g.which))
	}
	text := preamble + at + "\n\n## Goals\n\n"
	if len(missed) > 0 {
		text += "Goals that are **missed**:\n\n" + strings.Join(missed, "\n") + "\n\n"
	} else {
		text += "All goals in the table are met.\n\n"
	}
	text += "Goals that are **open**:\n\n- " + strings.Join(unmeasured, "\n- ") + "\n\n"
	return text + table.String() + "\n## Every figure\n\n" + f.table(), nil
}

// peers are the other libraries' costs in g's case, fastest first.
func (f figures) peers(g goal) string {
	bare, _ := f.cost(g.which, g.over)
	var rows []string
	for _, library := range f.byCost(g.which) {
		if c, ok := f.cost(g.which, library); ok && !isOurs(library) && library != g.over {
			rows = append(rows, fmt.Sprintf("%s %v", library, c.minus(bare)))
		}
	}
	return strings.Join(rows, "; ")
}

// table is every case and library, fastest first.
func (f figures) table() string {
	var b strings.Builder
	b.WriteString("| Case | Library | ns per call | from – to | allocs | B |\n|---|---|--:|--:|--:|--:|\n")
	for _, which := range slices.Sorted(maps.Keys(f)) {
		for _, library := range f.byCost(which) {
			c, _ := f.cost(which, library)
			if isOurs(library) {
				library = "**" + library + "**"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s – %s | %.0f | %.0f |\n",
				which, library, number(c.ns), number(c.low), number(c.high), c.allocs, c.bytes)
		}
	}
	return b.String()
}

func (f figures) byCost(which string) []string {
	return slices.SortedFunc(maps.Keys(f[which]), func(a, b string) int {
		ca, _ := f.cost(which, a)
		cb, _ := f.cost(which, b)
		switch {
		case ca.ns < cb.ns:
			return -1
		case ca.ns > cb.ns:
			return 1
		}
		return strings.Compare(a, b)
	})
}

// isOurs also knows our presets, such as surefoot-classic.
func isOurs(library string) bool {
	return library == ours || strings.HasPrefix(library, ours+"-")
}

// command runs the case alone.
func command(which string) string {
	policy, name, _ := strings.Cut(which, "/")
	return fmt.Sprintf("go test -run '^$' -bench '^Benchmark%s$/^%s$' ./bench/peers", policy, name)
}
