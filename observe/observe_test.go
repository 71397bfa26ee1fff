package observe_test

import (
	"fmt"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/surefoot-go/surefoot/observe"
)

func TestAttributes(t *testing.T) {
	var a observe.Attributes[int]
	var mu sync.Mutex
	made := map[int]int{}
	of := func(n int) observe.Set {
		return a.Of(n, func(n int) []attribute.KeyValue {
			mu.Lock()
			defer mu.Unlock()
			made[n]++
			return []attribute.KeyValue{attribute.Int("n", n)}
		})
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for n := range 1100 {
				s := of(n)
				record, add := metric.NewRecordConfig(s.Record).Attributes(), metric.NewAddConfig(s.Add).Attributes()
				if v, _ := record.Value("n"); v.AsInt64() != int64(n) || !record.Equals(&add) {
					t.Errorf("the set of %d is %v and %v", n, record, add)
				}
			}
		})
	}
	wg.Wait()
	before := made[0]
	of(0)
	if made[0] != before {
		t.Error("a set that is kept was made again")
	}
	total := func() (sum int) {
		for _, n := range made {
			sum += n
		}
		return sum
	}
	all := total()
	for n := range 1100 {
		of(n)
	}
	if again := total() - all; again != 100 {
		t.Errorf("%d sets were made again, want the 100 above the bound", again)
	}
	if n := testing.AllocsPerRun(100, func() { of(7) }); n > 0 {
		t.Errorf("%v allocations for a set that is kept", n)
	}
}

func TestNames(t *testing.T) {
	var n observe.Names
	for i := range 100 {
		if !n.Known(fmt.Sprint(i)) {
			t.Fatalf("number %d is not known", i)
		}
	}
	if n.Known("one more") || !n.Known("0") || !n.Known("99") {
		t.Error("want the first 100 and no more")
	}
}
