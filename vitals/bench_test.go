package vitals

import (
	"context"
	"io"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/safe"
)

// parked starts 10,000 goroutines that wait a dozen calls deep, as requests do,
// in ten groups.
func parked(b testing.TB) {
	c := make(chan struct{})
	g := &safe.Group{Max: 10_000}
	for i := range 10_000 {
		g.Go(context.Background(), func(context.Context) error { return deep(i%10+5, c) })
	}
	for runtime.NumGoroutine() < 10_000 {
		runtime.Gosched()
	}
	b.Cleanup(func() {
		close(c)
		if err := g.Wait(); err != nil {
			b.Error(err)
		}
	})
}

//go:noinline
func deep(n int, c chan struct{}) error {
	if n > 0 {
		return deep(n-1, c)
	}
	<-c
	return nil
}

func quiet() *loop {
	return newLoop(&Watch{Observe: observe.Sinks{Log: slog.New(slog.NewTextHandler(io.Discard, nil))}})
}

// BenchmarkBeat is what a watch costs every 2s, all being well.
func BenchmarkBeat(b *testing.B) {
	parked(b)
	l := quiet()
	defer l.end(context.Background())
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		l.beat(context.Background(), now) // no time passes, so nothing else is due
	}
}

// BenchmarkProfile is what a watch costs besides, each time it looks.
func BenchmarkProfile(b *testing.B) {
	for _, c := range []struct {
		name string
		want Want
	}{{"groups", WantGroups}, {"stacks", WantStacks}, {"heap", WantHeap}, {"well", WantGroups | WantLeaks | WantHeap}} {
		b.Run(c.name, func(b *testing.B) {
			parked(b)
			t := newTaker()
			for b.Loop() {
				t.take(c.want)
			}
		})
	}
}

// BenchmarkTrace is what Settings.Trace costs a program that does little but
// switch goroutines, the worst case.
func BenchmarkTrace(b *testing.B) {
	for _, c := range []struct {
		name string
		last time.Duration
	}{{"off", 0}, {"on", 5 * time.Second}} {
		b.Run(c.name, func(b *testing.B) {
			var t tracer
			if err := t.begin(c.last); err != nil {
				b.Fatal(err)
			}
			defer t.end()
			there, back := make(chan int), make(chan int)
			echo := safe.Go(context.Background(), "echo", func(context.Context) error {
				for i := range there {
					back <- i
				}
				return nil
			})
			for b.Loop() {
				there <- 1
				<-back
			}
			close(there)
			<-echo.Done()
		})
	}
}

// A beat allocates next to nothing: os.Stat does.
func TestBeatAllocates(t *testing.T) {
	l := quiet()
	defer l.end(t.Context())
	now := time.Now()
	l.beat(t.Context(), now)
	if n := testing.AllocsPerRun(100, func() { l.beat(t.Context(), now.Add(time.Second)) }); n > 4 {
		t.Errorf("%v allocations", n)
	}
}
