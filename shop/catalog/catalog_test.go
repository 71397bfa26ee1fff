package catalog_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/surefoot-go/surefoot/shop"
	"github.com/surefoot-go/surefoot/shop/catalog"
)

// TestEveryProgramHasAnEntry: seven programs, seven entries, each with an owner
// and a runbook that says what to do about either symptom, in English and in a
// summary in Chinese.
func TestEveryProgramHasAnEntry(t *testing.T) {
	dir := t.TempDir()
	for range 2 { // writing again is no error
		if err := catalog.Write(dir); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(shop.Names()) {
		t.Errorf("%d entries, %v", len(entries), err)
	}
	for _, name := range shop.Names() {
		info, err := os.ReadFile(filepath.Join(dir, name, "catalog-info.yaml"))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, want := range []string{"apiVersion: backstage.io/v1alpha1\n", "\n  name: " + name + "\n", "\n  owner: team-", "\n  description: "} {
			if !strings.Contains(string(info), want) {
				t.Errorf("%s: no %q", name, want)
			}
		}
		book, err := fs.ReadFile(catalog.Files(), name+"/runbook.md")
		if err != nil {
			t.Error(err)
			continue
		}
		text := string(book)
		for _, want := range []string{"---\ntitle: ", "\nsymptoms: [error_share, latency_p99]\n", "(error_share)\n", "(latency_p99)\n", "\n## Escalation\n"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: runbook has no %q", name, want)
			}
		}
		if !strings.ContainsFunc(text, func(r rune) bool { return unicode.Is(unicode.Han, r) }) {
			t.Errorf("%s: runbook has no summary in Chinese", name)
		}
	}
}
