package tree

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Schema is what a setting looks like, without its Go type: what a control
// plane checks a value with before any process sees it. It is plain data and has
// a JSON form. Use SchemaOf to make one; the zero value takes anything.
type Schema struct {
	Kind     string   `json:"kind"`               // bool, int, uint, float, text, duration, secret, list, map, object; "" takes anything
	Type     string   `json:"type,omitempty"`     // the Go type's name, for people
	Unit     string   `json:"unit,omitempty"`     // such as "duration"; "" means none
	Default  string   `json:"default,omitempty"`  // as JSON; "" for objects and where there is none
	Doc      string   `json:"doc,omitempty"`      // a sentence for people
	Values   []string `json:"values,omitempty"`   // all that a text may be
	Bits     int      `json:"bits,omitempty"`     // of a number; 0 means 64
	Length   int      `json:"length,omitempty"`   // of a list; 0 means any
	Secret   bool     `json:"secret,omitempty"`   // its value is never shown
	Items    *Schema  `json:"items,omitempty"`    // of a list or map
	Fields   []Member `json:"fields,omitempty"`   // of an object, in order
	Optional bool     `json:"optional,omitempty"` // a pointer: nothing is something else than zero
}

// Member is one field of an object.
type Member struct {
	Name string `json:"name"`
	Schema
}

// SchemaOf describes the settings that def holds, which are the defaults.
func SchemaOf(def any) (*Schema, error) {
	v := reflect.ValueOf(def)
	if !v.IsValid() || !settable(v.Type(), 0) {
		return nil, fmt.Errorf("%T is no setting", def)
	}
	s := schemaOf(v, 0)
	return &s, nil
}

func schemaOf(v reflect.Value, depth int) Schema {
	t := v.Type()
	s := Schema{Type: t.String()}
	if t == durationType {
		s.Kind, s.Unit, s.Default = "duration", "duration", string(appendString(nil, Duration(time.Duration(v.Int()))))
		return s
	}
	if reflect.PointerTo(t).Implements(decoderType) {
		s.Kind, s.Secret = "secret", true
		return s
	}
	if special(t) {
		s.Kind = "text"
		s.setDefault(v)
		s.Values = enum(t)
		return s
	}
	if depth > maxNesting {
		return s
	}
	switch t.Kind() {
	case reflect.Pointer:
		in := reflect.Zero(t.Elem())
		if !v.IsNil() {
			in = v.Elem()
		}
		s = schemaOf(in, depth+1)
		s.Optional = true
		if v.IsNil() {
			s.Default = ""
		}
		return s
	case reflect.Struct:
		s.Kind = "object"
		for _, f := range fields(t) {
			s.Fields = append(s.Fields, Member{f.name, schemaOf(v.FieldByIndex(f.index), depth+1)})
		}
		return s
	case reflect.Slice, reflect.Array:
		s.Kind = "list"
		if t.Kind() == reflect.Array {
			s.Length = t.Len()
		}
	case reflect.Map:
		s.Kind = "map"
	case reflect.String:
		s.Kind, s.Values = "text", enum(t)
	case reflect.Bool:
		s.Kind = "bool"
	default:
		s.number(t)
	}
	if s.Kind == "list" || s.Kind == "map" {
		in := schemaOf(reflect.Zero(t.Elem()), depth+1)
		s.Items = &in
	}
	s.setDefault(v)
	return s
}

func (s *Schema) number(t reflect.Type) {
	z := reflect.Zero(t)
	switch {
	case z.CanInt():
		s.Kind = "int"
	case z.CanUint():
		s.Kind = "uint"
	case z.CanFloat():
		s.Kind = "float"
	default:
		return
	}
	if bits := t.Bits(); bits < 64 {
		s.Bits = bits
	}
}

func (s *Schema) setDefault(v reflect.Value) {
	if n, err := nodeOf(v, 0); err == nil && n.Kind != Null {
		s.Default = string(Text(n))
	}
}

// Check tells whether n, from layer from, is such a setting, as strictly as
// Decode does. The error is an *Error. What only the Go type knows (a Validate
// method, a text's own form) it cannot see.
func (s *Schema) Check(n *Node, from Layer) error {
	d := decoder{from: from}
	d.check(s, n, "")
	return d.err()
}

func (d *decoder) check(s *Schema, n *Node, path string) {
	if s == nil || n == nil || n.Kind == Null || s.Kind == "" {
		return
	}
	switch s.Kind {
	case "object":
		d.checkObject(s, n, path)
	case "map":
		if n.Kind != Object {
			d.wrong(n.Line, path, "must be an object, not %s", kindOf(n))
			return
		}
		for _, f := range n.Fields {
			d.check(s.Items, f.Value, join(path, f.Name))
		}
	case "list":
		switch {
		case n.Kind != List:
			d.wrong(n.Line, path, "must be a list, not %s", kindOf(n))
			return
		case s.Length > 0 && len(n.Items) != s.Length:
			d.wrong(n.Line, path, "must have %d items, not %d", s.Length, len(n.Items))
			return
		}
		for i, item := range n.Items {
			d.check(s.Items, item, fmt.Sprintf("%s[%d]", path, i))
		}
	case "secret":
		if n.Kind != Object && d.from == Centre {
			d.wrong(n.Line, path, `a secret does not go into the config centre; write {"env":"NAME"} or {"file":"/path"}`)
		}
	case "duration":
		d.duration(n, reflect.New(durationType).Elem(), path)
	case "text":
		d.checkText(s, n, path)
	case "bool":
		d.scalar(n, reflect.New(reflect.TypeFor[bool]()).Elem(), path)
	case "int", "uint", "float":
		d.scalar(n, reflect.New(s.goType()).Elem(), path)
	}
}

// checkText is for texts; those of a type that reads itself may be written as
// numbers, which its Go type knows.
func (d *decoder) checkText(s *Schema, n *Node, path string) {
	switch {
	case n.Kind == List || n.Kind == Object, n.Kind != String && s.Type == "string":
		d.wrong(n.Line, path, "must be a text, not %s", written(n))
	case len(s.Values) > 0 && !slices.Contains(s.Values, n.Text):
		d.wrong(n.Line, path, "must be one of %s, not %s", strings.Join(s.Values, ", "), written(n))
	}
}

func (d *decoder) checkObject(s *Schema, n *Node, path string) {
	if n.Kind != Object {
		d.wrong(n.Line, path, "must be an object, not %s", kindOf(n))
		return
	}
	for _, f := range n.Fields {
		i := slices.IndexFunc(s.Fields, func(m Member) bool { return m.Name == f.Name })
		if i < 0 {
			names := make([]string, len(s.Fields))
			for j, m := range s.Fields {
				names[j] = m.Name
			}
			d.wrong(f.Line, path, "%s", unknown(f.Name, names))
			continue
		}
		d.check(&s.Fields[i].Schema, f.Value, join(path, f.Name))
	}
}

func (s *Schema) goType() reflect.Type {
	switch s.Kind + fmt.Sprint(s.Bits) {
	case "int8":
		return reflect.TypeFor[int8]()
	case "int16":
		return reflect.TypeFor[int16]()
	case "int32":
		return reflect.TypeFor[int32]()
	case "uint8":
		return reflect.TypeFor[uint8]()
	case "uint16":
		return reflect.TypeFor[uint16]()
	case "uint32":
		return reflect.TypeFor[uint32]()
	case "float32":
		return reflect.TypeFor[float32]()
	}
	switch s.Kind {
	case "uint":
		return reflect.TypeFor[uint64]()
	case "float":
		return reflect.TypeFor[float64]()
	}
	return reflect.TypeFor[int64]()
}
