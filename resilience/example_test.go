package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/hedge"
	"github.com/surefoot-go/surefoot/resilience/limit"
)

func ExampleDo() {
	bank := resilience.New("bank", resilience.Policy{}, observe.Sinks{}) // one per target
	charge := func(ctx context.Context) (string, error) { return "", errors.New("connection refused") }

	status, err := resilience.Do(context.Background(), bank, charge,
		resilience.Fallback(func(ctx context.Context, err error) (string, error) {
			return "payment pending", nil // and an outbox settles it later
		}))
	fmt.Println(status, err)
	// Output: payment pending <nil>
}

// What differs for some methods of a target stands in the same Policy.
func ExampleNamed() {
	get := true
	orders := resilience.New("orders", resilience.Policy{
		Bulkhead: limit.BulkheadSettings{Max: 50},
		Methods: []resilience.Method{
			{Pattern: "GET *", Idempotent: &get, Hedge: &hedge.Settings{Max: 1, Delay: time.Millisecond}},
			{Pattern: "POST /v1/exports", Timeout: -1, AttemptTimeout: time.Minute},
		},
	}, observe.Sinks{})

	var tries atomic.Int32
	v, err := resilience.Do(context.Background(), orders, func(ctx context.Context) (string, error) {
		if tries.Add(1) == 1 {
			<-ctx.Done() // this instance hangs
			return "", ctx.Err()
		}
		return "three orders", nil
	}, resilience.Named[string]("GET /v1/orders"))
	fmt.Println(v, err, orders.Snapshot().Hedge.Won)
	// Output: three orders <nil> 1
}

func ExampleWithDeadline() {
	ctx, cancel := resilience.WithDeadline(context.Background(), time.Now().Add(time.Hour))
	defer cancel()
	_, has := ctx.Deadline() // no timer runs yet
	child, stop := context.WithCancel(ctx)
	defer stop()
	cancel()
	<-child.Done()
	fmt.Println(has, child.Err())
	// Output: true context canceled
}

func ExampleGuard_Set() {
	bank := resilience.New("bank", resilience.Default(), observe.Sinks{})
	p := bank.Policy()
	p.Retry.Max = 1
	bank.Set(p) // calls that begin from now on try once more at most
	fmt.Println(bank.Policy().Retry.Max, bank.State())
	// Output: 1 closed
}
