package arch

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const modulePath = "github.com/surefoot-go/surefoot"

// A room is one folder of Go files.
type room struct {
	dir    string // from the repository's root, "/" separated; "." is the root itself
	module string // folder of the module it belongs to
	name   string // package name
	fset   *token.FileSet
	files  []file // not tests
	tests  []file
}

type file struct {
	path string
	ast  *ast.File
	src  []byte
}

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

func (f file) generated() bool { return generated.Match(f.src) }

func (r room) main() bool     { return r.name == "main" }
func (r room) internal() bool { return slices.Contains(strings.Split(r.dir, "/"), "internal") }

// library tells whether strangers import the room: everything in the root
// module, grpcx, telemetry, pipe and contrib that is not internal or a command.
func (r room) library() bool {
	if r.main() || r.internal() {
		return false
	}
	return r.module == "." || r.module == "grpcx" || r.module == "telemetry" || r.module == "pipe" || strings.HasPrefix(r.module, "contrib/")
}

const root = "../.."

// modules lists the folders named by use lines of go.work.
func modules(t *testing.T) []string {
	t.Helper()
	work, err := os.ReadFile(filepath.Join(root, "go.work"))
	if err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for _, m := range regexp.MustCompile(`(?m)^\t(\.\S*)$`).FindAllSubmatch(work, -1) {
		dirs = append(dirs, path.Clean(string(m[1])))
	}
	if len(dirs) == 0 {
		t.Fatal("go.work names no module")
	}
	return dirs
}

// skipped folders hold no rooms of ours.
func skipped(name string) bool {
	return name == "testdata" || name == "node_modules" || name == "dist" || strings.HasPrefix(name, ".") && name != "."
}

func rooms(t *testing.T) []room {
	t.Helper()
	mods := modules(t)
	byDir := map[string]*room{}
	fset := token.NewFileSet()
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
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		src, err := os.ReadFile(filepath.Join(root, p))
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(fset, p, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := path.Dir(p)
		r := byDir[dir]
		if r == nil {
			r = &room{dir: dir, module: moduleOf(mods, dir), fset: fset}
			byDir[dir] = r
		}
		f := file{path: p, ast: parsed, src: src}
		if strings.HasSuffix(p, "_test.go") {
			r.tests = append(r.tests, f)
			return nil
		}
		r.name = parsed.Name.Name
		r.files = append(r.files, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var out []room
	for _, r := range byDir {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b room) int { return strings.Compare(a.dir, b.dir) })
	return out
}

// moduleOf returns the deepest module folder that holds dir.
func moduleOf(mods []string, dir string) string {
	best := "."
	for _, m := range mods {
		if (dir == m || strings.HasPrefix(dir, m+"/")) && len(m) > len(best) {
			best = m
		}
	}
	return best
}

// imports returns the imports of files that are not in the standard library,
// ours as folders from the root and others by their path.
func imports(files []file) []string {
	var out []string
	for _, f := range files {
		for _, spec := range f.ast.Imports {
			p := strings.Trim(spec.Path.Value, `"`)
			switch {
			case p == modulePath:
				out = append(out, ".")
			case strings.HasPrefix(p, modulePath+"/"):
				out = append(out, strings.TrimPrefix(p, modulePath+"/"))
			case strings.Contains(strings.SplitN(p, "/", 2)[0], "."):
				out = append(out, p)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func lines(b []byte) int { return bytes.Count(b, []byte("\n")) }
