// Package safe runs functions and goroutines that cannot kill the process: a
// panic in them becomes an error.
//
//	task := safe.Go(ctx, "outbox", settle)
//	...
//	err := task.Wait()
//
//	g := safe.Group{Max: 8}
//	for _, id := range ids {
//		g.Go(ctx, func(ctx context.Context) error { return load(ctx, id) })
//	}
//	err = g.Wait()
//
//	orders, err := safe.Map(ctx, nil, ids, fetch) // results in the order of ids
//
// It does not restart what failed, and it cannot stop a function that ignores
// its context: Go has no way to.
package safe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"runtime/pprof"
)

// ErrGoexit says that a function ended its goroutine with runtime.Goexit, as
// t.FailNow does, instead of returning.
var ErrGoexit = errors.New("safe: the function called runtime.Goexit")

// Panic is a recovered panic. Error shows the value but not the stack; LogValue
// shows both. It deliberately does not unwrap to a value that is an error: a
// panic is a mistake of the program whatever it was called with.
type Panic struct {
	Value any
	Stack []byte // of the goroutine that panicked, as debug.Stack prints it
}

// Error returns "panic: " and the value. It is for logs: the value may hold
// anything.
func (p *Panic) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

// LogValue shows the value and the stack.
func (p *Panic) LogValue() slog.Value {
	return slog.GroupValue(slog.String("panic", fmt.Sprint(p.Value)), slog.String("stack", string(p.Stack)))
}

// Call runs fn in this goroutine and returns its error. If fn panics, the
// error is a *Panic. If fn calls runtime.Goexit the goroutine ends, as it must,
// and Call does not return.
func Call(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &Panic{Value: v, Stack: debug.Stack()}
		}
	}()
	return fn()
}

// Task is a goroutine started by Go.
type Task struct {
	name string
	done chan struct{}
	err  error
}

// Name returns the name the task was started with.
func (t *Task) Name() string { return t.name }

// Done is closed when the function has returned and every done callback of Go
// has.
func (t *Task) Done() <-chan struct{} { return t.done }

// Wait blocks until the function has returned, and returns its error, a *Panic
// or ErrGoexit. It may be called many times and by many. It waits without
// limit: end the task's context, or select on Done.
func (t *Task) Wait() error {
	<-t.done
	return t.err
}

// Go runs fn in a new goroutine that carries name as its pprof label
// "surefoot.goroutine". When fn ends, the done callbacks are called in order,
// in that goroutine, with fn's error, a *Panic or ErrGoexit.
//
// A panic is also told at once to whom ctx names with WithPanics, else logged to
// slog.Default with its stack, since nobody may be waiting. Other errors are for
// Wait or for done: somebody must look.
func Go(ctx context.Context, name string, fn func(context.Context) error, done ...func(error)) *Task {
	t := &Task{name: name, done: make(chan struct{})}
	go t.run(ctx, fn, done)
	return t
}

func (t *Task) run(ctx context.Context, fn func(context.Context) error, done []func(error)) {
	defer close(t.done)
	t.err = ErrGoexit // until fn has returned
	returned := false
	defer func() {
		if !returned { // a panic that fn returns as its error is an error, and another's
			report(ctx, t.name, t.err)
		}
		for _, d := range done {
			err := Call(func() error { d(t.err); return nil })
			report(ctx, t.name+" (done)", err)
		}
	}()
	pprof.Do(ctx, pprof.Labels("surefoot.goroutine", t.name), func(ctx context.Context) {
		t.err = Call(func() error {
			err := fn(ctx)
			returned = true
			return err
		})
	})
}

func report(ctx context.Context, name string, err error) {
	p, ok := errors.AsType[*Panic](err)
	if !ok {
		return
	}
	tell, ok := ctx.Value(tellKey{}).(func(context.Context, string, *Panic))
	if !ok {
		tell = logged
	}
	if Call(func() error { tell(ctx, name, p); return nil }) != nil {
		logged(ctx, name, p)
	}
}

func logged(ctx context.Context, name string, p *Panic) {
	slog.Default().ErrorContext(ctx, "panic in goroutine", "goroutine", name, "err", p)
}

type tellKey struct{}

// WithPanics returns a ctx in which Go and Group tell of panics with tell, in
// place of the log: tell logs p, and counts it by the name of the goroutine. It
// is called in the goroutine that panicked, by many at once. Package supervise
// has one that does both, and its trees use it.
func WithPanics(ctx context.Context, tell func(ctx context.Context, name string, p *Panic)) context.Context {
	return context.WithValue(ctx, tellKey{}, tell)
}
