package faulttest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/surefoot-go/surefoot/faulttest"
)

func Example() {
	orders := 0
	shop := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { orders++ }))
	defer shop.Close()
	client := &http.Client{Transport: &faulttest.Transport{Plan: faulttest.Script(
		faulttest.Fault{What: faulttest.Answer, Status: 503},
		faulttest.Fault{What: faulttest.Lose},
	)}}
	for range 3 {
		resp, err := client.Post(shop.URL, "text/plain", nil)
		if err != nil {
			fmt.Println("no answer; orders placed:", orders)
			continue
		}
		fmt.Println(resp.StatusCode, "orders placed:", orders)
		resp.Body.Close()
	}
	// Output:
	// 503 orders placed: 0
	// no answer; orders placed: 1
	// 200 orders placed: 2
}
