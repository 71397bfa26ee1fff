package e2e_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

func served(td ptrace.Traces, n uint64, service, version string, at time.Time, fails bool) {
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", service)
	rs.Resource().Attributes().PutStr("service.version", version)
	s := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	s.SetTraceID(traceID(n))
	s.SetSpanID(spanID(n * 8))
	s.SetName("pay.Charge")
	s.SetKind(ptrace.SpanKindServer)
	s.SetStartTimestamp(pcommon.NewTimestampFromTime(at))
	s.SetEndTimestamp(pcommon.NewTimestampFromTime(at.Add(5 * time.Millisecond)))
	if fails {
		s.Status().SetCode(ptrace.StatusCodeError)
	}
}

func (p *plane) order(method, path, body string) (int, string) {
	p.t.Helper()
	req, err := http.NewRequest(method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	out, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(out)
}

// A release that fails is taken off traffic by its rule, is marked, and stays
// off until a named person clears it; a restart changes none of it.
func TestABadReleaseIsTakenOff(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir)
	type route struct {
		Weight   int
		Revision int
		Rule     struct{ MaxErrorShare, ForSeconds float64 }
		Review   *struct {
			Version, Reason string
			Pending         bool
		}
	}
	get := func() route {
		var l struct{ Routes []json.RawMessage }
		var r route
		if !p.ask("/api/v1/routes", &l) || len(l.Routes) != 1 {
			t.Fatalf("routes: %+v", l)
		}
		if err := json.Unmarshal(l.Routes[0], &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	const put = `{"stable":"v1","canary":"v2","match":{"tier":"premium"},"weight":100,"by":"ana","why":"release 2"`
	if code, body := p.order("PUT", "/api/v1/routes/pay", put+`,"rule":{"maxErrorShare":0.03,"forSeconds":3}}`); code != 200 {
		t.Fatalf("%d %s", code, body)
	}
	if r := get(); r.Weight != 100 || r.Rule.ForSeconds != 3 || r.Review != nil {
		t.Fatalf("%+v", r)
	}
	s := dial(t, p.grpc)
	begin := time.Now()
	n := uint64(0)
	within(t, 30*time.Second, "v2 is taken off", func() bool {
		td := ptrace.NewTraces()
		for range 10 {
			n++
			served(td, n, "pay", "v1", time.Now(), false)
			n++
			served(td, n, "pay", "v2", time.Now(), n%4 == 0)
		}
		if err := s.send(t.Context(), td); err != nil {
			t.Fatal(err)
		}
		r := get()
		return r.Weight == 0 && r.Review != nil && r.Review.Pending && r.Review.Version == "v2"
	})
	if took := time.Since(begin); took < 3*time.Second {
		t.Errorf("after %s already: the rule says 3 s", took)
	}
	t.Log(get().Review.Reason)
	within(t, 10*time.Second, "an incident tells of it", func() bool {
		var l struct {
			Incidents []struct {
				Timeline []struct{ Text, TextZh string }
			}
		}
		if !p.ask("/api/v1/incidents", &l) || len(l.Incidents) != 1 {
			return false
		}
		for _, e := range l.Incidents[0].Timeline {
			if strings.HasPrefix(e.Text, "Taken off traffic: version v2") && strings.HasPrefix(e.TextZh, "已摘除流量") {
				return true
			}
		}
		return false
	})
	if code, body := p.order("PUT", "/api/v1/routes/pay", put+`}`); code != 409 || !strings.Contains(body, `"pending_review"`) {
		t.Errorf("traffic to a version pending review: %d %s", code, body)
	}
	p.kill()

	p = start(t, dir)
	if r := get(); r.Weight != 0 || r.Review == nil || r.Rule.ForSeconds != 3 {
		t.Errorf("after a kill -9: %+v", r)
	}
	if code, body := p.order("POST", "/api/v1/routes/pay/clear", `{"by":""}`); code != 400 {
		t.Errorf("cleared by nobody: %d %s", code, body)
	}
	if code, body := p.order("POST", "/api/v1/routes/pay/clear", `{"by":"ana","note":"fixed"}`); code != 200 {
		t.Errorf("%d %s", code, body)
	}
	if code, body := p.order("PUT", "/api/v1/routes/pay", put+`}`); code != 200 {
		t.Errorf("after the review: %d %s", code, body)
	}
	var audit []struct{ By, Key string }
	if !p.ask("/api/v1/audit", &audit) {
		t.Fatal("no audit")
	}
	var who []string
	for _, c := range audit {
		who = append(who, c.By)
	}
	if got := strings.Join(who, " "); got != "ana ana surefoot ana ana" { // newest first: route, clear, rollback, route, rule
		t.Errorf("audit: %s", got)
	}
	p.stop()
}
