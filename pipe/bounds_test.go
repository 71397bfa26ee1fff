package pipe_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/pipe"
)

// pair opens a channel and returns both ends.
func pair(t testing.TB, o pipe.Options) (out, in *pipe.Channel) {
	t.Helper()
	l := &pipe.Listener{Security: security(t)}
	l.Topic("t", o)
	k := &pipe.Link{Addr: serve(t, l), Security: l.Security, Observe: quiet}
	t.Cleanup(func() { k.Close() })
	ctx := within(t, 20*time.Second)
	out, err := k.Open(ctx, "t", o)
	if err != nil {
		t.Fatal(err)
	}
	in, err = l.Accept(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	return out, in
}

// TestSlowReceiver: with nobody receiving, Send takes exactly a window and
// then waits until ctx ends.
func TestSlowReceiver(t *testing.T) {
	for _, c := range []struct {
		o    pipe.Options
		size int
		want int
	}{
		{pipe.Options{}, 10, 64},
		{pipe.Options{Capacity: 1}, 10, 1},
		{pipe.Options{Capacity: -1}, 10, 0},
		{pipe.Options{Capacity: 500, Ack: true}, 10, 500},
		{pipe.Options{Capacity: 5000}, 100 << 10, 40}, // 4 MiB
		{pipe.Options{Capacity: 5000, Bytes: 10_000, Ack: true}, 1000, 10},
	} {
		t.Run(fmt.Sprintf("%+v", c.o), func(t *testing.T) {
			out, in := pair(t, c.o)
			ctx, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer stop()
			n := 0
			var err error
			for data := make([]byte, c.size); err == nil; {
				if err = out.Send(ctx, data); err == nil {
					n++
				}
			}
			if n != c.want || !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("%d sent, want %d; %v", n, c.want, err)
			}
			out.CloseSend()
			got := 0
			for m := range in.C() {
				m.Ack()
				got++
			}
			if c.o.Capacity > 0 && got != n {
				t.Errorf("%d received of %d", got, n)
			}
		})
	}
}

// TestSmallBesideBulk: a small channel gets through while bulk channels fill
// the connection.
func TestSmallBesideBulk(t *testing.T) {
	ctx := within(t, 20*time.Second)
	l := &pipe.Listener{Security: security(t)}
	l.Handle("t", pipe.Options{Capacity: -1}, func(ctx context.Context, c *pipe.Channel) error {
		for range c.C() {
		}
		return nil
	})
	l.Handle("bulk", pipe.Options{Capacity: 1000}, func(ctx context.Context, c *pipe.Channel) error {
		for range c.C() {
		}
		return nil
	})
	k := &pipe.Link{Addr: serve(t, l), Security: l.Security, Observe: quiet}
	defer k.Close()
	bulk, stop := context.WithCancel(ctx)
	done := make(chan int, 4)
	for range 4 {
		c, err := k.Open(ctx, "bulk", pipe.Options{Capacity: 1000})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			n := 0
			for data := make([]byte, 100<<10); c.Send(bulk, data) == nil; n++ {
			}
			done <- n
		}()
	}
	c, err := k.Open(ctx, "t", pipe.Options{Capacity: -1})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	const n = 100
	for range n {
		if err := c.Send(ctx, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(began)
	stop()
	sum := 0
	for range 4 {
		sum += <-done
	}
	t.Logf("a small message was taken after %v on average beside %d bulk messages", took/n, sum)
	if sum == 0 || took > 10*time.Second {
		t.Error("the small channel starves")
	}
}

// TestIdleChannels: 10,000 idle channels, both ends in this process, stay
// under 200 MB and need no goroutine each.
func TestIdleChannels(t *testing.T) {
	const n = 10_000
	ctx := within(t, 50*time.Second)
	l := &pipe.Listener{Security: security(t), Backlog: n}
	l.Topic("t", pipe.Options{})
	k := &pipe.Link{Addr: serve(t, l), Security: l.Security, Observe: quiet}
	defer k.Close()
	before, routines := heap(), runtime.NumGoroutine()
	var all []*pipe.Channel
	for range n {
		c, err := k.Open(ctx, "t", pipe.Options{})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
		d, err := l.Accept(ctx, "t")
		if err != nil {
			t.Fatal(err)
		}
		d.C()
		c.C()
	}
	grown := int64(heap()) - int64(before)
	t.Logf("%d channels, both ends: %.1f MB, %d goroutines more", n, float64(grown)/1e6, runtime.NumGoroutine()-routines)
	if grown > 200e6 || runtime.NumGoroutine() > routines+20 {
		t.Error("idle channels cost too much")
	}
	runtime.KeepAlive(all)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// TestRefusals: who may not gets one answer that does not say why.
func TestRefusals(t *testing.T) {
	ctx := within(t, 20*time.Second)
	allow, err := pipe.NewAllow(pipe.Policy{Rules: []pipe.Rule{{Identity: "order", Topics: []string{"a", "ack", "gone"}, Claimed: true}}})
	if err != nil {
		t.Fatal(err)
	}
	s := security(t)
	s.Allow = allow
	l := &pipe.Listener{Security: s, Channels: 1}
	for _, name := range []string{"a", "b"} {
		l.Topic(name, pipe.Options{})
	}
	l.Topic("ack", pipe.Options{Ack: true})
	s.Identity, s.Allow = "order", nil
	k := &pipe.Link{Addr: serve(t, l), Security: s, Observe: quiet}
	defer k.Close()
	for topic, want := range map[string]error{"b": pipe.ErrRefused, "gone": pipe.ErrRefused, "ack": pipe.ErrMismatch} {
		if _, err := k.Open(ctx, topic, pipe.Options{}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", topic, err, want)
		}
	}
	c, err := k.Open(ctx, "a", pipe.Options{MaxMessage: 10})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Send(ctx, make([]byte, 11)); !errors.Is(err, pipe.ErrTooLong) {
		t.Error(err)
	}
	if _, err := k.Open(ctx, "a", pipe.Options{}); !errors.Is(err, pipe.ErrBusy) {
		t.Error(err)
	}
	k.Close()
	if err := c.Send(ctx, nil); !errors.Is(err, pipe.ErrClosed) {
		t.Error(err)
	}
}
