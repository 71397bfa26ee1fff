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

// Results come in the order of the input, however long each takes.
func ExampleMap() {
	price := func(_ context.Context, sku string) (int, error) {
		if sku == "" {
			panic("no sku") // becomes an error; the process lives
		}
		return 10 * len(sku), nil
	}
	prices, err := safe.Map(context.Background(), &safe.Group{Name: "prices", Max: 8}, []string{"tea", "cup", "kettle"}, price)
	fmt.Println(prices, err)
	// Output: [30 30 60] <nil>
}

// Count panics, besides logging them, with a hook that travels in the context.
func ExampleWithPanics() {
	ctx := safe.WithPanics(context.Background(), func(_ context.Context, name string, p *safe.Panic) {
		fmt.Println("panic in", name+":", p.Value)
	})
	err := safe.Go(ctx, "outbox", func(context.Context) error { panic("no such row") }).Wait()
	fmt.Println(err)
	// Output:
	// panic in outbox: no such row
	// panic: no such row
}
