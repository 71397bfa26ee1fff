// Package console serves the web console: the page an on-call engineer opens
// first. The built page is part of the binary; its source is in web.
//
//	mux.Handle("/api/", api)
//	mux.Handle("/", console.Handler())
//
// The page reads /api/v1 of the same origin and nothing else. This package
// holds no data, asks nobody to log in, and does not serve the API.
package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed all:dist
var dist embed.FS

// policy is the page's Content-Security-Policy: own files only, nothing
// inline, no frame, and (trusted types) no way to turn text into HTML, so that
// a hostile service name stays a name. The development server of the page
// reads this very line, so what works there works here.
const policy = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-src 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// page is the file that every route of the single-page console starts from.
const page = "index.html"

// types name the content type of each kind of file in dist. A fixed table,
// because the operating system's own one differs from machine to machine.
var types = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
	".txt":  "text/plain; charset=utf-8",
}

type file struct {
	body []byte
	kind string
	etag string
}

// Handler returns the console. It answers GET and HEAD. A path under /assets/
// holds a hash in its name and may be kept for ever; index.html is asked for
// again each time. A path without a file is a page of the console and gets
// index.html, except below /assets/ and /api/ and for a top-level name with a
// dot (robots.txt), which are 404. Safe for concurrent use; starts no
// goroutine. It panics when the binary was built without the page.
func Handler() http.Handler {
	root, err := fs.Sub(dist, "dist")
	if err != nil {
		panic("console: " + err.Error())
	}
	return handler(root)
}

func handler(root fs.FS) http.Handler {
	files, err := load(root)
	if err != nil {
		panic("console: " + err.Error())
	}
	if _, ok := files[page]; !ok {
		panic("console: dist/index.html is missing; run npm run build in server/console/web")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		guard(w.Header())
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "the console is read with GET", http.StatusMethodNotAllowed)
			return
		}
		name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
		f, ok := files[name]
		if !ok {
			if !route(name) {
				w.Header().Set("Cache-Control", "no-store")
				http.Error(w, "not found", http.StatusNotFound)
				return
			}
			name, f = page, files[page]
		}
		h := w.Header()
		h.Set("Content-Type", f.kind)
		h.Set("ETag", f.etag)
		h.Set("Cache-Control", "no-cache")
		if strings.HasPrefix(name, "assets/") {
			h.Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(f.body))
	})
}

func guard(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// route tells whether a path that names no file is a page of the console.
// Names of services may hold dots and slashes, so only the first part counts.
func route(name string) bool {
	first, _, below := strings.Cut(name, "/")
	if first == "assets" || first == "api" {
		return false
	}
	return below || !strings.Contains(first, ".")
}

func load(root fs.FS) (map[string]file, error) {
	files := make(map[string]file)
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		kind := types[path.Ext(name)]
		if kind == "" {
			kind = "application/octet-stream"
		}
		sum := sha256.Sum256(body)
		files[name] = file{body: body, kind: kind, etag: `"` + hex.EncodeToString(sum[:12]) + `"`}
		return nil
	})
	return files, err
}
