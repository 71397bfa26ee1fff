package supervise_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/supervise"
)

var quiet = observe.Sinks{Log: slog.New(slog.DiscardHandler)}

// diary is what happened, in order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) add(s string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, s)
}

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.lines, " ")
}

// obeys runs until told, and takes d to stop.
func (d *diary) obeys(name string, wait time.Duration) supervise.Worker {
	return supervise.Worker{Name: name, Run: func(ctx context.Context) error {
		d.add("+" + name)
		<-ctx.Done()
		time.Sleep(wait)
		d.add("-" + name)
		return ctx.Err()
	}}
}

// start runs a tree in the bubble of the calling test.
func start(t *testing.T, tree *supervise.Tree) (stop context.CancelFunc, ended <-chan error) {
	tree.Observe = quiet
	ctx, cancel := context.WithCancel(t.Context())
	end := make(chan error, 1)
	go func() { end <- tree.Run(ctx) }()
	synctest.Wait()
	return cancel, end
}

func states(tree *supervise.Tree) string {
	var out []string
	for _, s := range tree.Status() {
		out = append(out, s.Name+"="+s.State.String())
	}
	return strings.Join(out, " ")
}

func TestStopsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		tree := &supervise.Tree{Workers: []supervise.Worker{
			d.obeys("a", time.Second),
			{Name: "b", Tree: &supervise.Tree{Workers: []supervise.Worker{d.obeys("x", 0), d.obeys("y", time.Second)}}},
			d.obeys("c", time.Second),
		}}
		stop, ended := start(t, tree)
		if s := states(tree); s != "a=running b=running b/x=running b/y=running c=running" {
			t.Errorf("states %s", s)
		}
		begin := time.Now()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("took %v", took)
		}
		if s := d.String(); !strings.HasSuffix(s, " -c -y -x -a") {
			t.Errorf("order %s", s)
		}
		if s := states(tree); s != "a=done b=done b/x=done b/y=done c=done" {
			t.Errorf("states %s", s)
		}
	})
}

func TestSaysWhoDidNotStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		free := make(chan struct{})
		stuck := func(name string) supervise.Worker {
			return supervise.Worker{Name: name, Run: func(context.Context) error { <-free; return nil }}
		}
		tree := &supervise.Tree{Name: "order", StopLimit: 8 * time.Second, Workers: []supervise.Worker{
			d.obeys("a", 0),
			{Name: "in", Tree: &supervise.Tree{Workers: []supervise.Worker{stuck("x"), d.obeys("y", 0)}}},
			d.obeys("b", 0),
			stuck("c"),
		}}
		stop, ended := start(t, tree)
		begin := time.Now()
		stop()
		err := <-ended
		se, ok := errors.AsType[*supervise.StopError](err)
		if !ok {
			t.Fatalf("Run: %v", err)
		}
		slices.Sort(se.Names)
		if !slices.Equal(se.Names, []string{"order/c", "order/in/x"}) {
			t.Errorf("who: %q", se.Names)
		}
		if took := time.Since(begin); took != 8*time.Second {
			t.Errorf("took %v, want the limit", took)
		}
		if s := d.String(); !strings.HasSuffix(s, "-b -y -a") {
			t.Errorf("the others were not stopped: %s", s)
		}
		if n := supervise.Goroutines(); n["order/c"] != 1 || n["order/in/x"] != 1 {
			t.Errorf("goroutines by name: %v", n)
		}
		if s := states(tree); !strings.Contains(s, "order/c=stopping") {
			t.Errorf("states %s", s)
		}
		if err := tree.Run(t.Context()); err == nil || !errors.As(err, &se) {
			t.Errorf("a second Run beside what still runs: %v", err)
		}
		close(free)
		synctest.Wait()
		if s := states(tree); !strings.Contains(s, "order/c=done") {
			t.Errorf("late, but ended: %s", s)
		}
		if n := supervise.Goroutines(); n["order/c"] != 0 {
			t.Errorf("goroutines by name: %v", n)
		}
	})
}

// One worker fails: it alone is run again, however it failed.
func TestOneForOne(t *testing.T) {
	for name, fail := range map[string]func() error{
		"error":  func() error { return io.EOF },
		"panic":  func() error { panic("boom") },
		"goexit": func() error { runtime.Goexit(); return nil },
		"own context": func() error {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			return ctx.Err() // not the worker's context
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d diary
				bad := 0
				tree := &supervise.Tree{Workers: []supervise.Worker{
					d.obeys("good", 0),
					{Name: "bad", Run: func(ctx context.Context) error {
						if bad++; bad < 4 {
							return fail()
						}
						<-ctx.Done()
						return ctx.Err()
					}},
					{Name: "once", Run: func(context.Context) error { d.add("once"); return nil }},
				}}
				stop, ended := start(t, tree)
				time.Sleep(time.Minute)
				synctest.Wait()
				if s := tree.Status()[1]; bad != 4 || s.Restarts != 3 || s.LastErr == nil || s.State != supervise.Running {
					t.Errorf("ran %d times, %+v", bad, s)
				}
				stop()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				if s := d.String(); strings.Count(s, "+good") != 1 || strings.Count(s, "once") != 1 {
					t.Errorf("the others: %s", s)
				}
			})
		})
	}
}

func TestEndedContextIsNeverRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 200 {
			runs := map[string]int{}
			var mu sync.Mutex
			fails := func(name string) supervise.Worker {
				return supervise.Worker{Name: name, Run: func(ctx context.Context) error {
					mu.Lock()
					runs[name]++
					mu.Unlock()
					<-ctx.Done()
					return io.EOF // anything but the context's error
				}}
			}
			tree := &supervise.Tree{Restart: supervise.Restart{Base: -1}, Workers: []supervise.Worker{fails("a"), fails("b"),
				{Name: "t", Tree: &supervise.Tree{Workers: []supervise.Worker{fails("c")}}}}}
			stop, ended := start(t, tree)
			stop()
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			if runs["a"] != 1 || runs["b"] != 1 || runs["c"] != 1 {
				t.Fatalf("runs %v", runs)
			}
		}
	})
}

func TestStopsWhileAWorkerWaitsForItsRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := &supervise.Tree{Restart: supervise.Restart{Base: time.Hour, Cap: time.Hour}, Workers: []supervise.Worker{
			{Name: "a", Run: func(context.Context) error { return io.EOF }}}}
		stop, ended := start(t, tree)
		if s := states(tree); s != "a=waiting" {
			t.Errorf("states %s", s)
		}
		begin := time.Now()
		stop()
		if err := <-ended; err != nil || time.Since(begin) != 0 {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

// The numbers in the doc of Restart.
func TestGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		least, most := time.Duration(math.MaxInt64), time.Duration(0)
		for range 200 {
			var d diary
			runs := 0
			tree := &supervise.Tree{Workers: []supervise.Worker{d.obeys("good", 0),
				{Name: "bad", Run: func(context.Context) error { runs++; return io.EOF }}}}
			begin := time.Now()
			_, ended := start(t, tree)
			err := <-ended
			e, ok := errors.AsType[*supervise.GiveUpError](err)
			if !ok || e.Name != "bad" || e.Restarts != 10 || runs != 11 || !errors.Is(err, io.EOF) {
				t.Fatalf("Run: %v after %d runs", err, runs)
			}
			if s := states(tree); s != "good=done bad=given up" {
				t.Fatalf("states %s", s)
			}
			least, most = min(least, time.Since(begin)), max(most, time.Since(begin))
		}
		t.Logf("given up after %v to %v", least, most)
		if least < 40*time.Second || most > 82*time.Second {
			t.Error("the doc says 40s to 82s")
		}
	})
}

// A tree in a tree fails as a whole, is run again as a whole, and in the end
// takes the one around it down.
func TestEscalates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		few := supervise.Restart{Base: time.Millisecond, Max: 2}
		tree := &supervise.Tree{Name: "top", Restart: few, Workers: []supervise.Worker{
			d.obeys("calm", 0),
			{Name: "sub", Tree: &supervise.Tree{Restart: few, Workers: []supervise.Worker{
				d.obeys("sibling", 0),
				{Name: "bad", Run: func(context.Context) error { d.add("bad"); return io.EOF }},
			}}},
		}}
		_, ended := start(t, tree)
		err := <-ended
		if want := "supervise: gave up top/sub after 2 restarts: supervise: gave up top/sub/bad after 2 restarts: EOF"; err == nil || err.Error() != want {
			t.Errorf("Run: %v, want %s", err, want)
		}
		s := d.String()
		for what, n := range map[string]int{"bad": 9, "+sibling": 3, "-sibling": 3, "+calm": 1, "-calm": 1} {
			if got := strings.Count(s, what); got != n {
				t.Errorf("%s %d times, want %d: %s", what, got, n, s)
			}
		}
	})
}

// No second copy beside one that still runs: it goes up at once.
func TestStuckSiblingIsNotDoubled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free, copies := make(chan struct{}), 0
		tree := &supervise.Tree{Workers: []supervise.Worker{{Name: "sub", Tree: &supervise.Tree{
			Restart: supervise.Restart{Base: -1, Max: 1},
			Workers: []supervise.Worker{
				{Name: "stuck", Run: func(context.Context) error { copies++; <-free; return nil }},
				{Name: "bad", Run: func(context.Context) error { return io.EOF }},
			}}}}}
		_, ended := start(t, tree)
		err := <-ended
		if _, ok := errors.AsType[*supervise.StopError](err); !ok || copies != 1 || !strings.Contains(err.Error(), "sub/stuck") {
			t.Errorf("%d copies, Run: %v", copies, err)
		}
		close(free)
	})
}

func TestReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		go1, go2 := make(chan struct{}), make(chan struct{})
		slow := func(name string, c chan struct{}) supervise.Worker {
			return supervise.Worker{Name: name, Announces: true, Run: func(ctx context.Context) error {
				select {
				case <-c:
					supervise.Ready(ctx)
					supervise.Ready(ctx)
				case <-ctx.Done():
				}
				<-ctx.Done()
				return nil
			}}
		}
		supervise.Ready(t.Context()) // nobody's
		tree := &supervise.Tree{Name: "t", Workers: []supervise.Worker{slow("a", go1),
			{Name: "in", Tree: &supervise.Tree{Workers: []supervise.Worker{slow("b", go2)}}}}}
		not := func(want string) {
			t.Helper()
			synctest.Wait()
			err := tree.Check(t.Context())
			if err == nil || errs.KindOf(err) != errs.Unavailable || errs.From(err).Message() != "worker "+want+" is not ready" {
				t.Errorf("Check: %v, want %s", err, want)
			}
		}
		not("t")
		waited := make(chan error, 1)
		go func() { waited <- tree.WaitReady(t.Context()) }()
		stop, ended := start(t, tree)
		not("t/a")
		close(go1)
		not("t/in/b")
		select {
		case err := <-waited:
			t.Errorf("WaitReady did not wait: %v", err)
		default:
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := tree.WaitReady(ctx); err == nil {
			t.Error("WaitReady with its ctx ended: nil")
		}
		close(go2)
		if err := <-waited; err != nil || tree.Check(t.Context()) != nil {
			t.Errorf("WaitReady: %v, Check: %v", err, tree.Check(t.Context()))
		}
		stop()
		<-ended
	})
}

func TestWaitReadyOfAFailedTree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := &supervise.Tree{Restart: supervise.Restart{Max: 1}, Workers: []supervise.Worker{
			{Name: "a", Announces: true, Run: func(context.Context) error { return io.EOF }}}}
		_, ended := start(t, tree)
		if err := tree.WaitReady(t.Context()); err == nil {
			t.Error("nil")
		}
		if err := <-ended; err == nil {
			t.Error("Run: nil")
		}
	})
}

func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		tree := &supervise.Tree{StopLimit: time.Hour, Workers: []supervise.Worker{d.obeys("a", time.Minute), d.obeys("b", 0)}}
		stop, ended := start(t, tree)
		stop() // with an hour to go, until somebody is in a hurry
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		begin := time.Now()
		err := tree.Stop(ctx)
		if took := time.Since(begin); took != 2*time.Second {
			t.Errorf("Stop took %v", took)
		}
		if _, ok := errors.AsType[*supervise.StopError](err); !ok || <-ended != err {
			t.Errorf("Stop: %v", err)
		}
		var early supervise.Tree
		early.Workers = []supervise.Worker{d.obeys("never", 0)}
		if err := errors.Join(early.Stop(ctx), early.Run(t.Context())); err != nil || strings.Contains(d.String(), "never") {
			t.Errorf("Stop before Run: %v, %s", err, d.String())
		}
		time.Sleep(time.Minute)
	})
}

func TestBadSettings(t *testing.T) {
	run := func(context.Context) error { t.Error("started"); return nil }
	loop := &supervise.Tree{}
	loop.Workers = []supervise.Worker{{Name: "again", Tree: loop}}
	for want, tree := range map[string]*supervise.Tree{
		`supervise: a worker of tree "x" has no name`:     {Name: "x", Workers: []supervise.Worker{{Name: "a", Run: run}, {Run: run}}},
		"supervise: two workers are called x/a":           {Name: "x", Workers: []supervise.Worker{{Name: "a", Run: run}, {Name: "a", Run: run}}},
		"supervise: worker s/a needs one of Run and Tree": {Workers: []supervise.Worker{{Name: "s", Tree: &supervise.Tree{Workers: []supervise.Worker{{Name: "a"}}}}}},
		"supervise: tree  contains itself":                loop,
	} {
		if err := tree.Run(t.Context()); err == nil || err.Error() != want {
			t.Errorf("Run: %v, want %s", err, want)
		}
	}
	if err := new(supervise.Tree).Run(t.Context()); err != nil {
		t.Errorf("zero Tree: %v", err)
	}
}

func TestLogsAPanicOnceWithItsStack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		tree := &supervise.Tree{Restart: supervise.Restart{Max: 1}, Workers: []supervise.Worker{
			{Name: "a", Run: func(context.Context) error { panic("boom") }}}}
		tree.Observe.Log = slog.New(slog.NewTextHandler(&b, nil))
		if tree.Run(t.Context()) == nil {
			t.Error("Run: nil")
		}
		if s := b.String(); strings.Count(s, "err.panic=boom") != 2 || strings.Count(s, "supervise_test.go") < 2 || strings.Count(s, "\n") != 2 {
			t.Errorf("two failures, two records with a stack each: %s", s)
		}
	})
}

// A worker that works for a while between its failures waits Base each time and
// is never given up.
func TestSteadyRunsAreForgiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fell time.Time
		longest := time.Duration(0)
		tree := &supervise.Tree{Workers: []supervise.Worker{{Name: "a", Run: func(ctx context.Context) error {
			if !fell.IsZero() {
				longest = max(longest, time.Since(fell))
			}
			select {
			case <-time.After(time.Minute):
			case <-ctx.Done():
			}
			fell = time.Now()
			return io.EOF
		}}}}
		stop, ended := start(t, tree)
		time.Sleep(24 * time.Hour)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if n := tree.Status()[0].Restarts; n < 1400 || longest > 100*time.Millisecond {
			t.Errorf("%d restarts, longest wait %v", n, longest)
		}
	})
}

func TestDefaultsAreTheDocumentedOnes(t *testing.T) {
	want := supervise.Restart{Base: 100 * time.Millisecond, Cap: 30 * time.Second, Factor: 2, Jitter: 0.5,
		Steady: time.Minute, Max: 10, Window: 5 * time.Minute}
	if got := (supervise.Restart{Cap: -1, Steady: -1, Window: -1}).OrDefault(); got != want {
		t.Errorf("zero means %+v, want %+v", got, want)
	}
}
