package httpx_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/balance"
)

// A client that chooses among the instances of its target: the one that fails
// is not asked again by the retry, and soon not at all.
func ExampleClient_balancer() {
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "7 EUR") }))
	defer good.Close()
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) }))
	defer bad.Close()

	var prices balance.Balancer // whoever discovers instances calls Set
	prices.Set([]balance.Instance{{Addr: good.Listener.Addr().String()}, {Addr: bad.Listener.Addr().String()}})

	policy := resilience.Policy{}
	policy.Retry.Base = -1 // no wait, for the example
	client := httpx.Client{Service: "order", Target: "prices", Policy: policy, Balancer: &prices}.HTTP()
	for range 3 {
		resp, err := client.Get("http://prices/skus/17")
		if err != nil {
			fmt.Println(err)
			return
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Println(resp.StatusCode, string(text))
	}
	// Output:
	// 200 7 EUR
	// 200 7 EUR
	// 200 7 EUR
}
