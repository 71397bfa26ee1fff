package drivertest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/surefoot-go/surefoot/config/driver"
	"github.com/surefoot-go/surefoot/config/drivertest"
)

func TestMemory(t *testing.T) {
	drivertest.Run(t, func(t *testing.T) drivertest.Lab {
		m := &drivertest.Memory{}
		return drivertest.Lab{
			Driver: m, Atomic: true,
			Commit: func(_ *testing.T, values map[string][]byte) { m.Commit(values) },
			Break:  func(*testing.T) func() { m.Away(true); return func() { m.Away(false) } },
		}
	})
}

func ExampleMemory() {
	m := &drivertest.Memory{}
	m.Commit(map[string][]byte{"surefoot/config/order/limits": []byte(`{"max": 3}`)})
	ctx, cancel := context.WithCancel(context.Background())
	_ = m.Watch(ctx, "surefoot/config/order/", func(s driver.Snapshot) {
		fmt.Println(s.Items[0].Key, string(s.Items[0].Value))
		cancel()
	})
	// Output: surefoot/config/order/limits {"max": 3}
}
