package service_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace/noop"

	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/locks"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/service"
	"github.com/surefoot-go/surefoot/vitals"
)

// written is where a service logs to.
type written struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *written) Start(context.Context, observe.Resource) (observe.Sinks, func(context.Context) error, error) {
	return observe.Sinks{Log: slog.New(slog.NewJSONHandler(l, nil)), Tracer: noop.NewTracerProvider()}, func(context.Context) error { return nil }, nil
}

func (l *written) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// with returns the records that have an attribute.
func (l *written) with(key string) (found []map[string]any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.buf.String()) {
		var r map[string]any
		if json.Unmarshal([]byte(line), &r) == nil && r[key] != nil {
			found = append(found, r)
		}
	}
	return found
}

// A handler that leaves a goroutine behind for each request is found, with the
// trace of one of them; the finding is closed when the service ends.
func TestFindsLeak(t *testing.T) {
	log := &written{}
	network := network()
	never := make(chan struct{})
	defer close(never)
	s := &service.Service{Name: "order", Version: "v1.8", Listener: network, Drain: -1, Telemetry: log,
		Vitals: vitals.Settings{Every: 20 * time.Millisecond, Goroutines: 200, SchedWait: -1, HeapPerMinute: -1}}
	s.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) error {
		safe.Go(context.WithoutCancel(r.Context()), "receipt", func(context.Context) error { <-never; return nil })
		return httpx.Write(w, http.StatusCreated, "ok")
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := safe.Go(ctx, "service", s.Run)
	c := network.client()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	for deadline := time.Now().Add(20 * time.Second); len(s.Watch().Findings()) == 0 && time.Now().Before(deadline); {
		req, _ := http.NewRequest("POST", "http://order/orders", nil)
		req.Header.Set("traceparent", "00-"+id+"-00f067aa0ba902b7-01")
		<-tick.C
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	found := s.Watch().Findings()
	stop()
	if err := ended.Wait(); err != nil {
		t.Error(err)
	}
	if len(found) != 1 {
		t.Fatalf("%d findings: %+v", len(found), found)
	}
	t.Log(found[0].Text)
	if f := found[0]; f.Kind != vitals.Goroutines || f.TraceID != id || !strings.HasPrefix(f.Blocked, "service/vitals_test.go:") {
		t.Errorf("%+v", f)
	}
	records := log.with("surefoot.finding")
	if len(records) < 2 || records[0]["trace_id"] != id && records[len(records)-1]["trace_id"] != id || records[len(records)-1]["surefoot.finding.state"] != vitals.Closed {
		t.Errorf("%v", records)
	}
}

// Locks taken in two orders are one record in the service's log.
func TestChecksLocks(t *testing.T) {
	log := &written{}
	s := &service.Service{Name: "order", Listener: network(), Drain: -1, Telemetry: log, Locks: locks.Checks{Order: true}}
	ctx, stop := context.WithCancel(t.Context())
	ready := make(chan struct{})
	s.Workers = []service.Worker{{Name: "ready", Run: func(context.Context) error { close(ready); return nil }}}
	ended := safe.Go(ctx, "service", s.Run)
	<-ready
	a, b := &locks.Mutex{Name: "cart"}, &locks.Mutex{Name: "stock"}
	for _, pair := range [][2]*locks.Mutex{{a, b}, {b, a}, {b, a}} {
		pair[0].Lock()
		pair[1].Lock()
		pair[1].Unlock()
		pair[0].Unlock()
	}
	stop()
	if err := ended.Wait(); err != nil {
		t.Error(err)
	}
	found := log.with("surefoot.lock.problem")
	if len(found) != 1 || found[0]["surefoot.lock.problem"] != locks.KindOrder || found[0]["surefoot.lock.stack"] == nil {
		t.Errorf("%v", found)
	}
}
