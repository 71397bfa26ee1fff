package follow_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/pipe/internal/follow"
)

// file is a followed file and what was told of it.
type file struct {
	follow.Files[string]
	path  string
	loads int
	told  []string
	fault error // of Load, whatever is in the file
}

func newFile(t *testing.T, text string) *file {
	t.Helper()
	f := &file{path: filepath.Join(t.TempDir(), "f")}
	f.write(t, text)
	f.Paths, f.Every = []string{f.path}, -1
	f.Tell = func(err error) { f.told = append(f.told, err.Error()) }
	f.Load = func() (string, error) {
		f.loads++
		raw, err := os.ReadFile(f.path)
		if err == nil {
			err = f.fault
		}
		if text := string(raw); err == nil && text[0] == '!' {
			err = errors.New("bad: " + text)
		}
		return string(raw), err
	}
	return f
}

// write replaces the file, as a careful writer does.
func (f *file) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(f.path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(f.path+".new", f.path); err != nil {
		t.Fatal(err)
	}
}

func (f *file) want(t *testing.T, text string, loads int, told ...string) {
	t.Helper()
	got, err := f.Get()
	if err != nil || got != text || f.loads != loads || !slices.Equal(f.told, told) {
		t.Errorf("%q, %v after %d loads, told %q; want %q after %d, told %q", got, err, f.loads, f.told, text, loads, told)
	}
}

func TestChanges(t *testing.T) {
	f := newFile(t, "a")
	f.want(t, "a", 1)
	f.want(t, "a", 1)
	f.write(t, "b") // of the same length
	f.want(t, "b", 2)
	f.write(t, "!c")
	f.want(t, "b", 3, "bad: !c")
	f.want(t, "b", 4, "bad: !c") // looked at again, told once
	f.write(t, "!d")
	f.want(t, "b", 5, "bad: !c", "bad: !d")
	f.write(t, "!d") // the same again is a change, too
	f.want(t, "b", 6, "bad: !c", "bad: !d", "bad: !d")
	f.write(t, "e")
	f.want(t, "e", 7, "bad: !c", "bad: !d", "bad: !d")
	f.want(t, "e", 7, "bad: !c", "bad: !d", "bad: !d")
}

// A fault that is not in the file, such as no descriptor left, ends without a
// change of the file.
func TestFaultThatPasses(t *testing.T) {
	f := newFile(t, "a")
	f.want(t, "a", 1)
	f.write(t, "b")
	f.fault = errors.New("too many open files")
	f.want(t, "a", 2, "too many open files")
	f.want(t, "a", 3, "too many open files")
	f.fault = nil
	f.want(t, "b", 4, "too many open files")
	f.want(t, "b", 4, "too many open files")
}

func TestFileThatGoes(t *testing.T) {
	f := newFile(t, "a")
	f.want(t, "a", 1)
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got, err := f.Get(); got != "a" || err != nil || len(f.told) != 1 {
			t.Errorf("%q, %v, told %q", got, err, f.told)
		}
	}
	f.write(t, "b")
	if got, err := f.Get(); got != "b" || err != nil || len(f.told) != 1 {
		t.Errorf("%q, %v, told %q", got, err, f.told)
	}
}

// Kubernetes changes a link to a folder, and no file.
func TestLinkToAFolder(t *testing.T) {
	dir := t.TempDir()
	for _, v := range []string{"1", "2"} {
		if err := os.Mkdir(filepath.Join(dir, v), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, v, "f"), []byte(v), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "data")
	if err := os.Symlink("1", link); err != nil {
		t.Skip(err)
	}
	path := filepath.Join(link, "f")
	f := follow.Files[string]{Paths: []string{path}, Every: -1, Load: func() (string, error) {
		raw, err := os.ReadFile(path)
		return string(raw), err
	}}
	if got, err := f.Get(); got != "1" || err != nil {
		t.Fatal(got, err)
	}
	if err := os.Symlink("2", link+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Get(); got != "2" || err != nil {
		t.Error(got, err)
	}
}

func TestNeverGood(t *testing.T) {
	f := newFile(t, "!a")
	for range 2 {
		if _, err := f.Get(); err == nil || len(f.told) > 0 {
			t.Errorf("%v, told %q", err, f.told)
		}
	}
	f.write(t, "b")
	f.want(t, "b", 3)
}

func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFile(t, "a")
		f.Every = 0 // 1s
		f.want(t, "a", 1)
		f.write(t, "b")
		time.Sleep(999 * time.Millisecond)
		f.want(t, "a", 1)
		time.Sleep(time.Millisecond)
		f.want(t, "b", 2)
		f.write(t, "!")
		for i := range 50 { // a bad one is tried no more often
			time.Sleep(100 * time.Millisecond)
			f.want(t, "b", 2+(i+1)/10, append([]string{"bad: !"}, f.told...)[:min(1, (i+1)/10)]...)
		}
	})
}

func TestManyAtOnce(t *testing.T) {
	f := newFile(t, "a")
	f.want(t, "a", 1)
	f.write(t, "!b")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 20 {
				if got, err := f.Get(); got != "a" || err != nil {
					t.Error(got, err)
				}
			}
		})
	}
	wg.Wait()
	if len(f.told) != 1 {
		t.Errorf("told %d times", len(f.told))
	}
}
