// Package catalog reads who owns a service and what to do when it breaks:
// Backstage catalog-info.yaml files and runbook.md files in a folder.
//
//	cat, err := catalog.Load("services") // err lists the bad files; cat holds the good ones
//	fmt.Println(cat.Owner("payment"))
//
// It does not watch the folder and does not write to it.
package catalog

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Catalog is what Load read. It does not change; safe for concurrent use. The
// nil Catalog is empty.
type Catalog struct {
	entries []*Entry          // sorted by name and kind
	byName  map[string]*Entry // the first of a name in the order of preference
}

// Entry is one entity: a Component, Resource, System or any other kind.
type Entry struct {
	Kind        string   `json:"kind"`
	Name        string   `json:"name"`
	Namespace   string   `json:"namespace,omitempty"`
	Description string   `json:"description"`
	Owner       string   `json:"owner"` // a reference's name, with its namespace only when that is another one
	Lifecycle   string   `json:"lifecycle"`
	System      string   `json:"system,omitempty"`
	Type        string   `json:"type,omitempty"`
	DependsOn   []string `json:"dependsOn"` // references as written; never nil
	Links       []Link   `json:"links"`     // never nil
	File        string   `json:"file"`      // slash-separated, below the folder
	Line        int      `json:"-"`         // where its document begins in File
	Runbook     *Runbook `json:"-"`         // nil when there is none; read-only
	// Doc is the whole document with the fields this package does not know, to
	// be written back as it came; nil when the folder has a runbook alone.
	// Read-only.
	Doc *yaml.Node `json:"-"`
}

// Link is one of an entity's links.
type Link struct {
	URL   string `json:"url"`
	Title string `json:"title"`
}

// Problem is a file, or part of one, that was not understood.
type Problem struct {
	File string // slash-separated, below the folder
	Line int    // 0 when it is the file as a whole
	Text string
}

// Error returns "file:line: what is wrong".
func (p *Problem) Error() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	return p.File + ":" + strconv.Itoa(p.Line) + ": " + p.Text
}

// preference of kinds when several entities have one name.
var preference = []string{"Component", "Resource", "API", "System"}

func rank(kind string) int {
	if k := slices.Index(preference, kind); k >= 0 {
		return k
	}
	return len(preference)
}

func (c *Catalog) index() {
	slices.SortStableFunc(c.entries, func(a, b *Entry) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(rank(a.Kind), rank(b.Kind)), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace))
	})
	c.byName = make(map[string]*Entry, len(c.entries))
	for _, e := range c.entries {
		if c.byName[e.Name] == nil {
			c.byName[e.Name] = e
		}
	}
}

// Entries returns all entities, sorted by name.
func (c *Catalog) Entries() []Entry {
	if c == nil {
		return nil
	}
	out := make([]Entry, len(c.entries))
	for k, e := range c.entries {
		out[k] = *e
	}
	return out
}

// Entry returns the entity of that name: a Component before a Resource, an API,
// a System and any other kind.
func (c *Catalog) Entry(name string) (Entry, bool) {
	if c == nil || c.byName[name] == nil {
		return Entry{}, false
	}
	return *c.byName[name], true
}

// Owner returns the owner of name; empty when unknown.
func (c *Catalog) Owner(name string) string {
	e, _ := c.Entry(name)
	return e.Owner
}

// Section returns the section of name's runbook that fits the symptoms best,
// see Runbook.Match; ok is false when there is no runbook, or one without
// sections.
func (c *Catalog) Section(name string, symptoms ...string) (title, body string, ok bool) {
	e, _ := c.Entry(name)
	s, ok := e.Runbook.Match(symptoms...)
	return s.Title, s.Body, ok
}

// ownerName shortens an entity reference, as an entity in namespace ns writes
// it, to what a person calls the owner.
func ownerName(ref, ns string) string {
	if _, rest, ok := strings.Cut(ref, ":"); ok {
		ref = rest
	}
	return strings.TrimPrefix(ref, cmp.Or(ns, "default")+"/")
}
