package static_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/surefoot-go/surefoot/discovery/driver"
	"github.com/surefoot-go/surefoot/discovery/drivertest"
	"github.com/surefoot-go/surefoot/discovery/static"
)

func TestDriver(t *testing.T) {
	drivertest.Run(t, func(t *testing.T) drivertest.Lab {
		d := static.New(nil)
		return drivertest.Lab{Watcher: d, Set: func(_ *testing.T, service string, in []driver.Instance) { d.Set(service, in) }}
	})
}

func ExampleNew() {
	d := static.New(map[string][]driver.Instance{"bank": {{Addr: "10.0.0.7:8080"}}})
	ctx, cancel := context.WithCancel(context.Background())
	_ = d.Watch(ctx, "bank", func(in []driver.Instance) {
		fmt.Println(in[0].ID)
		cancel()
	})
	// Output: 10.0.0.7:8080
}
