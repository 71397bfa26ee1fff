package supervise_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/supervise"
)

func Example() {
	ctx, stop := context.WithCancel(context.Background())
	runs := 0
	tree := &supervise.Tree{
		Name:    "order",
		Restart: supervise.Restart{Base: time.Millisecond},
		Observe: observe.Sinks{Log: slog.New(slog.DiscardHandler)},
		Workers: []supervise.Worker{
			{Name: "outbox", Run: func(ctx context.Context) error {
				if runs++; runs < 3 {
					return errors.New("no database yet")
				}
				stop()
				<-ctx.Done()
				return ctx.Err()
			}},
		},
	}
	err := tree.Run(ctx)
	for _, s := range tree.Status() {
		fmt.Println(s.Name, s.State, s.Restarts, s.LastErr)
	}
	fmt.Println(err)
	// Output:
	// order/outbox done 2 no database yet
	// <nil>
}
