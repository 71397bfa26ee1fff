package driver_test

import (
	"context"
	"fmt"

	"github.com/surefoot-go/surefoot/discovery/driver"
)

// one is a registry that knows one instance of everything.
type one struct{}

func (one) Watch(ctx context.Context, service string, fn func([]driver.Instance)) error {
	fn([]driver.Instance{{ID: service + "-1", Addr: "10.0.0.7:8080"}})
	<-ctx.Done()
	return ctx.Err()
}

func ExampleWatcher() {
	ctx, cancel := context.WithCancel(context.Background())
	var w driver.Watcher = one{}
	_ = w.Watch(ctx, "bank", func(in []driver.Instance) {
		fmt.Println(in[0].ID)
		cancel()
	})
	// Output: bank-1
}
