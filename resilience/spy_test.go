package resilience_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/limit"
	"github.com/surefoot-go/surefoot/resilience/retry"
	"github.com/surefoot-go/surefoot/safe"
)

// spy is a meter that remembers sums and last values by name and attributes.
type spy struct {
	callbacks atomic.Int64 // registered and not yet unregistered

	mu      sync.Mutex
	values  map[string]int64
	observe []metric.Callback
}

func newSpy() *spy { return &spy{values: map[string]int64{}} }

func (s *spy) sinks() observe.Sinks {
	return observe.Sinks{Meter: spyProvider{s: s}, Log: slog.New(slog.DiscardHandler)}
}

// get is what is known under name{attributes in the order of their keys}.
func (s *spy) get(name, attrs string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[name+"{"+attrs+"}"]
}

func (s *spy) note(name string, set attribute.Set, v int64, add bool) {
	k := name + "{" + set.Encoded(attribute.DefaultEncoder()) + "}"
	s.mu.Lock()
	defer s.mu.Unlock()
	if add {
		v += s.values[k]
	}
	s.values[k] = v
}

// collect asks the observable instruments.
func (s *spy) collect() {
	s.mu.Lock()
	all := slices.Clone(s.observe)
	s.mu.Unlock()
	for _, f := range all {
		_ = f(context.Background(), spyObserver{s: s})
	}
}

type spyProvider struct {
	metricnoop.MeterProvider
	s *spy
}

func (p spyProvider) Meter(string, ...metric.MeterOption) metric.Meter { return spyMeter{s: p.s} }

type spyMeter struct {
	metricnoop.Meter
	s *spy
}

func (m spyMeter) Int64Counter(name string, _ ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return spyCounter{s: m.s, name: name}, nil
}

func (m spyMeter) Int64Gauge(name string, _ ...metric.Int64GaugeOption) (metric.Int64Gauge, error) {
	return spyGauge{s: m.s, name: name}, nil
}

func (m spyMeter) Int64ObservableGauge(name string, _ ...metric.Int64ObservableGaugeOption) (metric.Int64ObservableGauge, error) {
	return spyObservable{name: name}, nil
}

func (m spyMeter) RegisterCallback(f metric.Callback, _ ...metric.Observable) (metric.Registration, error) {
	_ = f(context.Background(), spyObserver{s: m.s}) // somebody collects at once
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	m.s.callbacks.Add(1)
	m.s.observe = append(m.s.observe, f)
	return spyRegistration{s: m.s}, nil
}

type spyCounter struct {
	metricnoop.Int64Counter
	s    *spy
	name string
}

func (c spyCounter) Add(_ context.Context, v int64, opts ...metric.AddOption) {
	c.s.note(c.name, metric.NewAddConfig(opts).Attributes(), v, true)
}

type spyGauge struct {
	metricnoop.Int64Gauge
	s    *spy
	name string
}

func (g spyGauge) Record(_ context.Context, v int64, opts ...metric.RecordOption) {
	g.s.note(g.name, metric.NewRecordConfig(opts).Attributes(), v, false)
}

type spyObservable struct {
	metricnoop.Int64ObservableGauge
	name string
}

type spyObserver struct {
	metricnoop.Observer
	s *spy
}

func (o spyObserver) ObserveInt64(i metric.Int64Observable, v int64, opts ...metric.ObserveOption) {
	o.s.note(i.(spyObservable).name, metric.NewObserveConfig(opts).Attributes(), v, false)
}

type spyRegistration struct {
	metricnoop.Registration
	s *spy
}

func (r spyRegistration) Unregister() error {
	r.s.callbacks.Add(-1)
	return nil
}

// spySpan remembers the names of its events.
type spySpan struct {
	tracenoop.Span
	mu     sync.Mutex
	events []string
}

func (*spySpan) IsRecording() bool { return true }

func (s *spySpan) AddEvent(name string, opts ...trace.EventOption) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := trace.NewEventConfig(opts...)
	for _, kv := range c.Attributes() {
		if kv.Key == "surefoot.outcome" || kv.Key == "surefoot.limit" {
			name += " " + kv.Value.AsString()
		}
	}
	s.events = append(s.events, name)
}

// What operators see of hedges and limits.
func TestNewPartsAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, span := newSpy(), &spySpan{}
		ctx := trace.ContextWithSpan(t.Context(), span)
		p := doubled
		p.Retry = retry.Policy{Max: -1, Reserve: 1, Budget: 1e-9}
		p.Bulkhead = limit.BulkheadSettings{Max: 2}
		p.Adaptive = limit.AdaptiveSettings{Max: 50, Start: 20}
		g := resilience.New("bank", p, m.sinks())
		for range 2 { // the second has no budget left
			var tries atomic.Int64
			resilience.Do(ctx, g, func(ctx context.Context) (int, error) {
				return 0, slow(ctx, time.Duration(2-tries.Add(1))*time.Second, nil)
			})
		}
		var group safe.Group
		for range 3 {
			group.Go(ctx, func(ctx context.Context) error {
				_, err := resilience.Do(ctx, g, func(ctx context.Context) (int, error) { return 0, slow(ctx, time.Millisecond, nil) })
				return err
			})
		}
		_ = group.Wait()
		m.collect()
		for name, want := range map[string]int64{
			"surefoot.hedge.calls surefoot.outcome=further,surefoot.target=bank":  1,
			"surefoot.hedge.calls surefoot.outcome=won,surefoot.target=bank":      1,
			"surefoot.hedge.calls surefoot.outcome=refused,surefoot.target=bank":  1,
			"surefoot.limit.refused surefoot.limit=bulkhead,surefoot.target=bank": 1,
			"surefoot.limit.adaptive surefoot.target=bank":                        int64(g.Snapshot().Adaptive.Limit),
		} {
			var metric, attrs string
			fmt.Sscan(name, &metric, &attrs)
			if got := m.get(metric, attrs); got != want || want == 0 {
				t.Errorf("%s is %d, want %d", name, got, want)
			}
		}
		if got := fmt.Sprint(span.events); got != "[surefoot.hedge further surefoot.hedge won surefoot.hedge refused surefoot.limit.refused bulkhead]" {
			t.Errorf("events %v", got)
		}
	})
}
