// Package vitalstest fails tests that leave goroutines behind.
//
//	func TestPlace(t *testing.T) {
//		vitalstest.Check(t) // first of all
//		t.Parallel()
//		...
//	}
//
// The failure says where each was created, where it stands, what it waits for
// and how many there are, in groups; it shows no values. Goroutines that are
// about to end are waited for.
//
// For all tests of a package at once, whoever started the goroutine:
//
//	func TestMain(m *testing.M) { os.Exit(vitalstest.Main(m)) }
//
// # Whose goroutine is it
//
// Check puts a label (of runtime/pprof) on the test's goroutine; goroutines
// inherit labels, so what the test, its subtests and all they call start
// carries it, and parallel tests do not blame each other. A subtest that calls
// Check answers for itself. A goroutine whose code sets labels of its own
// loses it: it is still known if its ctx comes from the one Check returns, or
// if its line of parents reaches the test's goroutine over goroutines that
// still run. Else, and for goroutines begun by nobody's label, such as the
// workers of a pool started before the test, no test is blamed: Main sees them
// at the end. Replace labels on the test's goroutine itself and Check no longer
// knows what is started after that.
//
// In a bubble of testing/synctest, which itself fails with those the bubble
// leaves behind, call Check outside of it. Inside, it works too, and its waits
// take fake time.
//
// # What is different from go.uber.org/goleak
//
// goleak looks at all goroutines of the process, so its VerifyNone cannot be
// used in parallel tests, and a leak of one test fails those after it; Check can,
// and does not. goleak waits for up to about half a second, Check up to Wait. It
// leaves out every goroutine in a system call, and those whose innermost or any
// function is named; here only what has a reason is left out by itself, and an
// allowance names who created a goroutine.
// goleak's IgnoreCurrent has no counterpart: what was there before is nobody's.
//
// It is not for production: see package vitals.
package vitalstest

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"time"

	"github.com/surefoot-go/surefoot/internal/stacks"
)

// TB is the part of testing.TB that Check needs.
type TB interface {
	Helper()
	Name() string
	Context() context.Context
	Cleanup(func())
	Failed() bool
	Errorf(format string, args ...any)
}

// M is the part of *testing.M that Main needs.
type M interface {
	Run() int
}

// Settings say how to look. The zero value is what Check and Main use.
type Settings struct {
	// Allow names goroutines that may stay, by who created them: a function with
	// its import path, such as "example.com/shop/order.(*Outbox).Start", or a
	// file, such as "order/outbox.go" or "order/outbox.go:40", from any of its
	// folders on. With * at the end, all that begins so: "example.com/shop/order.*",
	// "order/*". Where sync.WaitGroup.Go, errgroup or safe started the goroutine, the
	// function given to them counts, too.
	Allow []string
	// Wait is how long goroutines may take to end, looked at in pauses that grow
	// from 1ms to 100ms; 0 means 2s, negative means they must have ended. It is
	// time lost only by a test that fails.
	Wait time.Duration
	// Output is where Main reports; nil means os.Stderr.
	Output io.Writer
}

// Check is Settings.Check of the zero Settings.
func Check(t TB) context.Context {
	t.Helper()
	return Settings{}.Check(t)
}

// Main is Settings.Main of the zero Settings.
func Main(m M) int { return Settings{}.Main(m) }

// Label is the pprof label that tells whose a goroutine is. Its value begins
// with the test's name.
const Label = "vitalstest"

// Check fails t at its end if goroutines that it started are left. Call it
// first, from the test's goroutine, so that it looks after all other cleanups
// of the test. The ctx it returns is t's with the label: hand it to code that
// sets labels of its own, as package safe and pprof.Do do.
//
// A test that has failed is not looked at, as one that stops midway leaves
// things behind. If only idle connections of http.DefaultTransport are in the
// way, they are closed: it keeps them for others, by design. Those of other
// transports are a finding.
func (s Settings) Check(t TB) context.Context {
	t.Helper()
	id := self()
	owner := t.Name() + " " + strconv.FormatInt(id, 10)
	ctx := pprof.WithLabels(t.Context(), pprof.Labels(Label, owner))
	pprof.SetGoroutineLabels(ctx)
	t.Cleanup(func() {
		t.Helper()
		pprof.SetGoroutineLabels(context.Background())
		if t.Failed() {
			return
		}
		left := s.await(func(d *dump) []stacks.Goroutine { return d.of(owner, id) })
		if len(left) > 0 {
			t.Errorf("%s", s.report(t.Name(), left))
		}
	})
	return ctx
}

// Main runs the tests, then looks for goroutines that were not there before,
// and returns the exit code: that of m.Run, or 1 if it is 0 and there are some.
// Goroutines started before, by init functions for instance, may stay.
func (s Settings) Main(m M) int {
	before := map[int64]bool{}
	for _, g := range look().all {
		before[g.ID] = true
	}
	code := m.Run()
	if code != 0 {
		return code
	}
	left := s.await(func(d *dump) []stacks.Goroutine {
		return slices.DeleteFunc(d.all, func(g stacks.Goroutine) bool { return before[g.ID] || g.ID == d.self })
	})
	if len(left) == 0 {
		return 0
	}
	out := s.Output
	if out == nil {
		out = os.Stderr
	}
	fmt.Fprintln(out, s.report("the tests", left))
	return 1
}

// await looks until nothing is left or Wait has passed.
func (s Settings) await(find func(*dump) []stacks.Goroutine) []stacks.Goroutine {
	runtime.Gosched()
	closed := false
	start, pause := time.Now(), time.Millisecond
	for {
		left := slices.DeleteFunc(find(look()), s.allowed)
		if len(left) == 0 {
			return nil
		}
		if !closed && slices.ContainsFunc(left, pooled) {
			closeIdle()
			closed = true
			continue
		}
		if time.Since(start) >= s.wait() {
			return left
		}
		time.Sleep(min(pause, s.wait()))
		pause = min(2*pause, 100*time.Millisecond)
	}
}

func (s Settings) wait() time.Duration {
	if s.Wait == 0 {
		return 2 * time.Second
	}
	return max(s.Wait, 0)
}
