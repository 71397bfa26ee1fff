package arch

import (
	"go/ast"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A rule is one line of rules.txt.
type rule struct {
	line    int
	allowed []string
	marks   map[string]bool // pure, leaf
}

// rules reads rules.txt: `room [mark ...] : import ...`. A room ending in /...
// speaks for every folder below it that has no line of its own.
func rules(t *testing.T) map[string]rule {
	t.Helper()
	raw, err := os.ReadFile("rules.txt")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]rule{}
	for i, line := range strings.Split(string(raw), "\n") {
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		left, right, ok := strings.Cut(line, ":")
		head := strings.Fields(left)
		if !ok || len(head) == 0 {
			t.Fatalf("rules.txt:%d: want `room [mark ...] : import ...`", i+1)
		}
		if _, twice := out[head[0]]; twice {
			t.Fatalf("rules.txt:%d: room %s has two lines", i+1, head[0])
		}
		r := rule{line: i + 1, allowed: strings.Fields(right), marks: map[string]bool{}}
		for _, m := range head[1:] {
			if m != "pure" && m != "leaf" {
				t.Fatalf("rules.txt:%d: unknown mark %q (pure, leaf)", i+1, m)
			}
			r.marks[m] = true
		}
		out[head[0]] = r
	}
	return out
}

// find returns the rule of a room and the key it stands under.
func find(all map[string]rule, dir string) (rule, string, bool) {
	if r, ok := all[dir]; ok {
		return r, dir, true
	}
	for d := dir; d != "."; d = filepath.Dir(d) {
		if r, ok := all[d+"/..."]; ok {
			return r, d + "/...", true
		}
	}
	return rule{}, "", false
}

func allows(allowed []string, imp string) bool {
	for _, a := range allowed {
		base, tree := strings.CutSuffix(a, "/...")
		if imp == base || tree && strings.HasPrefix(imp, base+"/") {
			return true
		}
	}
	return false
}

func TestImportsFollowRules(t *testing.T) {
	all := rules(t)
	used := map[string]bool{}
	for _, r := range rooms(t) {
		if len(r.files) == 0 {
			continue
		}
		rl, key, ok := find(all, r.dir)
		if !ok {
			t.Errorf("room %s has no line in internal/arch/rules.txt", r.dir)
			continue
		}
		used[key] = true
		for _, imp := range imports(r.files) {
			if !allows(rl.allowed, imp) {
				t.Errorf("%s imports %s, which rules.txt:%d does not list", r.dir, imp, rl.line)
			}
		}
	}
	for key, r := range all {
		if !used[key] {
			t.Errorf("rules.txt:%d: %s names no room", r.line, key)
		}
	}
}

// Tests of the root module use the standard library, OpenTelemetry's API and
// our own rooms only: what they import, our users' go.sum shows.
func TestRootTestsBringNoDependency(t *testing.T) {
	for _, r := range rooms(t) {
		if r.module != "." {
			continue
		}
		for _, imp := range imports(r.tests) {
			ours := !strings.Contains(strings.SplitN(imp, "/", 2)[0], ".")
			api := strings.HasPrefix(imp, "go.opentelemetry.io/otel/") || imp == "go.opentelemetry.io/otel"
			if !ours && (!api || strings.Contains(imp, "/sdk")) {
				t.Errorf("tests of %s import %s", r.dir, imp)
			}
		}
	}
}

func TestPureRoomsTouchNothing(t *testing.T) {
	all := rules(t)
	clock := map[string]bool{"Now": true, "Since": true, "Until": true, "Sleep": true, "After": true, "AfterFunc": true, "Tick": true, "NewTimer": true, "NewTicker": true}
	n := 0
	for _, r := range rooms(t) {
		rl, _, ok := find(all, r.dir)
		if !ok || !rl.marks["pure"] {
			continue
		}
		n++
		for _, f := range r.files {
			for _, spec := range f.ast.Imports {
				p := strings.Trim(spec.Path.Value, `"`)
				if p == "net" || strings.HasPrefix(p, "net/") && p != "net/url" || p == "os" || strings.HasPrefix(p, "os/") {
					t.Errorf("%s: pure room imports %s", f.path, p)
				}
			}
			ast.Inspect(f.ast, func(node ast.Node) bool {
				switch x := node.(type) {
				case *ast.GoStmt:
					t.Errorf("%s: pure room starts a goroutine", r.fset.Position(x.Pos()))
				case *ast.SelectorExpr:
					if id, ok := x.X.(*ast.Ident); ok && id.Name == "time" && clock[x.Sel.Name] {
						t.Errorf("%s: pure room uses time.%s", r.fset.Position(x.Pos()), x.Sel.Name)
					}
				}
				return true
			})
		}
	}
	if n == 0 {
		t.Error("rules.txt marks no room pure")
	}
}

// Only safe may start a bare goroutine, and nobody may register things in init.
func TestNoBareGoroutineNoInit(t *testing.T) {
	for _, r := range rooms(t) {
		for _, f := range r.files {
			if f.generated() {
				continue
			}
			ast.Inspect(f.ast, func(node ast.Node) bool {
				switch x := node.(type) {
				case *ast.GoStmt:
					if r.dir != "safe" {
						t.Errorf("%s: bare go statement; use safe.Go or safe.Group", r.fset.Position(x.Pos()))
					}
				case *ast.FuncDecl:
					if x.Recv == nil && x.Name.Name == "init" {
						t.Errorf("%s: func init", r.fset.Position(x.Pos()))
					}
				}
				return true
			})
		}
	}
}

func TestFilesFitInAHead(t *testing.T) {
	const limit = 500
	ext := []string{".go", ".ts", ".tsx", ".css", ".mjs", ".sh"}
	err := fs.WalkDir(os.DirFS(root), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if skipped(d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if !slices.Contains(ext, filepath.Ext(p)) {
			return nil
		}
		src, err := os.ReadFile(filepath.Join(root, p))
		if err != nil {
			return err
		}
		if n := lines(src); n > limit && !generated.Match(src) {
			t.Errorf("%s has %d lines; split it (limit %d)", p, n, limit)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A leaf brings its user no third-party line in go.sum: tried, not argued, by
// tidying an empty module that imports it.
func TestLeavesBringNoDependency(t *testing.T) {
	all := rules(t)
	var leaves []string
	for _, r := range rooms(t) {
		if rl, _, ok := find(all, r.dir); ok && rl.marks["leaf"] && len(r.files) > 0 {
			leaves = append(leaves, r.dir)
		}
	}
	if len(leaves) == 0 {
		t.Fatal("rules.txt marks no room leaf")
	}
	abs, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	src := "package user\n\nimport (\n"
	for _, l := range leaves {
		src += "\t_ \"" + modulePath + "/" + l + "\"\n"
	}
	write(t, filepath.Join(dir, "user.go"), src+")\n")
	write(t, filepath.Join(dir, "go.mod"), "module user\n\ngo 1.26\n\nrequire "+modulePath+" v0.0.0\n\nreplace "+modulePath+" v0.0.0 => "+abs+"\n")
	cmd := exec.Command("go", "mod", "tidy")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go mod tidy: %v\n%s", err, out)
	}
	sum, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if len(sum) > 0 {
		t.Errorf("leaves %v bring go.sum lines:\n%s", leaves, sum)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
