// Package supervise keeps long-lived workers running: one that fails is started
// again after a growing wait, one that keeps failing is given up, and all stop
// in order.
//
//	var tree = supervise.Tree{Name: "order", Workers: []supervise.Worker{
//		{Name: "outbox", Run: settle},
//		{Name: "feeds", Tree: &supervise.Tree{Workers: []supervise.Worker{
//			{Name: "prices", Run: followPrices},
//			{Name: "stock", Run: followStock},
//		}}},
//	}}
//	err := tree.Run(ctx) // blocks; ctx says when to stop
//
// It cannot stop a worker that ignores its context, because Go has no way to:
// such a worker is named in the error. For tasks that end by themselves use
// safe.Group.
package supervise

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/observe"
)

// Worker is one long-lived function, or a tree of them. One of Run and Tree is
// set.
type Worker struct {
	Name string // unlike that of any other worker of its tree; it names the goroutine in profiles
	// Run blocks until its ctx ends. If it returns nil, it is done. If it
	// returns an error, panics, or calls runtime.Goexit while its ctx has not
	// ended, it has failed and is run again. ctx has the values of the tree's
	// ctx but ends when it is this worker's turn to stop.
	Run func(ctx context.Context) error
	// Tree is run in place of Run. It has failed when one of its workers was
	// given up.
	Tree *Tree
	// Announces says that Run calls Ready; without it a worker counts as ready
	// from its start. A Tree is ready when its workers are.
	Announces bool
	// Restart replaces, field by field, what the tree says.
	Restart Restart
}

// Tree runs workers. Set the fields before Run and do not copy it afterwards.
// The zero value has no workers and is done at once. Its methods are safe for
// concurrent use.
type Tree struct {
	Name    string // the first part of its workers' full names, such as "order/feeds/stock"; a Tree of a Worker takes the Worker's
	Workers []Worker
	Restart Restart // for workers that do not say otherwise
	// StopLimit is how long stopping may take in all; 0 or negative means 10s,
	// the patience of docker stop. A Tree inside another takes no longer than
	// nine tenths of what is left to that one, so that it can still report.
	StopLimit time.Duration
	Observe   observe.Sinks // field by field that of the tree around it

	mu      sync.Mutex
	phase   phase
	slots   []*slot
	up      *Tree         // the tree around it, to be told of changes
	changed chan struct{} // closed at the next change; nil while nobody waits
	quit    chan struct{} // closed by Stop
	limit   context.Context
	over    chan struct{} // closed when the current Run has returned
	result  error         // of the last Run
}

type phase int

const (
	idle phase = iota
	running
	ended
)

// State is what a worker does.
type State uint8

// The states of a worker.
const (
	Waiting  State = iota // for its (next) start
	Starting              // it runs and has not called Ready yet
	Running               // it runs and is ready
	Stopping              // it was told to stop and still runs
	Done                  // it returned nil, or stopped when told to
	GivenUp               // it failed too often
)

// String is "waiting", "starting", "running", "stopping", "done" or "given up".
func (s State) String() string {
	names := [...]string{"waiting", "starting", "running", "stopping", "done", "given up"}
	if int(s) >= len(names) {
		return "unknown"
	}
	return names[s]
}

// MarshalText is String, for JSON and logs.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Status is one worker at one moment.
type Status struct {
	Name     string // in full
	State    State
	Since    time.Time // of the state
	Restarts int       // since the tree began to run
	LastErr  error     // of the last failure; nil before the first
}

// GiveUpError says that a worker failed too often to be started again. It
// wraps the last failure.
type GiveUpError struct {
	Name     string // in full
	Restarts int    // since its tree began to run
	Err      error  // the last failure
}

// Error names the worker and the last failure.
func (e *GiveUpError) Error() string {
	return fmt.Sprintf("supervise: gave up %s after %d restarts: %v", e.Name, e.Restarts, e.Err)
}

// Unwrap is the last failure.
func (e *GiveUpError) Unwrap() error { return e.Err }

// StopError says who did not stop in time. Those still run.
type StopError struct {
	Names []string // in full
}

// Error names them.
func (e *StopError) Error() string {
	return "supervise: did not stop in time: " + strings.Join(e.Names, ", ")
}

// Ready says that the worker whose context ctx is can do its work. It does
// nothing for any other ctx, and for one of an earlier run.
func Ready(ctx context.Context) {
	if t, ok := ctx.Value(turnKey{}).(turn); ok {
		t.tree.set(t.slot, func(s *slot) bool {
			if s.run != t.run || s.state != Starting {
				return false
			}
			s.state = Running
			return true
		})
	}
}

// turn is one run of one worker, as its context knows it.
type turn struct {
	tree *Tree
	slot *slot
	run  int
}

type turnKey struct{}

// slot is a worker at work.
type slot struct {
	Worker
	path string

	// Guarded by the mu of its tree.
	state   State
	since   time.Time
	run     int  // how often it was started
	live    bool // its goroutine runs
	lastErr error
	limit   context.Context // of its stop

	// Of the goroutine of Run.
	failures history
	due      time.Time // of the next start, while Waiting, or of the last
	cancel   context.CancelCauseFunc
}

// set changes a slot and wakes who waits for changes. change reports whether it
// changed anything.
func (t *Tree) set(s *slot, change func(*slot) bool) {
	t.mu.Lock()
	before := s.state
	did := change(s)
	if s.state != before {
		s.since = time.Now()
	}
	t.mu.Unlock()
	if did {
		t.wake()
	}
}

func (t *Tree) wake() {
	for t != nil {
		t.mu.Lock()
		if t.changed != nil {
			close(t.changed)
			t.changed = nil
		}
		up := t.up
		t.mu.Unlock()
		t = up
	}
}

// Status is every worker, those of trees inside included, in the order of
// their start. It is empty before Run.
func (t *Tree) Status() []Status {
	t.mu.Lock()
	var out []Status
	inside := map[int]*Tree{}
	for i, s := range t.slots {
		out = append(out, Status{s.path, s.state, s.since, max(s.run-1, 0), s.lastErr})
		if s.Tree != nil && s.run > 0 {
			inside[i] = s.Tree
		}
	}
	t.mu.Unlock()
	for i := len(out) - 1; i >= 0; i-- {
		if sub := inside[i]; sub != nil {
			out = slices.Insert(out, i+1, sub.Status()...)
		}
	}
	return out
}

// Check returns nil if every worker is ready or done, and otherwise an error of
// Kind errs.Unavailable that names the first which is not. It does not block,
// so it serves as service.Service.Ready.
func (t *Tree) Check(context.Context) error {
	const op = "supervise.Check"
	if name, ok := t.ready(t.Name); !ok {
		return errs.New(errs.Unavailable, op, "worker "+name+" is not ready")
	}
	return nil
}

// ready says whether every worker is ready or done, or else which one is not.
// path is t's full name.
func (t *Tree) ready(path string) (name string, ok bool) {
	t.mu.Lock()
	if t.phase == idle || t.phase == ended && t.result != nil {
		t.mu.Unlock()
		return path, false
	}
	var inside []*slot
	for _, s := range t.slots {
		if s.state != Done && s.state != Running {
			t.mu.Unlock()
			return s.path, false
		}
		if s.state == Running && s.Tree != nil {
			inside = append(inside, s)
		}
	}
	t.mu.Unlock()
	for _, s := range inside {
		if name, ok := s.Tree.ready(s.path); !ok {
			return name, false
		}
	}
	return "", true
}

func (t *Tree) err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.result
}

// WaitReady blocks until Check would return nil, and returns nil; or until ctx
// ends or the tree has failed, and says who was not ready then. It may be called
// before Run.
func (t *Tree) WaitReady(ctx context.Context) error {
	for {
		t.mu.Lock()
		if t.changed == nil {
			t.changed = make(chan struct{})
		}
		changed, failed := t.changed, t.phase == ended && t.result != nil
		t.mu.Unlock()
		err := t.Check(ctx)
		if err == nil || failed {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return err
		}
	}
}

// Stop is the end of Run's ctx with another limit than StopLimit: it stops the
// workers, in order, until ctx ends (and for StopLimit if ctx has no deadline),
// and returns what Run returns. A tree that was stopped cannot run again; before
// Run, that is all it does. A worker that calls it waits for itself.
func (t *Tree) Stop(ctx context.Context) error {
	t.mu.Lock()
	if t.limit == nil {
		t.limit = ctx
		close(t.quitting())
	}
	over := t.over
	t.mu.Unlock()
	if over == nil {
		return nil
	}
	<-over // Run returns when ctx ends, at the latest
	return t.err()
}

// quitting is closed by Stop; t.mu is held.
func (t *Tree) quitting() chan struct{} {
	if t.quit == nil {
		t.quit = make(chan struct{})
	}
	return t.quit
}
