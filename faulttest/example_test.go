package faulttest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

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

// A busy target says when to come back, then comes to itself.
func ExampleScript() {
	busy := faulttest.Fault{What: faulttest.Answer, Status: 503, Header: http.Header{"Retry-After": {"2"}}}
	ft := &faulttest.Transport{Plan: faulttest.Script(busy, faulttest.Fault{What: faulttest.Answer, Status: 200, Body: "ok"})}
	client := &http.Client{Transport: ft}
	for range 2 {
		resp, err := client.Get("http://bank.test/")
		if err != nil {
			fmt.Println(err)
			return
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Printf("%d %q %q\n", resp.StatusCode, resp.Header.Get("Retry-After"), body)
	}
	fmt.Println(ft.Counts())
	// Output:
	// 503 "2" ""
	// 200 "" "ok"
	// map[answer:2]
}

// A tenth of all answers breaks off, a tenth comes byte by byte; the same ones
// each time the test runs.
func ExampleSeeded() {
	plan := faulttest.Seeded(42,
		faulttest.Odds{Share: 0.1, Fault: faulttest.Fault{What: faulttest.Truncate, At: 3}},
		faulttest.Odds{Share: 0.1, Fault: faulttest.Fault{What: faulttest.Trickle, Pause: time.Millisecond}},
	)
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "order 7") }))
	defer shop.Close()
	client := &http.Client{Transport: &faulttest.Transport{Plan: plan}}
	whole := 0
	for range 100 {
		resp, err := client.Get(shop.URL)
		if err != nil {
			continue
		}
		if body, err := io.ReadAll(resp.Body); err == nil && string(body) == "order 7" {
			whole++
		}
		resp.Body.Close()
	}
	fmt.Println(whole, "whole answers of 100")
	// Output: 93 whole answers of 100
}

// A connection that is reset after 20 bytes, for what is not HTTP: give
// DialContext to a driver, or to grpc.WithContextDialer.
func ExampleDialer() {
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "order 7") }))
	defer shop.Close()
	d := &faulttest.Dialer{Plan: faulttest.Always(faulttest.Fault{What: faulttest.Reset, At: 20})}
	c, err := d.DialContext(context.Background(), "tcp", shop.Listener.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
	answer, err := io.ReadAll(c)
	fmt.Printf("%q, %v\n", answer, err)
	// Output: "HTTP/1.0 200 OK\r\nDat", read tcp: read: connection reset by peer
}
