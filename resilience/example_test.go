package resilience_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
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

func ExampleGuard_Set() {
	bank := resilience.New("bank", resilience.Default(), observe.Sinks{})
	p := bank.Policy()
	p.Retry.Max = 1
	bank.Set(p) // calls that begin from now on try once more at most
	fmt.Println(bank.Policy().Retry.Max, bank.State())
	// Output: 1 closed
}
