package files

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/config/driver"
	"github.com/surefoot-go/surefoot/config/tree"
	"github.com/surefoot-go/surefoot/errs"
)

// Prefix is where the settings of a folder are: surefoot/config/<service>/<key>.
const Prefix = "surefoot/config/"

// maxFiles bounds how many files of a folder are read.
const maxFiles = 1000

// formats are the kinds of files that are read, by their names' ends.
var formats = map[string]func([]byte) (*tree.Node, error){".yaml": YAML, ".yml": YAML, ".json": tree.JSON, ".toml": TOML}

// Folder is settings in files: conf/client/bank.yaml is the key client/bank. It
// is a driver of package config, safe for concurrent use; it must not be copied
// once it is used. Fields must not change then.
//
// Files whose names begin with a dot or end in ~ are not looked at, nor are
// those with other endings than .yaml, .yml, .json and .toml. A file that cannot
// be read or parsed is an item with an error, so that the value before it stays;
// two files of one key are, too. While the folder itself cannot be read nothing
// is reported; a folder that is not there is empty.
type Folder struct {
	Dir string // required
	// Service is whose settings the files are; "" means that the first level of
	// folders names services.
	Service string
	Every   time.Duration // how often the folder is looked at; 0 or negative means 1s

	mu       sync.Mutex
	seen     map[string]seen // by path below Dir
	revision int64
}

// seen is a file as it was read last.
type seen struct {
	sum      [sha256.Size]byte
	revision int64
	item     driver.Item
}

var _ driver.Driver = (*Folder)(nil)

// again is how often a watcher hears what it has heard before.
const again = 5 * time.Second

// Watch implements driver.Driver. Files that change within one look are seen
// together.
func (f *Folder) Watch(ctx context.Context, prefix string, fn func(driver.Snapshot)) error {
	const op = "files.Folder.Watch"
	if f.Dir == "" {
		return errs.New(errs.Invalid, op, "the folder of settings has no name")
	}
	tick := time.NewTicker(cmp.Or(max(f.Every, 0), time.Second))
	defer tick.Stop()
	told := int64(-1)
	var at time.Time
	for {
		items, revision, err := f.look()
		if err == nil && (revision != told || time.Since(at) >= again) {
			told, at = revision, time.Now()
			snap := driver.Snapshot{Revision: revision}
			for _, it := range items {
				if strings.HasPrefix(it.Key, prefix) {
					snap.Items = append(snap.Items, it)
				}
			}
			fn(snap)
		}
		select {
		case <-ctx.Done():
			return errs.Wrap(ctx.Err(), op)
		case <-tick.C:
		}
	}
}

// look reads the folder. The revision grows with each change of any file.
func (f *Folder) look() ([]driver.Item, int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	paths, err := f.walk()
	if err != nil {
		return nil, 0, err
	}
	if f.revision == 0 { // larger than before a restart
		f.revision = time.Now().UnixMilli()
	}
	next := make(map[string]seen, len(paths))
	changed := f.seen == nil
	for _, path := range paths {
		b, err := read(filepath.Join(f.Dir, path))
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone since the walk
		}
		now := sha256.Sum256(b)
		if err != nil {
			now = sha256.Sum256([]byte("error: " + err.Error()))
		}
		was, known := f.seen[path]
		if known && was.sum == now {
			next[path] = was
			continue
		}
		changed = true
		next[path] = seen{now, f.revision + 1, f.item(path, b, err)}
	}
	if changed = changed || len(next) != len(f.seen); changed {
		f.revision++
		f.seen = next
	}
	return f.items(), f.revision, nil
}

// walk lists the files of settings below Dir. Links are followed, as Kubernetes
// makes them: to files, and to the folder itself.
func (f *Folder) walk() ([]string, error) {
	var out []string
	var down func(dir string, depth int) error
	down = func(dir string, depth int) error {
		entries, err := os.ReadDir(filepath.Join(f.Dir, dir))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			name, path := e.Name(), filepath.Join(dir, e.Name())
			if strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") {
				continue
			}
			info, err := os.Stat(filepath.Join(f.Dir, path))
			switch {
			case err != nil: // a link to nowhere, or gone
			case info.IsDir() && depth < 8:
				if err := down(path, depth+1); err != nil {
					return err
				}
			case info.Mode().IsRegular() && formats[strings.ToLower(filepath.Ext(name))] != nil:
				if out = append(out, path); len(out) > maxFiles {
					return fmt.Errorf("more than %d files in %s", maxFiles, f.Dir)
				}
			}
		}
		return nil
	}
	err := down("", 0)
	return out, err
}

func read(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read
	return io.ReadAll(io.LimitReader(file, maxSize+1))
}

// item is a file as a setting.
func (f *Folder) item(path string, b []byte, err error) driver.Item {
	slash := filepath.ToSlash(path)
	ext := filepath.Ext(slash)
	name := strings.TrimSuffix(slash, ext)
	if f.Service != "" {
		name = f.Service + "/" + name
	}
	it := driver.Item{Key: Prefix + name, Value: b, Revision: f.revision + 1}
	if err == nil {
		it.Node, err = formats[strings.ToLower(ext)](b)
	}
	if err != nil {
		it.Node, it.Err = nil, fmt.Errorf("%s: %w", filepath.Join(f.Dir, path), err)
	}
	return it
}

// items is all that was seen, by key.
func (f *Folder) items() []driver.Item {
	byKey := map[string]driver.Item{}
	from := map[string]string{}
	for _, path := range slices.Sorted(maps.Keys(f.seen)) {
		it := f.seen[path].item
		if before, twice := from[it.Key]; twice {
			it.Node, it.Err = nil, fmt.Errorf("two files are the same setting: %s and %s; remove one", filepath.Join(f.Dir, before), filepath.Join(f.Dir, path))
			it.Revision = max(it.Revision, byKey[it.Key].Revision)
		}
		from[it.Key], byKey[it.Key] = path, it
	}
	out := make([]driver.Item, 0, len(byKey))
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		it := byKey[key]
		it.Value = slices.Clone(it.Value)
		out = append(out, it)
	}
	return out
}
