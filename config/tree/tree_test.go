package tree_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/config/tree"
	"github.com/surefoot-go/surefoot/resilience/balance"
	"github.com/surefoot-go/surefoot/resilience/shed"
)

// secret is text that must never be shown.
type secret struct{ v string }

func (s *secret) DecodeSetting(n *tree.Node, _ tree.Layer) error { s.v = n.Text; return nil }
func (s secret) MarshalText() ([]byte, error)                    { return []byte("[secret]"), nil }

type colour string

func (colour) Values() []string { return []string{"red", "green"} }

type inner struct {
	Max    uint8
	Factor float64
}

type all struct {
	inner
	Name    string
	On      bool
	Wait    time.Duration
	Retry   *inner
	Hosts   []string
	Shares  map[string]int
	Colour  colour
	Key     secret
	Renamed int    `json:"other_name"`
	Hidden  int    `json:"-"`
	Func    func() // no setting
}

func read(t *testing.T, text string) *tree.Node {
	t.Helper()
	n, err := tree.JSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestJSON(t *testing.T) {
	n := read(t, "{\n \"a\": [1, true, null],\n  \"é\": {\"b\": \"x\"}}")
	if n.Fields[0].Line != 2 || n.Fields[0].Column != 2 || n.Fields[0].Value.Items[1].Column != 11 {
		t.Errorf("%+v %+v", n.Fields[0], n.Fields[0].Value.Items[1])
	}
	if f := n.Fields[1].Value.Fields[0]; f.Line != 3 || f.Column != 9 {
		t.Errorf("%+v", f)
	}
	for _, c := range []struct{ text, says string }{
		{"", "line 1, column 1"},
		{"{\n\"a\": 1,\n\"a\": 2}", `line 3, column 1: the key "a" is here twice`},
		{"{} {}", "after the end"},
		{"[1,\n2,,3]", "line 2"},
		{"{\"a\": 1", "ends too early"},
		{"[1", "ends too early"},
		{"\xff", "not UTF-8"},
		{strings.Repeat("[", 100), "levels"},
		{strings.Repeat(" ", 2<<20), "too many"},
		{`{"a" 1}`, "line 1"},
	} {
		if _, err := tree.JSON([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.20q: %v, want %q", c.text, err, c.says)
		}
	}
}

func TestDecodeLaysOver(t *testing.T) {
	v := all{Name: "a", Retry: &inner{Max: 3, Factor: 2}, Hosts: []string{"x", "y"}, Shares: map[string]int{"a": 1}}
	before := tree.Clone(v)
	n := read(t, `{"max": 7, "on": true, "wait": "1.5s", "retry": {"max": 4}, "hosts": ["z"], "shares": {"b": 2}, "colour": "red", "key": "s3", "other_name": 1e1, "name": null}`)
	was := v
	if err := tree.Decode(n, &v, tree.File); err != nil {
		t.Fatal(err)
	}
	want := all{inner: inner{Max: 7}, Name: "a", On: true, Wait: 1500 * time.Millisecond, Retry: &inner{4, 2},
		Hosts: []string{"z"}, Shares: map[string]int{"b": 2}, Colour: "red", Key: secret{"s3"}, Renamed: 10}
	if !reflect.DeepEqual(v, want) {
		t.Errorf("%+v, want %+v", v, want)
	}
	if !reflect.DeepEqual(was, before) {
		t.Errorf("what was there has changed: %+v", was)
	}
}

func TestDecodeIsStrict(t *testing.T) {
	for _, c := range []struct{ text, says string }{
		{`{"naem": 1}`, `line 1: unknown key "naem"; did you mean name?`},
		{`{"qqqqqqq": 1}`, "known are max, factor, name"},
		{`{"Name": "x"}`, "did you mean name?"},
		{`{"hidden": 1}`, "unknown key"},
		{`{"func": 1}`, "unknown key"},
		{`{"max": 256}`, "max: 256 is out of range"},
		{`{"max": -1}`, "must not be negative"},
		{`{"max": 1.5}`, "must be a whole number, not 1.5"},
		{`{"max": "1"}`, `must be a number, not "1"`},
		{`{"factor": 1e999}`, "out of range"},
		{`{"wait": 2}`, `wait: a duration is written like "1.5s", not 2`},
		{`{"wait": "2"}`, `not "2"`},
		{`{"name": 3}`, "must be a text, not 3"},
		{`{"on": "true"}`, "must be true or false"},
		{`{"hosts": "a"}`, "must be a list"},
		{`{"hosts": ["a", 2]}`, "hosts[1]: must be a text"},
		{`{"shares": [1]}`, "must be an object"},
		{`{"colour": "blue"}`, "must be one of red, green"},
		{`{"retry": {"mxa": 1}}`, `retry: unknown key "mxa"`},
		{`[]`, "must be an object, not a list"},
		{"{\"max\": 999,\n\"wait\": 1,\n\"x\": 1}", "line 3: unknown key"},
	} {
		v := all{Name: "before"}
		err := tree.Decode(read(t, c.text), &v, tree.File)
		if err == nil || !strings.Contains(err.Error(), c.says) || !reflect.DeepEqual(v, all{Name: "before"}) {
			t.Errorf("%s: %v, want %q; %+v", c.text, err, c.says, v)
		}
		s, _ := tree.SchemaOf(all{})
		if err := s.Check(read(t, c.text), tree.File); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("schema: %s: %v, want %q", c.text, err, c.says)
		}
	}
	e := tree.Decode(read(t, "{\"max\": 999,\n\"wait\": 1}"), &all{}, tree.File).(*tree.Error)
	if len(e.Problems) != 2 || e.Problems[0].Line != 1 || e.Problems[1].Path != "wait" {
		t.Errorf("%+v", e.Problems)
	}
}

func TestSecretsAndTheCentre(t *testing.T) {
	s, _ := tree.SchemaOf(all{})
	if err := s.Check(read(t, `{"key": "hunter2"}`), tree.Centre); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a secret for the centre: %v", err)
	}
	if err := s.Check(read(t, `{"key": {"env": "X"}}`), tree.Centre); err != nil {
		t.Error(err)
	}
	b, err := tree.Encode(all{Key: secret{"hunter2"}})
	if err != nil || strings.Contains(string(b), "hunter2") {
		t.Errorf("%s, %v", b, err)
	}
}

func TestEnviron(t *testing.T) {
	env := map[string]string{
		"P_MAX": "7", "P_ON": "1", "P_WAIT": "2s", "P_RETRY_FACTOR": "1.5", "P_HOSTS": `["a","b"]`, "P_KEY": "s", "P_EMPTY": "",
		"P": `{"name": "whole", "max": 3, "retry": {"max": 9}}`, "P_OTHER_NAME": "5",
	}
	lookup := func(k string) (string, bool) { v, ok := env[k]; return v, ok }
	n, names, err := tree.Environ("P", reflect.TypeFor[all](), lookup)
	if err != nil || len(names) != 8 {
		t.Fatal(names, err)
	}
	var v all
	if err := tree.Decode(n, &v, tree.Environment); err != nil {
		t.Fatal(err)
	}
	want := all{inner: inner{Max: 7}, Name: "whole", On: true, Wait: 2 * time.Second, Retry: &inner{9, 1.5}, Hosts: []string{"a", "b"}, Key: secret{"s"}, Renamed: 5}
	if !reflect.DeepEqual(v, want) {
		t.Errorf("%+v, want %+v", v, want)
	}
	env = map[string]string{"P_MAX": "many", "P_ON": "perhaps", "P_HOSTS": "a,b"}
	if _, _, err = tree.Environ("P", reflect.TypeFor[all](), lookup); err == nil {
		t.Fatal("taken")
	}
	for _, says := range []string{"P_MAX must be a number", "P_ON must be true or false", "P_HOSTS must be JSON"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
	env = map[string]string{"P": "[]", "P_ON": "1"}
	if _, _, err := tree.Environ("P", reflect.TypeFor[all](), lookup); err == nil || !strings.Contains(err.Error(), "P must be a JSON object") {
		t.Error(err)
	}
	if n, _, err := tree.Environ("Q", reflect.TypeFor[all](), lookup); n != nil || err != nil {
		t.Error(n, err)
	}
	if got := tree.Variable("client/bank.attemptTimeout"); got != "CLIENT_BANK_ATTEMPT_TIMEOUT" {
		t.Error(got)
	}
}

func TestName(t *testing.T) {
	for in, want := range map[string]string{"AttemptTimeout": "attemptTimeout", "ID": "id", "URLPath": "urlPath", "Max": "max", "P": "p", "HTTP2": "http2", "a": "a"} {
		if got := tree.Name(in); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
}

// TestOurSettings: what this repository calls settings can be written, read
// back, and checked by schema.
func TestOurSettings(t *testing.T) {
	for _, v := range []any{shed.Settings{}.OrDefault(), balance.Settings{}.OrDefault()} {
		b, err := tree.Encode(v)
		if err != nil {
			t.Fatalf("%T: %v", v, err)
		}
		p := reflect.New(reflect.TypeOf(v))
		if err := tree.Decode(read(t, string(b)), p.Interface(), tree.Centre); err != nil {
			t.Errorf("%T: %s: %v", v, b, err)
		}
		again, _ := tree.Encode(p.Elem().Interface())
		if string(again) != string(b) {
			t.Errorf("%T:\n%s\n%s", v, b, again)
		}
		s, err := tree.SchemaOf(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Check(read(t, string(b)), tree.Centre); err != nil {
			t.Errorf("%T: its schema refuses it: %v", v, err)
		}
	}
}

func TestDiff(t *testing.T) {
	a, b := read(t, `{"a": 1, "b": {"c": [1, 2], "d": "x"}, "gone": null}`), read(t, `{"a": 1, "b": {"c": [1, 3, 4], "d": "y"}, "new": true}`)
	want := []tree.Change{{"b.c[1]", "2", "3"}, {"b.c[2]", "", "4"}, {"b.d", `"x"`, `"y"`}, {"gone", "null", ""}, {"new", "", "true"}}
	if got := tree.Diff(a, b); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	if got := tree.Diff(nil, a); len(got) != 1 || got[0].Path != "" || tree.Diff(a, a) != nil {
		t.Errorf("%+v", got)
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,true,null,"x"],"b":{"c":1e9}}`, `[`, `{"a":1,"a":2}`, "\"\\ud800\"", "1 2", "nul"} {
		f.Add(s)
	}
	s, _ := tree.SchemaOf(all{})
	f.Fuzz(func(t *testing.T, text string) {
		n, err := tree.JSON([]byte(text))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "line ") && len(text) <= 1<<20 {
				t.Fatalf("an error without a line: %v", err)
			}
			return
		}
		again, err := tree.JSON(tree.Text(n))
		if err != nil || tree.Diff(n, again) != nil {
			t.Fatalf("not the same again: %v %s", err, tree.Text(n))
		}
		v := all{Name: "before"}
		bad := tree.Decode(n, &v, tree.Centre)
		if bad != nil && !reflect.DeepEqual(v, all{Name: "before"}) {
			t.Fatal("half written")
		}
		if bad == nil {
			if b, err := tree.Encode(v); err != nil {
				t.Fatalf("%s: %v", b, err)
			}
		} else if s.Check(n, tree.File) == nil {
			t.Fatalf("the schema takes what decoding refuses: %v: %s", bad, text)
		}
	})
}
