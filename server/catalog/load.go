package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// What a folder may hold; beyond it is a Problem.
const (
	largest = 1 << 20 // bytes of a file
	deepest = 6       // folders below the folder
	most    = 10_000  // entities
)

// Load reads every catalog-info.yaml and runbook.md below dir, six folders
// deep. A runbook belongs to the first entity of the catalog-info.yaml beside
// it, or, without one, to a Component named like its folder. Folders whose name
// begins with a dot are passed over. Nothing outside dir is read, wherever a
// symbolic link points.
//
// The Catalog is never nil and holds all that could be read. The error joins
// one *Problem for each part that could not, of a file's name and line.
func Load(dir string) (*Catalog, error) {
	l := loader{cat: &Catalog{}, seen: map[string]*Entry{}}
	root, err := os.OpenRoot(dir)
	if err != nil {
		l.cat.index()
		return l.cat, fmt.Errorf("catalog: %w", err)
	}
	defer root.Close()
	l.fsys = root.FS()
	err = fs.WalkDir(l.fsys, ".", l.visit)
	l.attach()
	l.cat.index()
	return l.cat, errors.Join(append(l.problems, err)...)
}

type loader struct {
	fsys     fs.FS
	cat      *Catalog
	seen     map[string]*Entry // by kind, namespace and name
	runbooks []found
	problems []error
}

type found struct {
	file string
	book *Runbook
}

func (l *loader) problem(file string, line int, text string) {
	l.problems = append(l.problems, &Problem{File: file, Line: line, Text: text})
}

func (l *loader) visit(p string, d fs.DirEntry, err error) error {
	if err != nil {
		l.problem(p, 0, why(err))
		if d != nil && d.IsDir() {
			return fs.SkipDir
		}
		return nil
	}
	name := d.Name()
	if d.IsDir() {
		if p != "." && (strings.HasPrefix(name, ".") || strings.Count(p, "/") >= deepest) {
			return fs.SkipDir
		}
		return nil
	}
	switch name {
	case "catalog-info.yaml", "catalog-info.yml":
		if raw, ok := l.read(p); ok {
			l.entities(p, raw)
		}
	case "runbook.md":
		if raw, ok := l.read(p); ok {
			book, err := ParseRunbook(raw)
			var bad *Problem
			if errors.As(err, &bad) {
				l.problem(p, bad.Line, bad.Text)
			}
			if book != nil {
				l.runbooks = append(l.runbooks, found{p, book})
			}
		}
	}
	return nil
}

// why is an error's cause without the path, which the Problem names already.
func why(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

func (l *loader) read(p string) ([]byte, bool) {
	f, err := l.fsys.Open(p)
	if err != nil {
		l.problem(p, 0, why(err))
		return nil, false
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		l.problem(p, 0, "is not a regular file")
		return nil, false
	}
	raw, err := io.ReadAll(io.LimitReader(f, largest+1))
	switch {
	case err != nil:
		l.problem(p, 0, why(err))
	case len(raw) > largest:
		l.problem(p, 0, "is larger than 1 MiB")
	default:
		return raw, true
	}
	return nil, false
}

// document is what is read of an entity; the rest stays in its yaml.Node.
type document struct {
	Kind     string `yaml:"kind"`
	Metadata struct {
		Name        string `yaml:"name"`
		Namespace   string `yaml:"namespace"`
		Description string `yaml:"description"`
		Links       []struct {
			URL   string `yaml:"url"`
			Title string `yaml:"title"`
		} `yaml:"links"`
	} `yaml:"metadata"`
	Spec yaml.Node `yaml:"spec"`
}

type spec struct {
	Owner     string   `yaml:"owner"`
	Lifecycle string   `yaml:"lifecycle"`
	System    string   `yaml:"system"`
	Type      string   `yaml:"type"`
	DependsOn []string `yaml:"dependsOn"`
}

func (l *loader) entities(file string, raw []byte) {
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	for {
		var n yaml.Node
		err := decode(dec, &n)
		if err == io.EOF {
			return
		}
		if err != nil { // the rest of the file cannot be told apart any more
			l.yamlProblem(file, 0, err)
			return
		}
		if len(n.Content) == 0 || n.Content[0].Tag == "!!null" {
			continue
		}
		e, err := entity(&n)
		if err != nil {
			l.yamlProblem(file, n.Content[0].Line, err)
		}
		if e == nil {
			continue
		}
		e.File = file
		k := strings.ToLower(e.Kind + ":" + e.Namespace + "/" + e.Name)
		if old := l.seen[k]; old != nil {
			l.problem(file, e.Line, fmt.Sprintf("%s %q is in %s:%d already; the first one stands", e.Kind, e.Name, old.File, old.Line))
			continue
		}
		if len(l.cat.entries) == most {
			l.problem(file, e.Line, "is one entity too many; the most are "+strconv.Itoa(most))
			return
		}
		l.seen[k] = e
		l.cat.entries = append(l.cat.entries, e)
	}
}

// decode is dec.Decode; what the decoder panics with on hostile input is an
// error like any other.
func decode(dec interface{ Decode(any) error }, v any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("cannot be read: %v", r)
		}
	}()
	return dec.Decode(v)
}

// entity reads one document. It may return both: what could be read, and what
// could not.
func entity(n *yaml.Node) (*Entry, error) {
	var d document
	err := decode(n, &d)
	if err != nil && d.Metadata.Name == "" {
		return nil, err
	}
	switch {
	case d.Kind == "":
		return nil, errors.New("has no kind: Component, Resource, System, ...")
	case d.Metadata.Name == "":
		return nil, errors.New("has no metadata.name")
	}
	e := &Entry{
		Kind: d.Kind, Name: d.Metadata.Name, Namespace: d.Metadata.Namespace,
		Description: strings.TrimSpace(d.Metadata.Description),
		Links:       []Link{}, DependsOn: []string{}, Line: n.Content[0].Line, Doc: n,
	}
	for _, k := range d.Metadata.Links {
		e.Links = append(e.Links, Link{k.URL, k.Title})
	}
	if d.Spec.Kind != 0 && rank(d.Kind) < len(preference) { // other kinds mean other things by these names
		var s spec
		if serr := decode(&d.Spec, &s); serr != nil {
			err = errors.Join(err, serr)
		}
		e.Owner, e.Lifecycle, e.System, e.Type = ownerName(s.Owner, e.Namespace), s.Lifecycle, s.System, s.Type
		e.DependsOn = append(e.DependsOn, s.DependsOn...)
	}
	return e, err
}

var lineNumber = regexp.MustCompile(`line (\d+): `)

// yamlProblem takes the line out of a YAML error, or uses the given one.
func (l *loader) yamlProblem(file string, line int, err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	text = strings.TrimSpace(strings.TrimPrefix(text, "unmarshal errors:"))
	if m := lineNumber.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = strings.Replace(text, m[0], "", 1)
	}
	text = strings.ReplaceAll(text, "catalog.document", "an entity")
	l.problem(file, line, strings.Join(strings.Fields(text), " "))
}

// attach gives the runbooks to their entities.
func (l *loader) attach() {
	for _, f := range l.runbooks {
		dir := path.Dir(f.file)
		k := slices.IndexFunc(l.cat.entries, func(e *Entry) bool { return path.Dir(e.File) == dir })
		if k >= 0 {
			l.cat.entries[k].Runbook = f.book
			continue
		}
		if dir == "." {
			l.problem(f.file, 0, "belongs to nobody: there is no catalog-info.yaml beside it")
			continue
		}
		l.cat.entries = append(l.cat.entries, &Entry{
			Kind: "Component", Name: path.Base(dir), File: f.file, Line: 1, Runbook: f.book,
			DependsOn: []string{}, Links: []Link{},
		})
	}
}
