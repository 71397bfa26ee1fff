package supervise_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

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
	worker, _ := set.Value("surefoot.worker")
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
