package arch

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/format"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files in api/")

// TestSurface holds what the library exports against api/<module>.txt. Only
// the modules strangers import have a surface; the control plane's Go types
// are its own business.
func TestSurface(t *testing.T) {
	got := map[string][]string{}
	for _, r := range rooms(t) {
		if !r.library() || len(r.files) == 0 {
			continue
		}
		name := strings.ReplaceAll(r.module, "/", "-")
		if r.module == "." {
			name = "surefoot"
		}
		got[name] = append(got[name], surface(r)...)
	}
	for name, ls := range got {
		slices.Sort(ls)
		text := strings.Join(ls, "\n") + "\n"
		golden := filepath.Join(root, "api", name+".txt")
		if *update {
			if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
				t.Fatal(err)
			}
			write(t, golden, text)
			continue
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := difference(string(want), text); diff != "" {
			t.Errorf("the surface of %s changed; if wished, run `go test ./internal/arch -update` and commit api/%s.txt:\n%s", name, name, diff)
		}
	}
	if !*update {
		files, _ := filepath.Glob(filepath.Join(root, "api", "*.txt"))
		for _, f := range files {
			if name := strings.TrimSuffix(filepath.Base(f), ".txt"); got[name] == nil {
				t.Errorf("api/%s.txt has no module", name)
			}
		}
	}
}

func difference(want, got string) string {
	var b strings.Builder
	old, now := strings.Split(want, "\n"), strings.Split(got, "\n")
	for _, l := range old {
		if !slices.Contains(now, l) {
			fmt.Fprintf(&b, "- %s\n", l)
		}
	}
	for _, l := range now {
		if !slices.Contains(old, l) {
			fmt.Fprintf(&b, "+ %s\n", l)
		}
	}
	return b.String()
}

// surface lists the exported names of a room, one line each: functions and
// methods by signature, types by kind, and each exported field.
func surface(r room) []string {
	var out []string
	add := func(format string, args ...any) {
		out = append(out, r.dir+": "+strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " "))
	}
	for _, f := range r.files {
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				recv, ok := receiver(d)
				if d.Name.IsExported() && ok {
					add("func %s%s%s", recv, d.Name.Name, strings.TrimPrefix(text(r.fset, d.Type), "func"))
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.ValueSpec:
						for _, n := range s.Names {
							if n.IsExported() {
								add("%s %s", d.Tok, n.Name)
							}
						}
					case *ast.TypeSpec:
						if s.Name.IsExported() {
							typeLines(r, s, add)
						}
					}
				}
			}
		}
	}
	return out
}

func typeLines(r room, s *ast.TypeSpec, add func(string, ...any)) {
	switch x := s.Type.(type) {
	case *ast.StructType:
		add("type %s struct", s.Name.Name)
		for _, fd := range x.Fields.List {
			for _, n := range fd.Names {
				if n.IsExported() {
					add("type %s struct, %s %s", s.Name.Name, n.Name, text(r.fset, fd.Type))
				}
			}
			if len(fd.Names) == 0 {
				add("type %s struct, embeds %s", s.Name.Name, text(r.fset, fd.Type))
			}
		}
	case *ast.InterfaceType:
		add("type %s interface", s.Name.Name)
		for _, m := range x.Methods.List {
			for _, n := range m.Names {
				add("type %s interface, %s%s", s.Name.Name, n.Name, strings.TrimPrefix(text(r.fset, m.Type), "func"))
			}
		}
	default:
		add("type %s %s", s.Name.Name, text(r.fset, s.Type))
	}
}

// receiver returns "(T) " or "(*T) ", and false when T is not exported.
func receiver(d *ast.FuncDecl) (string, bool) {
	if d.Recv == nil {
		return "", true
	}
	typ, star := d.Recv.List[0].Type, ""
	if s, ok := typ.(*ast.StarExpr); ok {
		typ, star = s.X, "*"
	}
	switch x := typ.(type) {
	case *ast.IndexExpr:
		typ = x.X
	case *ast.IndexListExpr:
		typ = x.X
	}
	id, ok := typ.(*ast.Ident)
	if !ok {
		return "", false
	}
	return "(" + star + id.Name + ") ", id.IsExported()
}

func text(fset *token.FileSet, n any) string {
	var b bytes.Buffer
	if err := format.Node(&b, fset, n); err != nil {
		return err.Error()
	}
	return b.String()
}

func TestEverythingExportedIsDocumented(t *testing.T) {
	for _, r := range rooms(t) {
		if len(r.files) == 0 {
			continue
		}
		if !slices.ContainsFunc(r.files, func(f file) bool { return f.ast.Doc != nil || f.generated() }) {
			t.Errorf("room %s has no package comment", r.dir)
		}
		for _, f := range r.files {
			if f.generated() || r.main() {
				continue
			}
			for _, d := range f.ast.Decls {
				undocumented(d, func(name string, pos token.Pos) {
					t.Errorf("%s: exported %s has no doc comment", r.fset.Position(pos), name)
				})
			}
		}
	}
}

func undocumented(d ast.Decl, report func(string, token.Pos)) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if _, ok := receiver(d); ok && d.Name.IsExported() && d.Doc == nil {
			report(d.Name.Name, d.Pos())
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.ValueSpec:
				for _, n := range s.Names {
					if n.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
						report(n.Name, n.Pos())
					}
				}
			case *ast.TypeSpec:
				if s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
					report(s.Name.Name, s.Pos())
				}
			}
		}
	}
}

func TestPublicRoomsHaveARunnableExample(t *testing.T) {
	for _, r := range rooms(t) {
		if !r.library() || len(r.files) == 0 || r.files[0].generated() {
			continue
		}
		found := false
		for _, f := range r.tests {
			for _, d := range f.ast.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if ok && strings.HasPrefix(fn.Name.Name, "Example") && bytes.Contains(f.src, []byte("// Output:")) {
					found = true
				}
			}
		}
		if !found {
			t.Errorf("public room %s has no runnable Example (a func Example... with an Output comment)", r.dir)
		}
	}
}
