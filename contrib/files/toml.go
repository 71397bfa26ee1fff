package files

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/surefoot-go/surefoot/config/tree"
)

// TOML reads a TOML document into an object. It refuses what TOML does, a key
// twice among it, and more than 1 MiB or 64 levels. Dates and times are texts.
func TOML(data []byte) (*tree.Node, error) {
	if len(data) > maxSize {
		return nil, fmt.Errorf("%d bytes are too many for settings; at most %d", len(data), maxSize)
	}
	// The parser of positions does not check all of TOML's rules; this one does.
	var all map[string]any
	if err := toml.Unmarshal(data, &all); err != nil {
		var at *toml.DecodeError
		if errors.As(err, &at) {
			row, column := at.Position()
			return nil, fmt.Errorf("line %d, column %d: %s", row, column, strings.TrimPrefix(at.Error(), "toml: "))
		}
		return nil, errors.New(strings.TrimPrefix(err.Error(), "toml: "))
	}
	t := tomlReader{p: &unstable.Parser{}, root: &tree.Node{Kind: tree.Object, Line: 1, Column: 1}}
	t.p.Reset(data)
	t.table = t.root
	for t.p.NextExpression() {
		if err := t.expression(t.p.Expression()); err != nil {
			return nil, err
		}
	}
	if err := t.p.Error(); err != nil {
		return nil, err
	}
	return t.root, nil
}

type tomlReader struct {
	p     *unstable.Parser
	root  *tree.Node
	table *tree.Node // that key-values go into
}

func (t *tomlReader) expression(e *unstable.Node) error {
	switch e.Kind {
	case unstable.Table, unstable.ArrayTable:
		names := keys(e.Key())
		line, column := t.at(e.Key())
		at, err := into(t.root, names[:len(names)-1], line, column)
		if err != nil {
			return err
		}
		last := names[len(names)-1]
		if e.Kind == unstable.Table {
			t.table, err = into(at, []string{last}, line, column)
			return err
		}
		f := field(at, last)
		if f == nil {
			f = add(at, last, &tree.Node{Kind: tree.List, Line: line, Column: column}, line, column)
		}
		t.table = &tree.Node{Kind: tree.Object, Line: line, Column: column}
		f.Value.Items = append(f.Value.Items, t.table)
	case unstable.KeyValue:
		return t.keyValue(t.table, e, 0)
	}
	return nil
}

// at is where a key stands.
func (t *tomlReader) at(it unstable.Iterator) (line, column int) {
	for it.Next() {
		s := t.p.Shape(it.Node().Raw)
		return s.Start.Line, s.Start.Column
	}
	return 0, 0
}

func keys(it unstable.Iterator) (names []string) {
	for it.Next() {
		names = append(names, string(it.Node().Data))
	}
	return names
}

func field(n *tree.Node, name string) *tree.Field {
	if i := slices.IndexFunc(n.Fields, func(f tree.Field) bool { return f.Name == name }); i >= 0 {
		return &n.Fields[i]
	}
	return nil
}

func add(n *tree.Node, name string, v *tree.Node, line, column int) *tree.Field {
	n.Fields = append(n.Fields, tree.Field{Name: name, Line: line, Column: column, Value: v})
	return &n.Fields[len(n.Fields)-1]
}

// into goes down to a table, making what is missing; in a list of tables it is
// the last one.
func into(n *tree.Node, path []string, line, column int) (*tree.Node, error) {
	if len(path) > maxDepth {
		return nil, fmt.Errorf("line %d: more than %d levels", line, maxDepth)
	}
	for _, name := range path {
		f := field(n, name)
		if f == nil {
			f = add(n, name, &tree.Node{Kind: tree.Object, Line: line, Column: column}, line, column)
		}
		n = f.Value
		if n.Kind == tree.List && len(n.Items) > 0 {
			n = n.Items[len(n.Items)-1]
		}
	}
	return n, nil
}

func (t *tomlReader) keyValue(table *tree.Node, e *unstable.Node, depth int) error {
	line, column := t.at(e.Key())
	names := keys(e.Key())
	at, err := into(table, names[:len(names)-1], line, column)
	if err != nil {
		return err
	}
	v, err := t.value(e.Value(), line, depth+1)
	if err != nil {
		return err
	}
	add(at, names[len(names)-1], v, line, column)
	return nil
}

// value reads a value that begins in line, or a later one where that is known.
func (t *tomlReader) value(e *unstable.Node, line, depth int) (*tree.Node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("line %d: more than %d levels", line, maxDepth)
	}
	n := &tree.Node{Line: line}
	if e.Raw.Length > 0 {
		s := t.p.Shape(e.Raw)
		n.Line, n.Column = s.Start.Line, s.Start.Column
	}
	text := string(e.Data)
	switch e.Kind {
	case unstable.String, unstable.LocalDate, unstable.LocalTime, unstable.LocalDateTime, unstable.DateTime:
		n.Kind, n.Text = tree.String, text
	case unstable.Bool:
		n.Kind, n.Text = tree.Bool, text
	case unstable.Integer:
		i, err := strconv.ParseInt(text, 0, 64)
		if err != nil {
			return nil, fmt.Errorf("line %d: %s is no number", n.Line, text)
		}
		n.Kind, n.Text = tree.Number, fmt.Sprint(i)
	case unstable.Float:
		f, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("line %d: %s is no number that a setting takes", n.Line, text)
		}
		n.Kind, n.Text = tree.Number, strconv.FormatFloat(f, 'g', -1, 64)
	case unstable.Array:
		n.Kind = tree.List
		for it := e.Children(); it.Next(); {
			in, err := t.value(it.Node(), n.Line, depth+1)
			if err != nil {
				return nil, err
			}
			n.Items = append(n.Items, in)
		}
	case unstable.InlineTable:
		n.Kind = tree.Object
		for it := e.Children(); it.Next(); {
			if err := t.keyValue(n, it.Node(), depth); err != nil {
				return nil, err
			}
		}
	default:
		return nil, fmt.Errorf("line %d: %s is no kind of setting", n.Line, e.Kind)
	}
	return n, nil
}
