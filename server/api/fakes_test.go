package api_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/server/alert"
	"github.com/surefoot-go/surefoot/server/api"
	"github.com/surefoot-go/surefoot/server/catalog"
	"github.com/surefoot-go/surefoot/server/detect"
	"github.com/surefoot-go/surefoot/server/diagnose"
	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/topology"
	"github.com/surefoot-go/surefoot/server/vitals"
)

var at = time.Date(2026, 11, 23, 4, 5, 6, 789e6, time.UTC)

// shop is a small fixed world behind the API.
type shop struct {
	spans  []store.Span
	logs   []store.Log
	result store.Result
	err    error // what every store answers when set

	spanQuery store.SpanQuery
	logQuery  store.LogQuery
	promql    string
	start     time.Time
	step      time.Duration
	route     api.Route
	rev       int64
	by        string
	setting   api.Setting
	notReady  bool
	wait      chan struct{} // when set, Query blocks on it
}

func (s *shop) Ready() bool { return !s.notReady }

func (s *shop) Topology() topology.Topology {
	r := topology.Rates{Rate: 20, ErrorShare: 0.5, P50: 3, P99: 40}
	return topology.Topology{
		At: at,
		Nodes: []topology.Node{
			{Name: "bank", Kind: topology.External, State: topology.Bad, Rates: r, Versions: []topology.Version{}},
			{Name: "payment", Kind: topology.Service, State: topology.OK, Rates: r, Owner: "team-money", Versions: []topology.Version{{Version: "v1", Rates: r}}},
		},
		Edges:      []topology.Edge{{From: "payment", To: "bank", Protocol: topology.HTTP, Rates: r, Strong: true, External: true, State: topology.Bad}},
		Operations: map[string][]topology.Operation{"payment": {{Name: "payment.Charge", Kind: "server", Rates: r}}},
	}
}

func (s *shop) Findings(service string) []vitals.Finding {
	if service != "payment" && service != "silent" {
		return []vitals.Finding{}
	}
	closed := at
	return []vitals.Finding{
		{ID: "g-1", Kind: "goroutines", Metric: detect.GoroutineLeak, State: vitals.Open, Service: service, Instance: "i-1", Since: at, At: at, Value: 5812, Unit: vitals.Count, Text: "leaks"},
		{ID: "h-1", Kind: "heap", Metric: detect.HeapGrowth, State: vitals.Closed, ClosedAt: &closed, Service: service, Since: at, At: at, Unit: vitals.Bytes},
	}
}

func (s *shop) Ingest() api.Ingest { return api.Ingest{SpansPerSecond: 12.5, Spans: 100} }

func (s *shop) Incidents() []alert.Incident {
	ended := at.Add(time.Minute)
	return []alert.Incident{
		{
			ID: "inc-2", State: alert.Open, Title: "bank fails", TitleZh: "bank 故障", Severity: alert.Page, OpenedAt: at,
			Origin: "bank", OriginKind: topology.External, Services: []string{"payment"}, HasReport: true,
			Symptoms: []alert.Symptom{{Symptom: detect.Symptom{Target: "bank", Kind: topology.External, Metric: detect.ErrorShare, Value: 1, Since: at, At: at}},
				{Symptom: detect.Symptom{Target: "payment", Kind: topology.Service, Metric: detect.GoroutineLeak, Value: 9, Since: at, At: at, Finding: detect.Finding{Text: "leaks"}}}},
			Timeline: []alert.Entry{{At: at, Text: "opened", TextZh: "开启"}},
		},
		{ID: "inc-1", State: alert.Ended, Severity: alert.Warn, OpenedAt: at, ResolvedAt: &ended, Symptoms: []alert.Symptom{}, Services: []string{}, Timeline: []alert.Entry{}},
	}
}

func (s *shop) Report(_ context.Context, id string) (diagnose.Report, error) {
	if id != "inc-2" {
		return diagnose.Report{}, errs.New(errs.NotFound, "shop.Report", "no report yet")
	}
	bank := diagnose.Candidate{Name: "bank", Kind: topology.External, Score: 1, Why: "it fails", WhyZh: "它出错"}
	return diagnose.Report{
		Incident: id, At: at, Origin: bank, Candidates: []diagnose.Candidate{bank}, Owner: "team-money",
		Evidence: []diagnose.Evidence{{Text: "seen", TextZh: "所见", TraceID: "ab", At: at}}, Impact: []diagnose.Impact{{Service: "payment", Requests: 3}},
		Runbook: diagnose.Runbook{Title: "Bank down", Body: "call them"}, Markdown: "# bank\n", MarkdownZh: "# 银行\n",
	}, nil
}

func (s *shop) Entry(name string) (catalog.Entry, bool) {
	if name != "payment" && name != "planned" {
		return catalog.Entry{}, false
	}
	return catalog.Entry{
		Name: name, Owner: "team-money", Description: "takes money", Lifecycle: "production",
		Links: []catalog.Link{{URL: "https://example.org", Title: "board"}}, Runbook: &catalog.Runbook{Text: "## Bank down\n"},
	}, true
}

func (s *shop) Routes(context.Context) ([]api.Route, error) {
	if s.err != nil {
		return nil, s.err
	}
	return []api.Route{{
		Service: "payment", Stable: "v1", Canary: "v2", Match: map[string]string{"tier": "premium"}, Revision: 7,
		Rule: api.Rule{MaxErrorShare: 0.03, ForSeconds: 30}, Review: &api.Review{Version: "v2", Reason: "errors", Since: api.Time(at), Pending: true},
	}}, nil
}

func (s *shop) PutRoute(_ context.Context, r api.Route, rule *api.Rule, rev int64, by, _ string) (api.Route, error) {
	if rule != nil {
		r.Rule = *rule
	}
	s.route, s.rev, s.by = r, rev, by
	if r.Canary == "v2" && r.Weight > 0 {
		return r, errs.New(errs.Conflict, "shop.PutRoute", "v2 is pending review").ID("pending_review")
	}
	r.Revision = 8
	if r.Match == nil {
		r.Match = map[string]string{}
	}
	return r, nil
}

func (s *shop) ClearRoute(_ context.Context, service, by, _ string) (api.Route, error) {
	s.by = by
	return api.Route{Service: service, Match: map[string]string{}}, nil
}

func (s *shop) Setting(_ context.Context, key string) (api.Setting, error) {
	if key != "order/limit" {
		return api.Setting{}, errs.New(errs.NotFound, "shop.Setting", "no such key")
	}
	return api.Setting{Key: key, Value: "20", Revision: 3}, nil
}

func (s *shop) PutSetting(_ context.Context, key, value string, rev int64, by, _ string) (api.Setting, error) {
	s.setting, s.rev, s.by = api.Setting{Key: key, Value: value}, rev, by
	return api.Setting{Key: key, Value: value, Revision: 4}, nil
}

func (s *shop) Audit(context.Context) ([]api.Change, error) {
	return []api.Change{{At: api.Time(at), By: "ana", Key: "order/limit", Before: "10", After: "20", Revision: 3}}, nil
}

// spanStore, logStore and seriesStore are the shop seen as a store.Spans,
// store.Logs and store.Series, whose methods have the same names.
type spanStore struct{ *shop }

func (s spanStore) Put(context.Context, []store.Span) error { return s.err }

func (s spanStore) Trace(_ context.Context, id store.TraceID) (out []store.Span, err error) {
	for _, sp := range s.spans {
		if sp.TraceID == id {
			out = append(out, sp)
		}
	}
	return out, s.err
}

func (s spanStore) Search(_ context.Context, q store.SpanQuery) ([]store.Summary, error) {
	s.spanQuery = q
	return []store.Summary{{TraceID: store.TraceID{1}, Root: "gateway", Name: "POST /orders", Start: at, Duration: 1500 * time.Microsecond, Spans: 9, Errors: 1}}, s.err
}

func (s spanStore) Window(context.Context, time.Time, time.Time, func(store.Span) bool) error {
	return s.err
}

type logStore struct{ *shop }

func (s logStore) Put(context.Context, []store.Log) error { return s.err }

func (s logStore) Search(_ context.Context, q store.LogQuery) ([]store.Log, error) {
	s.logQuery = q
	return s.logs, s.err
}

type seriesStore struct{ *shop }

func (s seriesStore) Put(context.Context, []store.Sample) (int, error) { return 0, s.err }

func (s seriesStore) Query(ctx context.Context, promql string, _ time.Time) (store.Result, error) {
	if s.wait != nil {
		select {
		case <-s.wait:
		case <-ctx.Done():
		}
		return s.result, s.err // many callers at once: nothing is noted
	}
	s.promql = promql
	return s.result, s.err
}

func (s seriesStore) QueryRange(_ context.Context, promql string, start, _ time.Time, step time.Duration) (store.Result, error) {
	s.promql, s.start, s.step = promql, start, step
	return s.result, s.err
}

func newAPI(s *shop) *api.API {
	return &api.API{
		Version: "test", Live: s, Spans: spanStore{s}, Logs: logStore{s}, Series: seriesStore{s}, Incidents: s,
		Catalog: s, Routes: s, Settings: s, Centre: s, Hub: &api.Hub{}, Observe: observe.Sinks{Log: slog.New(slog.NewTextHandler(io.Discard, nil))},
	}
}

// call sends one request straight to the handler; headers are "Name: value".
func call(t *testing.T, h http.Handler, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, "http://127.0.0.1:7600"+path, strings.NewReader(body))
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
