package retry_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/surefoot-go/surefoot/resilience/retry"
)

func ExampleDo() {
	var budget retry.Budget // one per target, shared by all callers
	fetch := func(ctx context.Context, try int) (string, error) {
		if try < 2 {
			return "", errors.New("connection reset")
		}
		return "ada", nil
	}
	name, err := retry.Do(context.Background(), retry.Policy{Base: time.Millisecond}, &budget, fetch)
	fmt.Println(name, err)
	// Output: ada <nil>
}

func ExamplePolicy_Next() {
	p := retry.Policy{Jitter: -1} // without jitter, to show the waits
	for tries := 0; ; tries++ {
		v := p.Next(retry.Moment{Tries: tries})
		if !v.Again {
			fmt.Println(v.Why)
			break
		}
		fmt.Println(v.Wait)
	}
	// Output:
	// 100ms
	// 200ms
	// 400ms
	// exhausted
}
