package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/surefoot-go/surefoot/config/tree"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/api"
)

var value = api.Value{Key: "client/bank", Value: `{"timeout":"2s"}`, Revision: 7, By: "ana", Schema: true}

func aPush(o api.PushOrder) api.Push {
	return api.Push{
		ID: "p1", Key: "client/bank", Stage: "check", Instances: []string{}, Since: api.Time(at), By: o.By, Why: o.Why, Value: o.Value,
		Diff: []tree.Change{{Path: "timeout", Before: `"1s"`, After: `"2s"`}}, State: "running",
	}
}

func (s *shop) Instances(_ context.Context, service string) ([]api.Listed, error) {
	if service == "nobody" {
		return []api.Listed{}, nil
	}
	return []api.Listed{{Service: "order", ID: "a", Addr: "127.0.0.1:1", Labels: map[string]string{"grpc": "127.0.0.1:2"}}}, nil
}

func (s *shop) ServiceConfig(_ context.Context, service string) (api.ServiceConfig, error) {
	return api.ServiceConfig{
		Service: service, Keys: []api.Value{value}, Applied: []api.Applied{{Instance: "a", Key: "client/bank", Revision: 7, Checked: 7}},
		Pushes: []api.Push{aPush(api.PushOrder{By: "ana"})},
	}, nil
}

func (s *shop) Value(_ context.Context, _, key string) (api.Value, error) {
	if key != "client/bank" {
		return api.Value{}, errs.New(errs.NotFound, "shop.Value", "no such key")
	}
	return value, nil
}

func (s *shop) History(context.Context, string, string) ([]api.Past, error) {
	return []api.Past{{Revision: 7, At: api.Time(at), By: "ana", Value: "1", Diff: []tree.Change{}}}, nil
}

func (s *shop) CheckValue(_ context.Context, _, _, v string) ([]tree.Change, error) {
	if v == "bad" {
		return nil, errs.New(errs.Invalid, "shop.CheckValue", "the value is refused").Detail("line 1: timeout: must be a duration")
	}
	return nil, nil
}

func (s *shop) WriteValue(_ context.Context, _, _, v, by, _ string) (api.Value, error) {
	s.setting.Value, s.by = v, by
	return value, nil
}

func (s *shop) RollbackValue(_ context.Context, _, _, to, by, _ string) (api.Value, error) {
	s.setting.Value, s.by = to, by
	return value, nil
}

func (s *shop) StartPush(_ context.Context, _, _ string, o api.PushOrder) (api.Push, error) {
	s.by = o.By
	if o.Value == "again" {
		return api.Push{}, errs.New(errs.Conflict, "shop.StartPush", "a push of this key is under way").ID("push_under_way")
	}
	return aPush(o), nil
}

func (s *shop) AbortPush(_ context.Context, _, _, by, why string) (api.Push, error) {
	p := aPush(api.PushOrder{By: by, Why: why})
	p.State = "aborted"
	return p, nil
}

func TestSettings(t *testing.T) {
	const path = "/api/v1/services/order/config/client/bank"
	doc := document(t)
	for name, c := range map[string]struct {
		method, url, body string
		code              int
		path, has         string // of the document, and what the answer has
	}{
		"instances":         {"GET", "/api/v1/instances?service=order", "", 200, "/api/v1/instances", `"grpc"`},
		"no instances":      {"GET", "/api/v1/instances?service=nobody", "", 200, "/api/v1/instances", `"instances":[]`},
		"all of a service":  {"GET", "/api/v1/services/order/config", "", 200, "/api/v1/services/{name}/config", `"stage":"check"`},
		"one":               {"GET", path, "", 200, "/api/v1/services/{name}/config/{key}", `"revision":7`},
		"none":              {"GET", path + "s", "", 404, "", "no such key"},
		"history":           {"GET", path + "?history=1", "", 200, "/api/v1/services/{name}/config/{key}", `"history":[`},
		"history of what":   {"GET", path + "?history=x", "", 400, "", "history must be"},
		"push":              {"POST", path, `{"value":"{}","by":" ana ","share":50,"forSeconds":5}`, 202, "/api/v1/services/{name}/config/{key}", `"by":"ana"`},
		"push again":        {"POST", path, `{"value":"again","by":"ana"}`, 409, "", "push_under_way"},
		"push by nobody":    {"POST", path, `{"value":"{}"}`, 400, "", "by must name"},
		"push of nothing":   {"POST", path, `{"by":"ana"}`, 400, "", "value must be given"},
		"share of 101":      {"POST", path, `{"value":"1","by":"ana","share":101}`, 400, "", "share must be"},
		"half a second":     {"POST", path, `{"value":"1","by":"ana","forSeconds":0.5}`, 400, "", "forSeconds must be"},
		"unknown field":     {"POST", path, `{"value":"1","by":"ana","shares":1}`, 400, "", "shares"},
		"now":               {"POST", path, `{"value":"{}","by":"ana","now":true}`, 200, "/api/v1/services/{name}/config/{key}", `"revision":7`},
		"check":             {"POST", path, `{"value":"{}","check":true}`, 200, "/api/v1/services/{name}/config/{key}", `"diff":[]`},
		"check of a bad":    {"POST", path, `{"value":"bad","check":true}`, 400, "", "line 1: timeout"},
		"rollback":          {"POST", path + "?rollback=previous", `{"by":"ana"}`, 200, "/api/v1/services/{name}/config/{key}", `"revision":7`},
		"rollback to":       {"POST", path + "?rollback=12", `{"by":"ana"}`, 200, "/api/v1/services/{name}/config/{key}", `"revision":7`},
		"rollback to where": {"POST", path + "?rollback=", `{"by":"ana"}`, 400, "", "rollback must be"},
		"abort":             {"DELETE", path, `{"by":"ana","why":"no"}`, 200, "/api/v1/services/{name}/config/{key}", `"state":"aborted"`},
		"abort by nobody":   {"DELETE", path, `{}`, 400, "", "by must name"},
		"wrong method":      {"PUT", path, `{}`, 405, "", "method_not_allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			w := call(t, newAPI(&shop{}).Handler(), c.method, c.url, c.body, "Content-Type: application/json")
			if w.Code != c.code || !strings.Contains(w.Body.String(), c.has) {
				t.Fatalf("%d %s, want %d with %s", w.Code, w.Body, c.code, c.has)
			}
			if c.path == "" {
				return
			}
			var v any
			if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
				t.Fatal(err)
			}
			code := "200"
			if c.code == http.StatusAccepted {
				code = "202"
			}
			for _, p := range check(doc, dig(t, doc, "paths", c.path, strings.ToLower(c.method), "responses", code, "content", "application/json", "schema"), v, "$") {
				t.Error(p)
			}
		})
	}
}
