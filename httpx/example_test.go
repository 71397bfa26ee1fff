package httpx_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/observe"
)

func Example() {
	quiet := observe.Sinks{Log: slog.New(slog.DiscardHandler)} // nil fields report to the usual places

	// A service: handlers return errors and may panic.
	s := httpx.Server{Service: "user", Observe: quiet}
	mux := http.NewServeMux()
	mux.Handle("GET /users/{id}", s.Handle("user.Get", func(w http.ResponseWriter, r *http.Request) error {
		switch r.PathValue("id") {
		case "1":
			return httpx.Write(w, http.StatusOK, map[string]string{"name": "Ada"})
		case "2":
			panic("password=hunter2")
		}
		return errs.New(errs.NotFound, "user.Get", "there is no such user")
	}))
	srv := httptest.NewServer(mux)
	defer srv.Close()

	// Its caller: one client for each target, kept.
	users := httpx.Client{Service: "order", Target: "user", Observe: quiet}.HTTP()
	defer users.CloseIdleConnections()
	for _, id := range []string{"1", "2", "3"} {
		user, err := httpx.JSON[struct{ Name string }](context.Background(), users, "GET", srv.URL+"/users/"+id, nil)
		if e, ok := errors.AsType[*errs.Error](err); ok {
			fmt.Println(e.HTTP(), e.Code(), e.Message(), e.Chain()[0].Service)
			continue
		}
		fmt.Println(user.Name)
	}
	// Output:
	// Ada
	// 500 internal_error something went wrong on our side user
	// 404 not_found there is no such user user
}

func ExampleServer_Wrap() {
	// A handler that is already there gets the rails too.
	old := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { panic("never seen by the client") })
	h := httpx.Server{Service: "legacy", Observe: observe.Sinks{Log: slog.New(slog.DiscardHandler)}}.Wrap("legacy.All", old)

	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	body, _ := io.ReadAll(w.Body)
	fmt.Println(w.Code, len(body) > 0)
	// Output: 500 true
}
