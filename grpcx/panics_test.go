package grpcx_test

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc"

	"github.com/surefoot-go/surefoot/grpcx"
	"github.com/surefoot-go/surefoot/safe"
)

// A handler's panic is counted by its method, once; one that it only returns as
// its error is not.
func TestPanicsAreCounted(t *testing.T) {
	rec := new(recorder)
	caught := safe.Call(func() error { panic(dsn) })
	conn := serve(t, grpcx.Server{Service: "shop", Observe: rec.sinks()}, handlers{
		do: func(_ context.Context, in string) (string, error) {
			switch in {
			case "panic":
				panic(dsn)
			case "another's":
				return "", caught
			case "error":
				return "", errors.New(dsn)
			}
			return "", nil
		},
		follow: func(string, grpc.ServerStream) error { panic(dsn) },
	}, grpcx.Client{Target: "shop", Policy: oneTry})
	for _, in := range []string{"panic", "another's", "error", "good"} {
		if _, err := call(t.Context(), conn, in); (err == nil) != (in == "good") {
			t.Errorf("%s: %v", in, err)
		}
	}
	s, err := open(t.Context(), conn, "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RecvMsg(new(text)); err == nil {
		t.Error("the stream did not fail")
	}
	got := map[string]int{}
	for _, set := range rec.measured("surefoot.panics") {
		name, _ := set.Value("surefoot.goroutine")
		got[name.AsString()]++
	}
	if len(got) != 2 || got["test.Service/Do"] != 1 || got["test.Service/Follow"] != 1 {
		t.Errorf("%v", got)
	}
}
