package main

import (
	"fmt"
	"slices"
	"strings"
)

// A figure is one row of a section.
type figure struct {
	name     string
	measured string
	goal     string // "" where nothing was promised
	missed   bool
	by       string // the command that gives it
}

// below is a figure whose goal is to stay under a limit; the median of the
// values counts, and the least and greatest are shown when they differ.
func below(name string, values []float64, limit float64, unit, by string) figure {
	return figure{
		name: name, measured: spread(values, unit), by: by,
		goal: fmt.Sprintf("< %g %s", limit, unit), missed: median(values) >= limit,
	}
}

// most is below for what must never pass the limit: the greatest of the values
// counts. Without values there is no figure.
func most(name string, values []float64, limit float64, unit, by string) []figure {
	if len(values) == 0 {
		return nil
	}
	f := below(name, []float64{slices.Max(values)}, limit, unit, by)
	if len(values) > 1 {
		f.measured += fmt.Sprintf(" (the most in %d runs, median %s)", len(values), number(median(values)))
	}
	return []figure{f}
}

// plain is a figure nothing was promised about.
func plain(name string, values []float64, unit, by string) figure {
	return figure{name: name, measured: spread(values, unit), by: by}
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// spread writes the median of values and their range.
func spread(values []float64, unit string) string {
	text := number(median(values)) + " " + unit
	if low, high := number(slices.Min(values)), number(slices.Max(values)); low != high {
		text += fmt.Sprintf(" (%s to %s in %d runs)", low, high, len(values))
	}
	return text
}

// number writes v with three digits or so.
func number(v float64) string {
	switch {
	case v >= 1000:
		digits := fmt.Sprintf("%.0f", v)
		for i := len(digits) - 3; i > 0; i -= 3 {
			digits = digits[:i] + " " + digits[i:]
		}
		return digits
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 1:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// section writes figures as a table; at says when and where.
func section(at string, figures []figure) string {
	var b strings.Builder
	b.WriteString(at + "\n\n| Figure | Measured | Goal | | Command |\n|---|---|---|---|---|\n")
	for _, f := range figures {
		verdict := ""
		switch {
		case f.missed:
			verdict = missed
		case f.goal != "":
			verdict = "met"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | `%s` |\n", f.name, f.measured, f.goal, verdict, f.by)
	}
	return b.String()
}

const missed = "**missed**"

// A document is its sections by title.
type document map[string]string

const preamble = `# Numbers

Written by ` + "`make numbers`" + `, never by hand: each figure has the command that gives it beside it. Where a thing was
measured several times the median stands first. MB is 10⁶ bytes of a file and 2²⁰ bytes of memory, as the tools that
show them count. The machine was shared with other work: trust the ratio of a figure to its goal, or to its neighbour,
more than the figure.

`

// text writes the document: sections in the order of parts, what was missed
// first.
func (d document) text(all []part) string {
	var body strings.Builder
	var misses []string
	for _, p := range all {
		s, ok := d[p.title]
		if !ok {
			continue
		}
		fmt.Fprintf(&body, "\n## %s\n\n%s\n", p.title, strings.TrimSpace(s))
		for line := range strings.Lines(s) {
			cells := strings.Split(line, " | ")
			if len(cells) > 3 && cells[3] == missed {
				misses = append(misses, fmt.Sprintf("- %s: %s, goal %s", strings.TrimPrefix(cells[0], "| "), cells[1], cells[2]))
			}
		}
	}
	verdict := "All goals below are met.\n"
	if len(misses) > 0 {
		verdict = "Goals that are **missed**:\n\n" + strings.Join(misses, "\n") + "\n"
	}
	return preamble + verdict + body.String()
}

// parseDocument reads back what text wrote.
func parseDocument(text string) document {
	d := document{}
	for i, s := range strings.Split("\n"+text, "\n## ") {
		title, body, ok := strings.Cut(s, "\n")
		if i > 0 && ok {
			d[title] = strings.TrimSpace(body) + "\n"
		}
	}
	return d
}
