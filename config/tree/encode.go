package tree

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"time"
)

// Encode writes settings as JSON in the names and forms that Decode reads, in
// the order of their fields. What is nil is null. A type with a MarshalJSON or a
// MarshalText uses it, so a secret is written as what it shows of itself.
func Encode(v any) ([]byte, error) {
	n, err := nodeOf(reflect.ValueOf(v), 0)
	if err != nil {
		return nil, err
	}
	return Text(n), nil
}

func nodeOf(v reflect.Value, depth int) (*Node, error) {
	if !v.IsValid() {
		return &Node{}, nil
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("settings of more than %d levels", maxDepth)
	}
	if v.Type() == durationType {
		return &Node{Kind: String, Text: Duration(time.Duration(v.Int()))}, nil
	}
	if n, ok, err := selfMade(v); ok || err != nil {
		return n, err
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return &Node{}, nil
		}
		return nodeOf(v.Elem(), depth+1)
	case reflect.Struct:
		n := &Node{Kind: Object}
		for _, f := range fields(v.Type()) {
			in, err := nodeOf(v.FieldByIndex(f.index), depth+1)
			if err != nil {
				return nil, err
			}
			n.Fields = append(n.Fields, Field{Name: f.name, Value: in})
		}
		return n, nil
	case reflect.Map:
		return mapNode(v, depth)
	case reflect.Slice, reflect.Array:
		if v.Kind() == reflect.Slice && v.IsNil() {
			return &Node{}, nil
		}
		n := &Node{Kind: List}
		for i := range v.Len() {
			in, err := nodeOf(v.Index(i), depth+1)
			if err != nil {
				return nil, err
			}
			n.Items = append(n.Items, in)
		}
		return n, nil
	case reflect.String:
		return &Node{Kind: String, Text: v.String()}, nil
	case reflect.Bool:
		return &Node{Kind: Bool, Text: strconv.FormatBool(v.Bool())}, nil
	}
	switch {
	case v.CanInt():
		return &Node{Kind: Number, Text: strconv.FormatInt(v.Int(), 10)}, nil
	case v.CanUint():
		return &Node{Kind: Number, Text: strconv.FormatUint(v.Uint(), 10)}, nil
	case v.CanFloat() && !math.IsNaN(v.Float()) && !math.IsInf(v.Float(), 0):
		return &Node{Kind: Number, Text: strconv.FormatFloat(v.Float(), 'g', -1, 64)}, nil
	}
	return nil, fmt.Errorf("%s cannot be written as a setting", v.Type())
}

func mapNode(v reflect.Value, depth int) (*Node, error) {
	if v.IsNil() {
		return &Node{}, nil
	}
	if v.Type().Key().Kind() != reflect.String {
		return nil, fmt.Errorf("%s cannot be written as a setting", v.Type())
	}
	n := &Node{Kind: Object}
	for it := v.MapRange(); it.Next(); {
		in, err := nodeOf(it.Value(), depth+1)
		if err != nil {
			return nil, err
		}
		n.Fields = append(n.Fields, Field{Name: it.Key().String(), Value: in})
	}
	slices.SortFunc(n.Fields, func(a, b Field) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	return n, nil
}

// selfMade is for types that write themselves.
func selfMade(v reflect.Value) (*Node, bool, error) {
	if v.Kind() == reflect.Pointer && v.IsNil() || !v.CanInterface() {
		return nil, false, nil
	}
	switch m := v.Interface().(type) {
	case json.Marshaler:
		b, err := m.MarshalJSON()
		if err != nil {
			return nil, false, err
		}
		n, err := JSON(b)
		return n, true, err
	case encoding.TextMarshaler:
		b, err := m.MarshalText()
		return &Node{Kind: String, Text: string(b)}, true, err
	}
	return nil, false, nil
}

// Duration is d as a person writes it: 1m30s, 2h, 500ms.
func Duration(d time.Duration) string {
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} { // 1m0s is 1m, 2h0m0s is 2h
		if b, ok := bytes.CutSuffix([]byte(s), []byte(zero)); ok {
			s = string(b) + zero[:1]
		}
	}
	return s
}

// Text is n as JSON on one line, the same for the same values: objects keep
// their order.
func Text(n *Node) []byte { return appendNode(nil, n) }

func appendNode(b []byte, n *Node) []byte {
	if n == nil {
		return append(b, "null"...)
	}
	switch n.Kind {
	case Bool, Number:
		return append(b, n.Text...)
	case String:
		return appendString(b, n.Text)
	case List:
		b = append(b, '[')
		for i, item := range n.Items {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendNode(b, item)
		}
		return append(b, ']')
	case Object:
		b = append(b, '{')
		for i, f := range n.Fields {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, f.Name), ':')
			b = appendNode(b, f.Value)
		}
		return append(b, '}')
	}
	return append(b, "null"...)
}

func appendString(b []byte, s string) []byte {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always can be
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}
