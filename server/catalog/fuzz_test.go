package catalog

import "testing"

// FuzzEntities works on what Load does with a file's bytes: from outside it
// would fuzz the file system.
func FuzzEntities(f *testing.F) {
	f.Add([]byte("kind: Component\nmetadata:\n  name: a\n  links: [{url: x}]\nspec: {owner: group:default/t, dependsOn: [b]}\n---\nkind: System\nmetadata: {name: s}\n"))
	f.Add([]byte("kind: Component\nmetadata: &a {name: *a}\n"))
	f.Add([]byte("a: &a [x,x]\nb: &b [*a,*a]\nkind: C\nmetadata: {name: *b}\n"))
	f.Add([]byte("kind: Component\nmetadata: {name: x}\n--- !!binary a\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l := loader{cat: &Catalog{}, seen: map[string]*Entry{}}
		l.entities("x", raw)
		l.cat.index()
		for _, e := range l.cat.Entries() {
			if e.Name == "" || e.Kind == "" {
				t.Fatalf("an entity without name or kind: %+v", e)
			}
		}
	})
}
