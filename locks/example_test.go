package locks_test

import (
	"fmt"

	"github.com/surefoot-go/surefoot/locks"
)

// Two orders of locking are reported before they deadlock, even if so far each
// came alone.
func Example() {
	stop := locks.Check(locks.Checks{Order: true, Report: func(p locks.Problem) {
		fmt.Println(p.Kind, "of", p.Name, "and", p.Other)
	}})
	defer stop()

	cart, stock := locks.Mutex{Name: "cart"}, locks.Mutex{Name: "stock"}
	checkout := func() { cart.Lock(); stock.Lock(); stock.Unlock(); cart.Unlock() }
	restock := func() { stock.Lock(); cart.Lock(); cart.Unlock(); stock.Unlock() }
	checkout()
	restock()
	// Output: order of cart and stock
}

func ExampleGuarded() {
	prices := locks.Guarded[map[string]int]{Name: "prices"}
	prices.Store(map[string]int{"tea": 3})
	prices.With(func(m *map[string]int) { (*m)["tea"]++ })
	prices.Read(func(m map[string]int) { fmt.Println(m["tea"]) })
	// Output: 4
}

func ExampleMap() {
	var visits locks.Map[string, int]
	for _, who := range []string{"ann", "bob", "ann"} {
		visits.Compute(who, func(n int, _ bool) (int, bool) { return n + 1, true })
	}
	fmt.Println(visits.Load("ann"))
	// Output: 2 true
}
