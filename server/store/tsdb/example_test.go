package tsdb_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/store/tsdb"
)

func ExampleStore() {
	dir, err := os.MkdirTemp("", "series")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	db, err := tsdb.Open(dir, tsdb.Options{Reserve: -1})
	if err != nil {
		panic(err)
	}
	defer db.Close()

	ctx, now := context.Background(), time.Now()
	labels := []store.Label{{Name: "__name__", Value: "orders_total"}, {Name: "service_name", Value: "order"}}
	for i := range 60 {
		at := now.Add(time.Duration(i-59) * time.Second)
		if _, err := db.Put(ctx, []store.Sample{{Labels: labels, At: at, Value: float64(i * 20)}}); err != nil {
			panic(err)
		}
	}
	res, err := db.Query(ctx, `max by (service_name) (orders_total)`, now)
	fmt.Println(res.Series[0].Labels["service_name"], res.Series[0].Points[0].Value, err)
	// Output: order 1180 <nil>
}
