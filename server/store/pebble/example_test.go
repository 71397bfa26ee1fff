package pebble_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/store/pebble"
)

func ExampleStore() {
	dir, err := os.MkdirTemp("", "spans")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	db, err := pebble.Open(dir, pebble.Options{Reserve: -1})
	if err != nil {
		panic(err)
	}
	defer db.Close()

	ctx := context.Background()
	err = db.Spans().Put(ctx, []store.Span{{
		Resource: store.Resource{Service: "order"}, TraceID: store.TraceID{1}, ID: store.SpanID{1},
		Name: "POST /orders", Start: time.Now(), Duration: 30 * time.Millisecond,
	}})
	if err != nil {
		panic(err) // it was not kept
	}
	traces, err := db.Spans().Search(ctx, store.SpanQuery{Service: "order"})
	fmt.Println(traces[0].Name, traces[0].Duration, err)
	// Output: POST /orders 30ms <nil>
}
