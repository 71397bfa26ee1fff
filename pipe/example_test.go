package pipe_test

import (
	"context"
	"fmt"
	"log"

	"github.com/surefoot-go/surefoot/pipe"
	"github.com/surefoot-go/surefoot/pipe/seal"
)

// One service sends, another receives; both have the same key.
func Example() {
	ctx := context.Background()
	keys, err := seal.NewKeyring(seal.Keys{Keys: []seal.Key{{ID: "2026-11", Secret: seal.NewSecret()}}})
	if err != nil {
		log.Fatal(err)
	}
	l, err := pipe.Listen(ctx, "127.0.0.1:0", pipe.Security{Keys: keys}, "orders")
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()

	out, err := pipe.Dial(ctx, l.Bound().String(), "orders", pipe.Security{Keys: keys})
	if err != nil {
		log.Fatal(err)
	}
	in, err := l.Accept(ctx, "orders")
	if err != nil {
		log.Fatal(err)
	}
	defer in.Close()
	for _, order := range []string{"tea", "cups"} {
		if err := out.Send(ctx, []byte(order)); err != nil {
			log.Fatal(err)
		}
	}
	out.Close() // what was sent still arrives
	for m := range in.C() {
		fmt.Println(string(m.Data))
	}
	// Output:
	// tea
	// cups
}
