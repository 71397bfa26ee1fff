package limit_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/surefoot-go/surefoot/resilience/limit"
)

// A token bucket: three at once, then one each 100ms.
func ExampleRate() {
	mails := limit.NewRate(limit.RateSettings{PerSecond: 10, Burst: 3})
	for range 4 {
		fmt.Println(mails.Allow())
	}
	fmt.Println(mails.Delay() > 90*time.Millisecond)
	// Output:
	// true
	// true
	// true
	// false
	// true
}

func ExampleBulkhead() {
	reports := limit.NewBulkhead(limit.BulkheadSettings{Max: 1})
	permit, err := reports.Acquire(context.Background())
	fmt.Println(err)
	err = reports.Do(context.Background(), func() error { return nil })
	fmt.Println(errors.Is(err, limit.ErrLimit))
	fmt.Println(permit.Release(), permit.Release()) // the second is harmless
	// Output:
	// <nil>
	// true
	// true false
}

func ExampleAdaptive() {
	var search limit.Adaptive // one per target
	err := search.Do(context.Background(), func() error { return nil })
	fmt.Println(err, search.Snapshot().Limit)
	// Output: <nil> 64
}
