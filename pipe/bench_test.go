package pipe_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/surefoot-go/surefoot/pipe"
)

// BenchmarkSend is one channel over loopback TCP, both sides in this process.
func BenchmarkSend(b *testing.B) {
	for _, size := range []int{64, 1 << 10, 64 << 10} {
		for _, o := range []pipe.Options{{Capacity: 4096}, {Capacity: 4096, Ack: true}, {}} {
			b.Run(fmt.Sprintf("%dB/%d/ack=%t", size, o.Capacity, o.Ack), func(b *testing.B) {
				ctx := context.Background()
				l := &pipe.Listener{Security: security(b)}
				done := make(chan int, 1)
				l.Handle("in", o, func(_ context.Context, c *pipe.Channel) error {
					n := 0
					for range c.C() {
						n++
					}
					done <- n
					return nil
				})
				k := &pipe.Link{Addr: serve(b, l), Security: l.Security, Observe: quiet}
				defer k.Close()
				c, err := k.Open(ctx, "in", o)
				if err != nil {
					b.Fatal(err)
				}
				data := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N {
					if err := c.Send(ctx, data); err != nil {
						b.Fatal(err)
					}
				}
				c.CloseSend()
				if n := <-done; n != b.N {
					b.Fatalf("%d of %d", n, b.N)
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
			})
		}
	}
}
