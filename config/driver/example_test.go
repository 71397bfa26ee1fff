package driver_test

import (
	"context"
	"fmt"

	"github.com/surefoot-go/surefoot/config/driver"
)

// fixed is a store that never changes.
type fixed struct{}

func (fixed) Watch(ctx context.Context, prefix string, fn func(driver.Snapshot)) error {
	fn(driver.Snapshot{Items: []driver.Item{{Key: prefix + "limits", Value: []byte(`{"max": 3}`), Revision: 1}}})
	<-ctx.Done()
	return ctx.Err()
}

func ExampleDriver() {
	ctx, cancel := context.WithCancel(context.Background())
	var d driver.Driver = fixed{}
	_ = d.Watch(ctx, "surefoot/config/order/", func(s driver.Snapshot) {
		fmt.Println(s.Items[0].Key)
		cancel()
	})
	// Output: surefoot/config/order/limits
}
