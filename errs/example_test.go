package errs_test

import (
	"errors"
	"fmt"

	"github.com/surefoot-go/surefoot/errs"
)

// A service names its own failures once and recognises them anywhere.
var errSoldOut = errs.New(errs.Conflict, "inventory.Reserve", "this article is sold out").ID("sold_out")

func reserve(sku string) error {
	return errSoldOut.With("sku", sku).Because(errors.New("UPDATE stock: 0 rows"))
}

func Example() {
	err := errs.Wrap(reserve("tea-7"), "order.Place")

	fmt.Println(errors.Is(err, errSoldOut), errs.KindOf(err).HTTP())
	fmt.Println("log: ", err)
	fmt.Println("wire:", errs.From(err).Message())
	// Output:
	// true 409
	// log:  order.Place: sold_out: this article is sold out: UPDATE stock: 0 rows
	// wire: this article is sold out
}

func ExampleDecode() {
	// What a proxy in front of a dead service says.
	e := errs.Decode([]byte("no healthy upstream at 10.1.2.3"), 503, "text/plain")
	fmt.Println(e.Code(), e.HTTP(), e.Remote(), e.Kind().Retryable())
	fmt.Println(e.Message())
	// Output:
	// unavailable 503 true true
	// this is not available right now; please try again later
}
