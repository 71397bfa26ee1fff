package httpx_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/resilience/shed"
)

// What the guard rails cost a request in memory, without telemetry installed,
// and what a refusal costs:
//
//	go test -run '^$' -bench Server ./httpx

func BenchmarkServerDoor(b *testing.B) {
	benchServer(b, httpx.Server{Observe: quiet, Door: new(shed.Door)}.Handle("x", func(w http.ResponseWriter, r *http.Request) error { return nil }))
}

func BenchmarkServerRefusal(b *testing.B) {
	door := shed.New(shed.Settings{Max: 1, Queue: -1})
	if _, err := door.Enter(context.Background(), shed.Request{}); err != nil {
		b.Fatal(err)
	}
	benchServer(b, httpx.Server{Service: "order", Observe: quiet, Door: door}.Handle("order.Place", nil))
}

func BenchmarkServerRefusalWithLabels(b *testing.B) {
	door := shed.New(shed.Settings{Max: 1, Queue: -1})
	if _, err := door.Enter(context.Background(), shed.Request{}); err != nil {
		b.Fatal(err)
	}
	h := httpx.Server{Service: "order", Observe: quiet, Door: door}.Handle("order.Place", nil)
	r := httptest.NewRequest("GET", "/orders/17", nil)
	r.Header.Set("Traceparent", parent)
	r.Header.Set("Baggage", "sf.priority=low,sf.user=u-17")
	w := nowhere{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}

// Over a real connection, beside bare net/http: the network is most of it.
func BenchmarkServerNetwork(b *testing.B) {
	reply := func(w http.ResponseWriter, r *http.Request) error {
		return httpx.Write(w, http.StatusOK, "hello")
	}
	for name, h := range map[string]http.Handler{
		"bare":    http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = reply(w, r) }),
		"guarded": httpx.Server{Service: "order", Observe: quiet, Door: new(shed.Door)}.Handle("order.Place", reply),
	} {
		b.Run(name, func(b *testing.B) {
			srv := httptest.NewServer(h)
			defer srv.Close()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					resp, err := http.Get(srv.URL)
					if err != nil {
						b.Error(err)
						return
					}
					resp.Body.Close()
				}
			})
		})
	}
}
