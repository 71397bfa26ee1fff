package tree

import (
	"encoding"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
)

// field is a setting in a struct.
type field struct {
	name  string
	index []int
	typ   reflect.Type
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	decoderType  = reflect.TypeFor[Decoder]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// fields lists the settings of a struct type in its order. A struct embedded
// without a name gives its own.
func fields(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, opaque := tag(f)
		if opaque {
			continue
		}
		if f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct && !special(f.Type) {
			for _, in := range fields(f.Type) {
				in.index = append([]int{i}, in.index...)
				out = append(out, in)
			}
			continue
		}
		if !f.IsExported() || !settable(f.Type, 0) {
			continue
		}
		if name == "" {
			name = Name(f.Name)
		}
		out = append(out, field{name, []int{i}, f.Type})
	}
	return visible(out)
}

// visible leaves out what a field of the same name hides, the one less deep.
func visible(all []field) []field {
	var out []field
	for _, f := range all {
		i := slices.IndexFunc(out, func(k field) bool { return k.name == f.name })
		if i < 0 {
			out = append(out, f)
		} else if len(f.index) < len(out[i].index) {
			out[i] = f
		}
	}
	return out
}

// tag is the name that a field's json tag gives it; opaque means none at all.
func tag(f reflect.StructField) (name string, opaque bool) {
	text := f.Tag.Get("json")
	if text == "-" {
		return "", true
	}
	name, _, _ = strings.Cut(text, ",")
	return name, false
}

// special types read themselves, whatever they are made of.
func special(t reflect.Type) bool {
	return t == durationType || reflect.PointerTo(t).Implements(decoderType) || reflect.PointerTo(t).Implements(textType)
}

// settable tells whether t can be written down.
func settable(t reflect.Type, depth int) bool {
	if special(t) {
		return true
	}
	switch t.Kind() {
	case reflect.Func, reflect.Chan, reflect.Interface, reflect.UnsafePointer, reflect.Uintptr, reflect.Complex64, reflect.Complex128:
		return false
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return depth < 8 && settable(t.Elem(), depth+1)
	case reflect.Map:
		return t.Key().Kind() == reflect.String && depth < 8 && settable(t.Elem(), depth+1)
	}
	return true
}

// Name is how a Go field without a json tag is called in settings:
// AttemptTimeout is attemptTimeout, ID is id, URLPath is urlPath.
func Name(field string) string {
	r := []rune(field)
	n := 0
	for n < len(r) && unicode.IsUpper(r[n]) {
		n++
	}
	if n > 1 && n < len(r) && unicode.IsLower(r[n]) {
		n-- // the last capital begins the next word
	}
	for i := range n {
		r[i] = unicode.ToLower(r[i])
	}
	return string(r)
}
