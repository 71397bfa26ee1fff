package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/safe"
)

type withDeadline func(context.Context, time.Time) (context.Context, context.CancelFunc)

type key struct{}

var errWhy = errors.New("why")

// What happens to a context with a deadline, in each order, must look the same
// whether the standard library or we made it. The story is told by what can be
// observed: Err, Cause, Deadline, whether Done is closed, values, and the same
// of children made before and after.
func TestDeadlineIsTheStandardOne(t *testing.T) {
	type world struct {
		parent context.Context
		ctx    context.Context
		cancel context.CancelFunc
		up     context.CancelCauseFunc // ends the parent
		say    func(format string, args ...any)
	}
	look := func(w *world, ctx context.Context) {
		d, ok := ctx.Deadline()
		w.say("err %v, cause %v, deadline %v %v, value %v", ctx.Err(), context.Cause(ctx), d, ok, ctx.Value(key{}))
	}
	closed := func(w *world, ctx context.Context) {
		synctest.Wait()
		select {
		case <-ctx.Done():
			w.say("done: %v", ctx.Err())
		default:
			w.say("not done: %v", ctx.Err())
		}
	}
	both := func(w *world) { look(w, w.ctx); closed(w, w.ctx); look(w, w.ctx) }
	for name, play := range map[string]func(w *world){
		"alive":                           both,
		"canceled":                        func(w *world) { w.cancel(); both(w); w.cancel(); both(w) },
		"canceled after Done":             func(w *world) { closed(w, w.ctx); w.cancel(); both(w) },
		"expired":                         func(w *world) { time.Sleep(2 * time.Second); both(w) },
		"expired after Done":              func(w *world) { closed(w, w.ctx); time.Sleep(2 * time.Second); both(w) },
		"canceled after it expired":       func(w *world) { time.Sleep(2 * time.Second); w.cancel(); both(w) },
		"expires after it was canceled":   func(w *world) { w.cancel(); time.Sleep(2 * time.Second); both(w) },
		"parent ends":                     func(w *world) { w.up(errWhy); both(w) },
		"parent ends, after Done":         func(w *world) { closed(w, w.ctx); w.up(errWhy); both(w) },
		"parent ends, then it expires":    func(w *world) { w.up(errWhy); look(w, w.ctx); time.Sleep(2 * time.Second); both(w) },
		"expires, then parent ends":       func(w *world) { time.Sleep(2 * time.Second); look(w, w.ctx); w.up(errWhy); both(w) },
		"canceled, then parent ends":      func(w *world) { w.cancel(); w.up(errWhy); both(w) },
		"parent ends, then canceled":      func(w *world) { w.up(errWhy); w.cancel(); both(w) },
		"Err, canceled, parent ends":      func(w *world) { look(w, w.ctx); w.cancel(); w.up(errWhy); closed(w, w.ctx); both(w) },
		"waits until it expires":          func(w *world) { <-w.ctx.Done(); w.say("after %v", time.Now()); both(w) },
		"somebody waits, it is canceled":  func(w *world) { time.AfterFunc(time.Millisecond, w.cancel); <-w.ctx.Done(); both(w) },
		"somebody waits, the parent ends": func(w *world) { time.AfterFunc(time.Millisecond, func() { w.up(errWhy) }); <-w.ctx.Done(); both(w) },
		"children": func(w *world) {
			a, stopA := context.WithCancel(w.ctx)
			b, stopB := context.WithTimeout(w.ctx, time.Hour)
			c, stopC := context.WithTimeout(w.ctx, time.Millisecond)
			d := context.WithoutCancel(w.ctx)
			e := context.WithValue(w.ctx, key{}, "mine")
			defer stopA()
			defer stopB()
			defer stopC()
			for range 3 {
				for _, x := range []context.Context{a, b, c, d, e} {
					look(w, x)
					closed(w, x)
				}
				time.Sleep(600 * time.Millisecond)
			}
		},
		"children of one that is canceled": func(w *world) {
			a, stop := context.WithCancel(w.ctx)
			defer stop()
			w.cancel()
			look(w, a)
			closed(w, a)
			b, stop := context.WithTimeout(w.ctx, time.Hour)
			defer stop()
			look(w, b)
			closed(w, b)
		},
		"children of one that expired": func(w *world) {
			time.Sleep(time.Minute)
			a, stop := context.WithCancel(w.ctx)
			defer stop()
			look(w, a)
			closed(w, a)
		},
		"children of one whose parent ended": func(w *world) {
			w.up(errWhy)
			a, stop := context.WithCancel(w.ctx)
			defer stop()
			look(w, a)
			closed(w, a)
			w.cancel()
			look(w, a)
		},
		"AfterFunc": func(w *world) {
			stop := context.AfterFunc(w.ctx, func() { w.say("called at %v", time.Now()) })
			synctest.Wait()
			time.Sleep(time.Minute)
			synctest.Wait()
			w.say("stopped %v", stop())
		},
		"AfterFunc, stopped": func(w *world) {
			stop := context.AfterFunc(w.ctx, func() { w.say("called") })
			w.say("stopped %v", stop())
			w.cancel()
			synctest.Wait()
		},
		"AfterFunc of one that is canceled": func(w *world) {
			w.cancel()
			context.AfterFunc(w.ctx, func() { w.say("called") })
			synctest.Wait()
		},
	} {
		for parent, make := range map[string]func() (context.Context, context.CancelCauseFunc, context.CancelFunc){
			"background": func() (context.Context, context.CancelCauseFunc, context.CancelFunc) {
				return context.Background(), func(error) {}, func() {}
			},
			"cancelable": func() (context.Context, context.CancelCauseFunc, context.CancelFunc) {
				ctx, cancel := context.WithCancelCause(context.WithValue(context.Background(), key{}, "v"))
				return ctx, cancel, func() { cancel(nil) }
			},
			"with a later deadline": func() (context.Context, context.CancelCauseFunc, context.CancelFunc) {
				up, cause := context.WithCancelCause(context.Background())
				ctx, cancel := context.WithTimeout(up, time.Hour)
				return ctx, cause, cancel
			},
			"with a sooner deadline and a cause": func() (context.Context, context.CancelCauseFunc, context.CancelFunc) {
				up, cause := context.WithCancelCause(context.Background())
				ctx, cancel := context.WithTimeoutCause(up, 500*time.Millisecond, errWhy)
				return context.WithValue(ctx, key{}, "v"), cause, cancel
			},
			"without cancel": func() (context.Context, context.CancelCauseFunc, context.CancelFunc) {
				up, cause := context.WithCancelCause(context.Background())
				return context.WithoutCancel(up), cause, func() {}
			},
		} {
			t.Run(name+", parent "+parent, func(t *testing.T) {
				tell := func(make2 withDeadline) (story []string) {
					synctest.Test(t, func(t *testing.T) {
						var mu sync.Mutex
						p, up, release := make()
						w := &world{parent: p, up: up, say: func(format string, args ...any) {
							mu.Lock()
							defer mu.Unlock()
							story = append(story, fmt.Sprintf(format, args...))
						}}
						w.ctx, w.cancel = make2(p, time.Now().Add(time.Second))
						play(w)
						w.cancel()
						look(w, w.ctx)
						release()
						synctest.Wait()
					})
					return story
				}
				want, got := tell(context.WithDeadline), tell(resilience.WithDeadline)
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("ours\n%q\nstandard\n%q", got, want)
				}
			})
		}
	}
}

func TestDeadlineThatIsOver(t *testing.T) {
	for name, make := range map[string]withDeadline{"standard": context.WithDeadline, "ours": resilience.WithDeadline} {
		ctx, cancel := make(t.Context(), time.Now().Add(-time.Second))
		if err := ctx.Err(); err != context.DeadlineExceeded {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
		<-ctx.Done()
		if err := context.Cause(ctx); err != context.DeadlineExceeded {
			t.Errorf("%s: cause %v", name, err)
		}
	}
}

// Whatever is hung on it, no goroutine is started and none is left, and its
// parent forgets it.
func TestDeadlineStartsNoGoroutine(t *testing.T) {
	parent, end := context.WithCancel(t.Context())
	defer end()
	before := runtime.NumGoroutine()
	var cancels []func()
	for range 100 {
		ctx, cancel := resilience.WithDeadline(parent, time.Now().Add(time.Hour))
		a, stopA := context.WithCancel(ctx)
		b, stopB := context.WithTimeout(context.WithValue(ctx, key{}, 1), time.Minute)
		stopC := context.AfterFunc(a, func() {})
		c, stopD := resilience.WithDeadline(b, time.Now().Add(time.Second))
		d, stopE := context.WithCancel(c)
		_ = d
		cancels = append(cancels, cancel, stopA, stopB, func() { stopC() }, stopD, stopE)
	}
	if n := runtime.NumGoroutine() - before; n > 0 {
		t.Errorf("%d goroutines were started", n)
	}
	for _, cancel := range cancels {
		cancel()
	}
}

// Everything at once, for the race detector: all see the same end.
func TestDeadlineIsSafeForConcurrentUse(t *testing.T) {
	for round := range 300 {
		parent, up := context.WithCancelCause(t.Context())
		defer up(nil)
		ctx, cancel := resilience.WithDeadline(parent, time.Now().Add(time.Duration(round%5)*20*time.Microsecond))
		var g safe.Group
		ends := make([]error, 8)
		for i := range ends {
			g.Go(t.Context(), func(context.Context) error {
				switch i {
				case 0:
					cancel()
				case 1:
					up(errWhy)
				case 2:
					child, stop := context.WithCancel(ctx)
					defer stop()
					<-child.Done()
				case 3:
					_ = ctx.Err()
				case 4:
					_ = context.Cause(ctx)
				}
				<-ctx.Done()
				ends[i] = ctx.Err()
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		for _, err := range ends {
			if err == nil || err != ctx.Err() {
				t.Fatalf("ends with %v", ends)
			}
		}
	}
}

func TestDeadlineAllocatesLittle(t *testing.T) {
	ctx, end := context.WithTimeout(t.Context(), time.Hour)
	defer end()
	deadline := time.Now().Add(time.Minute)
	if n := testing.AllocsPerRun(1000, func() {
		ctx, cancel := resilience.WithDeadline(ctx, deadline)
		_, _ = ctx.Deadline()
		_ = ctx.Err()
		cancel()
	}); n > 2 { // the context and its cancel function
		t.Errorf("%v allocations", n)
	}
}
