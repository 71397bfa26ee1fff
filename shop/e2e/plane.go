package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/surefoot-go/surefoot/canary"
)

// plane speaks JSON over HTTP: to the control plane mostly, over the same API
// that the console and any script use.
type plane struct {
	url    string
	client *http.Client
}

type node struct {
	Name       string  `json:"name"`
	Kind       string  `json:"kind"`
	State      string  `json:"state"`
	Rate       float64 `json:"rate"`
	ErrorShare float64 `json:"errorShare"`
	P99Ms      float64 `json:"p99Ms"`
	Versions   []struct {
		Version    string  `json:"version"`
		Rate       float64 `json:"rate"`
		ErrorShare float64 `json:"errorShare"`
	} `json:"versions"`
}

type edge struct {
	From       string  `json:"from"`
	To         string  `json:"to"`
	Protocol   string  `json:"protocol"`
	Rate       float64 `json:"rate"`
	ErrorShare float64 `json:"errorShare"`
	P99Ms      float64 `json:"p99Ms"`
	Strong     bool    `json:"strong"`
	External   bool    `json:"external"`
}

type graph struct {
	Nodes []node `json:"nodes"`
	Edges []edge `json:"edges"`
}

type incident struct {
	ID         string     `json:"id"`
	State      string     `json:"state"`
	Title      string     `json:"title"`
	TitleZh    string     `json:"titleZh"`
	OpenedAt   time.Time  `json:"openedAt"`
	ResolvedAt *time.Time `json:"resolvedAt"`
	Origin     string     `json:"origin"`
	HasReport  bool       `json:"hasReport"`
	Symptoms   []struct {
		Metric    string     `json:"metric"`
		ClearedAt *time.Time `json:"clearedAt"`
	} `json:"symptoms"`
}

// slow are the metrics of findings that say of a process that the machine is
// too busy for it. The stories are told beside other work, so that is no lie and
// none of their business.
var slow = map[string]bool{"scheduler_latency": true, "gc_pressure": true, "lock_contention": true}

// lasts tells whether something of an incident that is open holds on: a busy
// machine, and anything else.
func (i incident) lasts() (busy, real bool) {
	for _, s := range i.Symptoms {
		if s.ClearedAt == nil {
			busy, real = busy || slow[s.Metric], real || !slow[s.Metric]
		}
	}
	return busy, real
}

// open tells whether an incident is open and of more than a busy machine.
func (i incident) open() bool {
	busy, real := i.lasts()
	return i.State == "open" && (real || !busy)
}

type report struct {
	Origin struct {
		Name string `json:"name"`
	} `json:"origin"`
	Owner string `json:"owner"`
}

// A finding is what the processes of a service say of their own health.
type finding struct {
	Kind    string `json:"kind"`
	State   string `json:"state"`
	Version string `json:"version"`
	Count   int64  `json:"count"`
	Blocked string `json:"blocked"`
	Creator string `json:"creator"`
	TraceID string `json:"traceId"`
	Text    string `json:"text"`
	TextZh  string `json:"textZh"`
}

// over tells whether an incident is resolved, or but for a busy machine would be.
func (i incident) over() bool {
	busy, real := i.lasts()
	return i.State == "resolved" || busy && !real
}

func (p plane) do(ctx context.Context, method, path string, body, into any) (int, error) {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, err
		}
		in = bytes.NewReader(b)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, p.url+path, in)
	if err != nil {
		return 0, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		return resp.StatusCode, err
	}
	if resp.StatusCode >= 300 {
		var e struct{ Error, Message string }
		_ = json.Unmarshal(raw, &e)
		return resp.StatusCode, fmt.Errorf("%s %s: %d %s: %s", method, path, resp.StatusCode, e.Error, e.Message)
	}
	switch into := into.(type) {
	case nil:
		return resp.StatusCode, nil
	case *string:
		*into = string(raw)
		return resp.StatusCode, nil
	default:
		return resp.StatusCode, json.Unmarshal(raw, into)
	}
}

func (p plane) topology(ctx context.Context) (g graph, err error) {
	_, err = p.do(ctx, http.MethodGet, "/api/v1/topology", nil, &g)
	return g, err
}

func (p plane) incidents(ctx context.Context) ([]incident, error) {
	var out struct{ Incidents []incident }
	_, err := p.do(ctx, http.MethodGet, "/api/v1/incidents", nil, &out)
	return out.Incidents, err
}

func (p plane) report(ctx context.Context, id string) (r report, err error) {
	_, err = p.do(ctx, http.MethodGet, "/api/v1/incidents/"+url.PathEscape(id)+"/report?format=json", nil, &r)
	return r, err
}

func (p plane) markdown(ctx context.Context, id, lang string) (s string, err error) {
	_, err = p.do(ctx, http.MethodGet, "/api/v1/incidents/"+url.PathEscape(id)+"/report?lang="+lang, nil, &s)
	return s, err
}

// findings returns the open and the recently closed ones of a service.
func (p plane) findings(ctx context.Context, service string) ([]finding, error) {
	var out struct{ Findings []finding }
	_, err := p.do(ctx, http.MethodGet, "/api/v1/services/"+url.PathEscape(service)+"/vitals", nil, &out)
	return out.Findings, err
}

// value evaluates PromQL now and returns the largest value of the answer, and
// false when there is none.
func (p plane) value(ctx context.Context, promql string) (float64, bool, error) {
	var out struct {
		Data struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if _, err := p.do(ctx, http.MethodGet, "/api/v1/query?query="+url.QueryEscape(promql), nil, &out); err != nil {
		return 0, false, err
	}
	best, found := 0.0, false
	for _, r := range out.Data.Result {
		s, _ := r.Value[1].(string)
		v, err := strconv.ParseFloat(s, 64)
		if err == nil && (!found || v > best) {
			best, found = v, true
		}
	}
	return best, found, nil
}

func (p plane) route(ctx context.Context, service string) (canary.Route, bool, error) {
	var out struct{ Routes []canary.Route }
	if _, err := p.do(ctx, http.MethodGet, "/api/v1/routes", nil, &out); err != nil {
		return canary.Route{}, false, err
	}
	for _, r := range out.Routes {
		if r.Service == service {
			return r, true, nil
		}
	}
	return canary.Route{}, false, nil
}

// setRoute puts a canary route; the status is 409 when the version is pending
// review.
func (p plane) setRoute(ctx context.Context, r canary.Route, by, why string) (int, error) {
	raw, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	body := map[string]any{}
	if err := json.Unmarshal(raw, &body); err != nil {
		return 0, err
	}
	body["by"], body["why"] = by, why
	return p.do(ctx, http.MethodPut, "/api/v1/routes/"+url.PathEscape(r.Service), body, nil)
}

func (p plane) clear(ctx context.Context, service, by, note string) (int, error) {
	return p.do(ctx, http.MethodPost, "/api/v1/routes/"+url.PathEscape(service)+"/clear", map[string]string{"by": by, "note": note}, nil)
}
