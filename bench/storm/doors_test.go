package main

import (
	"context"
	"testing"
	"time"

	failsafe "github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
	"github.com/go-kratos/aegis/ratelimit"
	"github.com/go-kratos/aegis/ratelimit/bbr"
	"github.com/zeromicro/go-zero/core/load"
	"github.com/zeromicro/go-zero/core/logx"
	"github.com/zeromicro/go-zero/core/stat"

	"github.com/surefoot-go/surefoot/resilience/shed"
)

// door does work for a request, or refuses it.
type door func(ctx context.Context, work func()) (admitted bool)

// guard makes a door; start is the first limit, 0 means the library's.
type guard func(start int) door

func shedDoor(start int) door {
	d := shed.New(shed.Settings{Start: start})
	return func(ctx context.Context, work func()) bool {
		pass, err := d.Enter(ctx, shed.Request{})
		if err != nil {
			return false
		}
		work()
		if ctx.Err() != nil {
			pass.Done(shed.Overload)
		} else {
			pass.Done(shed.Success)
		}
		return true
	}
}

func safeDoor(b adaptivelimiter.Builder[any], start int) door {
	if start > 0 {
		b = b.WithLimits(1, 200, uint(start))
	}
	x := failsafe.With(failsafe.Policy[any](b.Build()))
	return func(ctx context.Context, work func()) bool {
		began := false
		_ = x.WithContext(ctx).Run(func() error { began = true; work(); return nil })
		return began
	}
}

func failsafeDoor(start int) door { return safeDoor(adaptivelimiter.NewBuilder[any](), start) }

// failsafeQueue lets some wait, as failsafe-go's documentation offers.
func failsafeQueue(start int) door {
	return safeDoor(adaptivelimiter.NewBuilder[any]().WithQueueing(2, 3), start)
}

// gradientDoor has Gradient2's default limits, 20 at first and at least; told
// another start, it may also go lower.
func gradientDoor(start int) door {
	g := newGradient(20, 20)
	if start > 0 {
		g = newGradient(float64(start), 1)
	}
	return func(_ context.Context, work func()) bool {
		if !g.enter() {
			return false
		}
		began := time.Now()
		work()
		g.done(time.Since(began))
		return true
	}
}

func noDoor(int) door { return func(_ context.Context, work func()) bool { work(); return true } }

func zeroDoor(opts ...load.ShedderOption) guard {
	return func(int) door {
		s := load.NewAdaptiveShedder(opts...)
		return func(ctx context.Context, work func()) bool {
			p, err := s.Allow()
			if err != nil {
				return false
			}
			work()
			if ctx.Err() != nil {
				p.Fail()
			} else {
				p.Pass()
			}
			return true
		}
	}
}

func bbrDoor(opts ...bbr.Option) guard {
	return func(int) door {
		l := bbr.NewLimiter(opts...)
		return func(_ context.Context, work func()) bool {
			done, err := l.Allow()
			if err != nil {
				return false
			}
			work()
			done(ratelimit.DoneInfo{})
			return true
		}
	}
}

// doors that live in a bubble.
var doors = []struct {
	name string
	open guard
}{
	{self, shedDoor},
	{"failsafe-go", failsafeDoor},
	{"failsafe-go, queueing", failsafeQueue},
	{"Gradient2", gradientDoor},
	{"none", noDoor},
}

// realDoors are judged by the real clock, because some read the real CPU.
// Without its gate a CPU-gated one is always allowed to act.
var realDoors = []struct {
	name string
	open guard
}{
	{self, shedDoor},
	{"go-zero", zeroDoor()},
	{"go-zero, gate removed", zeroDoor(load.WithCpuThreshold(0))},
	{"kratos bbr", bbrDoor()},
	{"kratos bbr, gate removed", bbrDoor(bbr.WithCPUThreshold(0))},
	{"none", noDoor},
}

// hush keeps go-zero from logging each drop.
func hush(t *testing.T) {
	t.Helper()
	logx.Disable()
	load.DisableLog()
	stat.DisableLog()
	stat.SetReporter(nil)
}
