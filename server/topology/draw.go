package topology

import (
	"fmt"
	"strings"
	"unicode"
)

// Mermaid draws t as a Mermaid flowchart. Strong edges are thick; external
// strong dependencies, the ones that take the system down from outside, have
// their own colour and say so. Names are escaped: whatever a span calls
// itself, it stays a label.
func Mermaid(t Topology) string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	ids := number(t)
	strong := outsideStrong(t)
	for _, n := range t.Nodes {
		left, right, class := `["`, `"]`, ""
		switch n.Kind {
		case External:
			left, right, class = `{{"`, `"}}`, "external"
		case Database:
			left, right, class = `[("`, `")]`, "database"
		}
		if strong[n.Name] {
			class = "strong"
		}
		if n.State == Bad || n.State == Warn {
			class = n.State
		}
		fmt.Fprintf(&b, "  %s%s%s%s", ids[n.Name], left, mermaidText(label(n, strong)), right)
		if class != "" {
			b.WriteString(":::" + class)
		}
		b.WriteByte('\n')
	}
	for _, e := range t.Edges {
		arrow := "-->"
		if e.Strong {
			arrow = "==>"
		}
		fmt.Fprintf(&b, "  %s %s|\"%s\"| %s\n", ids[e.From], arrow, mermaidText(edgeLabel(e)), ids[e.To])
	}
	b.WriteString("  classDef external fill:#eceff1,stroke:#607d8b,stroke-dasharray:4 3\n" +
		"  classDef database fill:#e8eaf6,stroke:#3f51b5\n" +
		"  classDef strong fill:#fff3e0,stroke:#e65100,stroke-width:3px,stroke-dasharray:4 3\n" +
		"  classDef warn fill:#fff8e1,stroke:#ff8f00\n" +
		"  classDef bad fill:#ffebee,stroke:#c62828,stroke-width:3px\n")
	return b.String()
}

// DOT draws t in Graphviz' language, as Mermaid does.
func DOT(t Topology) string {
	var b strings.Builder
	b.WriteString("digraph surefoot {\n  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\", fillcolor=\"#ffffff\", fontname=\"sans-serif\"];\n")
	ids := number(t)
	strong := outsideStrong(t)
	for _, n := range t.Nodes {
		attrs := ""
		switch n.Kind {
		case External:
			attrs = `, shape=hexagon, style="dashed,filled", fillcolor="#eceff1"`
		case Database:
			attrs = `, shape=cylinder, fillcolor="#e8eaf6"`
		}
		if strong[n.Name] {
			attrs += `, color="#e65100", penwidth=3`
		}
		switch n.State {
		case Bad:
			attrs += `, fillcolor="#ffebee", color="#c62828"`
		case Warn:
			attrs += `, fillcolor="#fff8e1", color="#ff8f00"`
		}
		fmt.Fprintf(&b, "  %s [label=\"%s\"%s];\n", ids[n.Name], dotText(label(n, strong)), attrs)
	}
	for _, e := range t.Edges {
		attrs := ""
		if e.Strong {
			attrs = ", penwidth=2.5"
		}
		fmt.Fprintf(&b, "  %s -> %s [label=\"%s\"%s];\n", ids[e.From], ids[e.To], dotText(edgeLabel(e)), attrs)
	}
	b.WriteString("}\n")
	return b.String()
}

// number gives each node an id that holds nothing of its name. An edge's end
// that is no node, which a Graph never makes, is drawn bare.
func number(t Topology) map[string]string {
	ids := make(map[string]string, len(t.Nodes))
	add := func(name string) {
		if _, ok := ids[name]; !ok {
			ids[name] = fmt.Sprintf("n%d", len(ids))
		}
	}
	for _, n := range t.Nodes {
		add(n.Name)
	}
	for _, e := range t.Edges {
		add(e.From)
		add(e.To)
	}
	return ids
}

func outsideStrong(t Topology) map[string]bool {
	out := map[string]bool{}
	for _, e := range t.Edges {
		if e.Strong && e.External {
			out[e.To] = true
		}
	}
	return out
}

func label(n Node, strong map[string]bool) string {
	switch {
	case strong[n.Name] && n.Kind == Database:
		return n.Name + " (strong database)"
	case strong[n.Name]:
		return n.Name + " (strong external dependency)"
	case n.Kind == External:
		return n.Name + " (external)"
	}
	return n.Name
}

func edgeLabel(e Edge) string {
	s := fmt.Sprintf("%s %.1f/s", e.Protocol, e.Rate)
	if e.ErrorShare > 0 {
		s += fmt.Sprintf(" %.1f%% failed", 100*e.ErrorShare)
	}
	return s
}

// mermaidText writes everything but letters, digits and a few harmless marks
// as Mermaid's entity codes.
func mermaidText(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), strings.ContainsRune(" -_.,:/@%", r):
			b.WriteRune(r)
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == unicode.ReplacementChar:
			b.WriteByte(' ')
		default:
			fmt.Fprintf(&b, "#%d;", r)
		}
	}
	return b.String()
}

// dotText escapes what ends or changes a quoted string in DOT.
func dotText(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '&': // Graphviz reads HTML entities in any label
			b.WriteString("&amp;")
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			b.WriteByte(' ')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
