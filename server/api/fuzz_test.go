package api_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/surefoot-go/surefoot/server/store"
)

// Whatever a caller sends, the answer is its fault or right: no 5xx, no panic,
// and JSON where JSON is promised.
func FuzzAPI(f *testing.F) {
	for _, s := range [][3]string{
		{"GET", "/api/v1/traces?from=2026-11-23T04:00:00Z&minMs=5&limit=7&error=true", ""},
		{"GET", "/api/v1/query?query=up&time=1795406706.789&timeout=5s", ""},
		{"GET", "/api/v1/query_range?query=up&start=1e9&end=1e9&step=0.1", ""},
		{"GET", "/api/v1/query_range?query=up&start=-1e10&end=1e10&step=9d", ""},
		{"GET", "/api/v1/logs?severity=99&traceId=zz", ""},
		{"GET", "/api/v1/services/%2e%2e%2f", ""},
		{"GET", "/api/v1/incidents/inc-2/report?lang=zh&format=json", ""},
		{"PUT", "/api/v1/routes/payment", `{"stable":"v1","canary":"v3","match":{"a":"b"},"weight":5,"rule":{"maxErrorShare":0.1},"revision":3,"review":null,"by":"ana"}`},
		{"POST", "/api/v1/routes/payment/clear", `{"by":"ana","note":"x"}`},
		{"PUT", "/api/v1/config/order/limit", `{"value":"1","by":"ana"}`},
		{"POST", "/api/v1/services/order/config/client/bank?rollback=x", `{"value":"1","by":"ana","check":true}`},
	} {
		f.Add(s[0], s[1], s[2])
	}
	h := newAPI(&shop{spans: failedTrace(), logs: someLogs(), result: store.Result{Type: "vector"}}).Handler()
	f.Fuzz(func(t *testing.T, method, path, body string) {
		u, err := url.ParseRequestURI(path)
		if err != nil || !strings.HasPrefix(u.Path, "/") || u.Path == "/api/v1/events" || method == http.MethodConnect {
			t.Skip()
		}
		r, err := http.NewRequest(method, "http://127.0.0.1"+path, strings.NewReader(body))
		if err != nil {
			t.Skip()
		}
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
		if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%s %s: %q", method, path, w.Body)
		}
	})
}
