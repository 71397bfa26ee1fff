package service_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/service"
)

func Example() {
	s := &service.Service{Name: "hello", Addr: "127.0.0.1:0", Drain: -1}
	s.HandleFunc("GET /hello/{name}", func(w http.ResponseWriter, r *http.Request) error {
		return httpx.Write(w, http.StatusOK, "hello, "+r.PathValue("name"))
	})
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer stop()
	fmt.Println(s.Run(ctx)) // a program calls os.Exit(s.Main())
	// Output: <nil>
}
