package balance_test

import (
	"fmt"
	"time"

	"github.com/surefoot-go/surefoot/resilience/balance"
)

func Example() {
	var bank balance.Balancer
	bank.Set([]balance.Instance{{ID: "a", Addr: "10.0.0.7:8080"}, {ID: "b", Addr: "10.0.0.8:8080"}})

	// One call that tries elsewhere when the first instance fails.
	first, err := bank.Pick()
	if err != nil {
		fmt.Println(err)
		return
	}
	first.Done(balance.Failure, time.Second)
	second, _ := bank.Pick(first.Instance().ID)
	second.Done(balance.Success, 10*time.Millisecond)
	fmt.Println(first.Instance().ID != second.Instance().ID)

	fmt.Println(bank.Set(nil), len(bank.Snapshot())) // a registry that fails changes nothing
	// Output:
	// true
	// false 2
}
