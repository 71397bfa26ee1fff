package files_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/config/drivertest"
	"github.com/surefoot-go/surefoot/contrib/files"
)

// TestDriver: the contract of config/driver, on a folder of JSON files.
func TestDriver(t *testing.T) {
	drivertest.Run(t, func(t *testing.T) drivertest.Lab {
		dir := t.TempDir()
		return drivertest.Lab{
			Driver: &files.Folder{Dir: dir, Every: 5 * time.Millisecond},
			Commit: func(t *testing.T, values map[string][]byte) {
				t.Helper()
				for _, key := range drivertest.Keys(values) {
					path := filepath.Join(dir, strings.TrimPrefix(key, files.Prefix)+".json")
					if values[key] == nil {
						if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
							t.Fatal(err)
						}
						continue
					}
					if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(path+".tmp", values[key], 0o600); err != nil {
						t.Fatal(err)
					}
					if err := os.Rename(path+".tmp", path); err != nil {
						t.Fatal(err)
					}
				}
			},
		}
	})
}
