package httpx_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/httpx"
)

func FuzzFromResponse(f *testing.F) {
	f.Add(503, "application/json", "7", []byte(`{"code":503,"error":"x","message":"m"}`))
	f.Add(302, "text/html", "Mon, 02 Jan 2006 15:04:05 GMT", []byte("<html>"))
	f.Fuzz(func(t *testing.T, status int, contentType, after string, body []byte) {
		e := httpx.FromResponse(&http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(string(body))),
			Header: http.Header{"Content-Type": {contentType}, "Retry-After": {after}}})
		if !e.Remote() || len(e.Chain()) == 0 || e.RetryDelay() < 0 || e.RetryDelay() > time.Hour || e.HTTP() < 400 || e.HTTP() > 599 {
			t.Fatalf("%+v", e.Parts())
		}
	})
}

// Whatever a stranger sends, a handler answers in one of our two shapes.
func FuzzRequest(f *testing.F) {
	f.Add("application/problem+json;q=0.5, application/json;q=0.4", "100", "1", parent, "sf.tier=gold", []byte(`{"n":1}`))
	f.Add("application/problem+json;q=NaN", "-1", "٣", "00-zz", "=,;", []byte(`{"n":"x"} {`))
	f.Fuzz(func(t *testing.T, accept, timeout, attempt, traceparent, baggage string, body []byte) {
		h := httpx.Server{Service: "s", MaxBody: 64, Observe: quiet}.Handle("op", func(w http.ResponseWriter, r *http.Request) error {
			v, err := httpx.Read[struct{ N int }](r)
			if err != nil {
				return err
			}
			return httpx.Write(w, http.StatusOK, v)
		})
		r := httptest.NewRequest("POST", "/", strings.NewReader(string(body)))
		r.Header = http.Header{"Accept": {accept}, "Request-Timeout-Ms": {timeout}, "Retry-Attempt": {attempt}, "Traceparent": {traceparent}, "Baggage": {baggage}}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch w.Code {
		case 200:
			return
		case 400, 413, 504:
		default:
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
		if !json.Valid(w.Body.Bytes()) {
			t.Fatalf("not JSON: %s", w.Body)
		}
		if e := errs.Decode(w.Body.Bytes(), w.Code, w.Header().Get("Content-Type")); len(e.Chain()) == 0 || e.Trace() == "" {
			t.Fatalf("not ours: %s", w.Body)
		}
	})
}
