package vitals_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/vitals"
)

// records is a log that can be read while it is written.
type records struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (r *records) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(p)
}

func (r *records) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

type outbox struct{ never chan struct{} }

//go:noinline
func (o *outbox) send(card string) { o.never <- struct{}{}; _ = card }

//go:noinline
func (o *outbox) flush(ctx context.Context, card string) {
	safe.Go(ctx, "outbox.flush", func(context.Context) error {
		o.send(card)
		return nil
	})
}

// A leak of one goroutine a beat's tenth is found, named, told without the
// values it holds, and closed when it is over. The watch runs fifty times
// faster than it would, so that a minute takes a second or so.
func TestLeak(t *testing.T) {
	const secret = "4111-1111-1111-1111"
	log := &records{}
	w := &vitals.Watch{
		Settings: vitals.Settings{Every: 40 * time.Millisecond, HeapPerMinute: -1, SchedWait: -1, Descriptors: -1},
		Version:  "v1.8", Observe: observe.Sinks{Log: slog.New(slog.NewJSONHandler(log, nil))},
	}
	ctx, cancel := context.WithCancel(t.Context())
	task := safe.Go(ctx, "vitals", w.Run)
	o := &outbox{never: make(chan struct{})}
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1, 2, 3}, SpanID: trace.SpanID{1}})
	request := trace.ContextWithSpanContext(context.Background(), sc)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	start := time.Now()
	leaked := 0
	for len(w.Findings()) == 0 && time.Since(start) < 15*time.Second {
		<-tick.C
		w.Do(request, func(ctx context.Context) { o.flush(ctx, secret) })
		leaked++
	}
	found := w.Findings()
	if len(found) == 0 {
		t.Fatal("no finding after 15s")
	}
	f := found[0]
	t.Logf("after %v and %d leaked: %s\n%s", time.Since(start).Round(time.Millisecond), leaked, f.Text, f.TextZh)
	if f.Kind != vitals.Goroutines || f.Version != "v1.8" || f.Count < 450 || f.Count > leaked || f.TraceID != sc.TraceID().String() ||
		f.Wait != "chan send" || !strings.HasPrefix(f.Blocked, "vitals/leak_test.go:4") || !strings.HasPrefix(f.Created, "vitals/leak_test.go:4") ||
		f.Creator != "vitals_test.(*outbox).flush" || f.Created == f.Blocked {
		t.Errorf("%+v", f)
	}
	for range leaked {
		<-o.never
	}
	for len(w.Findings()) > 0 && time.Since(start) < 30*time.Second {
		<-tick.C
	}
	cancel()
	if err := task.Wait(); err != nil || len(w.Findings()) != 0 {
		t.Error(err, w.Findings())
	}
	all, _ := json.Marshal(found)
	if text := log.String() + string(all); strings.Contains(text, secret) || strings.Contains(text, "0x") {
		t.Errorf("a value left the process: %s", text)
	}
	if n := strings.Count(log.String(), `"surefoot.finding.state":"closed"`); n != strings.Count(log.String(), `"surefoot.finding.state":"open"`) || n == 0 {
		t.Errorf("opened and closed differ: %s", log)
	}
}
