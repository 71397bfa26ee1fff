package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/surefoot-go/surefoot/config"
	"github.com/surefoot-go/surefoot/contrib/etcd"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/server"
)

type limits struct {
	Max  int `json:"max"`
	Fail int `json:"fail"` // of ten calls
}

func (l limits) Validate() error {
	if l.Max < 1 {
		return fmt.Errorf("max must be at least 1")
	}
	return nil
}

// process is an instance of the service order: it runs its settings and tells
// the plane what it does, four times a second.
type process struct {
	id     string
	config *config.Config
	limits *config.Value[limits]
	most   atomic.Int64 // the highest Fail it ever ran
	url    string
	span   uint64
}

func startProcess(t *testing.T, s *server.Server, id string) *process {
	t.Helper()
	kv := &etcd.KV{Endpoints: strings.Split(s.Addrs().Etcd, ","), Log: slog.New(slog.DiscardHandler)}
	p := &process{id: id, url: "http://" + s.Addrs().OTLPHTTP, config: &config.Config{
		Service: "order", Instance: id, Centre: &etcd.Settings{KV: kv}, EnvPrefix: "-", Observe: observe.Sinks{Log: slog.New(slog.DiscardHandler)},
	}}
	p.limits = config.Bind(p.config, "limits", limits{Max: 10})
	p.limits.OnChange(func(_, now limits) { p.most.Store(max(p.most.Load(), int64(now.Fail))) })
	if err := p.config.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	runs := safe.Go(ctx, "config", p.config.Run)
	tells := safe.Go(ctx, "telemetry", p.tell)
	t.Cleanup(func() {
		cancel()
		_, _ = runs.Wait(), tells.Wait()
		if err := kv.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p *process) tell(ctx context.Context) error {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			p.send(ctx, "/v1/traces", p.traces())
			p.send(ctx, "/v1/metrics", p.metrics())
			p.send(ctx, "/v1/logs", p.logs())
		}
	}
}

func (p *process) send(ctx context.Context, path string, body []byte) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+path, bytes.NewReader(body))
	if err != nil {
		return
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	if resp, err := http.DefaultClient.Do(req); err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
}

func (p *process) resource(r pcommon.Resource) {
	r.Attributes().PutStr("service.name", "order")
	r.Attributes().PutStr("service.instance.id", p.id)
	r.Attributes().PutStr("service.version", "v1")
}

func (p *process) traces() []byte {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	p.resource(rs.Resource())
	spans := rs.ScopeSpans().AppendEmpty().Spans()
	fail := p.limits.Get().Fail
	for i := range 10 {
		p.span++
		s := spans.AppendEmpty()
		copyID := [16]byte{1}
		copy(copyID[1:], fmt.Sprintf("%s%010d", p.id, p.span))
		s.SetTraceID(copyID)
		s.SetSpanID([8]byte(copyID[4:12]))
		s.SetName("POST /orders")
		s.SetKind(ptrace.SpanKindServer)
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(time.Now().Add(-5 * time.Millisecond)))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(time.Now()))
		if i < fail {
			s.Status().SetCode(ptrace.StatusCodeError)
		}
	}
	b, _ := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto() // what was built here has a form
	return b
}

// metrics are the gauges that package config reports, by its own figures.
func (p *process) metrics() []byte {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	p.resource(rm.Resource())
	all := rm.ScopeMetrics().AppendEmpty().Metrics()
	for _, st := range p.config.Status() {
		for name, v := range map[string]int64{"surefoot.config.revision": st.Revision, "surefoot.config.checked": st.Checked, "surefoot.config.refused": st.Refused} {
			m := all.AppendEmpty()
			m.SetName(name)
			dp := m.SetEmptyGauge().DataPoints().AppendEmpty()
			dp.SetTimestamp(pcommon.NewTimestampFromTime(time.Now()))
			dp.SetIntValue(v)
			dp.Attributes().PutStr("surefoot.config.key", st.Key)
		}
	}
	b, _ := pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
	return b
}

func (p *process) logs() []byte {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	p.resource(rl.Resource())
	for _, st := range p.config.Status() {
		if st.Refused == 0 {
			continue
		}
		l := rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
		l.SetTimestamp(pcommon.NewTimestampFromTime(time.Now()))
		l.Body().SetStr("config refused")
		l.Attributes().PutStr("surefoot.config.key", st.Key)
		l.Attributes().PutStr("err", st.Reason)
	}
	b, _ := plogotlp.NewExportRequestFromLogs(ld).MarshalProto()
	return b
}

func request(t *testing.T, method, url, body string, code int, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != code {
		t.Fatalf("%s %s: %d %s, %v", method, url, resp.StatusCode, raw, err)
	}
	if into != nil {
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatal(err)
		}
	}
}

type pushSeen struct{ ID, State, Stage, Reason string }

type configSeen struct {
	Keys []struct {
		Key, Value, By string
		Revision       int64
		Schema         bool
	}
	Applied []struct {
		Instance          string
		Revision, Refused int64
	}
	Pushes []pushSeen
}

// follow waits for the end of a push.
func follow(t *testing.T, url, id string) pushSeen {
	t.Helper()
	stage := ""
	for end := time.Now().Add(40 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		var c configSeen
		request(t, "GET", url, "", 200, &c)
		for _, p := range c.Pushes {
			if p.ID != id {
				continue
			}
			if p.Stage != stage {
				stage = p.Stage
				t.Logf("stage %s", stage)
			}
			if p.State != "running" {
				t.Logf("%s: %s", p.State, p.Reason)
				return p
			}
		}
	}
	t.Fatal("the push does not end")
	return pushSeen{}
}
