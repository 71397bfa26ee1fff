package vitalstest_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/surefoot-go/surefoot/internal/stacks"
)

// test is a testing.TB that runs its body in a goroutine of its own, as
// package testing does.
type test struct {
	name     string
	said     string
	cleanups []func()
	ctx      context.Context
}

func newTest(name string) *test { return &test{name: name, ctx: context.Background()} }

func (t *test) Helper()                      {}
func (t *test) Name() string                 { return t.name }
func (t *test) Context() context.Context     { return t.ctx }
func (t *test) Cleanup(f func())             { t.cleanups = append(t.cleanups, f) }
func (t *test) Failed() bool                 { return t.said != "" }
func (t *test) Errorf(form string, a ...any) { t.said += fmt.Sprintf(form, a...) }

// run runs body and the cleanups in a new goroutine and waits for them.
func (t *test) run(body func()) *test {
	var one sync.WaitGroup
	one.Go(func() {
		body()
		for _, f := range slices.Backward(t.cleanups) {
			f()
		}
	})
	one.Wait()
	return t
}

// until returns when n goroutines that this package's functions started wait
// for reason.
func (t *test) until(reason string, n int) {
	for {
		dump, _ := stacks.Dump(16 << 20)
		found := 0
		for _, g := range stacks.Parse(dump) {
			if g.Wait == reason && g.Blocked().Package() == "github.com/surefoot-go/surefoot/vitalstest_test" {
				found++
			}
		}
		if found >= n {
			return
		}
		runtime.Gosched()
	}
}
