package canary_test

import (
	"fmt"

	"github.com/surefoot-go/surefoot/canary"
)

func Example() {
	route := canary.Route{
		Service: "payment", Stable: "v1", Canary: "v2",
		Match: map[string]string{"tier": "premium"}, Weight: 100,
	}
	fmt.Println(route.Pick(map[string]string{"tier": "premium"}, "alice"))
	fmt.Println(route.Pick(map[string]string{"tier": "free"}, "bob"))

	// The judge takes v2 off traffic; no weight brings it back.
	route.Review = &canary.Review{Version: "v2", Reason: "error share over 3 %"}
	fmt.Println(route.Pick(map[string]string{"tier": "premium"}, "alice"))
	// Output:
	// v2
	// v1
	// v1
}
