package e2e_test

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A service written with another language's OpenTelemetry SDK is first-class:
// its traces, metrics and logs are there, whatever the encoding.
func TestNodeSDK(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("SKIPPED: node is not installed")
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("SKIPPED: npm is not installed")
	}
	if _, err := os.Stat(filepath.Join("node-otel", "node_modules", "@opentelemetry", "api")); err != nil {
		install := exec.Command(npm, "ci", "--no-audit", "--no-fund")
		install.Dir = "node-otel"
		if out, err := install.CombinedOutput(); err != nil {
			t.Skipf("SKIPPED: npm ci failed (no network?): %v\n%s", err, out)
		}
	}
	p := start(t, t.TempDir())
	for _, protocol := range []string{"protobuf", "json"} {
		t.Run(protocol, func(t *testing.T) {
			p.t = t
			before := calls(p)
			cmd := exec.Command(node, "send.mjs", "--protocol", protocol, "--requests", "40", "--fail", "0.25", "--quiet")
			cmd.Dir = "node-otel"
			cmd.Env = append(os.Environ(), "OTEL_EXPORTER_OTLP_ENDPOINT="+p.http)
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, stderrOf(err))
			}
			lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
			var sent map[string]any
			if err := json.Unmarshal(lines[len(lines)-1], &sent); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			t.Logf("sent %v", sent)
			id, _ := sent["failedTrace"].(string)
			var tr struct {
				Spans []struct{ Service, Version, Kind string }
				Chain []struct{ Service, Error string }
			}
			if !p.ask("/api/v1/traces/"+id, &tr) || len(tr.Spans) != 2 || tr.Spans[0].Service != "node-cart" || tr.Spans[0].Version != "1.4.2" {
				t.Fatalf("trace %s: %+v", id, tr)
			}
			if last := tr.Chain[len(tr.Chain)-1]; last.Service != "legacy-db" || last.Error != "unavailable" {
				t.Errorf("chain: %+v", tr.Chain)
			}
			var logs struct {
				Logs []struct {
					Body       string
					Attributes map[string]string
				}
			}
			if !p.ask("/api/v1/logs?service=node-cart&severity=ERROR&traceId="+id, &logs) || len(logs.Logs) != 1 {
				t.Errorf("logs: %+v", logs)
			}
			var a answer
			q := url.QueryEscape(`sum(node_cart_requests_total{service_name="node-cart",service_instance_id="node-cart-` + protocol + `"})`)
			if !p.ask("/api/v1/query?query="+q, &a) || len(a.Data.Result) != 1 || a.Data.Result[0].Value[1] != "40" {
				t.Errorf("counter: %+v", a)
			}
			within(t, 10*time.Second, "its calls are counted", func() bool { return calls(p) == before+40 })
			within(t, 25*time.Second, "it is in the topology, with its database", func() bool {
				var g topo
				return p.ask("/api/v1/topology", &g) && g.has("node-cart", "legacy-db")
			})
		})
	}
	p.t = t
	p.stop()
}

func calls(p *plane) float64 {
	var a answer
	q := url.QueryEscape(`sum(traces_span_metrics_calls_total{service_name="node-cart",span_kind="SPAN_KIND_SERVER"})`)
	if !p.ask("/api/v1/query?query="+q, &a) || len(a.Data.Result) == 0 {
		return 0
	}
	var f float64
	_ = json.Unmarshal([]byte(a.Data.Result[0].Value[1].(string)), &f)
	return f
}

func stderrOf(err error) []byte {
	if e, ok := err.(*exec.ExitError); ok {
		return e.Stderr
	}
	return nil
}
