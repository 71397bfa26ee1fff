package e2e

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// A view writes the story for a person: one line a step, with the time since
// the fault. It is safe for concurrent use.
type view struct {
	mu    sync.Mutex
	out   io.Writer
	zh    bool
	color bool
	fault time.Time // zero until the fault is in
}

func newView(out io.Writer, lang string) *view {
	v := &view{out: out, zh: strings.HasPrefix(lang, "zh")}
	if f, ok := out.(*os.File); ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" {
		st, err := f.Stat()
		v.color = err == nil && st.Mode()&os.ModeCharDevice != 0
	}
	return v
}

// A say is one sentence in both languages, with the same verbs in both.
type say struct{ en, zh string }

func (v *view) text(s say, args ...any) string {
	f := s.en
	if v.zh {
		f = s.zh
	}
	if len(args) == 0 {
		return f
	}
	return fmt.Sprintf(f, args...)
}

func (v *view) paint(code, s string) string {
	if !v.color {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (v *view) print(s string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, _ = fmt.Fprintln(v.out, s)
}

func (v *view) line(s say, args ...any) { v.print(v.text(s, args...)) }

func (v *view) title(s say, args ...any) {
	v.print("\n" + v.paint("1", v.text(s, args...)))
}

// clock is the time since the fault, or blank before it.
func (v *view) clock() string {
	if v.fault.IsZero() {
		return strings.Repeat(" ", 8)
	}
	return fmt.Sprintf("%+7.1fs", time.Since(v.fault).Seconds())
}

func (v *view) step(mark, s string) {
	code := "32"
	if mark == "✗" {
		code = "31"
	}
	v.print("  " + v.paint("2", v.clock()) + "  " + v.paint(code, mark) + " " + s)
}

func (v *view) block(s string) {
	bar := v.paint("2", "  │ ")
	var b strings.Builder
	for l := range strings.Lines(strings.TrimRight(s, "\n")) {
		b.WriteString(bar + strings.TrimRight(l, "\n") + "\n")
	}
	v.print(strings.TrimRight(b.String(), "\n"))
}

// tree draws a dependency graph as text, callers above what they call. A
// service with two callers is drawn under each, its own callees once.
func tree(g graph, external string) string {
	byName := map[string]node{}
	called := map[string]bool{}
	calls := map[string][]edge{}
	for _, n := range g.Nodes {
		byName[n.Name] = n
	}
	for _, e := range g.Edges {
		called[e.To] = true
		calls[e.From] = append(calls[e.From], e)
	}
	var b strings.Builder
	drawn := map[string]bool{}
	var draw func(name, lead, kids string, rate, errShare, p99 float64)
	draw = func(name, lead, kids string, rate, errShare, p99 float64) {
		label := lead + name
		if byName[name].Kind == "external" {
			label += " (" + external + ")"
		}
		fmt.Fprintf(&b, "%-34s %6.1f/s %6.1f %%  p99 %s\n", label, rate, 100*errShare, ms(p99))
		if drawn[name] {
			return
		}
		drawn[name] = true
		out := calls[name]
		slices.SortFunc(out, func(a, b edge) int { return strings.Compare(a.To, b.To) })
		for i, e := range out {
			if byName[e.To].Kind == "database" {
				continue
			}
			l, k := "├─ ", "│  "
			if !slices.ContainsFunc(out[i+1:], func(e edge) bool { return byName[e.To].Kind != "database" }) {
				l, k = "└─ ", "   "
			}
			draw(e.To, kids+l, kids+k, e.Rate, e.ErrorShare, e.P99Ms)
		}
	}
	for _, n := range g.Nodes {
		if !called[n.Name] && n.Kind != "database" {
			draw(n.Name, "", "", n.Rate, n.ErrorShare, n.P99Ms)
		}
	}
	return b.String()
}

func ms(v float64) string {
	switch {
	case v >= 10_000:
		return fmt.Sprintf("%.0f s", v/1000)
	case v >= 1000:
		return fmt.Sprintf("%.1f s", v/1000)
	case v >= 10:
		return fmt.Sprintf("%.0f ms", v)
	default:
		return fmt.Sprintf("%.1f ms", v)
	}
}
