package safe_test

import (
	"context"
	"fmt"

	"github.com/surefoot-go/surefoot/safe"
)

func Example() {
	err := safe.Call(func() error {
		var orders map[string]int
		orders["tea"]++ // would end the process
		return nil
	})
	fmt.Println(err)

	g := safe.Group{Max: 2}
	sums := make([]int, 3)
	for i := range sums {
		g.Go(context.Background(), func(context.Context) error {
			sums[i] = i * i
			return nil
		})
	}
	fmt.Println(g.Wait(), sums)
	// Output:
	// panic: assignment to entry in nil map
	// <nil> [0 1 4]
}
