package service_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/surefoot-go/surefoot/config/tree"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/balance"
	"github.com/surefoot-go/surefoot/resilience/breaker"
	"github.com/surefoot-go/surefoot/resilience/shed"
	"github.com/surefoot-go/surefoot/service"
)

var update = flag.Bool("update", false, "rewrite the tables of docs/config.md")

// documented is the settings of every service, by key.
var documented = []struct {
	key  string
	def  any
	what string
}{
	{"log", service.LogSettings{}, "Log records. Needs a Telemetry that obeys observe.Dials, as telemetry.OTLP does."},
	{"sampling", service.SamplingSettings{}, "Traces. Needs a Telemetry that obeys observe.Dials, as telemetry.OTLP does."},
	{"door", shed.Settings{}.OrDefault(), "Admission of requests (resilience/shed). Not there if Shed.Max is negative in code."},
	{"client/<target>", resilience.Policy{}.OrDefault(), "How a target is called, over HTTP and gRPC (resilience), once this process has a client for it. The default is the policy in code; these are those of the zero policy."},
	{"balance/<target>", balance.Settings{}.OrDefault(), "How instances of a target are chosen and ejected (resilience/balance), for clients over a registry. The default is what is in code."},
}

// The tables of docs/config.md are made from the code: names and defaults from
// the types, texts from the comments of their fields.
func TestDocs(t *testing.T) {
	var b strings.Builder
	for _, d := range documented {
		s, err := tree.SchemaOf(d.def)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "\n### `%s`\n\n%s\n\n| field | type | default | unit | meaning |\n|---|---|---|---|---|\n", d.key, d.what)
		rows(t, &b, "", reflect.TypeOf(d.def), s)
	}
	for _, name := range []string{"config.md", "config.zh.md"} {
		path := filepath.Join("..", "docs", name)
		have, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		const mark = "<!-- made by: go test ./service -run TestDocs -update -->\n"
		head, _, ok := strings.Cut(string(have), mark)
		if !ok {
			t.Fatalf("%s has lost its mark %s", path, mark)
		}
		want := head + mark + b.String()
		if want == string(have) {
			continue
		}
		if !*update {
			t.Errorf("%s is not what the code says; run go test ./service -run TestDocs -update", path)
			continue
		}
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func rows(t *testing.T, b *strings.Builder, path string, typ reflect.Type, s *tree.Schema) {
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
		typ = typ.Elem()
	}
	docs := comments(t, typ)
	for _, m := range s.Fields {
		var f reflect.StructField
		for i := range typ.NumField() {
			if tree.Name(typ.Field(i).Name) == m.Name {
				f = typ.Field(i)
			}
		}
		name, doc := path+m.Name, docs[f.Name]
		if f.Type == reflect.TypeFor[breaker.Rule]() {
			doc = fmt.Sprintf("%d Windowed, %d Consecutive, %d Ratio, %d Off; see package breaker", breaker.Windowed, breaker.Consecutive, breaker.Ratio, breaker.Off)
		}
		if doc == "" {
			t.Errorf("%v.%s has no comment", typ, f.Name)
		}
		in, kind := &m.Schema, m.Kind
		if in.Kind == "list" && in.Items != nil && in.Items.Kind == "object" {
			in, kind = in.Items, "list of objects"
		}
		def := m.Default
		switch {
		case m.Kind == "object":
			def = ""
		case m.Optional && path == "":
			def = "none"
		case m.Optional:
			def = "as above"
		case def == "" || def == "null" || def == `""`:
			def = "none"
		}
		if len(m.Values) > 0 {
			kind += ": " + strings.Join(m.Values, ", ")
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", name, kind, strings.ReplaceAll(def, "|", `\|`), m.Unit, strings.ReplaceAll(doc, "|", `\|`))
		switch {
		case m.Optional: // as the one it replaces
		case kind == "list of objects":
			rows(t, b, name+"[].", f.Type, in)
		case m.Kind == "object":
			rows(t, b, name+".", f.Type, in)
		}
	}
}

// comments is what the source says about the fields of a struct, each on one
// line, in the fields' order of declaration: several declared together share one.
func comments(t *testing.T, typ reflect.Type) map[string]string {
	t.Helper()
	dir := filepath.Join("..", strings.TrimPrefix(typ.PkgPath(), "github.com/surefoot-go/surefoot/"))
	out := map[string]string{}
	files, err := fs.Glob(os.DirFS(dir), "*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no source of %v in %s: %v", typ, dir, err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || spec.Name.Name != typ.Name() {
				return true
			}
			st, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			shared := ""
			for i, f := range st.Fields.List {
				text := f.Doc.Text()
				if text == "" {
					text = f.Comment.Text()
				}
				if text == "" && i > 0 { // belongs to the comment above
					text = shared
				}
				shared = text
				for _, id := range f.Names {
					out[id.Name] = strings.Join(strings.Fields(text), " ")
				}
			}
			return false
		})
	}
	return out
}
