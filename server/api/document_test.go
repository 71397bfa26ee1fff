package api_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/surefoot-go/surefoot/server/api"
	"github.com/surefoot-go/surefoot/server/store"
)

func document(t *testing.T) map[string]any {
	t.Helper()
	raw, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestEveryRouteIsDocumented(t *testing.T) {
	var served, written []string
	for _, p := range api.Patterns() {
		served = append(served, strings.Replace(p, "...}", "}", 1))
	}
	for path, item := range document(t)["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			written = append(written, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(served)
	slices.Sort(written)
	for _, p := range served {
		if !slices.Contains(written, p) {
			t.Errorf("%s is served but not in openapi.yaml", p)
		}
	}
	for _, p := range written {
		if !slices.Contains(served, p) {
			t.Errorf("%s is in openapi.yaml but not served", p)
		}
	}
}

// Every JSON answer has the shape the document promises: no field unknown to
// it, none missing that it requires.
func TestAnswersHaveTheDocumentedShape(t *testing.T) {
	doc := document(t)
	s := &shop{spans: failedTrace(), logs: someLogs(), result: store.Result{Type: "vector", Series: []store.ResultSeries{{Labels: map[string]string{"a": "b"}, Points: []store.Point{{At: at, Value: 1}}}}}}
	h := newAPI(s).Handler()
	json200 := []struct{ method, path, url, body string }{
		{"get", "/api/v1/overview", "/api/v1/overview", ""},
		{"get", "/api/v1/topology", "/api/v1/topology", ""},
		{"get", "/api/v1/services/{name}", "/api/v1/services/payment", ""},
		{"get", "/api/v1/services/{name}", "/api/v1/services/bank", ""},
		{"get", "/api/v1/services/{name}", "/api/v1/services/planned", ""},
		{"get", "/api/v1/services/{name}", "/api/v1/services/silent", ""},
		{"get", "/api/v1/services/{name}/vitals", "/api/v1/services/payment/vitals", ""},
		{"get", "/api/v1/services/{name}/vitals", "/api/v1/services/planned/vitals", ""},
		{"get", "/api/v1/query", "/api/v1/query?query=up", ""},
		{"get", "/api/v1/traces", "/api/v1/traces", ""},
		{"get", "/api/v1/traces/{id}", "/api/v1/traces/" + failedTrace()[0].TraceID.String(), ""},
		{"get", "/api/v1/logs", "/api/v1/logs", ""},
		{"get", "/api/v1/incidents", "/api/v1/incidents", ""},
		{"get", "/api/v1/incidents/{id}", "/api/v1/incidents/inc-2", ""},
		{"get", "/api/v1/incidents/{id}/report", "/api/v1/incidents/inc-2/report?format=json", ""},
		{"get", "/api/v1/routes", "/api/v1/routes", ""},
		{"put", "/api/v1/routes/{service}", "/api/v1/routes/payment", `{"stable":"v1","by":"ana"}`},
		{"post", "/api/v1/routes/{service}/clear", "/api/v1/routes/payment/clear", `{"by":"ana"}`},
		{"get", "/api/v1/config/{key}", "/api/v1/config/order/limit", ""},
		{"put", "/api/v1/config/{key}", "/api/v1/config/order/limit", `{"value":"30","by":"ana"}`},
		{"get", "/api/v1/audit", "/api/v1/audit", ""},
	}
	for _, c := range json200 {
		t.Run(c.method+" "+c.url, func(t *testing.T) {
			w := call(t, h, strings.ToUpper(c.method), c.url, c.body, "Content-Type: application/json")
			if w.Code != http.StatusOK {
				t.Fatalf("%d: %s", w.Code, w.Body)
			}
			var v any
			if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
				t.Fatal(err)
			}
			schema := dig(t, doc, "paths", c.path, c.method, "responses", "200", "content", "application/json", "schema")
			for _, p := range check(doc, schema, v, "$") {
				t.Error(p)
			}
		})
	}
	w := call(t, h, "GET", "/api/v1/nowhere", "")
	var v any
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	for _, p := range check(doc, dig(t, doc, "components", "schemas", "Error"), v, "$") {
		t.Error(p)
	}
}

func dig(t *testing.T, v any, keys ...string) any {
	t.Helper()
	for _, k := range keys {
		m, ok := v.(map[string]any)
		if !ok || m[k] == nil {
			t.Fatalf("openapi.yaml has no %s in %v", k, keys)
		}
		v = m[k]
	}
	return v
}

// check compares v with the part of JSON Schema that openapi.yaml uses.
// Objects are closed: a field the document does not name is a fault in it.
func check(doc map[string]any, schema, v any, at string) (bad []string) {
	s := schema.(map[string]any)
	if ref, ok := s["$ref"].(string); ok {
		var target any = doc
		for _, k := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
			target = target.(map[string]any)[k]
		}
		return check(doc, target, v, at)
	}
	if any, ok := s["anyOf"].([]any); ok {
		var last []string
		for _, option := range any {
			if last = check(doc, option, v, at); len(last) == 0 {
				return nil
			}
		}
		return last
	}
	if enum, ok := s["enum"].([]any); ok && !slices.Contains(enum, v) {
		bad = append(bad, fmt.Sprintf("%s: %v is none of %v", at, v, enum))
	}
	if !ofType(s["type"], v) {
		return append(bad, fmt.Sprintf("%s: %v is not a %v", at, v, s["type"]))
	}
	switch v := v.(type) {
	case map[string]any:
		props, _ := s["properties"].(map[string]any)
		required, _ := s["required"].([]any)
		for _, k := range required {
			if _, ok := v[k.(string)]; !ok {
				bad = append(bad, fmt.Sprintf("%s: no %s", at, k))
			}
		}
		for k, item := range v {
			if sub, ok := props[k]; ok {
				bad = append(bad, check(doc, sub, item, at+"."+k)...)
			} else if extra, ok := s["additionalProperties"]; ok {
				bad = append(bad, check(doc, extra, item, at+"."+k)...)
			} else if props != nil {
				bad = append(bad, fmt.Sprintf("%s: %s is not documented", at, k))
			}
		}
	case []any:
		for i, item := range v {
			if sub, ok := s["items"]; ok {
				bad = append(bad, check(doc, sub, item, fmt.Sprintf("%s[%d]", at, i))...)
			}
		}
	}
	return bad
}

func ofType(want, v any) bool {
	switch want := want.(type) {
	case nil:
		return true
	case []any:
		return slices.ContainsFunc(want, func(w any) bool { return ofType(w, v) })
	}
	switch v := v.(type) {
	case nil:
		return want == "null"
	case string:
		return want == "string"
	case bool:
		return want == "boolean"
	case float64:
		return want == "number" || want == "integer" && v == math.Trunc(v)
	case []any:
		return want == "array"
	default:
		return want == "object"
	}
}
