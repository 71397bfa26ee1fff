package tree

import (
	"cmp"
	"fmt"
	"slices"
)

// Change is one difference between two values, for people.
type Change struct {
	Path   string `json:"path"`   // such as retry.max or hosts[2]; "" is the whole
	Before string `json:"before"` // as JSON, "" when it was not there
	After  string `json:"after"`  // "" when it is gone
}

// Diff lists what differs between two values, by path; nil for none. Either may
// be nil, for what is not there. Objects are compared by key, lists by place.
func Diff(before, after *Node) []Change {
	var out []Change
	diff(&out, before, after, "")
	return out
}

func diff(out *[]Change, a, b *Node, path string) {
	switch {
	case a == nil && b == nil:
	case a != nil && b != nil && a.Kind == Object && b.Kind == Object:
		diffObjects(out, a, b, path)
	case a != nil && b != nil && a.Kind == List && b.Kind == List:
		for i := range max(len(a.Items), len(b.Items)) {
			diff(out, item(a, i), item(b, i), fmt.Sprintf("%s[%d]", path, i))
		}
	default:
		was, is := text(a), text(b)
		if was != is {
			*out = append(*out, Change{path, was, is})
		}
	}
}

func diffObjects(out *[]Change, a, b *Node, path string) {
	var names []string
	for _, f := range slices.Concat(a.Fields, b.Fields) {
		names = append(names, f.Name)
	}
	slices.SortFunc(names, cmp.Compare[string])
	for _, name := range slices.Compact(names) {
		diff(out, a.field(name), b.field(name), join(path, name))
	}
}

func (n *Node) field(name string) *Node {
	for _, f := range n.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return nil
}

func item(n *Node, i int) *Node {
	if i < len(n.Items) {
		return n.Items[i]
	}
	return nil
}

func text(n *Node) string {
	if n == nil {
		return ""
	}
	return string(Text(n))
}
