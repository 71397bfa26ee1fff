package cache_test

import (
	"context"
	"fmt"
	"time"

	"github.com/surefoot-go/surefoot/locks/cache"
)

func Example() {
	prices := cache.Cache[string, int]{
		Load: func(_ context.Context, sku string) (int, error) { // a slow shop
			return 10 * len(sku), nil
		},
		TTL:   time.Minute,
		Stale: time.Hour, // better an old price than none
	}
	defer prices.Close()
	for range 3 {
		price, err := prices.Get(context.Background(), "tea")
		fmt.Println(price, err)
	}
	fmt.Println(prices.Stats().Loads, "load")
	// Output:
	// 30 <nil>
	// 30 <nil>
	// 30 <nil>
	// 1 load
}
