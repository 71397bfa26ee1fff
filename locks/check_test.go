package locks_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/locks"
)

// found collects what checks report.
type found struct {
	mu  sync.Mutex
	all []locks.Problem
}

func (f *found) report(p locks.Problem) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, p)
}

func (f *found) kinds() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, p := range f.all {
		s := p.Kind + " " + p.Name
		if p.Other != "" {
			s += "<" + p.Other
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// checked turns checks on for a test.
func checked(t testing.TB, c locks.Checks) *found {
	f := new(found)
	c.Report = f.report
	t.Cleanup(locks.Check(c))
	return f
}

// do runs fn in a goroutine of its own and waits for it.
func do(fns ...func()) {
	for _, fn := range fns {
		var wg sync.WaitGroup
		wg.Go(fn)
		wg.Wait()
	}
}

// together locks all in turn, and unlocks them.
func together(all ...sync.Locker) func() {
	return func() {
		for _, l := range all {
			l.Lock()
		}
		for _, l := range slices.Backward(all) {
			l.Unlock()
		}
	}
}

func TestOrder(t *testing.T) {
	type lot struct {
		a, b, c, g locks.RWMutex
		m, n       locks.Mutex
		a1, a2, r1 locks.Mutex
		r2         locks.Mutex
	}
	table := []struct {
		name string
		run  func(l *lot) []func()
		want string
	}{
		{"one order", func(l *lot) []func() {
			return []func(){together(&l.m, &l.n), together(&l.m, &l.n), together(&l.n), together(&l.m)}
		}, ""},
		{"two orders", func(l *lot) []func() {
			return []func(){together(&l.m, &l.n), together(&l.n, &l.m)}
		}, "order m<n"},
		{"three in a ring", func(l *lot) []func() {
			return []func(){together(&l.a, &l.b), together(&l.b, &l.c), together(&l.c, &l.a)}
		}, "order a<c"},
		{"two orders behind a gate", func(l *lot) []func() {
			return []func(){together(&l.g, &l.m, &l.n), together(&l.g, &l.n, &l.m)}
		}, ""},
		{"two orders, one behind a gate", func(l *lot) []func() {
			return []func(){together(&l.g, &l.m, &l.n), together(&l.n, &l.m)}
		}, "order m<n"},
		{"behind a gate first, then without", func(l *lot) []func() {
			return []func(){together(&l.g, &l.m, &l.n), together(&l.g, &l.n, &l.m), together(&l.m, &l.n)}
		}, "order n<m"},
		{"a gate for readers is none", func(l *lot) []func() {
			return []func(){together(l.g.RLocker(), &l.m, &l.n), together(l.g.RLocker(), &l.n, &l.m)}
		}, "order m<n"},
		{"readers only", func(l *lot) []func() {
			return []func(){together(l.a.RLocker(), l.b.RLocker()), together(l.b.RLocker(), l.a.RLocker())}
		}, ""},
		{"readers and one writer, of one of them", func(l *lot) []func() {
			return []func(){together(l.a.RLocker(), l.b.RLocker()), together(l.b.RLocker(), l.a.RLocker()), together(&l.a)}
		}, ""},
		{"readers and a writer of each", func(l *lot) []func() {
			return []func(){together(l.a.RLocker(), l.b.RLocker()), together(l.b.RLocker(), l.a.RLocker()), together(&l.a), together(&l.b)}
		}, "order b<a"},
		{"writers first, readers then", func(l *lot) []func() {
			return []func(){together(&l.a), together(&l.b), together(l.a.RLocker(), l.b.RLocker()), together(l.b.RLocker(), l.a.RLocker())}
		}, "order a<b"},
		{"readers and writers behind one gate", func(l *lot) []func() {
			return []func(){together(l.a.RLocker(), l.b.RLocker()), together(l.b.RLocker(), l.a.RLocker()), together(&l.m, &l.a), together(&l.m, &l.b)}
		}, ""},
		{"a reader against a writer", func(l *lot) []func() {
			return []func(){together(l.a.RLocker(), &l.m), together(&l.m, &l.a)}
		}, "order a<m"},
		{"a reader against a reader, with a mutex between", func(l *lot) []func() {
			return []func(){together(l.a.RLocker(), &l.m), together(&l.m, l.a.RLocker())}
		}, ""},
		{"the same, and a writer", func(l *lot) []func() {
			return []func(){together(l.a.RLocker(), &l.m), together(&l.m, l.a.RLocker()), together(&l.a)}
		}, "order a<m"},
		{"the same, and a writer that holds the mutex", func(l *lot) []func() {
			return []func(){together(l.a.RLocker(), &l.m), together(&l.m, l.a.RLocker()), together(&l.n, &l.a)}
		}, "order a<m"},
		{"two of a name", func(l *lot) []func() {
			return []func(){together(&l.a1, &l.a2)}
		}, "nested account<account"},
		{"two of a name behind a gate", func(l *lot) []func() {
			return []func(){together(&l.m, &l.a1, &l.a2), together(&l.m, &l.a2, &l.a1)}
		}, ""},
		{"two of a name by rank", func(l *lot) []func() {
			return []func(){together(&l.r1, &l.r2)}
		}, ""},
		{"two of a name against rank", func(l *lot) []func() {
			return []func(){together(&l.r2, &l.r1)}
		}, "nested row<row"},
		{"TryLock does not wait", func(l *lot) []func() {
			return []func(){together(&l.m, &l.n), func() {
				l.n.Lock()
				if l.m.TryLock() {
					l.m.Unlock()
				}
				l.n.Unlock()
			}}
		}, ""},
		{"but is waited for", func(l *lot) []func() {
			return []func(){together(&l.m, &l.n), func() {
				l.n.TryLock()
				l.m.Lock()
				l.m.Unlock()
				l.n.Unlock()
			}}
		}, "order m<n"},
		{"reading twice", func(l *lot) []func() {
			return []func(){together(l.a.RLocker(), l.a.RLocker())}
		}, ""},
		{"reading twice, and a writer", func(l *lot) []func() {
			return []func(){together(l.a.RLocker(), l.a.RLocker()), together(&l.a)}
		}, "recursive read a"},
		{"a writer, and reading twice", func(l *lot) []func() {
			return []func(){together(&l.a), together(l.a.RLocker(), l.a.RLocker())}
		}, "recursive read a"},
		{"a writer and reading twice behind a gate", func(l *lot) []func() {
			return []func(){together(&l.m, &l.a), together(&l.m, l.a.RLocker(), l.a.RLocker())}
		}, ""},
		{"a Cond waits without its lock", func(l *lot) []func() {
			c := sync.NewCond(&l.m)
			return []func(){func() {
				var wg sync.WaitGroup
				ready := false
				wg.Go(func() {
					l.m.Lock()
					for !ready {
						c.Wait()
					}
					l.m.Unlock()
					l.n.Lock()
					l.n.Unlock()
				})
				l.n.Lock()
				l.m.Lock()
				ready = true
				l.m.Unlock()
				l.n.Unlock()
				c.Broadcast()
				wg.Wait()
			}}
		}, ""},
	}
	for _, named := range []bool{true, false} {
		for _, c := range table {
			if !named && strings.Contains(c.name, "of a name") {
				continue
			}
			t.Run(fmt.Sprint(c.name, "/named=", named), func(t *testing.T) {
				f := checked(t, locks.Checks{Order: true, Owner: true})
				var l lot
				if named {
					l.a.Name, l.b.Name, l.c.Name, l.g.Name, l.m.Name, l.n.Name = "a", "b", "c", "g", "m", "n"
					l.a1.Name, l.a2.Name, l.r1.Name, l.r2.Name, l.r1.Rank, l.r2.Rank = "account", "account", "row", "row", 1, 2
				}
				for range 3 {
					do(c.run(&l)...)
				}
				got, want := f.kinds(), c.want
				if !named { // names are places then
					got, want = strings.Join(justKinds(f), ", "), strings.Join(strings.Fields(c.want)[:min(1, len(c.want))], "")
					if strings.HasPrefix(c.want, "recursive read") {
						want = "recursive read"
					}
				}
				if got != want {
					t.Errorf("found %q, want %q: %+v", got, want, f.all)
				}
			})
		}
	}
}

func justKinds(f *found) (out []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.all {
		out = append(out, p.Kind)
	}
	return out
}

// A problem names both places with both stacks, and is counted.
func TestProblem(t *testing.T) {
	f := checked(t, locks.Checks{Order: true})
	cart, stock := locks.Mutex{Name: "cart"}, locks.Mutex{Name: "stock"}
	for range 3 {
		do(together(&cart, &stock))
		do(together(&stock, &cart))
	}
	if len(f.all) != 1 {
		t.Fatalf("%d problems: %+v", len(f.all), f.all)
	}
	p := f.all[0]
	if len(p.Stacks) != 4 || !strings.Contains(p.Text, "locks/check_test.go:") || strings.Contains(p.Text, "mutex.go") {
		t.Errorf("%+v", p)
	}
	for i, want := range []string{"locks cart", "holds stock", "locks stock", "holds cart"} {
		s := p.Stacks[i]
		if !strings.HasSuffix(s.Text, want) || !strings.Contains(s.Trace, "together") || strings.Contains(s.Trace, "locks.(*Mutex)") {
			t.Errorf("stack %d: %s\n%s", i, s.Text, s.Trace)
		}
	}
	if all := locks.Problems(); len(all) != 1 || all[0].Count != 5 {
		t.Errorf("%+v", all)
	}
}

func TestRecursive(t *testing.T) {
	var m locks.Mutex
	rw := locks.RWMutex{Name: "rw"}
	m.Name = "m"
	table := []struct {
		name        string
		first, next sync.Locker
		want        string
	}{
		{"mutex", &m, &m, "recursive m"},
		{"writer", &rw, &rw, "recursive rw"},
		{"upgrade", rw.RLocker(), &rw, "recursive rw"},
		{"reader under writer", &rw, rw.RLocker(), "recursive rw"},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			reported := make(chan struct{})
			t.Cleanup(locks.Check(locks.Checks{Order: true, Report: func(p locks.Problem) {
				if got := p.Kind + " " + p.Name; got != c.want {
					t.Errorf("found %q", got)
				}
				close(reported)
			}}))
			var wg sync.WaitGroup
			wg.Go(func() {
				c.first.Lock()
				c.next.Lock()
				c.next.Unlock()
			})
			<-reported // before it waits
			c.first.Unlock()
			wg.Wait()
		})
	}
}

func TestHoldAndWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := checked(t, locks.Checks{Hold: 2 * time.Second, Wait: 10 * time.Second})
		var m locks.RWMutex
		m.Name = "m"
		m.Lock()
		time.Sleep(1900 * time.Millisecond) // fake time
		m.Unlock()
		if got := f.kinds(); got != "" {
			t.Errorf("found %s", got)
		}
		m.RLock()
		time.Sleep(2100 * time.Millisecond)
		synctest.Wait()
		if got := f.kinds(); got != "hold m" { // while it is held
			t.Errorf("found %s", got)
		}
		m.RUnlock()
	})
}

// A wait is told while it lasts, with who holds the lock.
func TestWait(t *testing.T) {
	told := make(chan locks.Problem, 1)
	t.Cleanup(locks.Check(locks.Checks{Hold: -1, Wait: time.Millisecond, Report: func(p locks.Problem) { told <- p }}))
	m := locks.Mutex{Name: "m"}
	m.Lock()
	var wg sync.WaitGroup
	wg.Go(func() {
		m.Lock()
		m.Unlock()
	})
	p := <-told
	m.Unlock()
	wg.Wait()
	if p.Kind != "wait" || p.Name != "m" || p.For < time.Millisecond || len(p.Stacks) != 2 || !strings.Contains(p.Stacks[1].Trace, "TestWait") {
		t.Errorf("%+v", p)
	}
}

func TestOwner(t *testing.T) {
	for _, on := range []bool{true, false} {
		f := checked(t, locks.Checks{Order: true, Owner: on})
		m, n, rw := locks.Mutex{Name: "m"}, locks.Mutex{Name: "n"}, locks.RWMutex{Name: "rw"}
		m.Lock()
		do(m.Unlock)
		rw.RLock()
		rw.RUnlock()
		if want := map[bool]string{true: "owner m", false: ""}[on]; f.kinds() != want {
			t.Errorf("owner=%v: found %q", on, f.kinds())
		}
		// Who hands a lock over does not hold it any more.
		do(together(&n, &m))
		m.Lock()
		do(m.Unlock)
		n.Lock()
		n.Unlock()
		if strings.Contains(f.kinds(), "order") {
			t.Errorf("found %q", f.kinds())
		}
	}
}

// Checks may begin and end while locks are held.
func TestCheckInTheMiddle(t *testing.T) {
	before := locks.Problems() != nil // built with checks
	a, b, rw := locks.Mutex{Name: "a"}, locks.Mutex{Name: "b"}, locks.RWMutex{Name: "rw"}
	a.Lock()
	rw.RLock()
	f := new(found)
	stop := locks.Check(locks.Checks{Order: true, Owner: true, Report: f.report})
	b.Lock()
	do(a.Unlock, rw.RUnlock) // locked before: not judged
	stop()
	b.Unlock()
	b.Lock()
	stop2 := locks.Check(locks.Checks{Order: true, Owner: true, Report: f.report})
	do(b.Unlock)
	do(together(&a, &b))
	stop()
	stop2()
	do(together(&b, &a)) // f is off
	if got := f.kinds(); got != "" {
		t.Errorf("found %s", got)
	}
	if locks.Problems() != nil != before {
		t.Error("still on")
	}
}

// Report may use locks, of any kind, without being checked itself.
func TestReportMayLock(t *testing.T) {
	log := locks.Guarded[[]string]{Name: "log"}
	t.Cleanup(locks.Check(locks.Checks{Order: true, Owner: true, Report: func(p locks.Problem) {
		log.With(func(all *[]string) { *all = append(*all, p.Kind) })
	}}))
	a, b := locks.Mutex{Name: "a"}, locks.Mutex{Name: "b"}
	do(together(&a, &b), together(&b, &a), func() { log.Read(func([]string) {}) })
	if got := log.Load(); !slices.Equal(got, []string{"order"}) {
		t.Errorf("%v", got)
	}
}

// What gives way at a bound is counted.
func TestLimited(t *testing.T) {
	checked(t, locks.Checks{Order: true, Hold: -1, Wait: -1})
	a, b := locks.Mutex{Name: "a"}, locks.Mutex{Name: "b"}
	for i := range 10 {
		together(&locks.Mutex{Name: fmt.Sprint("gate", i)}, &a, &b)()
	}
	if got, want := locks.Limited(), (locks.Limits{Displaced: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	together(&a, &b)() // stands for all of them
	for i := range 10 {
		together(&locks.Mutex{Name: fmt.Sprint("gate", i)}, &a, &b)()
	}
	if got := locks.Limited().Displaced; got != 2 {
		t.Errorf("%d displaced", got)
	}
	a.Lock()
	for range 20000 {
		var m locks.Mutex
		m.Lock()
		m.Unlock()
	}
	a.Unlock()
	if got, want := locks.Limited(), (locks.Limits{Displaced: 2, Relearned: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Many goroutines, all in order: nothing is found, and nothing is left behind.
func TestNothingToFind(t *testing.T) {
	f := checked(t, locks.Checks{Order: true, Owner: true})
	all := make([]locks.RWMutex, 6)
	for i := range all {
		all[i].Name = fmt.Sprint("l", i)
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for n := range 300 {
				var mine []sync.Locker
				for i := range all {
					switch (n*(g+3) + i*i) % 4 {
					case 0:
						mine = append(mine, &all[i])
					case 1:
						mine = append(mine, all[i].RLocker())
					}
				}
				together(mine...)()
				runtime.Gosched()
			}
		})
	}
	wg.Wait()
	if got := f.kinds(); got != "" {
		t.Errorf("found %s", got)
	}
}
