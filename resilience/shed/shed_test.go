package shed_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/resilience/shed"
)

func TestDefaultsAreTheDocumentedOnes(t *testing.T) {
	zero := shed.Settings{Start: 1000, Min: 1, Max: 10000, Queue: 1000, MaxWait: 100 * time.Millisecond, Margin: 1}
	if got := new(shed.Door).Settings(); got != zero {
		t.Errorf("got %+v, want %+v", got, zero)
	}
	if got := shed.New(shed.Settings{Target: -1}).Settings(); got != zero {
		t.Errorf("got %+v, want %+v", got, zero)
	}
	if got := (shed.Settings{Start: 5, Min: 7, Max: 3}).OrDefault(); got.Max != 7 || got.Start != 7 {
		t.Errorf("got %+v, want Max and Start 7", got)
	}
}

func TestPriorityNames(t *testing.T) {
	for p, want := range map[shed.Priority]string{-99: "background", -2: "background", -1: "low", 0: "normal", 1: "critical", 7: "critical"} {
		if got := p.String(); got != want {
			t.Errorf("%d is %q, want %q", int(p), got, want)
		}
		if got, ok := shed.ParsePriority(want); !ok || got != min(max(p, -2), 1) {
			t.Errorf("ParsePriority(%q) = %v %v", want, got, ok)
		}
	}
	for _, name := range []string{"", "Critical", "1"} {
		if p, ok := shed.ParsePriority(name); ok || p != shed.Normal {
			t.Errorf("ParsePriority(%q) = %v %v", name, p, ok)
		}
	}
}

// enter asks for a pass on another goroutine; the answer is known after
// synctest.Wait when it does not have to wait.
type asked struct {
	pass shed.Pass
	err  error
	done bool
}

func enter(ctx context.Context, d *shed.Door, r shed.Request) *asked {
	a := new(asked)
	go func() {
		a.pass, a.err = d.Enter(ctx, r)
		a.done = true
	}()
	synctest.Wait()
	return a
}

func reason(err error) shed.Reason {
	if r, ok := errors.AsType[*shed.Refused](err); ok && errors.Is(err, shed.ErrShed) {
		return r.Reason()
	}
	return ""
}

func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := shed.New(shed.Settings{Max: 1, Queue: 3})
		ctx := t.Context()
		first := enter(ctx, d, shed.Request{})
		low := enter(ctx, d, shed.Request{Priority: shed.Low})
		one := enter(ctx, d, shed.Request{})
		two := enter(ctx, d, shed.Request{})
		if !first.done || low.done || one.done || two.done {
			t.Fatal("want one in and three waiting")
		}
		if late := enter(ctx, d, shed.Request{}); reason(late.err) != shed.Waited && reason(late.err) != "" {
			t.Errorf("got %v", late.err)
		}
		if reason(low.err) != shed.Full {
			t.Errorf("the unimportant one was to make room, got %v", low.err)
		}
		if worst := enter(ctx, d, shed.Request{Priority: shed.Background}); reason(worst.err) != shed.Full {
			t.Errorf("got %v, want full", worst.err)
		}
		first.pass.Done(shed.Success)
		synctest.Wait()
		if !one.done || two.done {
			t.Error("a burst is served oldest first")
		}
		one.pass.Done(shed.Success)
		synctest.Wait()
		if !two.done {
			t.Error("want the next one in")
		}
		time.Sleep(time.Second) // the last one has waited too long
		if s := d.Snapshot(); s.Waiting != 0 || s.Running != 1 || s.Refused[shed.Waited] != 1 || s.Refused[shed.Full] != 2 {
			t.Errorf("snapshot %+v", s)
		}
	})
}

func TestWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := shed.New(shed.Settings{Max: 1})
		p, _ := d.Enter(t.Context(), shed.Request{})
		begin := time.Now()
		if _, err := d.Enter(t.Context(), shed.Request{}); reason(err) != shed.Waited || time.Since(begin) != 100*time.Millisecond {
			t.Errorf("got %v after %v, want waited after 100ms", err, time.Since(begin))
		}
		ctx, cancel := context.WithCancel(t.Context())
		a := enter(ctx, d, shed.Request{})
		cancel()
		synctest.Wait()
		if a.err != context.Canceled {
			t.Errorf("got %v, want the ctx's error", a.err)
		}
		if _, err := d.Enter(ctx, shed.Request{}); err != context.Canceled {
			t.Errorf("got %v, want the ctx's error", err)
		}
		if s := d.Snapshot(); s.Waiting != 0 || s.Left != 1 {
			t.Errorf("snapshot %+v", s)
		}
		p.Done(shed.Success)
		if _, err := d.Enter(t.Context(), shed.Request{}); err != nil {
			t.Errorf("a place was lost: %v", err)
		}
	})
}

// Work takes 100ms: who has less time left is refused at once, but now and then
// one is let through to see whether that is still so.
func TestDeadlineMargin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := shed.New(shed.Settings{})
		work := func(patience, takes time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			return d.Do(ctx, shed.Request{}, func() error { time.Sleep(takes); return nil })
		}
		long, _ := d.Enter(t.Context(), shed.Request{})
		for range 50 {
			if err := work(time.Second, 100*time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
		begin, refused := time.Now(), 0
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		for range 10 {
			if p, err := d.Enter(ctx, shed.Request{}); reason(err) == shed.Deadline {
				refused++
			} else {
				p.Done(shed.Ignored)
			}
		}
		if refused != 9 || time.Since(begin) != 0 {
			t.Errorf("%d of 10 hopeless requests refused, in %v, want 9 at once", refused, time.Since(begin))
		}
		served := 0
		for range 400 { // the work has become fast
			if work(50*time.Millisecond, time.Millisecond) == nil {
				served++
			}
			time.Sleep(10 * time.Millisecond)
		}
		if served < 100 {
			t.Errorf("%d of 400 served after the work became fast", served)
		}
		long.Done(shed.Ignored)
		off := shed.New(shed.Settings{Margin: -1})
		off.Do(t.Context(), shed.Request{}, func() error { time.Sleep(time.Second); return nil })
		ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := off.Enter(ctx, shed.Request{}); err != nil {
			t.Errorf("without margin: %v", err)
		}
	})
}

func TestSetWhileInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := shed.New(shed.Settings{Max: 1})
		enter(t.Context(), d, shed.Request{})
		second, third := enter(t.Context(), d, shed.Request{}), enter(t.Context(), d, shed.Request{})
		d.Set(shed.Settings{Max: -1})
		synctest.Wait()
		if !second.done || !third.done || second.err != nil || third.err != nil {
			t.Errorf("the limit was lifted: %+v %+v", second, third)
		}
		if _, err := d.Enter(t.Context(), shed.Request{}); err != nil {
			t.Error(err)
		}
		if !second.pass.Done(shed.Success) {
			t.Error("a pass without a place may be handed back")
		}
	})
}

func TestPassesCannotLeak(t *testing.T) {
	d := shed.New(shed.Settings{Max: 2, Queue: -1})
	for what, end := range map[string]func() error{
		"panic":  func() error { panic("boom") },
		"goexit": func() error { runtime.Goexit(); return nil },
		"error":  func() error { return errors.New("no") },
		"late":   func() error { return context.DeadlineExceeded },
	} {
		t.Run(what, func(t *testing.T) {
			for range 10 {
				done := make(chan struct{})
				go func() {
					defer close(done)
					defer func() { _ = recover() }()
					_ = d.Do(context.Background(), shed.Request{}, end)
				}()
				<-done
			}
			if s := d.Snapshot(); s.Running != 0 {
				t.Errorf("snapshot %+v", s)
			}
		})
	}
	old, _ := d.Enter(t.Context(), shed.Request{})
	if !old.Done(shed.Success) || old.Done(shed.Success) {
		t.Error("only the first Done counts")
	}
	d.Enter(t.Context(), shed.Request{})
	d.Enter(t.Context(), shed.Request{})
	old.Done(shed.Success)
	if _, err := d.Enter(t.Context(), shed.Request{}); reason(err) != shed.Full {
		t.Errorf("a stray Done freed another's place: %v", err)
	}
	if s := d.Snapshot(); s.Strays != 2 {
		t.Errorf("%d strays, want 2", s.Strays)
	}
}

// Whatever comes, in whatever order: the bound on running and waiting holds,
// nobody waits longer than MaxWait, and in the end nobody is left.
func TestProperty(t *testing.T) {
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			d := shed.New(shed.Settings{Start: 5, Max: 8, Queue: 10})
			var running, over atomic.Int32
			var wg sync.WaitGroup
			for i := range uint64(60) {
				r := rand.New(rand.NewPCG(seed, i))
				wg.Go(func() {
					for range 150 {
						time.Sleep(time.Duration(r.ExpFloat64() * 1e7))
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.ExpFloat64()*2e8))
						begin := time.Now()
						p, err := d.Enter(ctx, shed.Request{Priority: shed.Priority(r.IntN(6) - 3), User: []string{"", "a", "b"}[r.IntN(3)]})
						if waited := time.Since(begin); waited > 100*time.Millisecond {
							t.Errorf("waited %v", waited)
						}
						if err == nil {
							if running.Add(1) > 8 {
								over.Add(1)
							}
							time.Sleep(time.Duration(r.ExpFloat64() * 1e7))
							running.Add(-1)
							p.Done(shed.Outcome(r.IntN(3)))
						} else if reason(err) == "" && ctx.Err() == nil {
							t.Errorf("got %v", err)
						}
						cancel()
						if s := d.Snapshot(); s.Waiting > 10 || s.Running > 8 {
							t.Errorf("snapshot %+v", s)
						}
					}
				})
			}
			wg.Wait()
			if s := d.Snapshot(); s.Running != 0 || s.Waiting != 0 || over.Load() > 0 {
				t.Errorf("snapshot %+v, %d times over the limit", s, over.Load())
			}
		})
	}
}

// The longer an overload lasts, the later others are told to come back.
func TestRetryDelayGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := shed.New(shed.Settings{Max: 1, Queue: -1})
		d.Enter(t.Context(), shed.Request{})
		var told []time.Duration
		for range 200 {
			time.Sleep(50 * time.Millisecond)
			_, err := d.Enter(t.Context(), shed.Request{})
			r, _ := errors.AsType[*shed.Refused](err)
			told = append(told, r.RetryDelay())
		}
		if !slices.IsSorted(told) || told[0] != 100*time.Millisecond || told[199] != 5*time.Second {
			t.Errorf("told %v", told)
		}
	})
}

func TestAllocations(t *testing.T) {
	var open shed.Door
	closed := shed.New(shed.Settings{Max: 1, Queue: -1})
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	closed.Enter(ctx, shed.Request{})
	r := shed.Request{User: "ada"}
	for name, call := range map[string]func(){
		"admitted": func() { p, _ := open.Enter(ctx, r); p.Done(shed.Success) },
		"refused":  func() { closed.Enter(ctx, r) },
		"do":       func() { _ = open.Do(ctx, r, func() error { return nil }) },
	} {
		if n := testing.AllocsPerRun(1000, call); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
}

func BenchmarkAdmitted(b *testing.B) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	call := func(d *shed.Door) {
		p, _ := d.Enter(ctx, shed.Request{User: "ada"})
		p.Done(shed.Success)
	}
	b.Run("serial", func(b *testing.B) {
		var d shed.Door
		b.ReportAllocs()
		for b.Loop() {
			call(&d)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		var d shed.Door
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				call(&d)
			}
		})
	})
}

func BenchmarkRefused(b *testing.B) {
	d := shed.New(shed.Settings{Max: 1, Queue: -1})
	ctx := context.Background()
	d.Enter(ctx, shed.Request{})
	b.ReportAllocs()
	for b.Loop() {
		d.Enter(ctx, shed.Request{User: "ada"})
	}
}
