package tree

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Problem is one thing that is wrong with what was written.
type Problem struct {
	Line    int    // 0 means that nobody knows
	Path    string // such as retry.max; "" is the whole
	Message string
}

// String is "line 3: retry.max: …".
func (p Problem) String() string {
	s := p.Message
	if p.Path != "" {
		s = p.Path + ": " + s
	}
	if p.Line > 0 {
		s = fmt.Sprintf("line %d: %s", p.Line, s)
	}
	return s
}

// Error is everything that is wrong, in the order of lines.
type Error struct{ Problems []Problem }

// Error is the problems, a line each.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

const maxProblems = 20

// Decode lays n, which came from layer from, over what into points to: fields
// that n names are replaced, structs field by field, lists and maps as a whole;
// null says nothing. It is strict: an unknown key, a number that does not fit, a
// duration without a unit are errors. The error is an *Error with all problems,
// and then *into is as it was. It panics if into is not a pointer.
func Decode(n *Node, into any, from Layer) error {
	p := reflect.ValueOf(into)
	if p.Kind() != reflect.Pointer || p.IsNil() {
		panic(fmt.Sprintf("tree: Decode into %T, which is no pointer", into))
	}
	next := reflect.New(p.Type().Elem())
	next.Elem().Set(clone(p.Elem()))
	d := decoder{from: from}
	d.decode(n, next.Elem(), "")
	if err := d.err(); err != nil {
		return err
	}
	p.Elem().Set(next.Elem())
	return nil
}

type decoder struct {
	from     Layer
	problems []Problem
}

func (d *decoder) err() error {
	if len(d.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(d.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return &Error{d.problems}
}

func (d *decoder) wrong(line int, path, format string, args ...any) {
	if len(d.problems) < maxProblems {
		d.problems = append(d.problems, Problem{line, path, fmt.Sprintf(format, args...)})
	}
}

var kindNames = [...]string{"null", "a truth value", "a number", "a text", "a list", "an object"}

// written is what n is, for a person; long texts are cut.
func written(n *Node) string {
	switch n.Kind {
	case Bool, Number:
		return cut(n.Text)
	case String:
		return strconv.Quote(cut(n.Text))
	}
	return kindOf(n)
}

// kindOf is written without the value: where a list or an object belongs, what
// stands instead may be a secret in the wrong place.
func kindOf(n *Node) string { return kindNames[min(n.Kind, Object)] }

func cut(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:39]) + "…"
	}
	return s
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (d *decoder) decode(n *Node, v reflect.Value, path string) {
	if n == nil || n.Kind == Null {
		return
	}
	if v.CanAddr() {
		if d.itself(n, v.Addr().Interface(), path) {
			return
		}
	}
	if v.Type() == durationType {
		d.duration(n, v, path)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		next := reflect.New(v.Type().Elem())
		if !v.IsNil() {
			next.Elem().Set(v.Elem())
		}
		d.decode(n, next.Elem(), path)
		v.Set(next)
	case reflect.Struct:
		d.object(n, v, path)
	case reflect.Map:
		d.mapping(n, v, path)
	case reflect.Slice, reflect.Array:
		d.list(n, v, path)
	default:
		d.scalar(n, v, path)
	}
}

// itself lets a type read itself.
func (d *decoder) itself(n *Node, into any, path string) bool {
	switch t := into.(type) {
	case Decoder:
		switch err := t.DecodeSetting(n, d.from); {
		case err == nil:
		case len(n.Text) >= 4 && strings.Contains(err.Error(), n.Text):
			// It may be a secret. Shorter ones occur in any sentence.
			d.wrong(n.Line, path, "is refused; the reason would show the value")
		default:
			d.wrong(n.Line, path, "%v", err)
		}
	case encoding.TextUnmarshaler:
		if n.Kind == List || n.Kind == Object {
			d.wrong(n.Line, path, "is written as a text, not as %s", written(n))
		} else if err := t.UnmarshalText([]byte(n.Text)); err != nil {
			d.wrong(n.Line, path, "%v", err)
		}
	default:
		return false
	}
	return true
}

func (d *decoder) duration(n *Node, v reflect.Value, path string) {
	if n.Kind == Number && n.Text == "0" {
		v.SetInt(0)
		return
	}
	if n.Kind == String {
		if t, err := time.ParseDuration(strings.TrimSpace(n.Text)); err == nil {
			v.SetInt(int64(t))
			return
		}
	}
	d.wrong(n.Line, path, `a duration is written like "1.5s", not %s`, written(n))
}

func (d *decoder) object(n *Node, v reflect.Value, path string) {
	if n.Kind != Object {
		d.wrong(n.Line, path, "must be an object, not %s", kindOf(n))
		return
	}
	all := fields(v.Type())
	for _, f := range n.Fields {
		i := slices.IndexFunc(all, func(k field) bool { return k.name == f.Name })
		if i < 0 {
			names := make([]string, len(all))
			for j, k := range all {
				names[j] = k.name
			}
			d.wrong(f.Line, path, "%s", unknown(f.Name, names))
			continue
		}
		d.decode(f.Value, v.FieldByIndex(all[i].index), join(path, f.Name))
	}
}

// unknown says that name is none of the names, and which was perhaps meant.
func unknown(name string, names []string) string {
	best, least := "", 4
	for _, k := range names {
		if strings.EqualFold(k, name) {
			best, least = k, 0
		} else if n := distance(k, name); n < least && n < len(k) {
			best, least = k, n
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("unknown key %q; did you mean %s?", cut(name), best)
	case len(names) == 0:
		return fmt.Sprintf("unknown key %q; there are none here", cut(name))
	}
	list := strings.Join(names[:min(len(names), 12)], ", ")
	if len(names) > 12 {
		list += ", …"
	}
	return fmt.Sprintf("unknown key %q; known are %s", cut(name), list)
}

// distance counts the letters to change, add or drop (Levenshtein).
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

func (d *decoder) mapping(n *Node, v reflect.Value, path string) {
	t := v.Type()
	if n.Kind != Object || t.Key().Kind() != reflect.String {
		d.wrong(n.Line, path, "must be an object, not %s", kindOf(n))
		return
	}
	next := reflect.MakeMapWithSize(t, len(n.Fields))
	for _, f := range n.Fields {
		e := reflect.New(t.Elem()).Elem()
		d.decode(f.Value, e, join(path, f.Name))
		next.SetMapIndex(reflect.ValueOf(f.Name).Convert(t.Key()), e)
	}
	v.Set(next)
}

func (d *decoder) list(n *Node, v reflect.Value, path string) {
	if n.Kind != List {
		d.wrong(n.Line, path, "must be a list, not %s", kindOf(n))
		return
	}
	if v.Kind() == reflect.Array && v.Len() != len(n.Items) {
		d.wrong(n.Line, path, "must have %d items, not %d", v.Len(), len(n.Items))
		return
	}
	next := reflect.New(v.Type()).Elem()
	if v.Kind() == reflect.Slice {
		next = reflect.MakeSlice(v.Type(), len(n.Items), len(n.Items))
	}
	for i, item := range n.Items {
		d.decode(item, next.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
	v.Set(next)
}

func (d *decoder) scalar(n *Node, v reflect.Value, path string) {
	switch k := v.Kind(); {
	case k == reflect.String:
		if n.Kind != String {
			d.wrong(n.Line, path, "must be a text, not %s", written(n))
			return
		}
		if values := enum(v.Type()); values != nil && !slices.Contains(values, n.Text) {
			d.wrong(n.Line, path, "must be one of %s, not %s", strings.Join(values, ", "), written(n))
			return
		}
		v.SetString(n.Text)
	case k == reflect.Bool:
		if n.Kind != Bool {
			d.wrong(n.Line, path, "must be true or false, not %s", written(n))
			return
		}
		v.SetBool(n.Text == "true")
	case v.CanInt() || v.CanUint() || v.CanFloat():
		if err := number(n, v); err != nil {
			d.wrong(n.Line, path, "%v", err)
		}
	default:
		d.wrong(n.Line, path, "is no setting")
	}
}

var errFit = errors.New("is out of range")

func number(n *Node, v reflect.Value) error {
	if n.Kind != Number {
		return fmt.Errorf("must be a number, not %s", written(n))
	}
	if v.CanFloat() {
		f, err := strconv.ParseFloat(n.Text, 64)
		if err != nil || math.IsNaN(f) || v.OverflowFloat(f) {
			return fmt.Errorf("%s %w", written(n), errFit)
		}
		v.SetFloat(f)
		return nil
	}
	// 1e3 and 5.0 are whole numbers, too.
	text := n.Text
	if f, err := strconv.ParseFloat(text, 64); err == nil && strings.ContainsAny(text, ".eE") {
		if f != math.Trunc(f) {
			return fmt.Errorf("must be a whole number, not %s", written(n))
		}
		if math.Abs(f) >= 1<<53 {
			return fmt.Errorf("%s %w", written(n), errFit)
		}
		text = strconv.FormatFloat(f, 'f', -1, 64)
	}
	if v.CanInt() {
		i, err := strconv.ParseInt(text, 10, 64)
		if err != nil || v.OverflowInt(i) {
			return fmt.Errorf("%s %w", written(n), errFit)
		}
		v.SetInt(i)
		return nil
	}
	if strings.HasPrefix(text, "-") && text != "-0" {
		return fmt.Errorf("must not be negative, and is %s", written(n))
	}
	u, err := strconv.ParseUint(strings.TrimPrefix(text, "-"), 10, 64)
	if err != nil || v.OverflowUint(u) {
		return fmt.Errorf("%s %w", written(n), errFit)
	}
	v.SetUint(u)
	return nil
}

// enum is what a type may be, if it says so.
func enum(t reflect.Type) []string {
	if e, ok := reflect.Zero(t).Interface().(interface{ Values() []string }); ok {
		return e.Values()
	}
	return nil
}
