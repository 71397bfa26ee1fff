package service_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/embedded"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience/shed"
	"github.com/surefoot-go/surefoot/service"
	"github.com/surefoot-go/surefoot/vitals"
)

// gauges is a meter that can be read.
type gauges struct {
	mu   sync.Mutex
	read metric.Callback
}

func (g *gauges) Start(context.Context, observe.Resource) (observe.Sinks, func(context.Context) error, error) {
	return observe.Sinks{Meter: meters{g: g}}, func(context.Context) error { return nil }, nil
}

type meters struct {
	noop.MeterProvider
	g *gauges
}

func (m meters) Meter(string, ...metric.MeterOption) metric.Meter { return meter{g: m.g} }

type meter struct {
	noop.Meter
	g *gauges
}

type gauge struct {
	noop.Int64ObservableGauge
	name string
}

func (m meter) Int64ObservableGauge(name string, _ ...metric.Int64ObservableGaugeOption) (metric.Int64ObservableGauge, error) {
	return gauge{name: name}, nil
}

func (m meter) RegisterCallback(f metric.Callback, _ ...metric.Observable) (metric.Registration, error) {
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	m.g.read = f
	return registration{g: m.g}, nil
}

type registration struct {
	embedded.Registration
	g *gauges
}

func (r registration) Unregister() error {
	r.g.mu.Lock()
	defer r.g.mu.Unlock()
	r.g.read = nil
	return nil
}

type observer struct {
	embedded.Observer
	seen map[string]int64
}

func (o observer) ObserveInt64(g metric.Int64Observable, v int64, _ ...metric.ObserveOption) {
	o.seen[g.(gauge).name] = v
}
func (o observer) ObserveFloat64(metric.Float64Observable, float64, ...metric.ObserveOption) {}

func TestDoorGauges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gauges{}
		s := &service.Service{Listener: network(), Drain: -1, Telemetry: g, Vitals: vitals.Settings{Every: -1}} // its gauges are others
		stop, ended := start(t, s)
		pass, err := s.Door().Enter(t.Context(), shed.Request{})
		if err != nil {
			t.Fatal(err)
		}
		o := observer{seen: map[string]int64{}}
		g.mu.Lock()
		err = g.read(t.Context(), o)
		g.mu.Unlock()
		if err != nil || o.seen["surefoot.shed.limit"] != 1000 || o.seen["surefoot.shed.running"] != 1 || len(o.seen) != 3 {
			t.Errorf("%v %v", o.seen, err)
		}
		pass.Done(shed.Success)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if g.read != nil {
			t.Error("the gauges are read after the end")
		}
	})
}
