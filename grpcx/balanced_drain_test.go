package grpcx_test

import (
	"context"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/grpcx"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/balance"
	"github.com/surefoot-go/surefoot/resilience/retry"
)

// TestReplacedWhileCallsRun turns instances over under load and loses no call.
func TestReplacedWhileCallsRun(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("", func(t *testing.T) {
		w := &town{t: t}
		names := []string{"a", "b", "c", "d"}
		for _, a := range names {
			w.open(a, says(a))
		}
		conn := &grpcx.Balanced{Client: grpcx.Client{Target: "s", Observe: silent, Policy: resilience.Policy{Retry: retry.Policy{Max: -1}}}, Dial: w.dial}
		if err := conn.Set(instances("a", "b")); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		stop := make(chan struct{})
		var calls atomic.Int64
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if got, err := call(t.Context(), conn, ""); err != nil || !slices.Contains(names, got) {
						t.Errorf("%q, %v", got, err)
						return
					}
					calls.Add(1)
				}
			})
		}
		for i := range 100 {
			next := instances(names[i%4], names[(i+1)%4])
			if err := conn.Set(next); err != nil {
				t.Error(err)
			}
			for n := calls.Load(); calls.Load() < n+5 && !t.Failed(); {
				runtime.Gosched()
			}
		}
		close(stop)
		wg.Wait()
		if err := conn.Close(); err != nil || w.left() != 0 {
			t.Errorf("%v, %d connections left", err, w.left())
		}
		if _, err := call(t.Context(), conn, ""); errs.KindOf(err) != errs.Unavailable {
			t.Errorf("after Close: %v", err)
		}
		if err := conn.Set(instances("a")); errs.KindOf(err) != errs.Unavailable {
			t.Errorf("Set after Close: %v", err)
		}
	})
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines, %d before", n, before)
	}
}

func TestDrain(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit time.Duration
		open  func(ctx context.Context, conn grpc.ClientConnInterface) (wait func() error)
		good  bool
		took  time.Duration
	}{
		{"a call ends in its time", 0, func(ctx context.Context, conn grpc.ClientConnInterface) func() error {
			return background(func() error { _, err := call(ctx, conn, "10s"); return err })
		}, true, 10 * time.Second},
		{"a call does not", time.Second, func(ctx context.Context, conn grpc.ClientConnInterface) func() error {
			return background(func() error { _, err := call(ctx, conn, "10s"); return err })
		}, false, time.Second},
		{"no time", -1, func(ctx context.Context, conn grpc.ClientConnInterface) func() error {
			return background(func() error { _, err := call(ctx, conn, "10s"); return err })
		}, false, 0},
		{"a stream that nobody reads", 2 * time.Second, func(ctx context.Context, conn grpc.ClientConnInterface) func() error {
			_, err := open(ctx, conn, "stay")
			return func() error { return err }
		}, true, 2 * time.Second},
		{"a stream", 0, func(ctx context.Context, conn grpc.ClientConnInterface) func() error {
			s, err := open(ctx, conn, "10s")
			return background(func() error {
				for err == nil {
					err = s.RecvMsg(new(text))
				}
				if err == io.EOF {
					err = nil
				}
				return err
			})
		}, true, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &town{t: t}
				w.open("a", handlers{do: func(ctx context.Context, in string) (string, error) {
					wait(ctx, in)
					return in, nil
				}, follow: func(in string, s grpc.ServerStream) error {
					if in == "stay" {
						<-s.Context().Done()
						return nil
					}
					wait(s.Context(), in)
					return s.SendMsg(wrapperspb.String("late"))
				}})
				w.open("b", says("b"))
				conn := &grpcx.Balanced{Client: grpcx.Client{Target: "s", Observe: silent, Policy: resilience.Policy{Timeout: -1, AttemptTimeout: -1}},
					Dial: w.dial, DrainLimit: c.limit}
				if err := conn.Set(instances("a")); err != nil {
					t.Fatal(err)
				}
				end := c.open(t.Context(), conn)
				synctest.Wait()
				if s := conn.Snapshot(); s[0].InFlight != 1 {
					t.Errorf("%+v", s)
				}
				begin := time.Now()
				if err := conn.Set(instances("b")); err != nil {
					t.Fatal(err)
				}
				if err := conn.Set(nil); errs.KindOf(err) != errs.Unavailable {
					t.Errorf("an empty set: %v", err)
				}
				if got, err := call(t.Context(), conn, ""); got != "b" || err != nil {
					t.Errorf("%q, %v", got, err)
				}
				if err := end(); (err == nil) != c.good || err != nil && errs.KindOf(err) != errs.Unavailable {
					t.Errorf("the old call: %v", err)
				}
				for w.left() > 1 && time.Since(begin) < time.Minute {
					time.Sleep(100 * ms)
				}
				if took := time.Since(begin); took < c.took || took > c.took+200*ms {
					t.Errorf("drained after %v, want %v", took, c.took)
				}
				if err := conn.Close(); err != nil || w.left() != 0 {
					t.Errorf("%v, %d connections left", err, w.left())
				}
			})
		})
	}
}

func background(fn func() error) (wait func() error) {
	done := make(chan error, 1)
	go func() { done <- fn() }()
	return func() error { return <-done }
}

// wait is for in, if that is a duration, or until ctx ends.
func wait(ctx context.Context, in string) {
	d, _ := time.ParseDuration(in)
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// TestCloseEndsCalls: Close waits for calls, drains and goroutines; synctest
// fails if one stays.
func TestCloseEndsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &town{t: t}
		w.open("a", handlers{do: hangs, follow: says("a").follow})
		w.open("b", handlers{do: hangs})
		conn := &grpcx.Balanced{Client: grpcx.Client{Target: "s", Observe: silent, Policy: resilience.Policy{Timeout: -1, AttemptTimeout: -1}}, Dial: w.dial}
		if err := conn.Set(instances("a")); err != nil {
			t.Fatal(err)
		}
		if _, err := open(t.Context(), conn, "stay"); err != nil {
			t.Fatal(err)
		}
		end := background(func() error { _, err := call(t.Context(), conn, ""); return err })
		synctest.Wait()
		if err := conn.Set(instances("b")); err != nil {
			t.Fatal(err)
		}
		end2 := background(func() error { _, err := call(t.Context(), conn, ""); return err })
		synctest.Wait()
		if err := conn.Close(); err != nil || w.left() != 0 {
			t.Errorf("%v, %d connections left", err, w.left())
		}
		for _, err := range []error{end(), end2(), conn.Close()} {
			if err != nil && errs.KindOf(err) != errs.Unavailable {
				t.Error(err)
			}
		}
	})
}

// TestAPanicLeavesNothingBehind: Close would wait for it.
func TestAPanicLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &town{t: t}
		w.open("a", says("a"))
		conn := &grpcx.Balanced{Client: grpcx.Client{Target: "s", Observe: silent},
			Dial: func(in balance.Instance, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
				return w.dial(in, append(opts,
					grpc.WithUnaryInterceptor(func(context.Context, string, any, any, *grpc.ClientConn, grpc.UnaryInvoker, ...grpc.CallOption) error {
						panic("unary")
					}),
					grpc.WithStreamInterceptor(func(context.Context, *grpc.StreamDesc, *grpc.ClientConn, string, grpc.Streamer, ...grpc.CallOption) (grpc.ClientStream, error) {
						panic("stream")
					}))...)
			}}
		if err := conn.Set(instances("a")); err != nil {
			t.Fatal(err)
		}
		if _, err := call(t.Context(), conn, ""); err == nil {
			t.Error("a call succeeded")
		}
		if _, err := conn.NewStream(t.Context(), &desc.Streams[0], streamMethod); err == nil {
			t.Error("a stream opened")
		}
		synctest.Wait()
		if s := conn.Snapshot(); s[0].InFlight != 0 {
			t.Errorf("%+v", s)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
}
