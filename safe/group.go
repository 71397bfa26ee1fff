package safe

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
)

// Group runs functions in goroutines, a bounded number at a time, and waits
// for all of them. The zero value runs up to 16 at once and stops at the first
// error. Set the fields before the first Go and do not copy it afterwards.
type Group struct {
	Name string // label of its goroutines; "" means "group"
	Max  int    // at once; 0 means 16, negative means no bound
	All  bool   // run everything and join all errors, instead of stopping at the first

	mu     sync.Mutex
	wg     sync.WaitGroup
	slots  chan struct{} // nil until the first Go, or when unbounded
	ready  bool
	asked  int // how often Go was called
	cancel map[*Task]context.CancelCauseFunc
	errs   []failure
}

// failure is the error of the n-th call of Go.
type failure struct {
	n   int
	err error
}

// Go runs fn with a context that ends with ctx, and also, unless All is set,
// at the first error of the group. It blocks while Max functions run. It does
// not run fn if the group has failed already or if ctx ends while it blocks;
// in the second case ctx's error counts as fn's.
func (g *Group) Go(ctx context.Context, fn func(context.Context) error) { g.run(ctx, fn) }

// run is Go; false says that fn will not run, and nothing after it either.
func (g *Group) run(ctx context.Context, fn func(context.Context) error) bool {
	slots, n := g.start()
	if slots != nil {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			g.fail(n, context.Cause(ctx))
			return false
		}
	}
	release := func() {
		if slots != nil {
			<-slots
		}
	}

	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.errs) > 0 && !g.All {
		release()
		return false
	}
	name := g.Name
	if name == "" {
		name = "group"
	}
	ctx, cancel := context.WithCancelCause(ctx)
	g.wg.Add(1)
	var t *Task
	t = Go(ctx, name, fn, func(err error) {
		defer g.wg.Done()
		defer release()
		g.mu.Lock() // also waits until t is set
		delete(g.cancel, t)
		g.mu.Unlock()
		cancel(nil)
		g.fail(n, err)
	})
	g.cancel[t] = cancel
	return true
}

// start readies the group on its first use and counts the calls of Go.
func (g *Group) start() (slots chan struct{}, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ready {
		g.ready = true
		g.cancel = make(map[*Task]context.CancelCauseFunc)
		switch {
		case g.Max == 0:
			g.slots = make(chan struct{}, 16)
		case g.Max > 0:
			g.slots = make(chan struct{}, g.Max)
		}
	}
	g.asked++
	return g.slots, g.asked
}

func (g *Group) fail(n int, err error) {
	if err == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.errs) > 0 && !g.All {
		return
	}
	g.errs = append(g.errs, failure{n, err})
	if !g.All {
		for _, cancel := range g.cancel {
			cancel(err)
		}
	}
}

// Wait blocks until every function has returned, and returns the first error,
// or with All all of them joined in the order of the calls of Go; nil if there
// was none. It waits without limit: end the context of the functions. After Wait
// the group may be used again, empty.
func (g *Group) Wait() error {
	g.wg.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	failures := g.errs
	g.errs, g.asked = nil, 0
	if len(failures) == 1 {
		return failures[0].err
	}
	slices.SortStableFunc(failures, func(a, b failure) int { return cmp.Compare(a.n, b.n) })
	errs := make([]error, len(failures))
	for i, f := range failures {
		errs[i] = f.err
	}
	return errors.Join(errs...)
}

// Map runs fn on each of in and returns the results in the order of in. A nil g
// means the zero Group; another must not be in use elsewhere meanwhile.
//
// At the first error, which it returns, the contexts of the others end and what
// was not begun is not run; with g.All everything is run and all errors are
// joined in the order of in. Once ctx has ended nothing more is begun. A panic is
// an error. The results of what failed, or was not run, are zero; the slice is
// always as long as in. Map returns when all that was begun has.
func Map[In, Out any](ctx context.Context, g *Group, in []In, fn func(context.Context, In) (Out, error)) ([]Out, error) {
	if g == nil {
		g = new(Group)
	}
	out := make([]Out, len(in))
	for i, v := range in {
		more := g.run(ctx, func(ctx context.Context) error {
			result, err := fn(ctx, v)
			if err == nil {
				out[i] = result
			}
			return err
		})
		if !more {
			break
		}
	}
	return out, g.Wait()
}
