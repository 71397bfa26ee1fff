package arch

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The fifteen-line service both READMEs show is the same, has fifteen lines of
// its own, builds, and stays under 25 MB stripped.
func TestReadmeService(t *testing.T) {
	var shown string
	for _, name := range []string{"README.md", "README.zh-CN.md"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile("(?s)<!-- service15 -->\n```go\n(.*?)```").FindSubmatch(text)
		if m == nil {
			t.Fatalf("%s shows no service", name)
		}
		if shown != "" && shown != string(m[1]) {
			t.Errorf("%s shows another service than README.md", name)
		}
		shown = string(m[1])
	}
	n := 0
	for l := range strings.Lines(shown) {
		if l = strings.TrimSpace(l); l != "" && l != ")" && l != "}" && l != "})" && !strings.HasPrefix(l, "import") && !strings.HasPrefix(l, "package") {
			n++
		}
	}
	if n > 15 {
		t.Errorf("the fifteen-line service has %d lines", n)
	}
	dir := t.TempDir()
	src, bin := filepath.Join(dir, "main.go"), filepath.Join(dir, "hello")
	write(t, src, shown)
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", bin, src)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the README's service does not build: %v\n%s", err, out)
	}
	st, err := os.Stat(bin)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("stripped size: %.1f MB", float64(st.Size())/1e6)
	if st.Size() > 25e6 {
		t.Errorf("the README's service is %d bytes stripped; the promise is 25 MB", st.Size())
	}
}
