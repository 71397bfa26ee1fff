package telemetry_test

import (
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/telemetry"
)

func TestLevelChangesLive(t *testing.T) {
	c := listen(t, "127.0.0.1:0")
	var stderr buffer
	var dials observe.Dials
	sinks, stop, err := telemetry.OTLP{Endpoint: c.addr, Stderr: &stderr, Batch: 20 * time.Millisecond}.
		Start(t.Context(), observe.Resource{Name: "hello", Dials: &dials})
	if err != nil {
		t.Fatal(err)
	}
	log := sinks.Log.With("made", "before")
	log.Debug("zero")
	dials.SetLevel(slog.LevelDebug)
	log.Debug("one")
	dials.SetLevel(slog.LevelError)
	log.Warn("two")
	dials.SetLevel(nil)
	log.Debug("three")
	log.Info("four")
	if err := stop(t.Context()); err != nil {
		t.Error(err)
	}
	var sent []string
	c.mu.Lock()
	for _, r := range c.records {
		sent = append(sent, r.Body.GetStringValue())
	}
	c.mu.Unlock()
	if got := strings.Join(sent, " "); got != "one four" {
		t.Errorf("sent %q, want one four", got)
	}
	for text, want := range map[string]bool{"zero": false, "one": true, "two": false, "three": false, "four": true} {
		if got := strings.Contains(stderr.String(), text); got != want {
			t.Errorf("standard error has %s: %v, want %v", text, got, want)
		}
	}
}

func TestSamplingChangesLive(t *testing.T) {
	c := listen(t, "127.0.0.1:0")
	var dials observe.Dials
	sinks, stop, err := telemetry.OTLP{Endpoint: c.addr, Stderr: io.Discard, SampleRatio: -1}.
		Start(t.Context(), observe.Resource{Name: "hello", Dials: &dials})
	if err != nil {
		t.Fatal(err)
	}
	tracer := sinks.Tracer.Tracer("test")
	recorded := func() (n int) {
		for range 1000 {
			_, span := tracer.Start(t.Context(), "work")
			if span.SpanContext().IsSampled() {
				n++
			}
			span.End()
		}
		return n
	}
	for _, step := range []struct {
		ratio     float64
		low, high int
	}{{0, 0, 0}, {1, 1000, 1000}, {0.1, 50, 150}, {-1, 0, 0}, {0.5, 400, 600}, {0, 0, 0}} {
		dials.SetRatio(step.ratio)
		if n := recorded(); n < step.low || n > step.high {
			t.Errorf("ratio %v: %d of 1000 recorded, want %d to %d", step.ratio, n, step.low, step.high)
		}
	}
	if err := stop(t.Context()); err != nil {
		t.Error(err)
	}
}
