package tree

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode"
)

// Environ reads settings of a type from environment variables: for a struct one
// for each field, PREFIX_ATTEMPT_TIMEOUT for attemptTimeout and
// PREFIX_RETRY_MAX for retry.max, and PREFIX itself for all of it as JSON,
// which those of the fields go over. A list or a map is written as JSON, anything
// else as it is. An empty variable says nothing.
//
// The Node is nil if no variable is set; names are those that are, in the order
// of the fields. lookup is os.LookupEnv, mostly. The error names variables and
// never their values.
func Environ(prefix string, of reflect.Type, lookup func(string) (string, bool)) (n *Node, names []string, err error) {
	e := environ{lookup: lookup}
	n = e.read(prefix, of, 0)
	return n, e.names, errors.Join(e.errs...)
}

type environ struct {
	lookup func(string) (string, bool)
	names  []string
	errs   []error
}

// maxNesting ends types that hold themselves.
const maxNesting = 8

func (e *environ) read(name string, t reflect.Type, depth int) *Node {
	for t.Kind() == reflect.Pointer && !special(t) {
		t = t.Elem()
	}
	text, set := e.lookup(name)
	set = set && text != ""
	if set {
		e.names = append(e.names, name)
	}
	switch {
	case special(t):
		return e.itself(set, text)
	case t.Kind() == reflect.Struct:
		return e.object(name, text, set, t, depth)
	case !set:
		return nil
	}
	switch t.Kind() {
	case reflect.String:
		return &Node{Kind: String, Text: text}
	case reflect.Slice, reflect.Array, reflect.Map:
		return e.json(name, text)
	case reflect.Bool:
		switch text = strings.ToLower(strings.TrimSpace(text)); text {
		case "1", "true":
			return &Node{Kind: Bool, Text: "true"}
		case "0", "false":
			return &Node{Kind: Bool, Text: "false"}
		}
		e.errs = append(e.errs, fmt.Errorf("the variable %s must be true or false", name))
		return nil
	}
	n, err := JSON([]byte(text))
	if err != nil || n.Kind != Number {
		e.errs = append(e.errs, fmt.Errorf("the variable %s must be a number", name))
		return nil
	}
	return flat(n)
}

// itself is for types that read themselves. They may want an object, such as a
// secret that is somewhere else; a text that only looks like one stays one.
func (e *environ) itself(set bool, text string) *Node {
	if !set {
		return nil
	}
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		if n, err := JSON([]byte(text)); err == nil {
			return flat(n)
		}
	}
	return &Node{Kind: String, Text: text}
}

func (e *environ) json(name, text string) *Node {
	n, err := JSON([]byte(text))
	if err != nil {
		e.errs = append(e.errs, fmt.Errorf("the variable %s must be JSON: %w", name, err))
		return nil
	}
	return flat(n)
}

func (e *environ) object(name, text string, set bool, t reflect.Type, depth int) *Node {
	var n *Node
	if set {
		if n = e.json(name, text); n != nil && n.Kind != Object {
			e.errs = append(e.errs, fmt.Errorf("the variable %s must be a JSON object", name))
			return nil
		}
	}
	if depth >= maxNesting {
		return n
	}
	for _, f := range fields(t) {
		in := e.read(name+"_"+Variable(f.name), f.typ, depth+1)
		if in == nil {
			continue
		}
		if n == nil {
			n = &Node{Kind: Object}
		}
		n.lay(f.name, in)
	}
	return n
}

// lay puts v over what is called name.
func (n *Node) lay(name string, v *Node) {
	for i := range n.Fields {
		f := &n.Fields[i]
		if f.Name != name {
			continue
		}
		if f.Value.Kind == Object && v.Kind == Object {
			for _, in := range v.Fields {
				f.Value.lay(in.Name, in.Value)
			}
		} else {
			f.Value = v
		}
		return
	}
	n.Fields = append(n.Fields, Field{Name: name, Value: v})
}

// flat forgets lines: a variable has none that would help.
func flat(n *Node) *Node {
	n.Line, n.Column = 0, 0
	for _, i := range n.Items {
		flat(i)
	}
	for i := range n.Fields {
		n.Fields[i].Line, n.Fields[i].Column = 0, 0
		flat(n.Fields[i].Value)
	}
	return n
}

// Variable is how a service or setting is called in the names of environment
// variables: attemptTimeout is ATTEMPT_TIMEOUT, client/bank is CLIENT_BANK.
func Variable(name string) string {
	var b strings.Builder
	before := '_'
	for _, r := range name {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			r = '_'
		}
		if unicode.IsUpper(r) && unicode.IsLower(before) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToUpper(r))
		before = r
	}
	return b.String()
}
