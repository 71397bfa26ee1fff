package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

const preamble = `# Overload and storms

Written by ` + "`go run ./bench/storm`" + `, never by hand. What our policies and their peers do when a server has more to do than it can,
when a target stalls or fails for five seconds, when the last of three layers is down, and when some answers are slow. Every
library runs its own code; all meet the same callers from the same seeds, in fake time unless said otherwise, so the figures do not depend on the machine.
What the policies leave to chance (jitter) is not seeded: a run differs from the next in the last digit. Values are medians over
the seeds, with the worst of them where a goal is about it. Goals are those of the library's plan. ✗ marks a value that misses
the goal of its column.

**中文摘要：** 本文由程序生成，在同一次运行、同一组随机种子下，把 Surefoot 与同类库放进同样的场景：服务过载（负载为容量的 0.5 至 10
倍）、下游停顿或报错 5 秒、三层调用链的最末层宕机、少数响应特别慢。除读取真实 CPU 的限流器外，全部在虚拟时钟中运行各库自己的代码。默认策略
Default 在故障结束后很快恢复；文章中的参数 Classic 因熔断器要打开 60 秒，还得再等将近一分钟；不带熔断的固定重试会成倍放大流量。每个目标都注明达到（met）或未达到（missed）。

`

// document writes the goals, what is missed first, then every table. It fails if
// a goal has no figure of ours.
func document(at string, all figures) (string, error) {
	var b strings.Builder
	b.WriteString(preamble + at + "\n\n## Goals\n\n")
	var rows, missed []string
	for _, g := range goals {
		v, met, ok := g.result(all)
		if !ok {
			return "", fmt.Errorf("no figure for %q (%s, %s)", g.what, g.table, g.which)
		}
		verdict := "met"
		if !met {
			verdict = "**missed**"
			missed = append(missed, fmt.Sprintf("- %s: %s; goal %s", g.what, number(v), g.bound()))
		}
		of := "median"
		if g.worst {
			of = "worst"
		}
		rows = append(rows, fmt.Sprintf("| %s | %s | %s (%s of %d) | %s |\n", g.what, g.bound(), number(v), of, len(all.of(g.table, g.which, self).values(g.value)), verdict))
	}
	if len(missed) > 0 {
		b.WriteString("Goals that are **missed**:\n\n" + strings.Join(missed, "\n") + "\n\n")
	} else {
		b.WriteString("All goals are met.\n\n")
	}
	b.WriteString("| What | Goal | surefoot | |\n|---|---|---|---|\n" + strings.Join(rows, ""))
	for _, part := range []func(*strings.Builder, figures){overloadPart, stormPart, layersPart, hedgePart} {
		part(&b, all)
	}
	b.WriteString(setUp)
	return b.String(), nil
}

func overloadPart(b *strings.Builder, all figures) {
	b.WriteString("\n" + overloadWords)
	table(b, all, tableOverload, []string{caseHalf, caseOne, caseTwo, caseFour, caseTen}, overloadCell)
	b.WriteString("\nService times that vary, a service that changes, and a limit that begins wrong:\n\n")
	table(b, all, tableOverload, []string{caseRandomTwo, caseRandomLow, caseSlower, caseLow, caseHigh, caseLong}, overloadCell)
	b.WriteString("\n" + realWords)
	table(b, all, tableReal, []string{caseTwo}, overloadCell)
}

// overloadCell is goodput and p99; at half load the share refused.
func overloadCell(table, which string, some figures) string {
	if which == caseHalf {
		return mark(table, which, "refused", some.median("refused"), "%.2g refused")
	}
	if which == caseLong {
		return mark(table, which, "minute", some.median("minute"), "%.3f") + " in the worst minute"
	}
	return mark(table, which, "goodput", some.median("goodput"), "%.3f") + ", " + mark(table, which, "p99", some.median("p99"), "%.0f ms")
}

// mark prints v and whether it misses the goal of its column.
func mark(table, which, value string, v float64, format string) string {
	text := fmt.Sprintf(format, v)
	if v >= never {
		text = "never"
	}
	if i := slices.IndexFunc(goals, func(g goal) bool { return g.table == table && g.which == which && g.value == value }); i >= 0 && !goals[i].holds(v) {
		text += " ✗"
	}
	return text
}

// table has a row for each library and a column for each case.
func table(b *strings.Builder, all figures, name string, cases []string, cell func(table, which string, some figures) string) {
	fmt.Fprintf(b, "| | %s |\n|---|%s\n", strings.Join(cases, " | "), strings.Repeat("---|", len(cases)))
	for _, library := range all.libraries(name) {
		row := []string{bold(library)}
		for _, which := range cases {
			if some := all.of(name, which, library); len(some) > 0 {
				row = append(row, cell(name, which, some))
			} else {
				row = append(row, "")
			}
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(row, " | "))
	}
}

func stormPart(b *strings.Builder, all figures) {
	b.WriteString("\n" + stormWords)
	b.WriteString("\n### Default and Classic under the same stall and error storms\n\n")
	rows(b, all, []string{caseStall, caseError, caseStallDoor, caseErrorDoor, caseStallStubborn, caseErrorStubborn}, []string{self, classic})
	b.WriteString("\n" + sparkWords + "\n```text\n")
	for _, which := range []string{caseStall, caseError, caseStallDoor, caseStallStubborn} {
		for _, library := range []string{self, classic} {
			line := all.of(tableStorm, which, library).line()
			fmt.Fprintf(b, "%-18s %-8s %s\n", which, preset(library), spark(line, 36, 84))
		}
	}
	b.WriteString("```\n\nThe same by seconds, the storm from the 11th to the 15th:\n\n```text\n")
	for _, which := range []string{caseStall, caseError} {
		for _, library := range []string{self, classic} {
			fmt.Fprintf(b, "%-6s %-8s %s\n", which, preset(library), spark(bySecond(all.of(tableStorm, which, library).line()), 0, 80))
		}
	}
	b.WriteString("```\n\n### Beside peers\n\n")
	rows(b, all, []string{caseStall, caseError, caseStallStubborn}, all.libraries(tableStorm))
}

// rows is one row for each case and library of tableStorm.
func rows(b *strings.Builder, all figures, cases, libraries []string) {
	b.WriteString("| Storm | | 95 % again after, median (worst) | attempts per call, mean | the worst second | breakers opened again, all seeds | good during the storm | seeds |\n|---|---|--:|--:|--:|--:|--:|--:|\n")
	for _, which := range cases {
		for _, library := range libraries {
			some := all.of(tableStorm, which, library)
			if len(some) == 0 {
				continue
			}
			retrips := 0.0
			for _, v := range some.values("retrips") {
				retrips += v
			}
			if library == self {
				library += " Default"
			}
			fmt.Fprintf(b, "| %s | %s | %s (%s) | %s | %s | %s | %.0f %% | %d |\n", which, bold(library),
				seconds(some.median("recovered")), mark(tableStorm, which, "recovered", some.worst("recovered"), "%.2f s"),
				mark(tableStorm, which, "mean", some.median("mean"), "%.2f"), mark(tableStorm, which, "peak", some.worst("peak"), "%.2f"),
				mark(tableStorm, which, "retrips", retrips, "%.0f"), 100*some.median("during"), len(some))
		}
	}
}

// preset is which of ours a library is.
func preset(library string) string {
	if library == classic {
		return "Classic"
	}
	return "Default"
}

func seconds(v float64) string {
	if v >= never {
		return "never"
	}
	return fmt.Sprintf("%.2f s", v)
}

func layersPart(b *strings.Builder, all figures) {
	b.WriteString("\n" + layersWords)
	table(b, all, tableLayers, []string{caseDown, caseAiling}, func(table, which string, some figures) string {
		return mark(table, which, "attempts", some.worst("attempts"), "%.3f")
	})
}

func hedgePart(b *strings.Builder, all figures) {
	b.WriteString("\n" + hedgeWords)
	for _, which := range []string{caseTail, caseSick} {
		fmt.Fprintf(b, "\nOf the calls %s:\n\n| | attempts per call | p50 | p95 | p99 | p99.9 |\n|---|--:|--:|--:|--:|--:|\n", which)
		for _, library := range all.libraries(tableHedge) {
			some := all.of(tableHedge, which, library)
			fmt.Fprintf(b, "| %s | %s", bold(library), mark(tableHedge, which, "attempts", some.worst("attempts"), "%.3f"))
			for _, q := range []string{"p50", "p95", "p99", "p99.9"} {
				fmt.Fprintf(b, " | %.0f ms", some.median(q))
			}
			b.WriteString(" |\n")
		}
	}
}

func bold(library string) string {
	if strings.HasPrefix(library, self) {
		return "**" + library + "**"
	}
	return library
}

// line is the mean of the stories' lines.
func (all figures) line() []float64 {
	if len(all) == 0 {
		return nil
	}
	mean := make([]float64, len(all[0].Line))
	for _, f := range all {
		for i := range min(len(mean), len(f.Line)) {
			mean[i] += f.Line[i] / float64(len(all))
		}
	}
	return mean
}

func bySecond(line []float64) (by []float64) {
	for four := range slices.Chunk(line, 4) {
		sum := 0.0
		for _, v := range four {
			sum += v
		}
		by = append(by, sum/float64(len(four)))
	}
	return by
}

// spark draws the shares from one index to another, a mark for each eighth; the
// full block means at least 95 %.
func spark(line []float64, from, to int) string {
	levels := []rune("▁▂▃▄▅▆▇█")
	var b strings.Builder
	for _, v := range line[min(from, len(line)):min(to, len(line))] {
		if v >= 0.95 {
			b.WriteRune(levels[7])
			continue
		}
		b.WriteRune(levels[max(0, int(math.Ceil(v*7))-1)])
	}
	return b.String()
}

// number prints three digits, and never as a word.
func number(v float64) string {
	if v >= never {
		return "never"
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
