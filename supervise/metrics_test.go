package supervise_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/supervise"
)

// sums keeps what counters were told, by instrument and worker.
type sums struct {
	noop.MeterProvider
	mu sync.Mutex
	by map[string]int64
}

func (s *sums) Meter(string, ...metric.MeterOption) metric.Meter { return sumMeter{s: s} }

type sumMeter struct {
	noop.Meter
	s *sums
}

func (m sumMeter) Int64Counter(name string, _ ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return sumCounter{s: m.s, name: name}, nil
}

func (m sumMeter) Int64UpDownCounter(name string, _ ...metric.Int64UpDownCounterOption) (metric.Int64UpDownCounter, error) {
	return sumUpDown{s: m.s, name: name}, nil
}

type sumCounter struct {
	noop.Int64Counter
	s    *sums
	name string
}

func (c sumCounter) Add(_ context.Context, n int64, o ...metric.AddOption) { c.s.add(c.name, n, o) }

type sumUpDown struct {
	noop.Int64UpDownCounter
	s    *sums
	name string
}

func (c sumUpDown) Add(_ context.Context, n int64, o ...metric.AddOption) { c.s.add(c.name, n, o) }

func (s *sums) add(name string, n int64, o []metric.AddOption) {
	set := metric.NewAddConfig(o).Attributes()
	worker, ok := set.Value("surefoot.worker")
	if !ok {
		worker, _ = set.Value("surefoot.goroutine")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = map[string]int64{}
	}
	s.by[fmt.Sprintf("%s{%s}", name, worker.AsString())] += n
}

func (s *sums) now() map[string]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.by)
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s sums
		runs := 0
		sinks := quiet
		sinks.Meter = &s
		tree := &supervise.Tree{Name: "t", Observe: sinks, Workers: []supervise.Worker{
			{Name: "sub", Tree: &supervise.Tree{Workers: []supervise.Worker{{Name: "a", Run: func(ctx context.Context) error {
				if runs++; runs < 4 {
					return io.EOF
				}
				<-ctx.Done()
				return ctx.Err()
			}}}}}}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		time.AfterFunc(30*time.Second, func() {
			want := map[string]int64{"surefoot.worker.running{t/sub}": 1, "surefoot.worker.running{t/sub/a}": 1, "surefoot.worker.restarts{t/sub/a}": 3}
			if got := s.now(); !maps.Equal(got, want) {
				t.Errorf("while it runs: %v, want %v", got, want)
			}
		})
		if err := tree.Run(ctx); err != nil {
			t.Error(err)
		}
		want := map[string]int64{"surefoot.worker.running{t/sub}": 0, "surefoot.worker.running{t/sub/a}": 0, "surefoot.worker.restarts{t/sub/a}": 3}
		if got := s.now(); !maps.Equal(got, want) {
			t.Errorf("at the end: %v, want %v", got, want)
		}
	})
}

// A panic is counted once, by the name of the goroutine it was in, wherever in
// the tree, and logged once with its stack.
func TestPanicsAreCountedByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s sums
		var b bytes.Buffer
		sinks := observe.Sinks{Meter: &s, Log: slog.New(slog.NewTextHandler(&b, nil))}
		boom := func(context.Context) error { panic("boom") }
		runs := 0
		tree := &supervise.Tree{Name: "t", Observe: sinks, Restart: supervise.Restart{Max: 20}, Workers: []supervise.Worker{
			{Name: "sub", Tree: &supervise.Tree{Workers: []supervise.Worker{{Name: "a", Run: func(ctx context.Context) error {
				switch runs++; runs {
				case 1:
					panic("first")
				case 2:
					panic(nil)
				case 3:
					defer func() { panic("second") }()
					panic("first")
				case 4:
					runtime.Goexit()
				case 5:
					return safe.Go(ctx, "t/sub/a/child", boom).Wait() // its panic, a's error
				case 6:
					return safe.Call(func() error { return boom(ctx) }) // handled: an error
				case 7:
					g := safe.Group{Name: "t/sub/a/group", All: true}
					g.Go(ctx, boom)
					g.Go(ctx, boom)
					return g.Wait()
				}
				<-ctx.Done()
				return ctx.Err()
			}}}}}}}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		if err := tree.Run(ctx); err != nil || runs != 8 {
			t.Errorf("%v after %d runs", err, runs)
		}
		got := s.now()
		for name, want := range map[string]int64{"t/sub/a": 3, "t/sub/a/child": 1, "t/sub/a/group": 2, "t/sub": 0} {
			if n := got["surefoot.panics{"+name+"}"]; n != want {
				t.Errorf("%s: %d panics counted, want %d", name, n, want)
			}
		}
		log := b.String()
		if n := strings.Count(log, "goroutine=t/sub/a/child"); n != 1 {
			t.Errorf("child logged %d times: %s", n, log)
		}
		if n := strings.Count(log, "goroutine=t/sub/a/group"); n != 2 {
			t.Errorf("group logged %d times", n)
		}
	})
}

func TestCountPanics(t *testing.T) {
	var s sums
	var b bytes.Buffer
	ctx := supervise.CountPanics(t.Context(), observe.Sinks{Meter: &s, Log: slog.New(slog.NewTextHandler(&b, nil))})
	_ = safe.Go(ctx, "outbox", func(context.Context) error { panic("boom") }).Wait()
	if got := s.now(); got["surefoot.panics{outbox}"] != 1 || !strings.Contains(b.String(), "err.stack") || !strings.Contains(b.String(), "goroutine=outbox") {
		t.Errorf("%v, log %s", got, b.String())
	}
}

// Every goroutine that safe or a Tree starts is counted under its name.
func TestGoroutinesByName(t *testing.T) {
	up, stop := make(chan struct{}, 8), make(chan struct{})
	wait := func(ctx context.Context) error { up <- struct{}{}; <-stop; return nil }
	tree := &supervise.Tree{Name: "t", Observe: quiet, Workers: []supervise.Worker{
		{Name: "a", Run: wait},
		{Name: "sub", Tree: &supervise.Tree{Workers: []supervise.Worker{{Name: "b", Run: func(ctx context.Context) error {
			return safe.Go(ctx, "t/sub/b/child", wait).Wait()
		}}}}},
	}}
	run := safe.Go(t.Context(), "root", tree.Run)
	g := safe.Group{Name: "counted group", Max: -1}
	for range 3 {
		g.Go(t.Context(), wait)
	}
	mapped := safe.Go(t.Context(), "counted map", func(ctx context.Context) error {
		_, err := safe.Map(ctx, &safe.Group{Name: "mapped"}, []int{1, 2}, func(ctx context.Context, _ int) (int, error) { return 0, wait(ctx) })
		return err
	})
	for range 7 {
		<-up
	}
	got := supervise.Goroutines()
	for name, want := range map[string]int{"root": 1, "t/a": 1, "t/sub": 1, "t/sub/b": 1, "t/sub/b/child": 1, "counted group": 3, "counted map": 1, "mapped": 2} {
		if got[name] != want {
			t.Errorf("%s: %d goroutines, want %d", name, got[name], want)
		}
	}
	close(stop)
	if err := errors.Join(run.Wait(), g.Wait(), mapped.Wait()); err != nil {
		t.Error(err)
	}
	for name := range supervise.Goroutines() {
		if strings.HasPrefix(name, "t/") || name == "counted group" || name == "mapped" {
			t.Errorf("%s still counted", name)
		}
	}
}
