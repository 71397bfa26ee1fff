package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// share is a promise about a whole server: its requests a second as a share of
// the bare server's, and better than every peer's.
type share struct {
	what, which string
	least       float64
	bare        string // what it is a share of
}

var shares = []share{
	{"HTTP server, all guards and telemetry on, every trace recorded", "HTTPServer/always", 0.80, "net/http"},
	{"HTTP server, one trace in a hundred recorded", "HTTPServer/1percent", 0.80, "net/http"},
	{"gRPC server, all guards and telemetry on, every trace recorded", "GRPCServer/always", 0.85, "grpc-go"},
	{"gRPC server, one trace in a hundred recorded", "GRPCServer/1percent", 0.85, "grpc-go"},
}

const (
	bare       = "bare"
	flightCase = "Flight/hold"
	// overhead is how much later than bare ours may answer at p99 with very many
	// requests in flight, in ms.
	overhead = 5
)

// isServer says that a case is not about single calls.
func isServer(which string) bool {
	policy, _, _ := strings.Cut(which, "/")
	return policy == "HTTPServer" || policy == "GRPCServer" || policy == "Flight"
}

// servers is the table of goals for whole servers.
func (f figures) servers() (string, []result) {
	var table strings.Builder
	var results []result
	table.WriteString("\nWhole servers over loopback, in processes of their own: requests a second as a share of the bare server's in the same round.\n" +
		"The load is ready-made bytes from a third process on the same cores, so nearly all of what is measured is the server.\n\n" +
		"| What | Goal | surefoot | | Others in the same run | Command |\n|---|---|---|---|---|---|\n")
	for _, g := range shares {
		limit := fmt.Sprintf("≥ %.2f of %s, best of all", g.least, g.bare)
		got, ok := f.median(g.which, ours, "of-bare")
		if !ok {
			fmt.Fprintf(&table, "| %s | %s | not measured in this run | | | |\n", g.what, limit)
			continue
		}
		r := result{what: g.what}
		best := true
		var peers []string
		for _, library := range f.byShare(g.which) {
			if library == ours || library == bare {
				continue
			}
			theirs, _ := f.median(g.which, library, "of-bare")
			best = best && got >= theirs
			peers = append(peers, fmt.Sprintf("%s %.2f", library, theirs))
		}
		if got < g.least || !best {
			r.missed = fmt.Sprintf("%.2f of %s; goal %s", got, g.bare, limit)
			if best {
				r.missed += "; best it is"
			}
		}
		results = append(results, r)
		fmt.Fprintf(&table, "| %s | %s | %.2f | %s | %s | `go run ./bench/serving -only %s` |\n",
			g.what, limit, got, r.verdict(), strings.Join(peers, "; "), g.which)
	}
	return table.String(), results
}

// flight is the table for very many requests in flight.
func (f figures) flight() (string, []result) {
	value := func(library, unit string) float64 {
		v, _ := f.median(flightCase, library, unit)
		return v
	}
	n := thousands(value(ours, "n"))
	if _, ok := f.median(flightCase, ours, "most"); !ok {
		return "\nVery many requests in flight in one process: not measured in this run.\n", nil
	}
	head := fmt.Sprintf("\n%s requests in flight in one process: asked, and asking a downstream, over HTTP/2 in the clear through loopback\n"+
		"sockets, 250 requests to a connection; %s a second in an open loop, each held by the downstream for %.0f s, so that all are in\n"+
		"flight before the first is answered. On ours every guard and all telemetry is on, on both sides; the door's limit of 10,000 and the\n"+
		"times are raised. p50, p99 and max are what a request took beyond the downstream's time, counted from when it was due; µs CPU and\n"+
		"bytes are those of the process in the middle. (`go run ./bench/serving -inflight %.0f`)\n\n",
		n, thousands(value(ours, "rate")), value(ours, "hold-s"), value(ours, "n"))
	var table strings.Builder
	table.WriteString(head + "| | in flight at once | lost | failed | bytes each | goroutines each | p50 ms | p99 ms | max ms | µs CPU each |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, library := range []string{bare, ours} {
		fmt.Fprintf(&table, "| %s |", bold(library))
		for _, unit := range []string{"most", "lost", "wrong", "B/op", "goroutines", "p50-ms", "p99-ms", "max-ms", "cpu-us/req"} {
			fmt.Fprintf(&table, " %s |", whole(value(library, unit)))
		}
		table.WriteString("\n")
	}
	lost := result{what: n + " requests in flight, none lost"}
	if v := value(ours, "lost") + value(ours, "wrong"); v > 0 {
		lost.missed = fmt.Sprintf("%.0f lost or failed", v)
	}
	late := result{what: n + " requests in flight, our overhead at p99"}
	if d := value(ours, "p99-ms") - value(bare, "p99-ms"); d > overhead {
		late.missed = fmt.Sprintf("%.1f ms more than bare; goal ≤ %d ms", d, overhead)
	}
	fmt.Fprintf(&table, "\nNone lost: %s. At p99 ours answers %.1f ms later than bare (goal: at most %d ms): %s. What a request in flight holds: %.1f KiB, bare %.1f KiB.\n",
		lost.verdict(), value(ours, "p99-ms")-value(bare, "p99-ms"), overhead, late.verdict(), value(ours, "B/op")/1024, value(bare, "B/op")/1024)
	return table.String(), []result{lost, late}
}

// thousands writes 100000 as 100,000.
func thousands(v float64) string {
	text := fmt.Sprintf("%.0f", v)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// whole writes large numbers without a fraction.
func whole(v float64) string {
	if v >= 100 || v == float64(int(v)) {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

// serverTable is every server, the best first.
func (f figures) serverTable() string {
	var b strings.Builder
	for _, which := range slices.Sorted(maps.Keys(f)) {
		if !isServer(which) || which == flightCase {
			continue
		}
		for _, library := range f.byShare(which) {
			v := f[which][library]
			of := v["of-bare"]
			if len(of) == 0 {
				continue
			}
			fmt.Fprintf(&b, "| %s | %s | %.0f | %.3f | %.3f – %.3f | %.1f | %.1f |\n", which, bold(library), median(v["req/s"]),
				median(of), slices.Min(of), slices.Max(of), median(v["cpu-ns/req"])/1e3, 100*median(v["refused"]))
		}
	}
	if b.Len() == 0 {
		return ""
	}
	rounds := len(f[shares[0].which][ours]["of-bare"])
	return fmt.Sprintf("\nMedians of %d rounds. ", rounds) + "Answers a second with 64 connections in a closed loop (gRPC: 4 connections of 16 streams); CPU is that of the server's process for\n" +
		"each answer, the kernel's part included; refused is what the server shed, which is no answer.\n\n" +
		"| Case | Server | answers/s | of bare | from – to | µs CPU | % refused |\n|---|---|--:|--:|--:|--:|--:|\n" + b.String()
}

func (f figures) byShare(which string) []string {
	return slices.SortedFunc(maps.Keys(f[which]), func(a, b string) int {
		x, _ := f.median(which, a, "of-bare")
		y, _ := f.median(which, b, "of-bare")
		return cmp.Or(cmp.Compare(y, x), strings.Compare(a, b))
	})
}
