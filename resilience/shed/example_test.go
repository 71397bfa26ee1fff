package shed_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/surefoot-go/surefoot/resilience/shed"
)

func ExampleDoor() {
	var door shed.Door // one per server
	handle := func(ctx context.Context, user string) error {
		pass, err := door.Enter(ctx, shed.Request{User: user})
		if err != nil {
			return err
		}
		outcome := shed.Ignored
		defer func() { pass.Done(outcome) }() // also when the work panics
		fmt.Println("working for", user)
		outcome = shed.Success
		return nil
	}
	fmt.Println(handle(context.Background(), "ada"))
	// Output:
	// working for ada
	// <nil>
}

// A refusal says why, and when to try again.
func ExampleRefused() {
	door := shed.New(shed.Settings{Max: 1, Queue: -1})
	pass, _ := door.Enter(context.Background(), shed.Request{})
	defer pass.Done(shed.Success)
	_, err := door.Enter(context.Background(), shed.Request{Priority: shed.Critical})
	if refused, ok := errors.AsType[*shed.Refused](err); ok {
		fmt.Println(refused.Reason(), refused.RetryDelay() >= 100*time.Millisecond)
	}
	// Output: full true
}
