package drivertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/config/driver"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/safe"
)

// Lab is a driver under test and what the tests do to its store. Values are
// JSON.
type Lab struct {
	Driver driver.Driver
	// Commit makes changes: values by key, nil to remove one. If Atomic is set it
	// makes them all at once, and a watcher must see them so.
	Commit func(t *testing.T, values map[string][]byte)
	Atomic bool
	// Break keeps the store from answering until mend is called; nil skips what
	// needs it.
	Break func(t *testing.T) (mend func())
	// Patience bounds each wait; 0 means 20s. A driver that is quick is never
	// waited for.
	Patience time.Duration
}

// base is where the tests write.
const base = "surefoot/config/drivertest/"

// Run tests a driver against the contract of driver.Driver, and of
// driver.Writer if it is one. lab makes a new one, with nothing under
// surefoot/config/drivertest/, for each subtest.
func Run(t *testing.T, lab func(t *testing.T) Lab) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, *bench)
	}{
		{"follows changes", follows}, {"sees what was committed together", together}, {"ends with its context", ends},
		{"goes on after an outage", outage}, {"writes only if nobody was faster", writes},
		{"serves many watchers", many}, {"rests when nothing changes", rests},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := lab(t)
			if l.Patience == 0 {
				l.Patience = 20 * time.Second
			}
			c.run(t, &bench{Lab: l})
		})
	}
}

type bench struct{ Lab }

func (b *bench) put(t *testing.T, pairs ...string) {
	t.Helper()
	m := map[string][]byte{}
	for _, p := range pairs {
		key, value, set := strings.Cut(p, "=")
		m[base+key] = nil
		if set {
			m[base+key] = []byte(value)
		}
	}
	b.Commit(t, m)
}

// watcher is a running Watch.
type watcher struct {
	b     *bench
	snaps chan driver.Snapshot
	stop  func() error // ends it and returns what Watch returned
	last  string
}

func (b *bench) watch(t *testing.T, prefix string) *watcher {
	ctx, cancel := context.WithCancel(t.Context())
	w := &watcher{b: b, snaps: make(chan driver.Snapshot, 1000)}
	var out error
	task := safe.Go(ctx, "drivertest watch", func(ctx context.Context) error {
		out = b.Driver.Watch(ctx, prefix, func(s driver.Snapshot) { w.snaps <- s })
		return nil
	})
	w.stop = func() error {
		cancel()
		select {
		case <-task.Done():
			return out
		case <-time.After(b.Patience):
			t.Fatal("Watch did not end with its context")
			return nil
		}
	}
	t.Cleanup(func() { _ = w.stop() })
	return w
}

// text is a snapshot as the tests write it: "a=1 b=2".
func text(t *testing.T, s driver.Snapshot) string {
	t.Helper()
	var all []string
	for i, it := range s.Items {
		if i > 0 && s.Items[i-1].Key >= it.Key {
			t.Errorf("not sorted: %q after %q", it.Key, s.Items[i-1].Key)
		}
		if it.Err != nil {
			t.Errorf("%s: %v", it.Key, it.Err)
		}
		if it.Revision <= 0 {
			t.Errorf("%s has revision %d", it.Key, it.Revision)
		}
		all = append(all, strings.TrimPrefix(it.Key, base)+"="+strings.TrimSpace(string(it.Value)))
	}
	return strings.Join(all, " ")
}

// until waits for a snapshot that reads as want; each before it must be one of
// between, if any are given.
func (w *watcher) until(t *testing.T, want string, between ...string) driver.Snapshot {
	t.Helper()
	limit := time.After(w.b.Patience)
	for {
		select {
		case s := <-w.snaps:
			if w.last = text(t, s); w.last == want {
				return s
			}
			if len(between) > 0 && !slices.Contains(between, w.last) {
				t.Errorf("saw %q on the way to %q", w.last, want)
			}
		case <-limit:
			t.Fatalf("waited for %q; the last was %q", want, w.last)
		}
	}
}

func follows(t *testing.T, b *bench) {
	b.put(t, "a=1", "b/c=2")
	w := b.watch(t, base)
	first := w.until(t, "a=1 b/c=2")
	b.put(t, "a=3")
	second := w.until(t, "a=3 b/c=2")
	if second.Items[0].Revision <= first.Items[0].Revision || second.Items[1].Revision != first.Items[1].Revision {
		t.Errorf("revisions %+v then %+v", first.Items, second.Items)
	}
	b.put(t, "d=4")
	w.until(t, "a=3 b/c=2 d=4")
	b.put(t, "b/c")
	w.until(t, "a=3 d=4")
	b.Commit(t, map[string][]byte{"surefoot/config/another/x": []byte("1")})
	b.put(t, "a", "d")
	w.until(t, "", "a=3 d=4", "a=3", "d=4")
	b.Commit(t, map[string][]byte{"surefoot/config/another/x": nil})
}

func together(t *testing.T, b *bench) {
	if !b.Atomic {
		t.Skip("the store has no transactions")
	}
	b.put(t, "a=1", ".push/a=2")
	w := b.watch(t, base)
	w.until(t, ".push/a=2 a=1")
	for range 20 {
		b.put(t, "a=2", ".push/a")
		w.until(t, "a=2", ".push/a=2 a=1")
		b.put(t, "a=1", ".push/a=2")
		w.until(t, ".push/a=2 a=1", "a=2")
	}
}

func ends(t *testing.T, b *bench) {
	w := b.watch(t, base)
	w.until(t, "")
	if err := w.stop(); errs.KindOf(err) != errs.Canceled && !errors.Is(err, context.Canceled) {
		t.Errorf("Watch returned %v", err)
	}
}

func outage(t *testing.T, b *bench) {
	if b.Break == nil {
		t.Skip("this store cannot be broken")
	}
	b.put(t, "a=1")
	w := b.watch(t, base)
	w.until(t, "a=1")
	mend := b.Break(t)
	time.Sleep(300 * time.Millisecond) // of a real store's outage; nothing can be waited for
	for {
		select {
		case s := <-w.snaps:
			if got := text(t, s); got != "a=1" {
				t.Errorf("during the outage: %q", got)
			}
			continue
		default:
		}
		break
	}
	mend()
	b.put(t, "a=2", "b=1")
	w.until(t, "a=2 b=1", "a=1", "a=2")
}

func writes(t *testing.T, b *bench) {
	w, ok := b.Driver.(driver.Writer)
	if !ok {
		t.Skip("not a Writer")
	}
	ctx, key := t.Context(), base+"w"
	rev, err := w.Put(ctx, key, []byte("1"), 0)
	if err != nil || rev <= 0 {
		t.Fatal(rev, err)
	}
	if _, err := w.Put(ctx, key, []byte("2"), 0); errs.KindOf(err) != errs.Conflict {
		t.Errorf("over what is there: %v", err)
	}
	next, err := w.Put(ctx, key, []byte("2"), rev)
	if err != nil || next <= rev {
		t.Errorf("%d after %d, %v", next, rev, err)
	}
	if _, err := w.Put(ctx, key, []byte("3"), rev); errs.KindOf(err) != errs.Conflict {
		t.Errorf("with an old revision: %v", err)
	}
	if err := w.Delete(ctx, key, rev); errs.KindOf(err) != errs.Conflict {
		t.Errorf("delete with an old revision: %v", err)
	}
	if _, err := w.Put(ctx, key, []byte("4"), driver.Any); err != nil {
		t.Errorf("whatever is there: %v", err)
	}
	b.watch(t, base).until(t, "w=4")
	for range 2 { // the second time there is nothing, which is no error
		if err := w.Delete(ctx, key, driver.Any); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	b.watch(t, base).until(t, "")
}

// many has watchers that spoil what they were given, which is theirs.
func many(t *testing.T, b *bench) {
	b.put(t, "a=1")
	var all []*watcher
	for range 5 {
		w := b.watch(t, base)
		all = append(all, w)
		s := w.until(t, "a=1")
		for i := range s.Items[0].Value {
			s.Items[0].Value[i] = 'x'
		}
		s.Items[0].Key = "spoilt"
	}
	for i := range 10 {
		b.put(t, fmt.Sprintf("a=%d", i+2))
	}
	for _, w := range all {
		w.until(t, "a=11")
	}
	b.watch(t, base).until(t, "a=11")
}

// rests bounds what a watch may tell of a store in which nothing happens.
func rests(t *testing.T, b *bench) {
	b.put(t, "a=1")
	w := b.watch(t, base)
	w.until(t, "a=1")
	time.Sleep(500 * time.Millisecond) // to see that nothing comes
	if n := len(w.snaps); n > 5 {
		t.Errorf("%d snapshots within 0.5s of nothing", n)
	}
}

// Keys lists what a Commit changes, for labs that change one key at a time:
// what is written first, then what is removed.
func Keys(values map[string][]byte) []string {
	keys := slices.Sorted(maps.Keys(values))
	slices.SortStableFunc(keys, func(a, b string) int {
		switch {
		case (values[a] == nil) == (values[b] == nil):
			return 0
		case values[a] == nil:
			return 1
		}
		return -1
	})
	return keys
}
