// Hello is the README's service: panic safety, structured errors, deadlines,
// traces, metrics and logs over OTLP, a resilient client, a graceful drain.
package main

import (
	"net/http"
	"os"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/service"
	"github.com/surefoot-go/surefoot/telemetry"
)

func main() {
	s := &service.Service{Name: "hello", Addr: os.Getenv("ADDR"), Telemetry: telemetry.OTLP{}}
	users := s.Client("users", resilience.Policy{})
	s.HandleFunc("GET /hello/{id}", func(w http.ResponseWriter, r *http.Request) error {
		name, err := httpx.JSON[string](r.Context(), users, "GET", os.Getenv("USERS")+"/users/"+r.PathValue("id"), nil)
		if err != nil {
			return errs.Wrap(err, "hello.Greet")
		}
		return httpx.Write(w, http.StatusOK, "hello, "+name)
	})
	os.Exit(s.Main())
}
