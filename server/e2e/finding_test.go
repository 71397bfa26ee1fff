package e2e_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
)

const leakTrace = "4bf92f3577b34da6a3ce929d0e0e4736"

// leak is the record that the library's vitals sends of leaked goroutines.
func leak(service, state string, count int64) plog.Logs {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	res := rl.Resource().Attributes()
	res.PutStr("service.name", service)
	res.PutStr("service.version", "v3")
	res.PutStr("service.instance.id", service+"-1")
	l := rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	l.SetTimestamp(pcommon.NewTimestampFromTime(time.Now()))
	l.SetSeverityNumber(plog.SeverityNumberWarn)
	l.Body().SetStr("+4,812 goroutines created at pay/receipts.go:88 by pay.(*Receipts).Send, blocked 11 min on channel send, first seen in v3, trace id " + leakTrace)
	a := l.Attributes()
	a.PutStr("surefoot.finding", "goroutines")
	a.PutStr("surefoot.finding.id", "goroutines-1")
	a.PutStr("surefoot.finding.state", state)
	a.PutStr("surefoot.finding.since", time.Now().Add(-11*time.Minute).Format(time.RFC3339))
	a.PutDouble("surefoot.finding.value", float64(count+1000))
	a.PutDouble("surefoot.finding.before", 1000)
	a.PutDouble("surefoot.finding.per_minute", 430)
	a.PutInt("surefoot.finding.count", count)
	a.PutStr("surefoot.finding.created", "pay/receipts.go:88")
	a.PutStr("surefoot.finding.creator", "pay.(*Receipts).Send")
	a.PutStr("surefoot.finding.blocked", "pay/receipts.go:91")
	a.PutStr("surefoot.finding.wait", "chan send")
	a.PutDouble("surefoot.finding.wait_s", 660)
	a.PutStr("surefoot.finding.method", "leak profile")
	a.PutStr("surefoot.finding.text_zh", "多出 4,812 个协程，由 pay.(*Receipts).Send 在 pay/receipts.go:88 创建")
	a.PutStr("trace_id", leakTrace)
	return ld
}

// waited is the counters of one lock, as the library sends them.
func waited(service, lock string, seconds float64, waits int64, at time.Time) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", service)
	rm.Resource().Attributes().PutStr("service.version", "v3")
	rm.Resource().Attributes().PutStr("service.instance.id", service+"-1")
	metrics := rm.ScopeMetrics().AppendEmpty().Metrics()
	counter := func(name, unit string) pmetric.NumberDataPoint {
		m := metrics.AppendEmpty()
		m.SetName(name)
		m.SetUnit(unit)
		sum := m.SetEmptySum()
		sum.SetIsMonotonic(true)
		sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		p := sum.DataPoints().AppendEmpty()
		p.SetTimestamp(pcommon.NewTimestampFromTime(at))
		p.Attributes().PutStr("surefoot.lock", lock)
		return p
	}
	counter("surefoot.lock.wait", "s").SetDoubleValue(seconds)
	counter("surefoot.lock.waits", "{wait}").SetIntValue(waits)
	return md
}

type vitalsPage struct {
	Findings []struct {
		ID, Kind, Metric, State, Version, Instance, Created, Text, TraceID string
		ClosedAt                                                           *time.Time
		Expired                                                            bool
		Count                                                              int
	}
	Locks []struct {
		Name, Kind                    string
		WaitPerSecond, WaitsPerSecond float64
	}
	Instances []struct {
		Instance, Version string
		Findings          int
	}
}

type incidentLine struct {
	ID, State, Title, TitleZh, Severity, Origin string
	HasReport                                   bool
	Services                                    []string
	Symptoms                                    []struct{ Target, Metric string }
}

func (p *plane) incidents() []incidentLine {
	var list struct{ Incidents []incidentLine }
	p.ask("/api/v1/incidents", &list)
	return list.Incidents
}

func (s sender) log(ld plog.Logs) {
	s.t.Helper()
	if _, err := s.logs.Export(s.t.Context(), plogotlp.NewExportRequestFromLogs(ld)); err != nil {
		s.t.Fatal(err)
	}
}

// A service without a single span says that it leaks: that is an incident of
// its own with a report, it outlives a kill of the plane as the same one, and
// it ends when the service says so.
func TestFindingBecomesAnIncident(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir)
	s := dial(t, p.grpc)
	now := time.Now()
	for i, at := range []time.Time{now.Add(-40 * time.Second), now.Add(-20 * time.Second), now} {
		for _, lock := range []struct {
			name string
			wait float64
		}{{"pay.cache", 2}, {"pay.books", 20}} {
			md := waited("pay", lock.name, float64(i)*lock.wait, int64(i)*30, at)
			if _, err := s.metrics.Export(t.Context(), pmetricotlp.NewExportRequestFromMetrics(md)); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.log(leak("pay", "open", 4812))

	var inc incidentLine
	within(t, 10*time.Second, "the finding is an incident with a report", func() bool {
		all := p.incidents()
		if len(all) > 0 {
			inc = all[0]
		}
		return len(all) == 1 && inc.HasReport
	})
	if inc.Origin != "pay" || inc.Severity != "warn" || inc.Title != "pay v3 leaks goroutines: pay/receipts.go:88" || !slices.Equal(inc.Services, []string{"pay"}) {
		t.Errorf("incident %+v", inc)
	}
	for lang, wants := range map[string][]string{
		"en": {"# pay v3 leaks goroutines", "+4,812 goroutines created at pay/receipts.go:88", leakTrace, "take it off traffic", "found by leak profile"},
		"zh": {"# pay v3 协程泄漏", "多出 4,812 个协程", "摘除"},
	} {
		code, body := p.get("/api/v1/incidents/" + inc.ID + "/report?lang=" + lang)
		for _, want := range wants {
			if code != 200 || !strings.Contains(string(body), want) {
				t.Errorf("report in %s, %d, lacks %q:\n%s", lang, code, want, body)
			}
		}
	}
	var v vitalsPage
	if !p.ask("/api/v1/services/pay/vitals", &v) || len(v.Findings) != 1 || v.Findings[0].State != "open" || v.Findings[0].Count != 4812 || v.Findings[0].TraceID != leakTrace {
		t.Errorf("vitals %+v", v)
	}
	if len(v.Locks) != 2 || v.Locks[0].Name != "pay.books" || v.Locks[0].WaitPerSecond < .3 || v.Locks[0].WaitPerSecond > 1.4 || v.Locks[0].WaitsPerSecond <= 0 {
		t.Errorf("locks %+v", v.Locks)
	}
	if len(v.Instances) != 1 || v.Instances[0].Instance != "pay-1" || v.Instances[0].Version != "v3" || v.Instances[0].Findings != 1 {
		t.Errorf("instances %+v", v.Instances)
	}
	var lines struct {
		Logs []struct{ Attributes map[string]string }
	}
	if !p.ask("/api/v1/logs?service=pay&q=goroutines+created", &lines) || len(lines.Logs) != 1 || lines.Logs[0].Attributes["surefoot.finding.created"] != "pay/receipts.go:88" {
		t.Errorf("logs %+v", lines)
	}
	if code, _ := p.get("/api/v1/services/nobody/vitals"); code != 404 {
		t.Errorf("vitals of nobody: %d", code)
	}

	p.kill()
	p = start(t, dir)
	s = dial(t, p.grpc)
	if all := p.incidents(); len(all) != 1 || all[0].ID != inc.ID || all[0].State != "open" {
		t.Fatalf("after the kill %+v", all)
	}
	s.log(leak("pay", "open", 5000)) // as it does every 30 s
	within(t, 5*time.Second, "the finding is known again", func() bool {
		var v vitalsPage
		return p.ask("/api/v1/services/pay/vitals", &v) && len(v.Findings) == 1 && v.Findings[0].Count == 5000
	})
	out, err := exec.Command(exe, "incidents", "--open", "--lang", "en", "--server", p.url).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "pay v3 leaks goroutines: pay/receipts.go:88") {
		t.Errorf("surefoot incidents: %v\n%s", err, out)
	}
	s.log(leak("pay", "closed", 0))
	within(t, 5*time.Second, "the finding is closed", func() bool {
		var v vitalsPage
		return p.ask("/api/v1/services/pay/vitals", &v) && len(v.Findings) == 1 && v.Findings[0].State == "closed" && v.Findings[0].ClosedAt != nil && !v.Findings[0].Expired
	})
	within(t, 20*time.Second, "the incident is resolved", func() bool {
		all := p.incidents()
		return len(all) == 1 && all[0].State == "resolved"
	})
	p.stop()
}
