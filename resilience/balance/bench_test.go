package balance_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/resilience/balance"
)

// go test -run xxx -bench . ./resilience/balance

func BenchmarkPickDone(b *testing.B) {
	var bal balance.Balancer
	bal.Set(instances(10))
	b.Run("serial", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p, _ := bal.Pick()
			p.Done(balance.Success, time.Millisecond)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				p, _ := bal.Pick()
				p.Done(balance.Success, time.Millisecond)
			}
		})
	})
}

// What choosing costs without knowing anything.
func BenchmarkRoundRobin(b *testing.B) {
	var next atomic.Uint64
	list := instances(10)
	var chosen balance.Instance
	for b.Loop() {
		chosen = list[next.Add(1)%uint64(len(list))]
	}
	_ = chosen
}
