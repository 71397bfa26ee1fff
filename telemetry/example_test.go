package telemetry_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/service"
	"github.com/surefoot-go/surefoot/telemetry"
)

// A whole service. A program calls os.Exit(s.Main()) instead of Run.
func Example() {
	s := &service.Service{Name: "hello", Addr: "127.0.0.1:0", Drain: -1, Telemetry: telemetry.OTLP{Endpoint: "none", Stderr: io.Discard}}
	users := s.Client("users", resilience.Policy{})
	s.HandleFunc("GET /hello/{id}", func(w http.ResponseWriter, r *http.Request) error {
		name, err := httpx.JSON[string](r.Context(), users, "GET", "http://users:8080/users/"+r.PathValue("id"), nil)
		if err != nil {
			return errs.Wrap(err, "hello.Greet")
		}
		return httpx.Write(w, http.StatusOK, "hello, "+name)
	})
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer stop()
	fmt.Println(s.Run(ctx))
	// Output: <nil>
}

// Without package service: start, use the sinks, stop.
func ExampleOTLP_Start() {
	ctx := context.Background()
	sinks, stop, err := telemetry.OTLP{Endpoint: "none", Stderr: io.Discard}.Start(ctx, observe.Resource{Name: "hello", Version: "v1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	sinks.Log.InfoContext(ctx, "working")
	fmt.Println(stop(ctx))
	// Output: <nil>
}
