package drivertest_test

import (
	"fmt"
	"testing"

	"github.com/surefoot-go/surefoot/discovery/driver"
	"github.com/surefoot-go/surefoot/discovery/drivertest"
	"github.com/surefoot-go/surefoot/discovery/static"
)

func ExampleRun() {
	test := func(t *testing.T) { // func TestDriver(t *testing.T)
		drivertest.Run(t, func(t *testing.T) drivertest.Lab {
			d := static.New(nil)
			return drivertest.Lab{Watcher: d, Set: func(_ *testing.T, service string, in []driver.Instance) { d.Set(service, in) }}
		})
	}
	fmt.Println(test != nil)
	// Output: true
}
