package flow_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/surefoot-go/surefoot/flow"
)

func Example() {
	// The caller: whatever ctx carries goes into the headers.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ctx = flow.WithLabels(ctx, map[string]string{"tier": "premium"})
	h := http.Header{}
	flow.Inject(ctx, h)

	// The callee, in another process.
	ctx, cancel, err := flow.Extract(context.Background(), h)
	defer cancel()
	left, ok := flow.Remaining(ctx)
	fmt.Println(flow.Label(ctx, "tier"), ok && left <= time.Minute, err)

	// A request whose time is over is not worth doing.
	_, cancel, err = flow.Extract(context.Background(), http.Header{flow.HeaderTimeout: {"0"}})
	defer cancel()
	fmt.Println(err)
	// Output:
	// premium true <nil>
	// flow: the caller's time ran out before the work began
}
