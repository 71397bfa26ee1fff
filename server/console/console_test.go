package console_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/surefoot-go/surefoot/server/console"
)

func get(t *testing.T, method, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, "http://127.0.0.1"+target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	console.Handler().ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPaths(t *testing.T) {
	for _, c := range []struct {
		target string
		code   int
		html   bool
	}{
		{"/", 200, true},
		{"/index.html", 200, true},
		{"/topology", 200, true},
		{"/services/payment", 200, true},
		{"/services/api.v2", 200, true},
		{"/services/%3Cscript%3Ealert(1)%3C%2Fscript%3E", 200, true},
		{"/incidents/inc-1/", 200, true},
		{"/traces?service=a.b", 200, true},
		{"/favicon.svg", 200, false},
		{"/assets/gone-0a1b2c3d.js", 404, false},
		{"/assets/", 404, false},
		{"/assets", 404, false},
		{"/robots.txt", 404, false},
		{"/api/v1/nothing", 404, false},
		{"/../../etc/passwd", 200, true}, // cleaned to a page of the console, never a file
		{"/%2e%2e/console.go", 404, false},
	} {
		r := get(t, "GET", c.target)
		if r.StatusCode != c.code {
			t.Errorf("%s: status %d, want %d", c.target, r.StatusCode, c.code)
		}
		if html := strings.HasPrefix(r.Header.Get("Content-Type"), "text/html"); html != c.html {
			t.Errorf("%s: content type %q", c.target, r.Header.Get("Content-Type"))
		}
	}
}

func TestEveryAnswerIsGuarded(t *testing.T) {
	for _, target := range []string{"/", "/services/x", "/assets/none.js", "/favicon.svg"} {
		h := get(t, "GET", target).Header
		csp := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'self'", "object-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: policy %q lacks %q", target, csp, want)
			}
		}
		for _, bad := range []string{"unsafe", "http:", "https:", "data:", "*"} {
			if strings.Contains(csp, bad) {
				t.Errorf("%s: policy %q holds %q", target, csp, bad)
			}
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options":     "nosniff",
			"X-Frame-Options":            "DENY",
			"Referrer-Policy":            "no-referrer",
			"Cross-Origin-Opener-Policy": "same-origin",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", target, name, got, want)
			}
		}
	}
}

func TestCaching(t *testing.T) {
	index := get(t, "GET", "/")
	if got := index.Header.Get("Cache-Control"); got != "no-cache" {
		t.Errorf("index.html: Cache-Control %q", got)
	}
	again := get(t, "GET", "/topology", "If-None-Match", index.Header.Get("ETag"))
	if again.StatusCode != http.StatusNotModified {
		t.Errorf("unchanged page: status %d, want 304", again.StatusCode)
	}
	for _, asset := range assets(t, body(t, index)) {
		r := get(t, "GET", asset)
		if r.StatusCode != 200 || !strings.Contains(r.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: status %d, Cache-Control %q", asset, r.StatusCode, r.Header.Get("Cache-Control"))
		}
	}
}

func assets(t *testing.T, html string) []string {
	t.Helper()
	found := regexp.MustCompile(`/assets/[^"]+`).FindAllString(html, -1)
	if len(found) < 2 {
		t.Fatalf("index.html names %d hashed assets, want a script and a style sheet at least", len(found))
	}
	return found
}

// The policy blocks anything inline, so the page must hold none.
func TestPageHoldsNothingInline(t *testing.T) {
	html := body(t, get(t, "GET", "/"))
	for _, m := range regexp.MustCompile(`(?is)<script\b([^>]*)>(.*?)</script>`).FindAllStringSubmatch(html, -1) {
		if !strings.Contains(m[1], "src=") || strings.TrimSpace(m[2]) != "" {
			t.Errorf("inline script: %s", m[0])
		}
	}
	for _, bad := range []string{`<style`, ` style=`, ` onload=`, ` onclick=`, `javascript:`, `http://`, `https://`, `data:`} {
		if strings.Contains(html, bad) {
			t.Errorf("index.html holds %q", bad)
		}
	}
	for _, asset := range assets(t, html) {
		if strings.HasSuffix(asset, ".css") && regexp.MustCompile(`url\(["']?(https?:|data:|//)`).MatchString(body(t, get(t, "GET", asset))) {
			t.Errorf("%s reaches outside", asset)
		}
	}
}

func TestMethods(t *testing.T) {
	if r := get(t, "HEAD", "/"); r.StatusCode != 200 || body(t, r) != "" {
		t.Errorf("HEAD: status %d", r.StatusCode)
	}
	if r := get(t, "POST", "/"); r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: status %d, Allow %q", r.StatusCode, r.Header.Get("Allow"))
	}
}
