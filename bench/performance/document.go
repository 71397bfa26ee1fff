package main

import (
	"cmp"
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
	row   string // the one of our rows that counts; "" means ours
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
	{what: "five policies around a no-op that asks for its context's Done", which: "Policies/five-done", ns: 800, allocs: 5, bytes: 300},
	{what: "five policies, the deadline context made lazily", which: "Policies/five", ns: 300, allocs: 1, bytes: -1},
	{what: "breaker closed, windowed", which: "Breaker/closed", ns: 70},
	{what: "breaker closed, parallel", which: "Breaker/closed-parallel", serial: "Breaker/closed"},
	{what: "breaker open", which: "Breaker/open", ns: 45},
	{what: "breaker open, parallel", which: "Breaker/open-parallel", serial: "Breaker/open"},
	{what: "retry with no failure, without a budget as its peers", which: "Retry/success", ns: 15},
	{what: "rate limit, per call", which: "Rate/allowed", ns: 45},
	{what: "fixed concurrency limit, per call", which: "Bulkhead/free", ns: 25},
	{what: "adaptive concurrency limit, per call", which: "Adaptive/free", ns: 150},
	{what: "HTTP client add-on: retry, breaker, budget", which: "HTTPClient/get", row: "surefoot-policies", over: "bare", ns: 150, allocs: 2, bytes: -1},
	{what: "the same under an http.Client", which: "HTTPClient/do", row: "surefoot-policies", over: "bare", ns: 150, allocs: 2, bytes: -1},
	{what: "gRPC client add-on: retry, breaker, budget", which: "GRPCClient/call", row: "surefoot-policies", over: "bare", ns: 1000, allocs: 6, bytes: -1},
}

func (g goal) ours() string { return cmp.Or(g.row, ours) }

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

Written by ` + "`go run ./bench/performance`" + `, never by hand. Each row compares libraries within the same run, one after the other in
every round; figures are medians of the rounds, so trust a figure's ratio to its neighbour more than the figure. Goals are
those of the library's plan. What a thing adds is its cost less that of the bare one. A parallel run counts as no worse than
a serial one if it is at most 10 % slower. What each library does in its row is said in the comments of ` + "`bench/peers`" + ` and
` + "`bench/serving`" + `: surefoot-policies is retry, budget and breaker, as the peers beside it have; surefoot is everything on.
Overload and retry storms beside peers are in [overload.md](overload.md), what happens by default in [safety.md](safety.md).

`

// result is what became of one goal.
type result struct {
	what   string
	missed string // what was measured and wanted; "" means the goal is met
}

// document writes the goals, what is missed first, then every figure. It fails
// if a goal of a benchmark has no figure of ours: it was renamed or did not run.
func document(at string, f figures) (string, error) {
	calls, results, err := f.calls()
	if err != nil {
		return "", err
	}
	servers, more := f.servers()
	flight, last := f.flight()
	results = slices.Concat(results, more, last)
	text := preamble + at + "\n\n" + chinese(results) + "\n\n## Goals\n\n"
	var missed []string
	for _, r := range results {
		if r.missed != "" {
			missed = append(missed, "- "+r.what+": "+r.missed+"\n")
		}
	}
	if len(missed) > 0 {
		text += "Goals that are **missed**:\n\n" + strings.Join(missed, "") + "\n"
	} else {
		text += "All goals are met.\n\n"
	}
	return text + calls + servers + flight + "\n## Every figure\n\n" + f.table() + f.serverTable(), nil
}

// calls is the table of goals for single calls.
func (f figures) calls() (string, []result, error) {
	var table strings.Builder
	var results []result
	table.WriteString("| What | Goal | surefoot | | Others in the same run | Command |\n|---|---|---|---|---|---|\n")
	for _, g := range goals {
		c, ok := f.cost(g.which, g.ours())
		serial, known := f.cost(g.serial, ours)
		bare, based := f.cost(g.which, g.over)
		c = c.minus(bare)
		if !ok || g.serial != "" && !known || g.over != "" && !based {
			return "", nil, fmt.Errorf("no figure for %q (%s)", g.what, g.which)
		}
		r := result{what: g.what}
		if !g.met(c, serial) {
			r.missed = fmt.Sprintf("%v; goal %s", c, g.limit())
			if g.serial != "" {
				r.missed += fmt.Sprintf(" (%s ns)", number(serial.ns))
			}
		}
		results = append(results, r)
		fmt.Fprintf(&table, "| %s | %s | %v | %s | %s | `%s` |\n", g.what, g.limit(), c, r.verdict(), f.peers(g), alone(g.which))
	}
	return table.String(), results, nil
}

func (r result) verdict() string {
	if r.missed != "" {
		return "**missed**"
	}
	return "met"
}

// chinese is the summary for those who read Chinese first.
func chinese(results []result) string {
	var missed []string
	for _, r := range results {
		if r.missed != "" {
			missed = append(missed, fmt.Sprintf("%s（%s）", r.what, r.missed))
		}
	}
	text := fmt.Sprintf("摘要：与同类库在同一次运行中逐轮交替测量，取中位数；%d 项目标中达到 %d 项。", len(results), len(results)-len(missed))
	if len(missed) == 0 {
		return text + "全部达到。"
	}
	return text + "未达到：" + strings.Join(missed, "；") + "。"
}

// peers are the other libraries' costs in g's case, fastest first.
func (f figures) peers(g goal) string {
	bare, _ := f.cost(g.which, g.over)
	var rows []string
	for _, library := range f.byCost(g.which) {
		if c, ok := f.cost(g.which, library); ok && library != g.ours() && library != g.over {
			rows = append(rows, fmt.Sprintf("%s %v", library, c.minus(bare)))
		}
	}
	return strings.Join(rows, "; ")
}

// table is every case and library of single calls, fastest first.
func (f figures) table() string {
	var b strings.Builder
	b.WriteString("| Case | Library | ns per call | from – to | allocs | B |\n|---|---|--:|--:|--:|--:|\n")
	for _, which := range slices.Sorted(maps.Keys(f)) {
		if isServer(which) {
			continue
		}
		for _, library := range f.byCost(which) {
			c, _ := f.cost(which, library)
			fmt.Fprintf(&b, "| %s | %s | %s | %s – %s | %.0f | %.0f |\n",
				which, bold(library), number(c.ns), number(c.low), number(c.high), c.allocs, c.bytes)
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

// bold marks ours, also our presets, such as surefoot-classic.
func bold(library string) string {
	if library == ours || strings.HasPrefix(library, ours+"-") {
		return "**" + library + "**"
	}
	return library
}

// alone is the command that runs one case.
func alone(which string) string {
	policy, name, _ := strings.Cut(which, "/")
	return fmt.Sprintf("go test -run '^$' -bench '^Benchmark%s$/^%s$' ./bench/peers", policy, name)
}
