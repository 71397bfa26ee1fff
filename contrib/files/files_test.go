package files_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/config"
	"github.com/surefoot-go/surefoot/config/driver"
	"github.com/surefoot-go/surefoot/config/tree"
	"github.com/surefoot-go/surefoot/contrib/files"
)

func TestFormatsAgree(t *testing.T) {
	want := `{"max":20,"wait":"1.5s","on":true,"retry":{"max":3,"factor":2.5},"hosts":["a","b"],"list":[{"n":1},{"n":2}]}`
	for name, read := range map[string]func() (*tree.Node, error){
		"yaml": func() (*tree.Node, error) {
			return files.YAML([]byte("max: 0x14\nwait: 1.5s\non: true\nretry: {max: 3, factor: 2.5}\nhosts:\n- a\n- b\nlist:\n- n: 1\n- n: 2\n"))
		},
		"toml": func() (*tree.Node, error) {
			return files.TOML([]byte("max = 2_0\nwait = \"1.5s\"\non = true\nretry.max = 3\nretry.factor = 2.5\nhosts = [\"a\", 'b']\n[[list]]\nn = 1\n[[list]]\nn = 2\n"))
		},
	} {
		n, err := read()
		if err != nil || string(tree.Text(n)) != want {
			t.Errorf("%s: %v\n%s, want\n%s", name, err, tree.Text(n), want)
		}
	}
}

func TestLines(t *testing.T) {
	var v struct {
		Max   int
		Retry struct{ Max int }
	}
	for name, read := range map[string]func([]byte) (*tree.Node, error){
		"max: 1\n\nretry:\n  mxa: 2\n":  files.YAML,
		"max = 1\n\n[retry]\nmxa = 2\n": files.TOML,
	} {
		n, err := read([]byte(name))
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Decode(n, &v, tree.File); err == nil || !strings.Contains(err.Error(), `line 4: retry: unknown key "mxa"`) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestYAML(t *testing.T) {
	for _, c := range []struct{ text, want, says string }{
		{"", "null", ""},
		{"a: yes\nb: off\nc: no", `{"a":"yes","b":"off","c":"no"}`, ""},
		{"a: ~\nb:\nc: 1_000\nd: .5\ne: 2026-11-23", `{"a":null,"b":null,"c":1000,"d":0.5,"e":"2026-11-23"}`, ""},
		{"x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3", `{"x":{"a":1,"b":2},"y":{"a":1,"b":3}}`, ""},
		{"1: a\ntrue: b", `{"1":"a","true":"b"}`, ""},
		{"a: 1\nb: 2\na: 3", "", "line 3"},
		{"a: 1\n---\nb: 2", "", "second document"},
		{"a: [1, 2", "", "line "},
		{"a: .inf", "", "no number that a setting takes"},
		{"a: !!binary aGk=", "", "no kind of setting"},
		{"? [a]\n: 1", "", "a key is a text"},
		{"a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e]", "", "aliases followed"},
		{strings.Repeat("[", 100) + strings.Repeat("]", 100), "", "levels"},
	} {
		n, err := files.YAML([]byte(c.text))
		if c.says == "" && (err != nil || string(tree.Text(n)) != c.want) {
			t.Errorf("%q: %v %s", c.text, err, tree.Text(n))
		}
		if c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%.40q: %v, want %q", c.text, err, c.says)
		}
	}
}

func TestTOML(t *testing.T) {
	for _, c := range []struct{ text, want, says string }{
		{"", "{}", ""},
		{"a.b.c = 1\n[x]\ny = {z = [1, {w = 2}]}\n[x.v]\nk = 1979-05-27", `{"a":{"b":{"c":1}},"x":{"y":{"z":[1,{"w":2}]},"v":{"k":"1979-05-27"}}}`, ""},
		{"a = 0xff\nb = 1e3\nc = \"\"\"\nx\"\"\"", `{"a":255,"b":1000,"c":"x"}`, ""},
		{"a = 1\na = 2", "", "line 2"},
		{"a = nan", "", "no number that a setting takes"},
		{"a = ", "", "line 1"},
		{"a = 1\n[a]\nb = 1", "", "line 2"},
	} {
		n, err := files.TOML([]byte(c.text))
		if c.says == "" && (err != nil || string(tree.Text(n)) != c.want) {
			t.Errorf("%q: %v %s", c.text, err, tree.Text(n))
		}
		if c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%.40q: %v, want %q", c.text, err, c.says)
		}
	}
}

// lab is a folder under watch.
type lab struct {
	t     *testing.T
	dir   string
	snaps chan driver.Snapshot
}

func watch(t *testing.T, dir, service string) *lab {
	l := &lab{t, dir, make(chan driver.Snapshot, 100)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	f := &files.Folder{Dir: dir, Service: service, Every: 5 * time.Millisecond}
	go func() {
		defer close(done)
		f.Watch(ctx, "surefoot/config/order/", func(s driver.Snapshot) { l.snaps <- s })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return l
}

func (l *lab) write(name, text string) {
	l.t.Helper()
	path := filepath.Join(l.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// until waits for a snapshot that reads as want: "key=value" of each item.
func (l *lab) until(want string) driver.Snapshot {
	l.t.Helper()
	limit := time.After(10 * time.Second)
	last := ""
	for {
		select {
		case s := <-l.snaps:
			var all []string
			for _, it := range s.Items {
				text := "bad"
				if it.Err == nil {
					text = string(tree.Text(it.Node))
				}
				all = append(all, strings.TrimPrefix(it.Key, "surefoot/config/order/")+"="+text)
			}
			if last = strings.Join(all, " "); last == want {
				return s
			}
		case <-limit:
			l.t.Fatalf("last was %q, want %q", last, want)
		}
	}
}

func TestFolder(t *testing.T) {
	l := watch(t, filepath.Join(t.TempDir(), "conf"), "order")
	l.until("") // a folder that is not there is empty
	l.write("limits.yaml", "max: 1")
	l.write("client/bank.json", `{"timeout":"2s"}`)
	first := l.until(`client/bank={"timeout":"2s"} limits={"max":1}`)
	l.write(".hidden.yaml", "a: 1")
	l.write("limits.yaml~", "max: 9")
	l.write(".limits.yaml.swp", "x")
	l.write("notes.txt", "x")
	l.write("limits.new", "max: 2") // an editor that renames
	if err := os.Rename(filepath.Join(l.dir, "limits.new"), filepath.Join(l.dir, "limits.yaml")); err != nil {
		t.Fatal(err)
	}
	second := l.until(`client/bank={"timeout":"2s"} limits={"max":2}`)
	if second.Revision <= first.Revision || second.Items[1].Revision <= first.Items[1].Revision || second.Items[0].Revision != first.Items[0].Revision {
		t.Errorf("revisions %+v then %+v", first, second)
	}
	l.write("limits.yaml", "max: [1,")
	bad := l.until(`client/bank={"timeout":"2s"} limits=bad`)
	if text := bad.Items[1].Err.Error(); !strings.Contains(text, "limits.yaml: line") {
		t.Errorf("%s", text)
	}
	l.write("limits.yaml", "max: 3")
	l.write("limits.toml", "max = 4")
	twice := l.until(`client/bank={"timeout":"2s"} limits=bad`)
	if text := twice.Items[1].Err.Error(); !strings.Contains(text, "limits.toml") || !strings.Contains(text, "limits.yaml") {
		t.Errorf("%s", text)
	}
	if err := os.Remove(filepath.Join(l.dir, "limits.yaml")); err != nil {
		t.Fatal(err)
	}
	l.until(`client/bank={"timeout":"2s"} limits={"max":4}`)
	if err := os.RemoveAll(l.dir); err != nil {
		t.Fatal(err)
	}
	l.until("")
}

// TestConfigMap: Kubernetes swaps one link, and all files are others at once.
func TestConfigMap(t *testing.T) {
	dir := t.TempDir()
	l := &lab{t: t, dir: dir}
	l.write("..1/limits.yaml", "max: 1")
	l.write("..1/other.yaml", "max: 1")
	l.write("..2/limits.yaml", "max: 2")
	l.write("..2/other.yaml", "max: 2")
	link := func(to, name string) {
		t.Helper()
		tmp := filepath.Join(dir, "..tmp")
		if err := os.Symlink(to, tmp); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("..1", "..data")
	link("..data/limits.yaml", "limits.yaml")
	link("..data/other.yaml", "other.yaml")
	w := watch(t, dir, "order")
	w.until(`limits={"max":1} other={"max":1}`)
	link("..2", "..data")
	w.until(`limits={"max":2} other={"max":2}`)
}

func TestServicesByFolder(t *testing.T) {
	l := watch(t, t.TempDir(), "")
	l.write("order/limits.toml", "max = 1")
	l.write("user/limits.toml", "max = 2")
	l.until(`limits={"max":1}`)
}

func TestConfigOverAFolder(t *testing.T) {
	dir := t.TempDir()
	l := &lab{t: t, dir: dir}
	l.write("limits.yaml", "max: 3\nmxa: 4\n")
	c := &config.Config{Service: "order", EnvPrefix: "-", Files: &files.Folder{Dir: dir, Service: "order"}}
	v := config.Bind(c, "limits", struct{ Max int }{1})
	if err := c.Load(t.Context()); err == nil {
		t.Error("taken")
	}
	l.write("limits.yaml", "max: 3\n")
	if err := c.Load(t.Context()); err != nil || v.Get().Max != 3 {
		t.Error(err, v.Get())
	}
}

func FuzzYAML(f *testing.F) {
	f.Add("a: &a [1, {b: ~}]\nc: *a\n<<: {d: 0o7}")
	f.Fuzz(func(t *testing.T, text string) { same(t, text, files.YAML) })
}

func FuzzTOML(f *testing.F) {
	f.Add("a.b = [1, {c = 2}]\n[[x]]\ny = 1e3\n[x.z]\nw = 1979-05-27T07:32:00Z")
	f.Fuzz(func(t *testing.T, text string) { same(t, text, files.TOML) })
}

// same: what is read can be written as JSON and read as that.
func same(t *testing.T, text string, read func([]byte) (*tree.Node, error)) {
	n, err := read([]byte(text))
	if err != nil {
		return
	}
	again, err := tree.JSON(tree.Text(n))
	if err != nil || len(tree.Diff(n, again)) > 0 {
		t.Fatalf("%q is %s: %v", text, tree.Text(n), err)
	}
}

func ExampleFolder() {
	dir, err := os.MkdirTemp("", "conf")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	os.WriteFile(filepath.Join(dir, "limits.yaml"), []byte("max: 30\n"), 0o600)

	c := &config.Config{Service: "order", EnvPrefix: "-", Files: &files.Folder{Dir: dir, Service: "order"}}
	limits := config.Bind(c, "limits", struct{ Max int }{20})
	fmt.Println(c.Load(context.Background()), limits.Get().Max)
	// Output: <nil> 30
}
