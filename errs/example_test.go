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

// Texts by id and language belong to the service; the generic ones are here.
func ExampleCatalog() {
	texts := errs.Catalog{
		"sold_out": {"en": "{article} is sold out", "zh": "{article}已售罄"},
	}
	e := errSoldOut.Arg("article", "Longjing") // public, unlike With
	fmt.Println(e.In(texts, "zh-CN,zh;q=0.9,en;q=0.8").Message())
	fmt.Println(e.In(texts, "fr, en;q=0.5").Message())
	fmt.Println(e.In(texts, "fr").Message()) // nothing fits: as it was written
	fmt.Println(errs.From(errors.New("dsn=postgres://...")).In(texts, "zh").Message())
	// Output:
	// Longjing已售罄
	// Longjing is sold out
	// this article is sold out
	// 我们这边出了点问题
}

// All that is wrong with a request goes back at once.
func ExampleError_Field() {
	var name, quantity = "", -1
	bad := errs.New(errs.Invalid, "order.Place", "request parameters failed validation")
	if name == "" {
		bad = bad.Field("username", "must not be empty")
	}
	if quantity <= 0 {
		bad = bad.Field("quantity", "must be positive")
	}
	if len(bad.Details()) > 0 {
		fmt.Println(bad.Code(), bad.Details())
	}
	// Output: invalid_request [username: must not be empty quantity: must be positive]
}

// Joined errors are as bad as the gravest of them.
func ExampleFrom_joined() {
	err := errors.Join(
		errs.New(errs.Invalid, "a", "no").Detail("quantity must be positive"),
		errs.New(errs.Unavailable, "b", "the stock is not known right now"),
	)
	e := errs.From(err)
	fmt.Println(e.HTTP(), e.Message(), e.Details())
	// Output: 503 the stock is not known right now [quantity must be positive]
}
