package safe

import (
	"context"
	"errors"
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
	cancel map[*Task]context.CancelCauseFunc
	errs   []error
}

// Go runs fn with a context that ends with ctx, and also, unless All is set,
// at the first error of the group. It blocks while Max functions run. It does
// not run fn if the group has failed already or if ctx ends while it blocks;
// in the second case ctx's error counts as fn's.
func (g *Group) Go(ctx context.Context, fn func(context.Context) error) {
	slots := g.start()
	if slots != nil {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			g.fail(context.Cause(ctx))
			return
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
		return
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
		g.fail(err)
	})
	g.cancel[t] = cancel
}

// start readies the group on its first use.
func (g *Group) start() chan struct{} {
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
	return g.slots
}

func (g *Group) fail(err error) {
	if err == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.All {
		g.errs = append(g.errs, err)
		return
	}
	if len(g.errs) == 0 {
		g.errs = append(g.errs, err)
		for _, cancel := range g.cancel {
			cancel(err)
		}
	}
}

// Wait blocks until every function has returned, and returns the first error,
// or with All all of them joined in the order they came; nil if there was
// none. It waits without limit: end the context of the functions. After Wait
// the group may be used again, empty.
func (g *Group) Wait() error {
	g.wg.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	errs := g.errs
	g.errs = nil
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}
