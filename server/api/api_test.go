package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/server/api"
	"github.com/surefoot-go/surefoot/server/store"
)

// failedTrace is gateway -> order -> payment -> bank, where the bank is seen
// through payment's client spans only: one failed and was retried, one more
// failed.
func failedTrace() []store.Span {
	span := func(id, parent byte, service, name string, kind store.Kind, start, length int, failed bool, attrs map[string]string) store.Span {
		s := store.Span{
			Resource: store.Resource{Service: service, Version: "v1"}, TraceID: store.TraceID{0xab}, ID: store.SpanID{id}, Name: name,
			Kind: kind, Start: at.Add(time.Duration(start) * time.Millisecond), Duration: time.Duration(length) * time.Millisecond, Error: failed, Attrs: attrs,
		}
		if parent != 0 {
			s.Parent = store.SpanID{parent}
		}
		return s
	}
	out := []store.Span{
		span(1, 0, "gateway", "POST /orders", store.KindServer, 0, 100, true, map[string]string{"error.type": "unavailable", "surefoot.op": "gateway.Place"}),
		span(2, 1, "gateway", "order.Place", store.KindClient, 1, 98, true, map[string]string{"peer.service": "order"}),
		span(3, 2, "order", "order.Place", store.KindServer, 2, 96, true, map[string]string{"error.type": "unavailable"}),
		span(4, 3, "order", "SELECT", store.KindClient, 2, 1, false, nil),
		span(5, 3, "payment", "charge", store.KindInternal, 4, 90, true, nil),
		span(6, 5, "payment", "POST /charges", store.KindClient, 5, 10, true, map[string]string{"peer.service": "bank", "http.response.status_code": "500"}),
		span(7, 5, "payment", "POST /charges", store.KindClient, 20, 60, true, map[string]string{"peer.service": "bank", "http.response.status_code": "503"}),
	}
	out[2].Events = []store.Event{{Name: "exception", At: at, Attrs: map[string]string{"exception.type": "unavailable"}}}
	return out
}

func someLogs() []store.Log {
	return []store.Log{
		{Resource: store.Resource{Service: "payment", Version: "v1"}, At: at, Severity: 17, Body: "charge failed", TraceID: store.TraceID{0xab}, SpanID: store.SpanID{5}},
		{Resource: store.Resource{Service: "order"}, Severity: 0, Body: "no time, no severity"},
	}
}

func TestTraceAndItsErrorChain(t *testing.T) {
	h := newAPI(&shop{spans: failedTrace()}).Handler()
	w := call(t, h, "GET", "/api/v1/traces/AB000000000000000000000000000000", "")
	var got struct {
		TraceID string
		Spans   []struct {
			SpanID, ParentID, Kind, Start string
			OffsetMs, DurationMs          float64
		}
		Chain []struct {
			Service, Op, Error string
			ElapsedMs          float64
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err, w.Body)
	}
	if len(got.Spans) != 7 || got.Spans[0].ParentID != "" || got.Spans[1].ParentID != "0100000000000000" || got.Spans[1].OffsetMs != 1 || got.Spans[0].Start != "2026-11-23T04:05:06.789Z" {
		t.Errorf("spans: %s", w.Body)
	}
	var chain []string
	for _, hop := range got.Chain {
		chain = append(chain, hop.Service+" "+hop.Op+" "+hop.Error)
	}
	want := []string{"gateway gateway.Place unavailable", "order order.Place unavailable", "bank POST /charges unavailable"}
	if strings.Join(chain, "|") != strings.Join(want, "|") {
		t.Errorf("chain %q\nwant  %q", chain, want)
	}
}

func TestChainSurvivesACycle(t *testing.T) {
	spans := failedTrace()[:2]
	spans[0].Parent, spans[1].Parent = spans[1].ID, spans[0].ID
	w := call(t, newAPI(&shop{spans: spans}).Handler(), "GET", "/api/v1/traces/ab000000000000000000000000000000", "")
	if w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestSearchParametersReachTheStore(t *testing.T) {
	s := &shop{logs: someLogs()}
	h := newAPI(s).Handler()
	call(t, h, "GET", "/api/v1/traces?service=payment&operation=charge&from=2026-11-23T04:00:00Z&to=1795406400.5&minMs=2.5&error=true&limit=7", "")
	want := store.SpanQuery{
		Service: "payment", Operation: "charge", From: time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC),
		To: time.UnixMilli(1795406400500).UTC(), MinLength: 2500 * time.Microsecond, Error: true, Limit: 7,
	}
	if s.spanQuery != want {
		t.Errorf("got  %+v\nwant %+v", s.spanQuery, want)
	}
	w := call(t, h, "GET", "/api/v1/logs?service=payment&traceId=ab000000000000000000000000000000&severity=warn&q=Failed&limit=3", "")
	if q := s.logQuery; q.Service != "payment" || q.TraceID != (store.TraceID{0xab}) || q.MinSeverity != 13 || q.Contains != "Failed" || q.Limit != 3 {
		t.Errorf("%+v", q)
	}
	if !strings.Contains(w.Body.String(), `"severity":"ERROR"`) || !strings.Contains(w.Body.String(), `"at":null`) {
		t.Error(w.Body)
	}
}

func TestPrometheusShapes(t *testing.T) {
	series := []store.ResultSeries{{Labels: map[string]string{"job": "a"}, Points: []store.Point{{At: at, Value: 1.5}, {At: at.Add(time.Second), Value: math.Inf(1)}}}}
	tests := []struct {
		name, url, want string
		res             store.Result
		err             error
		code            int
	}{
		{name: "vector", url: "/api/v1/query?query=x&time=1795406706.789", res: store.Result{Type: "vector", Series: []store.ResultSeries{{Points: []store.Point{{At: at, Value: math.NaN()}}}}},
			code: 200, want: `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1795406706.789,"NaN"]}]}}`},
		{name: "empty", url: "/api/v1/query?query=x", res: store.Result{Type: "vector"}, code: 200, want: `{"status":"success","data":{"resultType":"vector","result":[]}}`},
		{name: "scalar", url: "/api/v1/query?query=1", res: store.Result{Type: "scalar", Series: []store.ResultSeries{{Points: []store.Point{{At: at, Value: 1e21}}}}},
			code: 200, want: `{"status":"success","data":{"resultType":"scalar","result":[1795406706.789,"1000000000000000000000"]}}`},
		{name: "matrix", url: "/api/v1/query_range?query=x&start=1795406700&end=1795406760&step=15s", res: store.Result{Type: "matrix", Series: series},
			code: 200, want: `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"job":"a"},"values":[[1795406706.789,"1.5"],[1795406707.789,"+Inf"]]}]}}`},
		{name: "parse error", url: "/api/v1/query?query=x(", err: errs.New(errs.Invalid, "op", "1:2: parse error"), code: 400, want: `{"status":"error","errorType":"bad_data","error":"1:2: parse error"}`},
		{name: "timeout", url: "/api/v1/query?query=x&timeout=1s", err: errs.New(errs.Timeout, "op", "too slow"), code: 503, want: `{"status":"error","errorType":"timeout","error":"too slow"}`},
		{name: "no secret leaks", url: "/api/v1/query?query=x", err: errors.New("dial tcp 10.0.0.1"), code: 500, want: `{"status":"error","errorType":"internal","error":"internal error"}`},
		{name: "bad time", url: "/api/v1/query?query=x&time=yesterday", code: 400, want: `{"status":"error","errorType":"bad_data","error":"time: must be RFC 3339 or seconds since 1970"}`},
		{name: "no start", url: "/api/v1/query_range?query=x&end=1&step=1", code: 400, want: `{"status":"error","errorType":"bad_data","error":"start must be a time: RFC 3339 or seconds since 1970"}`},
		{name: "no step", url: "/api/v1/query_range?query=x&start=0&end=1", code: 400, want: `{"status":"error","errorType":"bad_data","error":"step must be a positive duration: seconds, or like 15s or 1m"}`},
		{name: "backwards", url: "/api/v1/query_range?query=x&start=2&end=1&step=1", code: 400, want: `{"status":"error","errorType":"bad_data","error":"end must not be before start"}`},
		{name: "too fine", url: "/api/v1/query_range?query=x&start=0&end=1000000&step=1", code: 400, want: `{"status":"error","errorType":"bad_data","error":"exceeded maximum resolution of 11,000 points per timeseries; use a longer step"}`},
		{name: "step overflow", url: "/api/v1/query_range?query=x&start=0&end=1&step=1e300", code: 400, want: `{"status":"error","errorType":"bad_data","error":"step must be a positive duration: seconds, or like 15s or 1m"}`},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			w := call(t, newAPI(&shop{result: c.res, err: c.err}).Handler(), "GET", c.url, "")
			got := strings.TrimSpace(w.Body.String())
			if c.name == "no secret leaks" {
				if w.Code != c.code || strings.Contains(got, "10.0.0.1") {
					t.Errorf("%d %s", w.Code, got)
				}
				return
			}
			if w.Code != c.code || got != c.want {
				t.Errorf("%d %s\nwant %d %s", w.Code, got, c.code, c.want)
			}
		})
	}
	s := &shop{result: store.Result{Type: "matrix"}}
	w := call(t, newAPI(s).Handler(), "POST", "/api/v1/query_range", "query=up&start=60&end=120&step=1d", "Content-Type: application/x-www-form-urlencoded")
	if w.Code != 200 || s.promql != "up" || s.step != 24*time.Hour || !s.start.Equal(time.Unix(60, 0)) {
		t.Errorf("form: %d %s %+v", w.Code, w.Body, s)
	}
}

func TestErrors(t *testing.T) {
	tests := []struct {
		name, method, path, body, kind string
		code                           int
		id, says                       string
	}{
		{"unknown path", "GET", "/api/v1/nope", "", "", 404, "not_found", "openapi.yaml"},
		{"wrong method", "DELETE", "/api/v1/topology", "", "", 405, "method_not_allowed", "method"},
		{"unknown service", "GET", "/api/v1/services/nobody", "", "", 404, "not_found", "nobody"},
		{"bad trace id", "GET", "/api/v1/traces/xyz", "", "", 400, "invalid_request", "32 hexadecimal"},
		{"zero trace id", "GET", "/api/v1/traces/" + strings.Repeat("0", 32), "", "", 400, "invalid_request", "not all zero"},
		{"unknown trace", "GET", "/api/v1/traces/" + strings.Repeat("1", 32), "", "", 404, "not_found", "no span"},
		{"all parameters wrong", "GET", "/api/v1/traces?from=x&to=y&minMs=-1&error=maybe&limit=0", "", "", 400, "invalid_request", "limit must be a whole number from 1 to 1000"},
		{"bad severity", "GET", "/api/v1/logs?severity=LOUD", "", "", 400, "invalid_request", "severity must be"},
		{"bad format", "GET", "/api/v1/topology?format=png", "", "", 400, "invalid_request", "json, mermaid or dot"},
		{"unknown incident", "GET", "/api/v1/incidents/inc-9", "", "", 404, "not_found", "id"},
		{"no report", "GET", "/api/v1/incidents/inc-1/report", "", "", 404, "not_found", "report"},
		{"bad language", "GET", "/api/v1/incidents/inc-2/report?lang=tlh", "", "", 400, "invalid_request", "en or zh"},
		{"form instead of JSON", "PUT", "/api/v1/routes/payment", "stable=v1", "application/x-www-form-urlencoded", 415, "unsupported_media_type", "application/json"},
		{"no type", "PUT", "/api/v1/routes/payment", "{}", "", 415, "unsupported_media_type", "application/json"},
		{"garbage", "PUT", "/api/v1/routes/payment", "{", "application/json", 400, "invalid_request", "JSON"},
		{"two values", "PUT", "/api/v1/routes/payment", `{"by":"a"}{}`, "application/json", 400, "invalid_request", "more than one"},
		{"deep", "PUT", "/api/v1/routes/payment", strings.Repeat("[", 200000), "application/json", 400, "invalid_request", "JSON"},
		{"long", "PUT", "/api/v1/routes/payment", `{"by":"` + strings.Repeat("a", 2<<20) + `"}`, "application/json", 413, "body_too_large", "too large"},
		{"unknown field", "PUT", "/api/v1/routes/payment", `{"weigth":5,"by":"ana"}`, "application/json", 400, "invalid_request", "weigth"},
		{"nobody", "PUT", "/api/v1/routes/payment", `{"stable":"v1","by":" "}`, "application/json", 400, "invalid_request", "by must name"},
		{"weight", "PUT", "/api/v1/routes/payment", `{"stable":"v1","by":"ana","weight":101}`, "application/json", 400, "invalid_request", "weight must be"},
		{"other service", "PUT", "/api/v1/routes/payment", `{"service":"order","stable":"v1","by":"ana"}`, "application/json", 400, "invalid_request", "in the path"},
		{"pending review", "PUT", "/api/v1/routes/payment", `{"stable":"v1","canary":"v2","weight":100,"by":"ana"}`, "application/json", 409, "pending_review", "pending"},
		{"clear by nobody", "POST", "/api/v1/routes/payment/clear", `{}`, "application/json", 400, "invalid_request", "by must name"},
		{"no value", "PUT", "/api/v1/config/a", `{"by":"ana"}`, "application/json", 400, "invalid_request", "value must be given"},
		{"unknown key", "GET", "/api/v1/config/nope", "", "", 404, "not_found", "key"},
	}
	h := newAPI(&shop{}).Handler()
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			var headers []string
			if c.kind != "" {
				headers = append(headers, "Content-Type: "+c.kind)
			}
			w := call(t, h, c.method, c.path, c.body, headers...)
			var e struct {
				Code           int
				Error, Message string
				Details        []string
			}
			if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil {
				t.Fatalf("%v: %d %s", err, w.Code, w.Body)
			}
			if w.Code != c.code || e.Code != c.code || e.Error != c.id {
				t.Errorf("got %d %s, want %d %s (%s)", w.Code, e.Error, c.code, c.id, w.Body)
			}
			if c.name != "unknown service" && !strings.Contains(e.Message+strings.Join(e.Details, " "), c.says) {
				t.Errorf("%q does not say %q", w.Body, c.says)
			}
		})
	}
	w := call(t, h, "PUT", "/api/v1/routes/payment", `{"stable":"v1","by":"ana"}`, "Content-Type: application/json", "If-Match: nine")
	if w.Code != 400 || !strings.Contains(w.Body.String(), "invalid_if_match") {
		t.Error(w.Body)
	}
}

func TestOrdersReachTheirRoom(t *testing.T) {
	s := &shop{}
	h := newAPI(s).Handler()
	w := call(t, h, "PUT", "/api/v1/routes/payment", `{"stable":"v1","canary":"v3","match":{"tier":"premium"},"weight":10,"rule":{"maxErrorShare":0.1,"forSeconds":5},"by":" ana ","why":"try"}`,
		"Content-Type: application/json; charset=utf-8", `If-Match: "7"`)
	if w.Code != 200 || s.rev != 7 || s.by != "ana" || s.route.Rule.ForSeconds != 5 || s.route.Service != "payment" {
		t.Errorf("%d %+v", w.Code, s)
	}
	w = call(t, h, "PUT", "/api/v1/config/order/limit", `{"value":"","by":"ana"}`, "Content-Type: application/json")
	if w.Code != 200 || s.rev != api.AnyRevision || s.setting.Key != "order/limit" || s.setting.Value != "" {
		t.Errorf("%d %+v", w.Code, s)
	}
	if w = call(t, h, "GET", "/api/v1/config/order/limit", ""); w.Header().Get("ETag") != `"3"` {
		t.Error(w.Header())
	}
}

func TestTexts(t *testing.T) {
	h := newAPI(&shop{notReady: true}).Handler()
	tests := []struct{ path, accept, kind, begins string }{
		{"/healthz", "", "text/plain", "ok"},
		{"/api/v1/openapi.yaml", "", "application/yaml", "openapi: 3.1.0"},
		{"/api/v1/topology?format=mermaid", "", "text/vnd.mermaid", "flowchart"},
		{"/api/v1/topology?format=dot", "", "text/vnd.graphviz", "digraph"},
		{"/api/v1/incidents/inc-2/report", "", "text/markdown", "# bank"},
		{"/api/v1/incidents/inc-2/report?lang=zh", "", "text/markdown", "# 银行"},
		{"/api/v1/incidents/inc-2/report", "application/json", "application/json", `{"incident":"inc-2"`},
	}
	for _, c := range tests {
		w := call(t, h, "GET", c.path, "", "Accept: "+c.accept)
		if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), c.kind) || !strings.HasPrefix(w.Body.String(), c.begins) {
			t.Errorf("%s: %d %s %.60s", c.path, w.Code, w.Header(), w.Body)
		}
		if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", c.path, w.Header())
		}
	}
	if w := call(t, h, "GET", "/readyz", ""); w.Code != 503 || w.Header().Get("Retry-After") != "1" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

// One search too many is refused, not queued.
func TestSearchesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shop{wait: make(chan struct{}), result: store.Result{Type: "vector"}}
		h := newAPI(s).Handler()
		g := safe.Group{Max: 16}
		for range 16 {
			g.Go(t.Context(), func(context.Context) error { call(t, h, "GET", "/api/v1/query?query=x", ""); return nil })
		}
		synctest.Wait()
		if w := call(t, h, "GET", "/api/v1/query?query=x", ""); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("%d %v", w.Code, w.Header())
		}
		close(s.wait)
		_ = g.Wait()
		if w := call(t, h, "GET", "/api/v1/query?query=x", ""); w.Code != 200 {
			t.Errorf("%d", w.Code)
		}
	})
}
