package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/safe"
)

// errStopped is the cause of the end of a worker's context.
var errStopped = errors.New("supervise: told to stop")

// Run starts all workers in order, without waiting for one to be ready, keeps
// them running, and blocks until ctx ends and they have stopped, or all are
// done, or one was given up.
//
// It stops the last worker first and tells the next when that one has ended, or
// has used its equal share of the time left: one that hangs delays the others
// but does not rob them of their chance. A worker whose context has ended is
// never run again.
//
// The error is nil after a clean stop, or it is or wraps a *StopError, or a
// *GiveUpError if a worker failed too often; a wrong setting is another. After a
// *StopError the tree cannot run again, and the tree around it does not try: a
// second copy of a worker that still runs would do harm.
//
// Metrics, each with attribute surefoot.worker: surefoot.worker.running and
// surefoot.worker.restarts; and surefoot.panics with the goroutine's name, for
// workers and for what they start with package safe: see CountPanics. Each
// failure is one log record.
func (t *Tree) Run(ctx context.Context) error {
	if err := t.check(t.Name, 0); err != nil {
		return err
	}
	return t.run(ctx, nil, observe.Sinks{})
}

const scope = "github.com/surefoot-go/surefoot/supervise"

// check finds mistakes in the settings before anything is started.
func (t *Tree) check(path string, depth int) error {
	if depth > 100 {
		return fmt.Errorf("supervise: tree %s contains itself", t.Name)
	}
	seen := map[string]bool{}
	for _, w := range t.Workers {
		name := join(path, w.Name)
		switch {
		case w.Name == "":
			return fmt.Errorf("supervise: a worker of tree %q has no name", path)
		case seen[w.Name]:
			return fmt.Errorf("supervise: two workers are called %s", name)
		case (w.Run == nil) == (w.Tree == nil):
			return fmt.Errorf("supervise: worker %s needs one of Run and Tree", name)
		}
		seen[w.Name] = true
		if w.Tree != nil {
			if err := w.Tree.check(name, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "/" + name
}

// loop is one Run of a tree: everything here happens in Run's goroutine.
type loop struct {
	*Tree
	ctx      context.Context // of Run
	base     context.Context // of workers: with the values of ctx and without its end
	from     *slot           // what this tree is in the tree around it, or nil
	up       *Tree
	log      *slog.Logger
	live     metric.Int64UpDownCounter
	restarts metric.Int64Counter
	panics   *observe.Panics
	sinks    observe.Sinks
	open     map[*slot]bool // started, and the end not heard of yet
	ends     chan end       // one place for each worker, so nobody blocks on it
	stuck    []string       // who did not stop in time
}

type end struct {
	slot *slot
	err  error
}

// run is Run; from is what t is in the tree around it, or nil, and sinks are
// that tree's.
func (t *Tree) run(ctx context.Context, from *turn, sinks observe.Sinks) error {
	l := &loop{Tree: t, ctx: ctx, base: context.WithoutCancel(ctx), open: map[*slot]bool{}}
	path := t.Name
	if from != nil {
		l.from, l.up, path = from.slot, from.tree, from.slot.path
	}
	quit, err := l.begin(path)
	if err != nil {
		return err
	}
	l.sinks = fill(t.Observe, sinks).OrDefault()
	l.log = l.sinks.Log
	l.base = CountPanics(l.base, l.sinks)
	l.panics = observe.NewPanics(l.sinks.Meter.Meter(scope))
	meter := l.sinks.Meter.Meter(scope)
	l.live, _ = meter.Int64UpDownCounter("surefoot.worker.running",
		metric.WithDescription("Goroutines of supervised workers."), metric.WithUnit("{goroutine}"))
	l.restarts, _ = meter.Int64Counter("surefoot.worker.restarts",
		metric.WithDescription("Starts of workers after a failure."), metric.WithUnit("{restart}"))

	err = l.work(quit)
	t.mu.Lock()
	t.phase, t.result = ended, err
	close(t.over)
	t.mu.Unlock()
	t.wake()
	return err
}

// begin readies the tree for a run.
func (l *loop) begin(path string) (quit chan struct{}, err error) {
	t := l.Tree
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.phase == running {
		return nil, fmt.Errorf("supervise: tree %s runs already", path)
	}
	for _, s := range t.slots {
		if s.live {
			return nil, fmt.Errorf("supervise: tree %s cannot run again: %w", path, &StopError{Names: []string{s.path}})
		}
	}
	t.phase, t.up, t.over, t.result = running, l.up, make(chan struct{}), nil
	t.slots = make([]*slot, len(t.Workers))
	rest := t.Restart
	for i, w := range t.Workers {
		w.Restart = w.Restart.over(rest).OrDefault()
		t.slots[i] = &slot{Worker: w, path: join(path, w.Name), since: time.Now()}
	}
	l.ends = make(chan end, len(t.slots))
	return t.quitting(), nil
}

// work starts, watches and stops the workers.
func (l *loop) work(quit <-chan struct{}) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if l.told(quit) {
			return l.stop(quit)
		}
		next, busy := l.start(time.Now())
		if !busy {
			return nil
		}
		timer.Stop()
		var due <-chan time.Time
		if !next.IsZero() {
			timer.Reset(time.Until(next))
			due = timer.C
		}
		select {
		case <-l.ctx.Done():
		case <-quit:
		case <-due:
		case e := <-l.ends:
			if err := l.judge(e, quit); err != nil {
				return errors.Join(err, l.stop(quit))
			}
		}
	}
}

func (l *loop) told(quit <-chan struct{}) bool {
	select {
	case <-quit:
		return true
	case <-l.ctx.Done():
		return true
	default:
		return false
	}
}

// start runs every worker whose time has come, and says when that of the next
// one will, if any; busy says that not all are done.
func (l *loop) start(now time.Time) (next time.Time, busy bool) {
	for _, s := range l.slots {
		l.mu.Lock()
		waiting := s.state == Waiting
		l.mu.Unlock()
		switch {
		case waiting && !s.due.After(now):
			l.launch(s)
		case waiting && (next.IsZero() || s.due.Before(next)):
			next = s.due
		}
		busy = busy || waiting || l.open[s]
	}
	return next, busy
}

// launch runs a worker once, in a goroutine of its name.
func (l *loop) launch(s *slot) {
	t := turn{tree: l.Tree, slot: s}
	ctx, cancel := context.WithCancelCause(l.base)
	l.set(s, func(s *slot) bool {
		s.run++
		t.run = s.run
		s.cancel, s.live, s.due = cancel, true, time.Now() // due is now the time of the start
		s.state = Running
		if s.Announces && s.Tree == nil {
			s.state = Starting
		}
		return true
	})
	l.open[s] = true
	set := metric.WithAttributes(attribute.String("surefoot.worker", s.path))
	l.live.Add(ctx, 1, set)
	if t.run > 1 {
		l.restarts.Add(ctx, 1, set)
	}
	var failed error
	returned := false
	safe.Go(context.WithValue(ctx, turnKey{}, t), s.path, func(ctx context.Context) error {
		// Not returned, so that a panic is logged once, by judge.
		failed = safe.Call(func() error {
			if s.Tree != nil {
				return s.Tree.run(ctx, &t, l.sinks)
			}
			err := s.Run(ctx)
			returned = true
			return err
		})
		return nil
	}, func(err error) {
		if err == nil { // not ErrGoexit
			err = failed
		}
		if _, ok := errors.AsType[*safe.Panic](err); ok && !returned && s.Tree == nil {
			l.panics.Count(ctx, s.path)
		}
		cancel(nil)
		l.live.Add(context.WithoutCancel(ctx), -1, set)
		l.set(s, func(s *slot) bool { // also after Run has given up waiting
			s.live = false
			if s.state == Stopping || err == nil {
				s.state = Done
			}
			return true
		})
		l.ends <- end{s, err}
	})
}

func fill(o, from observe.Sinks) observe.Sinks {
	if o.Tracer == nil {
		o.Tracer = from.Tracer
	}
	if o.Meter == nil {
		o.Meter = from.Meter
	}
	if o.Log == nil {
		o.Log = from.Log
	}
	return o
}

// judge decides what follows the end of a worker; an error gives up.
func (l *loop) judge(e end, quit <-chan struct{}) error {
	s := e.slot
	delete(l.open, s)
	if e.err == nil {
		l.log.InfoContext(l.base, "worker done", "worker", s.path)
		return nil
	}
	if l.told(quit) {
		l.last(e)
		return nil
	}
	now := time.Now()
	wait, again := s.failures.failed(s.due, now, s.Restart, rand.Float64())
	stop, stuck := errors.AsType[*StopError](e.err)
	again = again && !stuck
	s.due = now.Add(wait)
	l.set(s, func(s *slot) bool {
		s.lastErr = e.err
		if s.state = Waiting; !again {
			s.state = GivenUp
		}
		return true
	})
	if again {
		l.log.ErrorContext(l.base, "worker failed, will run again", "worker", s.path, "err", e.err, "wait", wait.String())
		return nil
	}
	if stuck {
		l.stuck = append(l.stuck, stop.Names...)
	}
	l.log.ErrorContext(l.base, "worker given up", "worker", s.path, "err", e.err, "restarts", s.run-1)
	return &GiveUpError{Name: s.path, Restarts: s.run - 1, Err: e.err}
}

// last reports how a worker that was told to stop ended.
func (l *loop) last(e end) {
	delete(l.open, e.slot)
	l.set(e.slot, func(s *slot) bool { s.state = Done; return true })
	if stop, ok := errors.AsType[*StopError](e.err); ok {
		l.stuck = append(l.stuck, stop.Names...)
	} else if e.err != nil && !errors.Is(e.err, context.Canceled) && !errors.Is(e.err, errStopped) {
		l.log.WarnContext(l.base, "worker stopped badly", "worker", e.slot.path, "err", e.err)
	}
}
