package safe_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/safe"
)

// logged runs f with slog.Default writing to a buffer, and returns the text.
func logged(f func()) string {
	var b bytes.Buffer
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&b, nil)))
	defer slog.SetDefault(old)
	f()
	return b.String()
}

func TestCall(t *testing.T) {
	table := []struct {
		name string
		fn   func() error
		want string
	}{
		{"nil", func() error { return nil }, ""},
		{"error", func() error { return io.EOF }, "EOF"},
		{"panic string", func() error { panic("boom") }, "panic: boom"},
		{"panic error", func() error { panic(context.Canceled) }, "panic: context canceled"},
		{"panic nil", func() error { panic(nil) }, "panic: panic called with nil argument"},
		{"runtime", func() error { var m map[int]int; m[1]++; return nil }, "panic: assignment to entry in nil map"},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			err := safe.Call(c.fn)
			if (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
				t.Fatalf("got %v", err)
			}
			if errors.Is(err, context.Canceled) {
				t.Error("a panic must not pass for the error it was called with")
			}
			if p, ok := errors.AsType[*safe.Panic](err); ok {
				if strings.Contains(err.Error(), "goroutine") || !strings.Contains(string(p.Stack), "TestCall") {
					t.Error("the stack belongs in Stack and nowhere else")
				}
				if v := p.LogValue().String(); !strings.Contains(v, "TestCall") {
					t.Errorf("log value %s", v)
				}
			}
		})
	}
}

func TestGo(t *testing.T) {
	var order []string
	text := logged(func() {
		task := safe.Go(t.Context(), "worker", func(ctx context.Context) error {
			if name, _ := pprof.Label(ctx, "surefoot.goroutine"); name != "worker" {
				t.Errorf("label %q", name)
			}
			return io.EOF
		}, func(err error) { order = append(order, "first "+err.Error()) }, func(err error) { order = append(order, "second") })
		if err := task.Wait(); err != io.EOF || task.Wait() != io.EOF || task.Name() != "worker" {
			t.Errorf("got %v", err)
		}
		<-task.Done()
	})
	if !slices.Equal(order, []string{"first EOF", "second"}) {
		t.Errorf("callbacks %q", order)
	}
	if text != "" {
		t.Errorf("an error somebody waits for must not be logged too: %s", text)
	}
}

func TestGoPanics(t *testing.T) {
	var got error
	text := logged(func() {
		task := safe.Go(t.Context(), "worker", func(context.Context) error { panic("boom") },
			func(err error) { got = err; panic("in the callback") },
			func(err error) { got = errors.Join(got, err) })
		if _, ok := errors.AsType[*safe.Panic](task.Wait()); !ok {
			t.Errorf("got %v", task.Wait())
		}
	})
	if got == nil || strings.Count(got.Error(), "boom") != 2 {
		t.Errorf("callbacks got %v", got)
	}
	for _, want := range []string{"goroutine=worker", "boom", "in the callback", "safe_test.go"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the log: %s", want, text)
		}
	}
}

func TestGoexit(t *testing.T) {
	var got error
	task := safe.Go(t.Context(), "worker", func(context.Context) error { runtime.Goexit(); return nil }, func(err error) { got = err })
	if err := task.Wait(); !errors.Is(err, safe.ErrGoexit) || !errors.Is(got, safe.ErrGoexit) {
		t.Errorf("%v %v", err, got)
	}
	var g safe.Group
	g.Go(t.Context(), func(context.Context) error { runtime.Goexit(); return nil })
	if err := g.Wait(); !errors.Is(err, safe.ErrGoexit) {
		t.Errorf("group: %v", err)
	}
}

func TestGroupIsBounded(t *testing.T) {
	for _, c := range []struct{ max, n, want int }{{0, 40, 16}, {3, 10, 3}, {-1, 40, 40}} {
		synctest.Test(t, func(t *testing.T) {
			g := safe.Group{Max: c.max}
			var now, most atomic.Int64
			for range c.n {
				g.Go(t.Context(), func(context.Context) error {
					most.Store(max(most.Load(), now.Add(1)))
					time.Sleep(time.Second) // fake time
					now.Add(-1)
					return nil
				})
			}
			if err := g.Wait(); err != nil || most.Load() != int64(c.want) {
				t.Errorf("max %d: %d at once, %v", c.max, most.Load(), err)
			}
		})
	}
}

func TestGroupStopsAtTheFirstError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := safe.Group{Max: 2}
		var ran atomic.Int64
		var cause error
		g.Go(t.Context(), func(ctx context.Context) error { <-ctx.Done(); cause = context.Cause(ctx); return ctx.Err() })
		g.Go(t.Context(), func(context.Context) error { time.Sleep(time.Second); return io.EOF })
		for range 5 {
			g.Go(t.Context(), func(context.Context) error { ran.Add(1); return nil })
		}
		if err := g.Wait(); err != io.EOF || cause != io.EOF || ran.Load() != 0 {
			t.Errorf("err %v, cause %v, %d ran after the error", err, cause, ran.Load())
		}
		g.Go(t.Context(), func(context.Context) error { ran.Add(1); return nil })
		if err := g.Wait(); err != nil || ran.Load() != 1 {
			t.Errorf("after Wait the group must be as new: %v", err)
		}
	})
}

func TestGroupAll(t *testing.T) {
	g := safe.Group{All: true, Max: 1, Name: "all"}
	logged(func() {
		g.Go(t.Context(), func(context.Context) error { return io.EOF })
		g.Go(t.Context(), func(ctx context.Context) error { panic("boom") })
		g.Go(t.Context(), func(ctx context.Context) error { return ctx.Err() })
	})
	err := g.Wait()
	if _, ok := errors.AsType[*safe.Panic](err); !ok || !errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestGroupGoEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := safe.Group{Max: 1}
		free := make(chan struct{})
		g.Go(t.Context(), func(context.Context) error { <-free; return nil })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		g.Go(ctx, func(context.Context) error { t.Error("ran"); return nil }) // blocks for a second
		close(free)
		if err := g.Wait(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestAllocations(t *testing.T) {
	fn := func() error { return nil }
	if got := testing.AllocsPerRun(100, func() { _ = safe.Call(fn) }); got > 0 {
		t.Errorf("Call: %v allocations", got)
	}
}

func BenchmarkCall(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_ = safe.Call(func() error { return nil })
	}
}

func BenchmarkGo(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_ = safe.Go(b.Context(), "x", func(context.Context) error { return nil }).Wait()
	}
}
