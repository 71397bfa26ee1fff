package main

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if scene := os.Getenv(childVariable); scene != "" {
		play(scene)
	}
	hush()
	os.Exit(m.Run())
}

// TestOurs fails if one of our cells is not yes.
func TestOurs(t *testing.T) {
	results, err := ask(t.Context(), lines, 1, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if a := r.answers[0]; a.verdict != yes {
			t.Errorf("%s: %s: %s", r.id, a.verdict, a.saw)
		}
	}
}

// TestDocument runs every experiment and compares with what is written down, so
// that a cell that is not decided by its experiment alone shows.
func TestDocument(t *testing.T) {
	if testing.Short() {
		t.Skip("asks every library; -short asks ours only")
	}
	if zrpcCells != nil {
		t.Skip("the document is written without zrpc")
	}
	want, err := os.ReadFile("../../docs/safety.md")
	if err != nil {
		t.Fatal(err)
	}
	results, err := ask(t.Context(), lines, len(libraries), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	at, err := asked("today")
	if err != nil {
		t.Fatal(err)
	}
	a, b := lasting(document(at, results)), lasting(string(want))
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			t.Fatalf("docs/safety.md is not what the experiments say; run go run ./bench/safety\nnow:     %s\nwritten: %s", nth(a, i), nth(b, i))
		}
	}
}

// lasting is a document's lines without those that change by themselves.
func lasting(text string) (out []string) {
	for ln := range strings.Lines(text) {
		if !strings.HasPrefix(ln, changing) {
			out = append(out, ln)
		}
	}
	return out
}

func nth(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(nothing)"
}

// TestExperimentsHaveTeeth gives experiments what springs the trap and what
// does not, where no library's column shows both.
func TestExperimentsHaveTeeth(t *testing.T) {
	plain := func(l *lab, url string) func(ctx context.Context, method, path string) error {
		return over(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, url)
	}
	brief := func(l *lab, url string) func(ctx context.Context, method, path string) error {
		return over(&http.Client{Timeout: stormTry}, url)
	}
	// doubled asks twice, waits for both and returns the second answer.
	doubled := func(l *lab, url string) func(ctx context.Context, method, path string) error {
		do := plain(l, url)
		return func(ctx context.Context, method, path string) error {
			spawn(func() { do(context.WithoutCancel(ctx), method, path) })
			l.pause(50 * time.Millisecond)
			return do(ctx, method, path)
		}
	}
	leaky := func(l *lab, work func(ctx context.Context) error) peer {
		url := l.web(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				if v := recover(); v != nil {
					http.Error(w, v.(string), http.StatusInternalServerError)
				}
			}()
			if err := work(r.Context()); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		}))
		return peer{wire: "HTTP", look: func() string { _, saw := l.fetch(http.MethodGet, url, ""); return saw },
			late: func() { l.fetch(http.MethodGet, url, "") }}
	}
	for _, c := range []struct {
		name string
		ask  experiment
		want verdict
	}{
		{"cancel", cancelHTTP(plain), yes},
		{"fault", faultHTTP(plain), yes},
		{"panic value", leaksPanic(leaky), no},
		{"error text", leaksError(leaky), no},
		{"late", worksLate(leaky), no},
		{"post", postRetried(plain), yes},
		{"budget", budget(plain), yes},
		{"losers", losers(doubled), no},
		{"first", firstSuccess(plain), no},
		{"storm", metastable(brief), yes},
		{"process", survives("bare", "a bare go"), no},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := run(t.Context(), c.ask)
			if err != nil || a.verdict != c.want {
				t.Errorf("%v: %s, %v; want %s", a.verdict, a.saw, err, c.want)
			}
		})
	}
}
