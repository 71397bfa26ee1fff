package pipe

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/pipe/seal"
)

// tally keeps what was counted as refused, by cause, and what was logged.
type tally struct {
	noop.MeterProvider
	mu  sync.Mutex
	by  map[string]int64
	log bytes.Buffer
}

func newTally() *tally { return &tally{by: map[string]int64{}} }

func (y *tally) sinks() observe.Sinks {
	return observe.Sinks{Meter: y, Log: slog.New(slog.NewTextHandler(y, nil))}
}

func (y *tally) Meter(string, ...metric.MeterOption) metric.Meter { return tallyMeter{y: y} }

type tallyMeter struct {
	noop.Meter
	y *tally
}

func (m tallyMeter) Int64Counter(name string, o ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	if name != "surefoot.pipe.refused" {
		return m.Meter.Int64Counter(name, o...)
	}
	return tallyCounter{y: m.y}, nil
}

type tallyCounter struct {
	noop.Int64Counter
	y *tally
}

func (c tallyCounter) Add(_ context.Context, n int64, o ...metric.AddOption) {
	set := metric.NewAddConfig(o).Attributes()
	cause, ok := set.Value("surefoot.cause")
	key := cause.AsString()
	if !ok || set.Len() != 1 {
		key = "attributes"
	}
	c.y.mu.Lock()
	defer c.y.mu.Unlock()
	c.y.by[key] += n
}

// Write takes what is logged.
func (y *tally) Write(b []byte) (int, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.log.Write(b)
}

func (y *tally) counted() map[string]int64 {
	y.mu.Lock()
	defer y.mu.Unlock()
	return maps.Clone(y.by)
}

// logged returns the records of a cause.
func (y *tally) logged(cause seal.Cause) (records []string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for line := range strings.Lines(y.log.String()) {
		if strings.Contains(line, "cause="+string(cause)+" ") {
			records = append(records, line)
		}
	}
	return records
}

// took fails unless there is one refusal of cause, with one Warn record of it
// that names peer. Then it forgets.
func (y *tally) took(t testing.TB, d *door, cause seal.Cause, peer string) {
	t.Helper()
	lines := y.logged(cause)
	if len(lines) != 1 || !strings.Contains(lines[0], "level=WARN") || !strings.Contains(lines[0], "peer="+peer+" ") {
		t.Errorf("logged of %s from %s: %q", cause, peer, lines)
	}
	if got, want := y.counted(), map[string]int64{string(cause): 1}; !maps.Equal(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
	y.forget(d)
}

// forget forgets what was counted and logged, and has d log as if 10s had
// passed.
func (y *tally) forget(d *door) {
	y.mu.Lock()
	clear(y.by)
	y.log.Reset()
	y.mu.Unlock()
	d.alarms.mu.Lock()
	clear(d.told)
	d.alarms.mu.Unlock()
}
