package httpx_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/observe"
)

// go test -run xxx -bench . ./httpx

var quiet = observe.Sinks{Log: slog.New(slog.DiscardHandler)}

type nowhere struct{ h http.Header }

func (w nowhere) Header() http.Header         { return w.h }
func (w nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (w nowhere) WriteHeader(int)             {}

func benchServer(b *testing.B, h http.Handler) {
	r := httptest.NewRequest("GET", "/orders/17", nil)
	r.Header.Set("Traceparent", parent)
	r.Header.Set("Request-Timeout-Ms", "1500")
	w := nowhere{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}

func BenchmarkServerOK(b *testing.B) {
	benchServer(b, httpx.Server{Observe: quiet}.Handle("x", func(w http.ResponseWriter, r *http.Request) error { return nil }))
}

func BenchmarkServerError(b *testing.B) {
	benchServer(b, httpx.Server{Observe: quiet}.Handle("x", func(w http.ResponseWriter, r *http.Request) error {
		return errs.New(errs.NotFound, "x", "m")
	}))
}

func benchClient(b *testing.B, tr http.RoundTripper) {
	r, _ := http.NewRequestWithContext(context.Background(), "GET", "http://x/orders/17", nil)
	b.ReportAllocs()
	for b.Loop() {
		resp, err := tr.RoundTrip(r)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}

func noWire(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("ok"))}, nil
}

func BenchmarkClientBare(b *testing.B) { benchClient(b, wireFunc(noWire)) }

func BenchmarkClient(b *testing.B) {
	benchClient(b, httpx.Client{Target: "x", Observe: quiet, Transport: wireFunc(noWire)}.New())
}
