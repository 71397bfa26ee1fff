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

// A worker that fails too often takes its tree down, which is then the failure
// of that tree in the tree around it: escalation. Run says who it was.
func ExampleGiveUpError() {
	tree := &supervise.Tree{
		Name:    "order",
		Restart: supervise.Restart{Base: -1, Max: 2},
		Observe: observe.Sinks{Log: slog.New(slog.DiscardHandler)},
		Workers: []supervise.Worker{{Name: "prices", Run: func(context.Context) error {
			return errors.New("the feed is gone")
		}}},
	}
	gone, _ := errors.AsType[*supervise.GiveUpError](tree.Run(context.Background()))
	fmt.Println(gone.Name, gone.Restarts, gone.Err)
	// Output: order/prices 2 the feed is gone
}
