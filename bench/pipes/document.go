package main

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// surroundings says when, how and on what kind of machine.
func surroundings(now time.Time, took time.Duration, p plan) string {
	return fmt.Sprintf("Measured on %s in %s: %s/%s, %d cores, %s; %d rounds of %s for throughput, %d of %s at each load for latency; %d MiB of heap in each process.",
		now.UTC().Format(time.DateOnly), took.Round(time.Second), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(),
		p.rounds, p.each, p.loadRounds, p.loadEach, p.heap)
}

// document writes the goals, what is missed first, then every table that has
// figures.
func document(at string, all *figures) string {
	var b strings.Builder
	b.WriteString(preamble + at + "\n\n## Goals\n\n")
	goalsPart(&b, all)
	throughputPart(&b, all)
	latencyPart(&b, all)
	limitPart(&b, all)
	idlePart(&b, all)
	b.WriteString("\n## The wires\n\n" + wiresWords + "\n")
	for _, w := range all.wires {
		fmt.Fprintf(&b, "- %s: %s\n", bold(w), w.words)
	}
	b.WriteString("\n" + notMeasured)
	return b.String()
}

func goalsPart(b *strings.Builder, all *figures) {
	var rows, missed []string
	for _, g := range goals() {
		v, ok := g.value(all)
		if !ok {
			continue
		}
		verdict := "met"
		if !g.holds(v) {
			verdict = "**missed**"
			line := fmt.Sprintf("- %s: %s; goal %s.", g.what, g.print(v), g.bound())
			if g.why != "" {
				line += " " + g.why
			}
			missed = append(missed, line)
		}
		rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s |\n", g.what, g.bound(), g.print(v), verdict))
	}
	switch {
	case len(rows) == 0:
		b.WriteString("Nothing of what the goals are about was measured.\n")
		return
	case len(missed) > 0:
		b.WriteString("Goals that are **missed**:\n\n" + strings.Join(missed, "\n") + "\n\n")
	default:
		b.WriteString("All goals are met.\n\n")
	}
	b.WriteString("| What | Goal | Measured | |\n|---|---|---|---|\n" + strings.Join(rows, ""))
	if len(all.bare) > 0 {
		fmt.Fprintf(b, "\n"+bareWords, median(all.bare, flood.share))
	}
}

// sizes in ascending order of what was measured.
func (all *figures) sizes() (sizes []int) {
	for _, size := range []int{64, 1 << 10, 64 << 10} {
		if _, ok := all.limits[size]; ok {
			sizes = append(sizes, size)
		}
	}
	for size := range all.limits {
		if size != 64 && size != 1<<10 && size != 64<<10 {
			sizes = append(sizes, size)
		}
	}
	return sizes
}

func throughputPart(b *strings.Builder, all *figures) {
	b.WriteString("\n## Throughput\n\n" + throughputWords)
	for _, size := range all.sizes() {
		fmt.Fprintf(b, "\n### %s\n\n| | messages/s | MB/s | of crypto/tls (least – most) | CPU for a message |\n|---|--:|--:|--:|--:|\n", bytesWord(size))
		for _, w := range all.wires {
			f := all.floods[point{w.name, size}]
			rate := median(f, flood.rate)
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", bold(w), count(rate), count(rate*float64(size)/1e6), shares(f),
				duration(median(f, func(f flood) float64 { return float64(f.cpu) })))
		}
	}
	fmt.Fprintf(b, "\n```text\ngo run ./bench/pipes -loads=false -idle 0 -out -\n```\n")
}

// shares is the median share of crypto/tls and its range.
func shares(f []flood) string {
	least, most := 0.0, 0.0
	for i, x := range f {
		if i == 0 {
			least = x.ofTLS
		}
		least, most = min(least, x.ofTLS), max(most, x.ofTLS)
	}
	if most == 0 {
		return "not measured"
	}
	return fmt.Sprintf("%.2f (%.2f – %.2f)", median(f, flood.share), least, most)
}

func latencyPart(b *strings.Builder, all *figures) {
	if len(all.paces) == 0 {
		return
	}
	b.WriteString("\n## Latency\n\n" + latencyWords)
	for _, size := range all.sizes() {
		fmt.Fprintf(b, "\n### %s\n\n| | half of its own most, messages/s | p50 | p99 | at %s messages/s: p50 | p99 |\n|---|--:|--:|--:|--:|--:|\n",
			bytesWord(size), count(common(size)))
		for _, w := range all.wires {
			half, same := all.paces[paced{point{w.name, size}, atHalf}], all.paces[paced{point{w.name, size}, atCommon}]
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", bold(w), count(median(half, func(p pace) float64 { return p.rate })),
				duration(median(half, pace.middle)), duration(median(half, pace.high)), duration(median(same, pace.middle)), duration(median(same, pace.high)))
		}
	}
	fmt.Fprintf(b, "\n```text\ngo run ./bench/pipes -rounds 3 -idle 0 -out -\n```\n")
}

func limitPart(b *strings.Builder, all *figures) {
	b.WriteString("\n## The physical limit\n\n" + limitWords)
	b.WriteString("\n| | seal | open | one core seals, the other opens | `openssl speed`, seal | " + nameByHand + " | " + nameSeal + ", of both cores | of by hand |\n|---|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, size := range all.sizes() {
		l, hand, ours := all.limits[size], all.bytes(nameByHand, size), all.bytes(nameSeal, size)
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", bytesWord(size), megabytes(l.seal), megabytes(l.open), megabytes(l.both),
			megabytes(all.ssl[size]), megabytes(hand), share(ours, l.both), share(ours, hand))
	}
}

func idlePart(b *strings.Builder, all *figures) {
	if len(all.idle) == 0 {
		return
	}
	b.WriteString("\n## Idle channels\n\n" + idleWords + "\n| | channels | connections | with one channel | with all: dialler | listener | together | to open all |\n|---|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, i := range all.idle {
		fmt.Fprintf(b, "| **%s** | %s | %s | %s | %s | %s | %s | %s |\n", i.wire, count(float64(i.channels)), count(float64(i.links)),
			mebibytes(i.before), mebibytes(i.sender), mebibytes(i.receiver), mebibytes(i.sender+i.receiver), i.took.Round(10*time.Millisecond))
	}
	fmt.Fprintf(b, "\n```text\ngo run ./bench/pipes -only pipe -sizes 64 -rounds 1 -loads=false -out -\n```\n")
}

// bytes is the median throughput in bytes a second; 0 if not measured.
func (all *figures) bytes(name string, size int) float64 {
	return median(all.floods[point{name, size}], flood.rate) * float64(size)
}

func (f flood) rate() float64  { return f.perSecond }
func (f flood) share() float64 { return f.ofTLS }

func (p pace) middle() float64 { return float64(p.p50) }
func (p pace) high() float64   { return float64(p.p99) }

func bold(w wire) string {
	if w.ours {
		return "**" + w.name + "**"
	}
	return w.name
}

func bytesWord(size int) string {
	if size%1024 == 0 {
		return strconv.Itoa(size/1024) + " KiB"
	}
	return strconv.Itoa(size) + " B"
}

// count prints a whole number with commas.
func count(v float64) string {
	s := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func megabytes(v float64) string {
	if v == 0 {
		return "not measured"
	}
	return count(v/1e6) + " MB/s"
}

func mebibytes(v int64) string { return fmt.Sprintf("%.0f MB", float64(v)/1e6) }

func share(a, b float64) string {
	if a == 0 || b == 0 {
		return "not measured"
	}
	return fmt.Sprintf("%.2f", a/b)
}

// duration prints three digits.
func duration(ns float64) string {
	switch {
	case ns >= 1e6:
		return fmt.Sprintf("%.3g ms", ns/1e6)
	case ns >= 1e3:
		return fmt.Sprintf("%.3g µs", ns/1e3)
	}
	return fmt.Sprintf("%.3g ns", ns)
}
