package safe_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/safe"
)

// slow answers n after 10-n seconds, so that the results come in reverse.
func slow(_ context.Context, n int) (string, error) {
	time.Sleep(time.Duration(10-n) * time.Second) // fake time
	if n < 0 {
		return "lost", fmt.Errorf("no %d", n)
	}
	return fmt.Sprint("r", n), nil
}

func TestMap(t *testing.T) {
	quiet := func(ctx context.Context) context.Context {
		return safe.WithPanics(ctx, func(context.Context, string, *safe.Panic) {})
	}
	table := []struct {
		name string
		g    *safe.Group
		in   []int
		want string
		err  string
		took time.Duration
	}{
		{"none", nil, nil, "[]", "", 0},
		{"in order", nil, []int{1, 2, 3}, `["r1" "r2" "r3"]`, "", 9 * time.Second},
		{"bounded", &safe.Group{Max: 1}, []int{1, 2, 3}, `["r1" "r2" "r3"]`, "", (9 + 8 + 7) * time.Second},
		{"first error", nil, []int{-1, 9, -2}, `["" "r9" ""]`, "no -1", 12 * time.Second},
		{"first error stops the rest", &safe.Group{Max: 1}, []int{9, -1, 8}, `["r9" "" ""]`, "no -1", 12 * time.Second},
		{"all errors, in the order of in", &safe.Group{All: true}, []int{-2, 9, -1}, `["" "r9" ""]`, "no -2\nno -1", 12 * time.Second},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				started := time.Now()
				got, err := safe.Map(t.Context(), c.g, c.in, slow)
				if fmt.Sprintf("%q", got) != c.want || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
					t.Errorf("%q, %v", got, err)
				}
				if took := time.Since(started); took != c.took {
					t.Errorf("took %v", took)
				}
			})
		})
	}

	t.Run("the others' contexts end at the first error", func(t *testing.T) {
		got, err := safe.Map(t.Context(), nil, []int{1, 2, 3}, func(ctx context.Context, n int) (int, error) {
			if n == 2 {
				return 0, io.EOF
			}
			<-ctx.Done()
			return n, context.Cause(ctx)
		})
		if err != io.EOF || !slices.Equal(got, []int{0, 0, 0}) {
			t.Errorf("%v, %v", got, err)
		}
	})
	t.Run("panics and Goexit are errors", func(t *testing.T) {
		got, err := safe.Map(quiet(t.Context()), &safe.Group{All: true}, []int{0, 1, 2}, func(_ context.Context, n int) (int, error) {
			switch n {
			case 1:
				panic("boom")
			case 2:
				runtime.Goexit()
			}
			return 7, nil
		})
		p, ok := errors.AsType[*safe.Panic](err)
		if !ok || p.Value != "boom" || !errors.Is(err, safe.ErrGoexit) || !slices.Equal(got, []int{7, 0, 0}) {
			t.Errorf("%v, %v", got, err)
		}
	})
	t.Run("nothing is begun once ctx has ended", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
			defer cancel()
			var ran atomic.Int64
			_, err := safe.Map(ctx, &safe.Group{Max: 1, All: true}, make([]int, 1000), func(context.Context, int) (int, error) {
				ran.Add(1)
				time.Sleep(time.Second) // fake time
				return 0, nil
			})
			if !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "\n") || ran.Load() != 2 {
				t.Errorf("%d ran: %v", ran.Load(), err)
			}
		})
	})
}

func TestGroupJoinsInTheOrderOfGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := safe.Group{All: true, Max: -1}
		for n := range 4 {
			g.Go(t.Context(), func(context.Context) error {
				time.Sleep(time.Duration(9-n) * time.Second) // fake time
				return fmt.Errorf("e%d", n)
			})
		}
		if err := g.Wait(); err == nil || err.Error() != "e0\ne1\ne2\ne3" {
			t.Errorf("%v", err)
		}
	})
}

// A panic is told to whom the context names, by the name of the goroutine.
func TestWithPanics(t *testing.T) {
	var mu sync.Mutex
	told := map[string]int{}
	ctx := safe.WithPanics(t.Context(), func(_ context.Context, name string, p *safe.Panic) {
		mu.Lock()
		defer mu.Unlock()
		told[name]++
		if !strings.Contains(string(p.Stack), "map_test.go") {
			t.Errorf("stack of %s: %s", name, p.Stack)
		}
	})
	boom := func(context.Context) error { panic("boom") }
	text := logged(func() {
		_ = safe.Go(ctx, "a", boom).Wait()
		_ = safe.Go(ctx, "a", boom, func(error) { panic("in the callback") }).Wait()
		g := safe.Group{Name: "g", All: true}
		g.Go(ctx, boom)
		g.Go(ctx, func(ctx context.Context) error { return safe.Go(ctx, "child", boom).Wait() })
		_ = g.Wait()
		_ = safe.Go(ctx, "fine", func(context.Context) error { return io.EOF }).Wait()
	})
	// The error of child is g's too, but one panic is one.
	if want := "map[a:2 a (done):1 child:1 g:1]"; fmt.Sprint(told) != want {
		t.Errorf("told %v, want %v", told, want)
	}
	if text != "" {
		t.Errorf("logged besides: %s", text)
	}

	// Who is told may fail too: the panic is not lost.
	bad := safe.WithPanics(t.Context(), func(context.Context, string, *safe.Panic) { panic("the counter is broken") })
	text = logged(func() { _ = safe.Go(bad, "b", boom).Wait() })
	if !strings.Contains(text, "goroutine=b") || !strings.Contains(text, "boom") {
		t.Errorf("log: %s", text)
	}
}

type loud struct{}

func (loud) Error() string            { panic("in Error") }
func (loud) LogValue() slog.Value     { panic("in LogValue") }
func (loud) Format(fmt.State, rune)   { panic("in Format") }
func (*loud) String() (unused string) { return "" }

// Whatever is thrown, and wherever, it becomes an error.
func TestOddPanics(t *testing.T) {
	table := []struct {
		name string
		fn   func() error
		want string
	}{
		{"nil", func() error { panic(nil) }, "nil argument"},
		{"ErrAbortHandler", func() error { panic(http.ErrAbortHandler) }, "abort Handler"},
		{"in a deferred call", func() error { defer func() { panic("second") }(); panic("first") }, "second"},
		{"in a recover handler", func() error {
			defer func() {
				if v := recover(); v != nil {
					panic(fmt.Sprint("while handling ", v))
				}
			}()
			panic("first")
		}, "while handling first"},
		{"recovered inside", func() (err error) {
			defer func() { err = fmt.Errorf("handled %v", recover()) }()
			panic("x")
		}, "handled x"},
		{"repanicked Panic", func() error { panic(safe.Call(func() error { panic("inner") })) }, "inner"},
		{"nested Call", func() error {
			return safe.Call(func() error { return safe.Call(func() error { panic("deep") }) })
		}, "deep"},
		{"a value that panics when shown", func() error { panic(loud{}) }, "PANIC"},
		{"nil pointer", func() error { var p *struct{ n int }; p.n++; return nil }, "nil pointer"},
		{"send on closed", func() error { c := make(chan int); close(c); c <- 1; return nil }, "closed channel"},
		{"too deep", func() error { var f func(int) int; f = func(n int) int { return s(n, f) }; f(20000); return nil }, "bottom"},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			err := safe.Call(c.fn)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v", err)
			}
			if p, ok := errors.AsType[*safe.Panic](err); ok {
				if len(p.Stack) == 0 || len(p.Stack) > 64<<10 {
					t.Errorf("a stack of %d bytes", len(p.Stack))
				}
				text := logged(func() { slog.Error("x", "err", p) })
				if !strings.Contains(text, "stack") {
					t.Errorf("log: %s", text)
				}
			}
		})
	}
	// The value of http.ErrAbortHandler stays, for those who must panic again.
	if p, _ := errors.AsType[*safe.Panic](safe.Call(func() error { panic(http.ErrAbortHandler) })); p.Value != http.ErrAbortHandler {
		t.Errorf("%v", p.Value)
	}
}

func s(n int, f func(int) int) int {
	if n == 0 {
		panic("bottom")
	}
	return f(n-1) + 1
}

// Goexit wins over a panic under it, and a panic that Goexit's deferred calls
// raise is the panic.
func TestGoexitAndPanicTogether(t *testing.T) {
	ctx := safe.WithPanics(t.Context(), func(context.Context, string, *safe.Panic) {})
	err := safe.Go(ctx, "a", func(context.Context) error {
		defer runtime.Goexit()
		panic("boom")
	}).Wait()
	if !errors.Is(err, safe.ErrGoexit) {
		t.Errorf("a panic, then Goexit: %v", err)
	}
	err = safe.Go(ctx, "b", func(context.Context) error {
		defer func() { panic("boom") }()
		runtime.Goexit()
		return nil
	}).Wait()
	if err == nil {
		t.Error("Goexit, then a panic: nil")
	}
}
