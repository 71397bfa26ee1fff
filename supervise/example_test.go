package supervise_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/safe"
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

// Without a tree: a ctx in which panics of safe.Go and safe.Group are counted as
// surefoot.panics and logged with their stack.
func ExampleCountPanics() {
	ctx := supervise.CountPanics(context.Background(), observe.Sinks{Log: slog.New(slog.DiscardHandler)})
	err := safe.Go(ctx, "outbox", func(context.Context) error { panic("no such row") }).Wait()
	fmt.Println(err)
	// Output: panic: no such row
}

// Who runs how many goroutines, by name.
func ExampleGoroutines() {
	done := make(chan struct{})
	var g safe.Group
	g.Name = "fetch"
	for range 3 {
		g.Go(context.Background(), func(context.Context) error { <-done; return nil })
	}
	fmt.Println(supervise.Goroutines()["fetch"] <= 3) // 3, once all have begun
	close(done)
	fmt.Println(g.Wait(), supervise.Goroutines()["fetch"])
	// Output:
	// true
	// <nil> 0
}
