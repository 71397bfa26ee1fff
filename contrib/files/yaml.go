package files

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/surefoot-go/surefoot/config/tree"
)

const (
	maxSize  = 1 << 20 // bytes of a file
	maxDepth = 64
	maxNodes = 100_000 // after aliases are followed: a billion laughs are refused
)

// YAML reads one YAML document. It refuses a key twice, a key that is no text, a
// second document, more than 1 MiB, 64 levels or 100,000 values with aliases
// followed. What YAML 1.1 takes for true and false (yes, no, on, off) is text;
// merge keys (<<) are followed. An empty document is null.
func YAML(data []byte) (*tree.Node, error) {
	if len(data) > maxSize {
		return nil, fmt.Errorf("%d bytes are too many for settings; at most %d", len(data), maxSize)
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return &tree.Node{Line: 1, Column: 1}, nil
	} else if err != nil {
		return nil, yamlError(err)
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, yamlError(err)
		}
		return nil, fmt.Errorf("line %d: a second document; settings are one", more.Line)
	}
	y := yamlReader{}
	return y.node(&doc, 0)
}

// yamlError is err with our way of naming lines.
func yamlError(err error) error {
	return errors.New(strings.TrimPrefix(strings.TrimPrefix(err.Error(), "yaml: "), "unmarshal errors:\n  "))
}

type yamlReader struct{ nodes int }

func (y *yamlReader) node(n *yaml.Node, depth int) (*tree.Node, error) {
	if y.nodes++; y.nodes > maxNodes {
		return nil, fmt.Errorf("line %d: more than %d values, aliases followed", n.Line, maxNodes)
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("line %d: more than %d levels", n.Line, maxDepth)
	}
	out := &tree.Node{Line: n.Line, Column: n.Column}
	switch n.Kind {
	case yaml.DocumentNode:
		if len(n.Content) != 1 {
			return out, nil
		}
		return y.node(n.Content[0], depth)
	case yaml.AliasNode:
		return y.node(n.Alias, depth+1)
	case yaml.SequenceNode:
		out.Kind = tree.List
		for _, c := range n.Content {
			in, err := y.node(c, depth+1)
			if err != nil {
				return nil, err
			}
			out.Items = append(out.Items, in)
		}
		return out, nil
	case yaml.MappingNode:
		out.Kind = tree.Object
		return out, y.object(n, out, depth)
	}
	return out, scalar(n, out)
}

func (y *yamlReader) object(n *yaml.Node, out *tree.Node, depth int) error {
	at := map[string]int{}
	merged := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Tag == "!!merge" {
			if err := y.merge(n.Content[i+1], out, at, merged, depth); err != nil {
				return err
			}
			continue
		}
		if key.Kind != yaml.ScalarNode || key.Tag == "!!null" {
			return fmt.Errorf("line %d: a key is a text", key.Line)
		}
		v, err := y.node(n.Content[i+1], depth+1)
		if err != nil {
			return err
		}
		f := tree.Field{Name: key.Value, Line: key.Line, Column: key.Column, Value: v}
		j, twice := at[f.Name]
		switch {
		case twice && !merged[f.Name]:
			return fmt.Errorf("line %d: the key %q is here twice, first in line %d", key.Line, f.Name, out.Fields[j].Line)
		case twice:
			out.Fields[j], merged[f.Name] = f, false
		default:
			at[f.Name] = len(out.Fields)
			out.Fields = append(out.Fields, f)
		}
	}
	return nil
}

// merge lays what << names below what is there.
func (y *yamlReader) merge(from *yaml.Node, out *tree.Node, at map[string]int, merged map[string]bool, depth int) error {
	v, err := y.node(from, depth+1)
	if err != nil {
		return err
	}
	all := []*tree.Node{v}
	if v.Kind == tree.List {
		all = v.Items
	}
	for _, o := range all {
		if o.Kind != tree.Object {
			return fmt.Errorf("line %d: << takes an object, or a list of them", from.Line)
		}
		for _, f := range o.Fields {
			if _, here := at[f.Name]; !here {
				at[f.Name], merged[f.Name] = len(out.Fields), true
				out.Fields = append(out.Fields, f)
			}
		}
	}
	return nil
}

// scalar reads a value as JSON would have it.
func scalar(n *yaml.Node, out *tree.Node) error {
	out.Text = n.Value
	switch n.Tag {
	case "!!null":
		out.Text = ""
	case "!!bool":
		var b bool
		if err := n.Decode(&b); err != nil {
			return yamlError(err)
		}
		out.Kind, out.Text = tree.Bool, fmt.Sprint(b)
	case "!!int", "!!float":
		out.Kind = tree.Number
		return yamlNumber(n, out)
	case "!!str", "!!timestamp":
		out.Kind = tree.String
	default:
		return fmt.Errorf("line %d: %s is no kind of setting", n.Line, n.Tag)
	}
	return nil
}

// yamlNumber writes 0x10, 0o7, 1_000 and .5 as JSON does.
func yamlNumber(n *yaml.Node, out *tree.Node) error {
	if in, err := tree.JSON([]byte(n.Value)); err == nil && in.Kind == tree.Number {
		return nil
	}
	if n.Tag == "!!int" {
		var i int64
		if err := n.Decode(&i); err != nil {
			return fmt.Errorf("line %d: %s is no number", n.Line, n.Value)
		}
		out.Text = fmt.Sprint(i)
		return nil
	}
	var f float64
	if err := n.Decode(&f); err != nil {
		return fmt.Errorf("line %d: %s is no number", n.Line, n.Value)
	}
	b, err := tree.Encode(f)
	if err != nil {
		return fmt.Errorf("line %d: %s is no number that a setting takes", n.Line, n.Value)
	}
	out.Text = string(b)
	return nil
}
