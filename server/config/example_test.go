package config_test

import (
	"context"
	"fmt"
	"os"

	"github.com/surefoot-go/surefoot/canary"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/config"
	"github.com/surefoot-go/surefoot/server/coord"
)

func ExampleStore() {
	dir, err := os.MkdirTemp("", "config")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	etcd, err := coord.Start(ctx, coord.Settings{Dir: dir, Client: "127.0.0.1:0", Peer: "127.0.0.1:0", Log: quiet})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer etcd.Close()

	s := &config.Store{KV: etcd.Client(), Log: quiet}
	r := canary.Route{Service: "payment", Stable: "v1", Canary: "v2", Weight: 10}
	_, err = s.PutRoute(ctx, r, config.Any, config.Author{By: "li", Why: "first tenth"})
	fmt.Println(err)
	_, err = s.Rollback(ctx, "payment", "v2", "error share over 3 % for 30 s")
	fmt.Println(err)
	_, err = s.PutRoute(ctx, r, config.Any, config.Author{By: "li", Why: "once more"})
	fmt.Println(errs.From(err).Code(), errs.From(err).Message())
	_, err = s.ClearReview(ctx, "payment", "wang", "fixed in build 8")
	fmt.Println(err)
	// Output:
	// <nil>
	// <nil>
	// pending_review version v2 is pending review; a person must clear it first
	// <nil>
}
