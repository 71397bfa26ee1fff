package breaker_test

import (
	"errors"
	"fmt"

	"github.com/surefoot-go/surefoot/resilience/breaker"
)

func ExampleDo() {
	bank := breaker.New(breaker.Settings{MinCalls: 2})
	charge := func() (string, error) { return "", errors.New("connection refused") }
	for range 3 {
		_, err := breaker.Do(bank, charge)
		fmt.Println(err)
	}
	fmt.Println(bank.State())
	// Output:
	// connection refused
	// connection refused
	// breaker: open
	// open
}

// Allow and Done leave the verdict to the caller.
func ExampleBreaker_Allow() {
	bank := breaker.New(breaker.Classic())
	permit, err := bank.Allow()
	if err != nil {
		fmt.Println("answer without the bank:", err)
		return
	}
	outcome := breaker.Ignored
	defer func() { permit.Done(outcome, nil) }() // also when the call panics
	outcome = breaker.Success
	fmt.Println(bank.State())
	// Output: closed
}
