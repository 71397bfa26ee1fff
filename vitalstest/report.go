package vitalstest

import (
	"fmt"
	"strings"

	"github.com/surefoot-go/surefoot/internal/stacks"
)

const (
	groups = 10 // as many are shown
	calls  = 8  // of each
)

// report is the failure's text.
func (s Settings) report(who string, left []stacks.Goroutine) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s left %s behind", who, goroutines(len(left)))
	if w := s.wait(); w > 0 {
		fmt.Fprintf(&b, ", still there after %v", w)
	}
	b.WriteString(":\n")
	all := stacks.Groups(left)
	for i, g := range all {
		if i == groups {
			fmt.Fprintf(&b, "  and %d more groups\n", len(all)-groups)
			break
		}
		b.WriteString(describe(g))
	}
	if name := name(all[0].Goroutine); name != "" {
		fmt.Fprintf(&b, "If they may stay: vitalstest.Settings{Allow: []string{%q}}", name)
	}
	return strings.TrimRight(b.String(), "\n")
}

func describe(g stacks.Group) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %s, ", goroutines(g.Count))
	switch origin := g.Origin(); {
	case g.Created.Func == "":
		fmt.Fprintf(&b, "created at a place not known, running %s", g.Entry().Func)
	case origin != g.Created:
		fmt.Fprintf(&b, "created with %s to run %s (%s)", short(g.Created.Func), origin.Func, origin.Site())
	default:
		fmt.Fprintf(&b, "created at %s in %s", origin.Site(), origin.Func)
	}
	fmt.Fprintf(&b, "\n    now: %s", g.Wait)
	if g.Minutes > 0 {
		fmt.Fprintf(&b, ", for %d min", g.Minutes)
	}
	if at := g.Blocked(); at.Func != "" {
		fmt.Fprintf(&b, ", at %s", at.Site())
	}
	b.WriteString("\n")
	for i, f := range g.Frames {
		last := len(g.Frames) - 1
		if i == calls && i < last {
			fmt.Fprintf(&b, "      %d more calls\n", last-i)
		}
		if i >= calls && i < last {
			continue
		}
		fmt.Fprintf(&b, "      %s (%s)\n", f.Func, f.Site())
	}
	return b.String()
}

func goroutines(n int) string {
	if n == 1 {
		return "1 goroutine"
	}
	return fmt.Sprint(n, " goroutines")
}

// short is a function's name without the folders above its package.
func short(fn string) string { return fn[strings.LastIndexByte(fn, '/')+1:] }

// name is what allows g and as little else as possible.
func name(g stacks.Goroutine) string {
	if f := g.Origin(); f.Func != "" {
		return f.Func
	}
	return ""
}
