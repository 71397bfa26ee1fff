// Package drivertest is what package discovery expects of a driver, as tests.
//
//	func TestDriver(t *testing.T) {
//		drivertest.Run(t, func(t *testing.T) drivertest.Lab { return drivertest.Lab{Watcher: …, Registrar: …} })
//	}
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

	"github.com/surefoot-go/surefoot/discovery/driver"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/safe"
)

// Lab is a driver under test and what the tests do to its registry.
type Lab struct {
	Watcher   driver.Watcher
	Registrar driver.Registrar // nil for a driver that only watches
	// Set makes the registry say that these are the instances of service; it is
	// used where there is no Registrar.
	Set func(t *testing.T, service string, in []driver.Instance)
	// Remove takes an instance off behind the registrar's back; nil skips what
	// needs it.
	Remove func(t *testing.T, service, id string)
	// Break keeps the registry from answering until mend is called; nil skips what
	// needs it.
	Break func(t *testing.T) (mend func())
	// Service is the name to use; "" means "drivertest". Drivers for which names
	// mean something set it.
	Service string
	// Plain says that instances have nothing but an Addr.
	Plain bool
	// Patience bounds each wait; 0 means 20s. A driver that is quick is never
	// waited for.
	Patience time.Duration
}

// Run tests a driver against the contracts of driver.Watcher and
// driver.Registrar. lab makes a new one, whose registry knows no instance of
// Service, for each subtest.
func Run(t *testing.T, lab func(t *testing.T) Lab) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, *bench)
	}{
		{"follows changes", follows}, {"lists and takes off", lists}, {"comes back when somebody removes it", removed},
		{"goes on after an outage", outage}, {"refuses what can never be", refuses},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := lab(t)
			if l.Patience == 0 {
				l.Patience = 20 * time.Second
			}
			if l.Service == "" {
				l.Service = "drivertest"
			}
			c.run(t, &bench{Lab: l})
		})
	}
}

type bench struct{ Lab }

// instance is one with all there is to an instance.
func (b *bench) instance(n int) driver.Instance {
	addr := fmt.Sprintf("127.0.0.%d:8080", n)
	if b.Plain {
		return driver.Instance{ID: addr, Addr: addr}
	}
	return driver.Instance{ID: fmt.Sprintf("i-%d", n), Addr: addr, Version: "v1.8", Zone: "b", Weight: n, Labels: map[string]string{"grpc": fmt.Sprintf("127.0.0.%d:9090", n)}}
}

// task is something that runs until it is stopped.
type task struct {
	stop func() error // ends it and returns what it returned
}

func (b *bench) start(t *testing.T, name string, fn func(context.Context) error) task {
	ctx, cancel := context.WithCancel(t.Context())
	var out error
	done := safe.Go(ctx, name, func(ctx context.Context) error { out = fn(ctx); return nil })
	s := task{func() error {
		cancel()
		select {
		case <-done.Done():
			return out
		case <-time.After(b.Patience):
			t.Fatalf("%s did not end with its context", name)
			return nil
		}
	}}
	t.Cleanup(func() { _ = s.stop() })
	return s
}

// watcher is a running Watch.
type watcher struct {
	task
	b    *bench
	sets chan []driver.Instance
}

func (b *bench) watch(t *testing.T) *watcher {
	w := &watcher{b: b, sets: make(chan []driver.Instance, 1000)}
	w.task = b.start(t, "Watch", func(ctx context.Context) error {
		return b.Watcher.Watch(ctx, b.Service, func(in []driver.Instance) { w.sets <- in })
	})
	return w
}

func same(a, b driver.Instance) bool {
	return a.ID == b.ID && a.Addr == b.Addr && a.Version == b.Version && a.Zone == b.Zone && max(a.Weight, 1) == max(b.Weight, 1) && maps.Equal(a.Labels, b.Labels)
}

func text(in []driver.Instance) string {
	var all []string
	for _, i := range in {
		all = append(all, fmt.Sprintf("%+v", i))
	}
	return strings.Join(all, " ")
}

// until waits for a set.
func (w *watcher) until(t *testing.T, want ...driver.Instance) {
	t.Helper()
	limit := time.After(w.b.Patience)
	var last []driver.Instance
	for {
		select {
		case last = <-w.sets:
			if !slices.IsSortedFunc(last, func(a, b driver.Instance) int { return strings.Compare(a.ID, b.ID) }) {
				t.Errorf("not sorted: %s", text(last))
			}
			if slices.EqualFunc(last, want, same) {
				return
			}
		case <-limit:
			t.Fatalf("waited for %s; the last was %s", text(want), text(last))
		}
	}
}

// registration is a running Register.
type registration struct {
	task
	b    *bench
	told chan bool
}

func (b *bench) register(t *testing.T, in driver.Instance) *registration {
	r := &registration{b: b, told: make(chan bool, 100)}
	r.task = b.start(t, "Register", func(ctx context.Context) error {
		return b.Registrar.Register(ctx, b.Service, in, func(visible bool, err error) {
			if !visible && err == nil {
				t.Error("told false without a reason")
			}
			r.told <- visible
		})
	})
	return r
}

func (r *registration) until(t *testing.T, visible bool) {
	t.Helper()
	limit := time.After(r.b.Patience)
	for {
		select {
		case got := <-r.told:
			if got == visible {
				return
			}
		case <-limit:
			t.Fatalf("was not told %v", visible)
		}
	}
}

// ended checks what a task returned after its context ended.
func ended(t *testing.T, what string, err error) {
	t.Helper()
	if errs.KindOf(err) != errs.Canceled && !errors.Is(err, context.Canceled) {
		t.Errorf("%s returned %v", what, err)
	}
}

func follows(t *testing.T, b *bench) {
	w := b.watch(t)
	if b.Registrar == nil {
		b.Set(t, b.Service, []driver.Instance{b.instance(1), b.instance(2)})
		w.until(t, b.instance(1), b.instance(2))
		b.Set(t, b.Service, []driver.Instance{b.instance(2)})
		w.until(t, b.instance(2))
		ended(t, "Watch", w.stop())
		return
	}
	one := b.register(t, b.instance(1))
	w.until(t, b.instance(1))
	b.register(t, b.instance(2))
	w.until(t, b.instance(1), b.instance(2))
	b.watch(t).until(t, b.instance(1), b.instance(2)) // one that comes later
	ended(t, "Register", one.stop())
	w.until(t, b.instance(2))
	ended(t, "Watch", w.stop())
}

func lists(t *testing.T, b *bench) {
	if b.Registrar == nil {
		t.Skip("not a Registrar")
	}
	r := b.register(t, b.instance(1))
	r.until(t, true)
	w := b.watch(t)
	w.until(t, b.instance(1))
	begun := time.Now()
	ended(t, "Register", r.stop())
	if took := time.Since(begun); took > 5*time.Second { // 2s are promised; machines are slow
		t.Errorf("leaving took %s", took)
	}
	w.until(t)
	again := b.register(t, b.instance(1)) // the same one can come back
	again.until(t, true)
	w.until(t, b.instance(1))
}

func removed(t *testing.T, b *bench) {
	if b.Registrar == nil || b.Remove == nil {
		t.Skip("nothing to remove, or no way to")
	}
	r := b.register(t, b.instance(1))
	r.until(t, true)
	w := b.watch(t)
	w.until(t, b.instance(1))
	b.Remove(t, b.Service, b.instance(1).ID)
	w.until(t)
	w.until(t, b.instance(1))
}

func outage(t *testing.T, b *bench) {
	if b.Break == nil {
		t.Skip("this registry cannot be broken")
	}
	w := b.watch(t)
	var r *registration
	if b.Registrar != nil {
		r = b.register(t, b.instance(1))
		r.until(t, true)
	} else {
		b.Set(t, b.Service, []driver.Instance{b.instance(1)})
	}
	w.until(t, b.instance(1))
	mend := b.Break(t)
	time.Sleep(300 * time.Millisecond) // of a real registry's outage; nothing can be waited for
	for len(w.sets) > 0 {
		if in := <-w.sets; len(in) == 0 {
			t.Error("an outage was told as an empty set")
		}
	}
	mend()
	if r == nil {
		b.Set(t, b.Service, []driver.Instance{b.instance(1), b.instance(2)})
	} else {
		b.register(t, b.instance(2))
	}
	w.until(t, b.instance(1), b.instance(2))
}

func refuses(t *testing.T, b *bench) {
	if err := b.Watcher.Watch(t.Context(), "", func([]driver.Instance) {}); errs.KindOf(err) != errs.Invalid {
		t.Errorf("a service without a name: %v", err)
	}
	if b.Registrar == nil {
		return
	}
	for _, c := range []struct {
		service string
		in      driver.Instance
	}{{"", b.instance(1)}, {b.Service, driver.Instance{ID: "x"}}} {
		if err := b.Registrar.Register(t.Context(), c.service, c.in, nil); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%q %+v: %v", c.service, c.in, err)
		}
	}
}
