package server

import (
	"context"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/surefoot-go/surefoot/server/catalog"
)

// lookEvery is how often the catalog's folder is looked at. A look reads names
// and times only; files are read when one of them differs.
const lookEvery = 5 * time.Second

// readCatalog reads the folder; a bad file is reported and the good ones serve.
func (p *plane) readCatalog() {
	if p.Catalog == "" {
		return
	}
	c, err := catalog.Load(p.Catalog)
	if err != nil {
		p.Log.Warn("some of the catalog cannot be read", "dir", p.Catalog, "err", err)
	}
	if c != nil {
		p.shelf.now.Store(c)
	}
}

func (p *plane) watchCatalog(ctx context.Context) error {
	if p.Catalog == "" {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for seen := fingerprint(p.Catalog); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if now := fingerprint(p.Catalog); now != seen {
				seen = now
				p.readCatalog()
			}
		}
	}
}

// mark sums up a folder: it differs when a file was added, removed or
// written.
type mark struct {
	files  int
	bytes  int64
	newest time.Time
	names  uint64
}

func fingerprint(dir string) (out mark) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // readCatalog says what cannot be read
		}
		if d.IsDir() && d.Name() != "." && d.Name()[0] == '.' {
			return fs.SkipDir
		}
		name := d.Name()
		if name != "catalog-info.yaml" && name != "catalog-info.yml" && name != "runbook.md" {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		out.files++
		out.bytes += info.Size()
		if info.ModTime().After(out.newest) {
			out.newest = info.ModTime()
		}
		for i := range len(path) {
			out.names = out.names*31 + uint64(path[i])
		}
		return nil
	})
	return out
}
