package e2e_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

type topo struct {
	Nodes []struct {
		Name, Kind, State, Owner string
		Rate                     float64
	}
	Edges []struct {
		From, To, Protocol string
		Strong, External   bool
	}
}

func (g topo) has(from, to string) bool {
	for _, e := range g.Edges {
		if e.From == from && e.To == to {
			return true
		}
	}
	return false
}

type answer struct {
	Data struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any
		}
	}
}

// What is sent over either protocol, in either encoding, is visible in every
// view that should show it.
func TestWhatIsSentIsVisible(t *testing.T) {
	p := start(t, t.TempDir())
	s := dial(t, p.grpc)
	for n := range uint64(40) {
		td := ptrace.NewTraces()
		order(td, n, time.Now(), n == 39)
		if err := s.send(t.Context(), td); err != nil {
			t.Fatal(err)
		}
	}
	// Over HTTP, in protobuf packed and in JSON.
	td := ptrace.NewTraces()
	order(td, 100, time.Now(), false)
	proto, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(proto)
	_ = z.Close()
	if code, body, _ := p.send("/v1/traces", "application/x-protobuf", packed.Bytes(), "Content-Encoding: gzip"); code != 200 {
		t.Fatalf("protobuf: %d %q", code, body)
	}
	metrics, err := pmetricotlp.NewExportRequestFromMetrics(gauge("pay", "surefoot.breaker.state", 2)).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if code, body, _ := p.send("/v1/metrics", "application/json", metrics); code != 200 {
		t.Fatalf("metrics: %d %q", code, body)
	}
	logs, err := plogotlp.NewExportRequestFromLogs(record("pay", "Charge failed: the bank is away", 39)).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if code, body, _ := p.send("/v1/logs", "application/json", logs); code != 200 {
		t.Fatalf("logs: %d %q", code, body)
	}

	within(t, 10*time.Second, "services are joined in the topology", func() bool {
		var g topo
		return p.ask("/api/v1/topology", &g) && g.has("shop", "pay")
	})
	within(t, 20*time.Second, "the outside appears in the topology", func() bool {
		var g topo
		return p.ask("/api/v1/topology", &g) && g.has("pay", "bank")
	})
	code, mermaid := p.get("/api/v1/topology?format=mermaid")
	if code != 200 || !strings.Contains(string(mermaid), "bank") {
		t.Errorf("mermaid: %d %s", code, mermaid)
	}

	var found struct {
		Traces []struct {
			TraceID       string
			Spans, Errors int
		}
	}
	if !p.ask("/api/v1/traces?service=pay&error=true", &found) || len(found.Traces) != 1 || found.Traces[0].Spans != 4 || found.Traces[0].Errors != 4 {
		t.Fatalf("traces: %+v", found)
	}
	var whole struct {
		Spans []any
		Chain []struct{ Service string }
	}
	if !p.ask("/api/v1/traces/"+found.Traces[0].TraceID, &whole) || len(whole.Spans) != 4 || len(whole.Chain) != 3 || whole.Chain[2].Service != "bank" {
		t.Errorf("trace: %+v", whole)
	}
	var lines struct {
		Logs []struct{ Body, TraceID string }
	}
	if !p.ask("/api/v1/logs?q=BANK+is+away&severity=error", &lines) || len(lines.Logs) != 1 || lines.Logs[0].TraceID != found.Traces[0].TraceID {
		t.Errorf("logs: %+v", lines)
	}
	var page struct {
		Operations []struct{ Name string }
		Callers    []struct{ From string }
		Breakers   []struct{ Target, State, Instance string }
	}
	if !p.ask("/api/v1/services/pay", &page) || len(page.Breakers) != 1 || page.Breakers[0].State != "open" || page.Breakers[0].Target != "bank" || page.Breakers[0].Instance != "pay-1" ||
		len(page.Callers) != 1 || len(page.Operations) != 1 {
		t.Errorf("service: %+v", page)
	}
	within(t, 10*time.Second, "series derived from spans answer PromQL", func() bool {
		var a answer
		q := url.QueryEscape(`sum(traces_span_metrics_calls_total{service_name="pay",span_kind="SPAN_KIND_SERVER"})`)
		return p.ask("/api/v1/query?query="+q, &a) && len(a.Data.Result) == 1 && a.Data.Result[0].Value[1] == "41"
	})
	var o struct {
		Ready    bool
		Services []any
		Ingest   struct{ Spans, Logs, Points int }
	}
	if !p.ask("/api/v1/overview", &o) || !o.Ready || len(o.Services) != 3 || o.Ingest.Spans != 164 || o.Ingest.Logs != 1 || o.Ingest.Points != 1 {
		t.Errorf("overview: %+v", o)
	}
	p.stop()
}

// An external service fails for everybody: the plane says so by itself, names
// it, keeps the report over a restart, and resolves when it is well again.
func TestAnIncidentOpensAndResolves(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes over a minute of real time")
	}
	dir := t.TempDir()
	p := start(t, dir)
	s := dial(t, p.grpc)
	n := uint64(1000)
	load := func(length time.Duration, fails bool, until func() bool) bool {
		tick := time.NewTicker(50 * time.Millisecond) // 20 orders a second
		defer tick.Stop()
		for start := time.Now(); time.Since(start) < length; {
			at := <-tick.C
			td := ptrace.NewTraces()
			order(td, n, at.Add(-30*time.Millisecond), fails)
			if err := s.send(t.Context(), td); err != nil {
				t.Fatal(err)
			}
			if n++; n%10 == 0 && until() {
				return true
			}
		}
		return false
	}
	type incident struct {
		ID, State, Origin string
		HasReport         bool
	}
	incidents := func() []incident {
		var l struct{ Incidents []incident }
		p.ask("/api/v1/incidents", &l)
		return l.Incidents
	}
	load(25*time.Second, false, func() bool { return false })
	if l := incidents(); len(l) != 0 {
		t.Fatalf("an incident without a fault: %+v", l)
	}
	fault := time.Now()
	if !load(30*time.Second, true, func() bool { l := incidents(); return len(l) == 1 && l[0].State == "open" }) {
		t.Fatal("no incident 30 s after the fault")
	}
	t.Logf("incident %.1f s after the fault", time.Since(fault).Seconds())
	if !load(30*time.Second, true, func() bool { l := incidents(); return l[0].HasReport && l[0].Origin == "bank" }) {
		t.Fatalf("no diagnosis that names bank 30 s after the incident: %+v", incidents())
	}
	t.Logf("diagnosis %.1f s after the fault", time.Since(fault).Seconds())
	id := incidents()[0].ID
	if code, md := p.get("/api/v1/incidents/" + id + "/report?lang=zh"); code != 200 || !bytes.Contains(md, []byte("bank")) {
		t.Errorf("report: %d %s", code, md)
	}
	// A restart in the middle of the outage neither ends the incident nor takes
	// the outage for usual.
	p.kill()
	p = start(t, dir)
	s = dial(t, p.grpc)
	if load(20*time.Second, true, func() bool { l := incidents(); return len(l) != 1 || l[0].ID != id || l[0].State != "open" }) {
		t.Errorf("after a kill -9 in the outage: %+v", incidents())
	}
	healed := time.Now()
	if !load(90*time.Second, false, func() bool { return incidents()[0].State == "resolved" }) {
		t.Fatalf("not resolved 90 s after the cure: %+v", incidents())
	}
	t.Logf("resolved %.1f s after the cure", time.Since(healed).Seconds())
	p.stop()

	p = start(t, dir)
	if l := incidents(); len(l) != 1 || l[0].ID != id || l[0].State != "resolved" {
		t.Errorf("after a restart: %+v", l)
	}
	var r struct{ Origin struct{ Name string } }
	if !p.ask("/api/v1/incidents/"+id+"/report?format=json", &r) || r.Origin.Name != "bank" {
		t.Errorf("report after a restart: %+v", r)
	}
	p.stop()
}

// Events carry what the GETs answer.
func TestEventsReachAClient(t *testing.T) {
	p := start(t, t.TempDir())
	resp, err := client.Get(p.url + "/api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	seen := map[string]bool{}
	buf := make([]byte, 64<<10)
	var text string
	for !seen["overview"] || !seen["topology"] {
		n, err := resp.Body.Read(buf)
		if err != nil {
			t.Fatalf("%v after %q", err, text)
		}
		text += string(buf[:n])
		for {
			frame, rest, ok := strings.Cut(text, "\n\n")
			if !ok {
				break
			}
			text = rest
			event, data, _ := strings.Cut(frame, "\ndata: ")
			if name, ok := strings.CutPrefix(event, "event: "); ok {
				var v map[string]any
				if err := json.Unmarshal([]byte(data), &v); err != nil || v["at"] == nil {
					t.Fatalf("%s: %v %s", name, err, data)
				}
				seen[name] = true
			}
		}
	}
	p.stop() // with a client still listening
}
