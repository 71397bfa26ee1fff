// Package catalog holds what people need to know about the shop's seven
// programs: who owns each, what it depends on, and what to do when it breaks.
//
//	err := catalog.Write("demo/catalog") // <service>/catalog-info.yaml and runbook.md
//
// The files are Backstage's format. Reading them is server/catalog's work.
package catalog

import (
	"embed"
	"io/fs"
	"os"
	"path/filepath"
)

//go:embed */catalog-info.yaml */runbook.md
var files embed.FS

// Files returns the entries: one folder for each program.
func Files() fs.FS { return files }

// Write copies the entries into dir, which is made when missing. A file that is
// there already is replaced.
func Write(dir string) error {
	return fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(name))
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		text, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(to, text, 0o644)
	})
}
