package tree_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/surefoot-go/surefoot/config/tree"
	"github.com/surefoot-go/surefoot/resilience/shed"
)

// FuzzEnviron: whatever the variables say, what is read can be written as JSON
// and decoded or refused, and nothing is half written.
func FuzzEnviron(f *testing.F) {
	f.Add(`{"max": 3}`, "7", `["a"]`, "s")
	f.Add(`[]`, "many", `{`, `{"env":"NAME"}`)
	f.Add("", "1e400", "null", "{")
	f.Fuzz(func(t *testing.T, whole, number, list, key string) {
		env := map[string]string{"P": whole, "P_MAX": number, "P_HOSTS": list, "P_KEY": key}
		lookup := func(k string) (string, bool) { v, ok := env[k]; return v, ok }
		n, _, err := tree.Environ("P", reflect.TypeFor[all](), lookup)
		if err != nil || n == nil {
			return
		}
		v := all{Name: "before"}
		if tree.Decode(n, &v, tree.Environment) != nil && !reflect.DeepEqual(v, all{Name: "before"}) {
			t.Fatal("half written")
		}
	})
}

const policyText = `{"timeout": "5s", "retry": {"max": 2, "base": "50ms"}, "methods": [{"pattern": "GET /*", "timeout": "1s"}]}`

func BenchmarkJSON(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tree.JSON([]byte(policyText)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	n, err := tree.JSON([]byte(policyText))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var p shed.Settings
		if err := tree.Decode(n, &p, tree.Centre); err != nil {
			b.Fatal(err)
		}
	}
}

type loud struct{ v string }

func (l *loud) DecodeSetting(n *tree.Node, _ tree.Layer) error {
	return fmt.Errorf("bad secret %q", n.Text)
}

type base struct {
	Max   int
	Hosts []string
}

func TestNoSecretInAnError(t *testing.T) {
	var v struct {
		One  loud
		Many []loud
		By   map[string]loud
		In   struct{ Key loud }
	}
	s, err := tree.SchemaOf(v)
	if err != nil {
		t.Fatal(err)
	}
	n := read(t, `{"one": "hunter2", "many": "hunter2", "by": "hunter2", "in": "hunter2"}`)
	for _, err := range []error{tree.Decode(n, &v, tree.File), s.Check(n, tree.Centre)} {
		if err == nil || strings.Contains(err.Error(), "hunter2") || strings.Count(err.Error(), "\n") != 3 {
			t.Errorf("%v", err)
		}
	}
}

func TestEmbedded(t *testing.T) {
	type outer struct {
		base
		Max string
	}
	v := outer{base: base{Hosts: []string{"a"}}, Max: "x"}
	tree.Clone(v).Hosts[0] = "b"
	if v.Hosts[0] != "a" {
		t.Error("a clone shares the list of an embedded struct")
	}
	if b, err := tree.Encode(v); string(b) != `{"max":"x","hosts":["a"]}` {
		t.Errorf("%s %v", b, err)
	}
}
