package hedge_test

import (
	"context"
	"fmt"
	"time"

	"github.com/surefoot-go/surefoot/resilience/hedge"
)

func ExampleDo() {
	h := hedge.New(hedge.Settings{Delay: 10 * time.Millisecond}) // one per target
	left := 10                                                   // in earnest a retry.Budget, shared with the retries
	rate, err := hedge.Do(context.Background(), h,
		hedge.Call[string]{Take: func() bool { left--; return left >= 0 }},
		func(ctx context.Context, try int) (string, error) {
			if try == 0 {
				<-ctx.Done() // the first instance hangs
				return "", ctx.Err()
			}
			return "1.0834", nil
		})
	fmt.Println(rate, err, h.Counts().Won)
	// Output: 1.0834 <nil> 1
}
