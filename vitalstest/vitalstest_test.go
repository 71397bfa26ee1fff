package vitalstest_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/vitalstest"
)

// at once reports what is there when the test ends.
var atOnce = vitalstest.Settings{Wait: -1}

// leak is goroutines that wait until the test has ended.
type leak struct {
	stop chan struct{}
	all  sync.WaitGroup
}

func newLeak(t *testing.T) *leak {
	l := &leak{stop: make(chan struct{})}
	t.Cleanup(func() { close(l.stop); l.all.Wait() })
	return l
}

func (l *leak) wait() { <-l.stop }

func (l *leak) start(n int) {
	for range n {
		l.all.Add(1)
		go func() {
			defer l.all.Done()
			l.wait()
		}()
	}
}

func TestWhatIsLeftFails(t *testing.T) {
	const us = "github.com/surefoot-go/surefoot/vitalstest_test"
	for name, c := range map[string]struct {
		start func(l *leak, ctx context.Context)
		want  []string // "" alone means it passes
	}{
		"none":              {func(*leak, context.Context) {}, []string{""}},
		"three of one kind": {func(l *leak, _ context.Context) { l.start(3) }, []string{"left 3 goroutines behind", "3 goroutines, created at vitalstest/vitalstest_test.go:", " in " + us + ".(*leak).start\n", "now: chan receive, at vitalstest/vitalstest_test.go:", "Allow: []string{\"" + us + ".(*leak).start\"}"}},
		"by WaitGroup.Go":   {func(l *leak, _ context.Context) { l.all.Go(l.wait) }, []string{"created with sync.(*WaitGroup).Go to run " + us + ".(*leak).wait"}},
		"by safe.Go with the ctx": {func(l *leak, ctx context.Context) {
			safe.Go(ctx, "worker", func(context.Context) error { l.start(1); return nil }).Wait()
		}, []string{"1 goroutine, created at"}},
		"by safe.Go without it": {func(l *leak, _ context.Context) {
			l.all.Add(1)
			safe.Go(context.Background(), "worker", func(context.Context) error { defer l.all.Done(); l.wait(); return nil })
		}, []string{"1 goroutine, created with safe.Go to run " + us}},
		"by a goroutine without the label, whose parent runs": {func(l *leak, _ context.Context) {
			started := make(chan struct{})
			l.all.Go(func() {
				pprof.SetGoroutineLabels(context.Background())
				l.start(1)
				close(started)
				l.wait()
			})
			<-started
		}, []string{"left 2 goroutines behind"}},
		"another timer": {func(l *leak, _ context.Context) {
			l.all.Add(1)
			began := make(chan struct{})
			time.AfterFunc(0, func() { defer l.all.Done(); close(began); l.wait() })
			<-began
		}, []string{"", "created with time.goFunc"}}, // the runtime starts it, mostly from a goroutine of the test
	} {
		t.Run(name, func(t *testing.T) {
			l, fake := newLeak(t), newTest("TestX")
			fake.run(func() {
				ctx := atOnce.Check(fake)
				c.start(l, ctx)
				if c.want[0] != "" {
					fake.until("chan receive", 1)
				}
			})
			if c.want[0] == "" && len(c.want) == 1 && fake.said != "" {
				t.Error(fake.said)
			}
			for _, w := range c.want {
				if c.want[0] != "" && !strings.Contains(fake.said, w) {
					t.Errorf("no %q in\n%s", w, fake.said)
				}
			}
			if strings.Contains(fake.said, "0x") {
				t.Errorf("an address in\n%s", fake.said)
			}
		})
	}
}

func TestOthersAreNotBlamed(t *testing.T) {
	l := newLeak(t)
	leaky, healthy, pool := newTest("TestLeaky"), newTest("TestHealthy"), newTest("TestPool")
	work := make(chan func())
	l.all.Go(func() { // a pool from before
		select {
		case f := <-work:
			f()
		case <-l.stop:
		}
	})
	var both sync.WaitGroup
	leaked, done := make(chan struct{}), make(chan struct{})
	both.Go(func() {
		leaky.run(func() { atOnce.Check(leaky); l.start(5); close(leaked); <-done })
	})
	both.Go(func() {
		<-leaked
		healthy.run(func() { atOnce.Check(healthy) })
		pool.run(func() { atOnce.Check(pool); work <- func() { l.start(1) } })
		close(done)
	})
	both.Wait()
	if healthy.said != "" || pool.said != "" || !strings.Contains(leaky.said, "left 5 goroutines") {
		t.Errorf("leaky: %s\nhealthy: %s\npool: %s", leaky.said, healthy.said, pool.said)
	}
}

func TestStragglersAreWaitedFor(t *testing.T) {
	for after, want := range map[time.Duration]bool{time.Second: true, 3 * time.Second: false} {
		synctest.Test(t, func(t *testing.T) {
			fake := newTest("TestSlow")
			start := time.Now()
			fake.run(func() {
				vitalstest.Check(fake)
				go time.Sleep(after)
			})
			took := time.Since(start)
			if pass := fake.said == ""; pass != want || took > 2200*time.Millisecond {
				t.Errorf("ends after %v: took %v, said %q", after, took, fake.said)
			}
			if !want && !strings.Contains(fake.said, "still there after 2s") {
				t.Error(fake.said)
			}
			time.Sleep(after)
		})
	}
}

func TestAFailedTestIsNotLookedAt(t *testing.T) {
	l, fake := newLeak(t), newTest("TestX")
	fake.run(func() { atOnce.Check(fake); l.start(1); fake.Errorf("first") })
	if fake.said != "first" {
		t.Error(fake.said)
	}
}

func TestAllow(t *testing.T) {
	const us = "github.com/surefoot-go/surefoot/vitalstest_test"
	for pattern, want := range map[string]bool{
		us + ".(*leak).start":              true,
		us + ".(*leak).*":                  true,
		us + ".*":                          true,
		us + ".(*leak).sta":                false,
		"vitalstest_test.(*leak).start":    false,
		"vitalstest/vitalstest_test.go":    true,
		"vitalstest_test.go":               true,
		"test.go":                          false,
		"vitalstest/*":                     true,
		"vitalstest/vitalstest_test.go:1":  false,
		"vitalstest/vitalstest_test.go:4*": true,
		"*":                                true,
		"":                                 false,
	} {
		l, fake := newLeak(t), newTest("TestX")
		fake.run(func() { vitalstest.Settings{Wait: -1, Allow: []string{"x", pattern}}.Check(fake); l.start(1) })
		if allowed := fake.said == ""; allowed != want {
			t.Errorf("%q: %v\n%s", pattern, allowed, fake.said)
		}
	}
}

func TestConnections(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
	defer server.Close()
	get := func(c *http.Client, read bool) func() {
		return func() {
			res, err := c.Get(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			if read {
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		}
	}
	private := &http.Transport{}
	open := &http.Transport{}
	for _, c := range []struct {
		name, want string
		get        func()
	}{
		{"default, idle", "", get(http.DefaultClient, true)},
		{"private, idle", "net/http.(*persistConn).readLoop", get(&http.Client{Transport: private}, true)},
		{"body never closed", "net/http.(*persistConn).readLoop", get(&http.Client{Transport: open}, false)},
	} {
		fake := newTest("TestX")
		fake.run(func() { vitalstest.Settings{Wait: 50 * time.Millisecond}.Check(fake); c.get() })
		if c.want == "" != (fake.said == "") || !strings.Contains(fake.said, c.want) {
			t.Errorf("%s: %s", c.name, fake.said)
		}
	}
	private.CloseIdleConnections()
}

type run func() int

func (r run) Run() int { return r() }

func TestMainLooksAtAll(t *testing.T) {
	l := newLeak(t)
	for _, c := range []struct {
		run        run
		code       int
		allow, say string
	}{
		{func() int { return 0 }, 0, "", ""},
		{func() int { l.start(1); return 0 }, 1, "", "the tests left 1 goroutine behind"},
		{func() int { l.start(1); return 7 }, 7, "", ""},
		{func() int { l.start(1); return 0 }, 0, "vitalstest/*", ""}, // those from before are nobody's
	} {
		var out strings.Builder
		s := vitalstest.Settings{Wait: -1, Output: &out, Allow: []string{c.allow}}
		if code := s.Main(c.run); code != c.code || !strings.Contains(out.String(), c.say) || c.say == "" && out.Len() > 0 {
			t.Errorf("code %d, want %d; said %q, want %q", code, c.code, out.String(), c.say)
		}
	}
}

// The child below is this program again, as a real go test process.
func TestInARealProcess(t *testing.T) {
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^TestChild", "-test.parallel=8")
	child.Env = append(os.Environ(), childVariable+"=1")
	text, err := child.CombinedOutput()
	if err == nil {
		t.Fatalf("the child passed:\n%s", text)
	}
	for line, want := range map[string]bool{
		"--- FAIL: TestChildLeaks ": true, "TestChildLeaks left 2 goroutines behind": true,
		"--- PASS: TestChildHealthy0 ": true, "--- PASS: TestChildHealthy1 ": true,
		"--- FAIL: TestChildSubtests ": true, "--- PASS: TestChildSubtests/clean": true, "--- FAIL: TestChildSubtests/leaks": true,
		"TestChildSubtests/leaks left 1 goroutine behind": true, "TestChildSubtests left 1 goroutine behind": true,
	} {
		if strings.Contains(string(text), line) != want {
			t.Errorf("%q should be there: %v", line, want)
		}
	}
	if t.Failed() {
		t.Logf("%s", text)
	}
	child = exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChildUnchecked$")
	child.Env = append(os.Environ(), childVariable+"=1")
	text, err = child.CombinedOutput()
	if err == nil || !strings.Contains(string(text), "the tests left 1 goroutine behind") {
		t.Errorf("Main: %v\n%s", err, text)
	}
}

const childVariable = "SUREFOOT_VITALSTEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "" {
		os.Exit(m.Run())
	}
	os.Exit(vitalstest.Settings{Wait: 50 * time.Millisecond}.Main(m))
}

func child(t *testing.T) {
	if os.Getenv(childVariable) == "" {
		t.Skip("only in the child")
	}
}

func forever(n int) {
	for range n {
		go func() { select {} }()
	}
}

func TestChildLeaks(t *testing.T) {
	child(t)
	vitalstest.Settings{Wait: 300 * time.Millisecond}.Check(t)
	t.Parallel()
	forever(2)
}

func TestChildHealthy0(t *testing.T) { child(t); vitalstest.Check(t); t.Parallel() }
func TestChildHealthy1(t *testing.T) { child(t); t.Parallel(); vitalstest.Check(t) }

func TestChildSubtests(t *testing.T) {
	child(t)
	s := vitalstest.Settings{Wait: 100 * time.Millisecond}
	t.Run("outer", func(t *testing.T) {})
	t.Run("leaks", func(t *testing.T) { s.Check(t); t.Parallel(); forever(1) })
	t.Run("clean", func(t *testing.T) { s.Check(t); t.Parallel() })
	t.Run("unlooked", func(t *testing.T) {
		parent := newTest("TestChildSubtests")
		parent.run(func() { s.Check(parent); forever(1) })
		t.Log(parent.said)
	})
}

func TestChildUnchecked(t *testing.T) { child(t); forever(1) }
