package limit_test

import (
	"context"
	"testing"

	"github.com/surefoot-go/surefoot/resilience/limit"
)

func both(b *testing.B, call func()) {
	b.Run("serial", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			call()
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				call()
			}
		})
	})
}

func BenchmarkRateAllowed(b *testing.B) {
	r := limit.NewRate(limit.RateSettings{PerSecond: 1e9, Burst: 1 << 30})
	both(b, func() { r.Allow() })
}

func BenchmarkRateRefused(b *testing.B) {
	r := limit.NewRate(limit.RateSettings{PerSecond: 1e-3})
	both(b, func() { r.Allow() })
}

func BenchmarkBulkhead(b *testing.B) {
	h := limit.NewBulkhead(limit.BulkheadSettings{Max: 100})
	ctx := context.Background()
	both(b, func() {
		p, _ := h.Acquire(ctx)
		p.Release()
	})
}

func BenchmarkAdaptive(b *testing.B) {
	var a limit.Adaptive
	ctx := context.Background()
	both(b, func() {
		p, _ := a.Acquire(ctx)
		p.Done(limit.Success)
	})
}
