package catalog_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/surefoot-go/surefoot/server/catalog"
)

// folder writes files into a new folder and returns it.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const payment = `apiVersion: backstage.io/v1alpha1
kind: Component
metadata:
  name: payment
  description: Charges the bank.
  annotations:
    example.org/anything: kept
  links:
    - url: https://example.org/board
      title: Board
      icon: dashboard
spec:
  type: service
  owner: group:default/team-payments
  lifecycle: production
  system: shop
  dependsOn:
    - resource:bank
  x-unknown: [1, {a: b}]
---
# the outside world
apiVersion: backstage.io/v1alpha1
kind: Resource
metadata:
  name: bank
spec:
  type: external
  owner: user:jane
---
apiVersion: backstage.io/v1alpha1
kind: Group
metadata: {name: team-payments}
spec: {type: team, owner: [not, a, string]}
`

const runbook = `---
title: When payment is in trouble
symptoms: [error_share, latency_p99]
severity: high
---

Intro.

## Bad release

Symptoms: v2, premium

1. Look at the route.

## The bank is down

1. Nothing is lost.

` + "```sh\n## not a heading\n```" + `

## 银行变慢

打电话给银行。
`

func TestLoad(t *testing.T) {
	cat, err := catalog.Load(folder(t, map[string]string{
		"payment/catalog-info.yaml": payment,
		"payment/runbook.md":        runbook,
		"warehouse/runbook.md":      "# Warehouse\n\n## Down\n\nWait.\n",
		".git/catalog-info.yaml":    "garbage: [",
		"payment/notes.txt":         "not ours",
	}))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range cat.Entries() {
		names = append(names, e.Kind+":"+e.Name)
	}
	if want := []string{"Resource:bank", "Component:payment", "Group:team-payments", "Component:warehouse"}; !slices.Equal(names, want) {
		t.Errorf("entries %v, want %v", names, want)
	}
	e, _ := cat.Entry("payment")
	if e.Owner != "team-payments" || e.Lifecycle != "production" || e.System != "shop" || e.Description != "Charges the bank." ||
		!slices.Equal(e.DependsOn, []string{"resource:bank"}) || len(e.Links) != 1 || e.Links[0].Title != "Board" || e.File != "payment/catalog-info.yaml" {
		t.Errorf("payment = %+v", e)
	}
	back, err := yaml.Marshal(e.Doc)
	if err != nil || !strings.Contains(string(back), "x-unknown: [1, {a: b}]") || !strings.Contains(string(back), "example.org/anything: kept") {
		t.Errorf("unknown fields are lost: %s %v", back, err)
	}
	if got := cat.Owner("bank"); got != "jane" {
		t.Errorf("bank's owner = %q", got)
	}
	if e.Runbook == nil || e.Runbook.Title != "When payment is in trouble" || len(e.Runbook.Sections) != 3 || strings.Contains(e.Runbook.Text, "severity") {
		t.Fatalf("runbook = %+v", e.Runbook)
	}
	if l := e.Runbook.Sections[1].Line; l != 15 {
		t.Errorf("section at line %d, want 15", l)
	}
	if !strings.Contains(e.Runbook.Sections[1].Body, "## not a heading") {
		t.Error("a heading in a code block cut the section")
	}
	if w, _ := cat.Entry("warehouse"); w.Runbook == nil || w.Runbook.Title != "Warehouse" {
		t.Errorf("a runbook alone: %+v", w)
	}
}

func TestSection(t *testing.T) {
	cat, err := catalog.Load(folder(t, map[string]string{"payment/catalog-info.yaml": payment, "payment/runbook.md": runbook}))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		symptoms []string
		want     string
	}{
		{[]string{"error_share"}, "The bank is down"},
		{[]string{"latency_p99"}, "银行变慢"},
		{[]string{"version", "error_share"}, "Bad release"},
		{[]string{"v2"}, "Bad release"},
		{[]string{"bank"}, "The bank is down"},
		{[]string{"nothing like it"}, "Bad release"},
		{nil, "Bad release"},
	}
	for _, tt := range tests {
		if got, _, ok := cat.Section("payment", tt.symptoms...); !ok || got != tt.want {
			t.Errorf("Section(%q) = %q %v, want %q", tt.symptoms, got, ok, tt.want)
		}
	}
	if _, body, _ := cat.Section("payment", "v2"); body != "1. Look at the route." {
		t.Errorf("body = %q", body)
	}
	if _, _, ok := cat.Section("nobody"); ok {
		t.Error("a runbook of nobody")
	}
}

func TestBadFilesDoNotHideGoodOnes(t *testing.T) {
	secret := folder(t, map[string]string{"catalog-info.yaml": "kind: Component\nmetadata: {name: stolen}\n"})
	dir := folder(t, map[string]string{
		"a/catalog-info.yaml": "kind: Component\nmetadata: {name: a}\nspec: {owner: x}\n",
		"b/catalog-info.yaml": "kind: Component\nmetadata:\n  name: b\n  bad: [\n",
		"c/catalog-info.yaml": "kind: Component\nmetadata:\n  name: c\nspec:\n  owner: [not, a, name]\n",
		"d/catalog-info.yaml": "kind: Component\nmetadata: {name: d}\n---\nmetadata: {name: d2}\n---\nkind: System\nmetadata: {}\n",
		"e/catalog-info.yaml": "kind: Component\nmetadata: {name: a}\n",
		"f/catalog-info.yaml": "kind: Component\nmetadata: {name: f}\n",
		"f/runbook.md":        "---\ntitle: [\n---\n## Still read\n",
		"g/runbook.md":        "---\ntitle: x\n## no end\n",
		"h/runbook.md":        "\xff\xfe",
		"i/catalog-info.yaml": strings.Repeat("#", 2<<20),
		"j/catalog-info.yaml": "- just\n- a list\n",
		"k/catalog-info.yaml": "",
	})
	if err := os.Symlink(filepath.Join(secret, "catalog-info.yaml"), filepath.Join(dir, "k", "catalog-info.yml")); err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.Load(dir)
	var names []string
	for _, e := range cat.Entries() {
		names = append(names, e.Name)
	}
	if want := []string{"a", "c", "d", "f"}; !slices.Equal(names, want) {
		t.Errorf("entries %v, want %v", names, want)
	}
	if f, _ := cat.Entry("f"); f.Runbook == nil || len(f.Runbook.Sections) != 1 {
		t.Errorf("f's runbook: %+v", f.Runbook)
	}
	got := strings.Split(err.Error(), "\n")
	want := []string{
		"b/catalog-info.yaml:4: did not find expected node content",
		"c/catalog-info.yaml:5: cannot unmarshal !!seq into string",
		"d/catalog-info.yaml:4: has no kind: Component, Resource, System, ...",
		"d/catalog-info.yaml:6: has no metadata.name",
		`e/catalog-info.yaml:1: Component "a" is in a/catalog-info.yaml:1 already; the first one stands`,
		"f/runbook.md:2: did not find expected node content",
		"g/runbook.md:1: front matter begins here and never ends: a line --- is missing",
		"h/runbook.md: is not UTF-8 text",
		"i/catalog-info.yaml: is larger than 1 MiB",
		"j/catalog-info.yaml:1: cannot unmarshal !!seq into an entity",
		"k/catalog-info.yml: path escapes from parent",
	}
	if !slices.Equal(got, want) {
		t.Errorf("problems:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	var p *catalog.Problem
	if !errors.As(err, &p) || p.File != "b/catalog-info.yaml" || p.Line != 4 {
		t.Errorf("first problem = %+v", p)
	}
}

func TestNoFolder(t *testing.T) {
	cat, err := catalog.Load(filepath.Join(t.TempDir(), "none"))
	if err == nil || cat == nil || len(cat.Entries()) != 0 {
		t.Errorf("cat %v, err %v, want an empty catalog and an error", cat, err)
	}
	var none *catalog.Catalog
	if none.Owner("x") != "" || len(none.Entries()) != 0 {
		t.Error("the nil Catalog is not empty")
	}
}

func FuzzRunbook(f *testing.F) {
	for _, s := range []string{runbook, "---\n---\n", "---\nsymptoms: a, b\n...\n# t\n## s\nSymptoms: x\n", "## \n```\n## x", "---\n&a [*a]\n---\n", "---\na: !!binary x\n---"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := catalog.ParseRunbook(raw)
		if r == nil && err == nil {
			t.Fatal("neither a runbook nor an error")
		}
		if r == nil {
			return
		}
		last := 0
		for _, s := range r.Sections {
			if s.Line <= last {
				t.Fatalf("section %q at line %d, behind line %d", s.Title, s.Line, last)
			}
			last = s.Line
		}
		if _, ok := r.Match("error_share", "bank"); ok != (len(r.Sections) > 0) {
			t.Fatal("Match finds no section, or one that is not there")
		}
	})
}
