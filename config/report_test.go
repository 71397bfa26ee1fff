package config_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/surefoot-go/surefoot/canary"
	"github.com/surefoot-go/surefoot/config"
)

// gauges keeps the callback of the room, and what it observes, by instrument and
// key.
type gauges struct {
	noop.MeterProvider
	callback metric.Callback
	values   map[string]float64
}

func (g *gauges) Meter(string, ...metric.MeterOption) metric.Meter { return gaugeMeter{g: g} }

func (g *gauges) collect(t *testing.T) map[string]float64 {
	t.Helper()
	g.values = map[string]float64{}
	if err := g.callback(t.Context(), gaugeObserver{g: g}); err != nil {
		t.Error(err)
	}
	return g.values
}

type gaugeMeter struct {
	noop.Meter
	g *gauges
}

type intGauge struct {
	noop.Int64ObservableGauge
	name string
}

type floatGauge struct {
	noop.Float64ObservableGauge
	name string
}

func (m gaugeMeter) Int64ObservableGauge(name string, _ ...metric.Int64ObservableGaugeOption) (metric.Int64ObservableGauge, error) {
	return intGauge{name: name}, nil
}

func (m gaugeMeter) Float64ObservableGauge(name string, _ ...metric.Float64ObservableGaugeOption) (metric.Float64ObservableGauge, error) {
	return floatGauge{name: name}, nil
}

func (m gaugeMeter) RegisterCallback(f metric.Callback, _ ...metric.Observable) (metric.Registration, error) {
	m.g.callback = f
	return noop.Registration{}, nil
}

type gaugeObserver struct {
	noop.Observer
	g *gauges
}

func (o gaugeObserver) ObserveInt64(i metric.Int64Observable, v int64, opts ...metric.ObserveOption) {
	set := metric.NewObserveConfig(opts).Attributes()
	key, _ := set.Value(attribute.Key("surefoot.config.key"))
	if g, ok := i.(intGauge); ok {
		o.g.values[strings.TrimPrefix(g.name, "surefoot.config.")+" "+key.AsString()] = float64(v)
	}
}

func (o gaugeObserver) ObserveFloat64(i metric.Float64Observable, v float64, _ ...metric.ObserveOption) {
	if g, ok := i.(floatGauge); ok {
		o.g.values[strings.TrimPrefix(g.name, "surefoot.config.")] = v
	}
}

// TestGauges: what the control plane learns of a push.
func TestGauges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gauges
		r := newRig("o-1", "")
		r.c.Observe.Meter = &g
		config.Bind(r.c, "limits", limits{})
		config.Bind(r.c, "other", limits{})
		r.run(t)
		defer r.stop()
		want := func(revision, checked, refused int64) {
			t.Helper()
			got := g.collect(t)
			text := fmt.Sprint(got["revision limits"], got["checked limits"], got["refused limits"], got["revision other"])
			if text != fmt.Sprint(revision, checked, refused, 0) || got["age"] >= 10 {
				t.Errorf("%v; want %d %d %d", got, revision, checked, refused)
			}
		}
		want(0, 0, 0)
		a := r.put(r.centre, "limits", `{"max": 1}`)
		want(a, a, 0)
		b := r.put(r.centre, ".push/limits", push("p", `{"max": 2}`, 0))
		want(a, b, 0)
		b = r.put(r.centre, ".push/limits", push("p", `{"max": 2}`, 0, "o-1"))
		want(b, b, 0)
		b = r.put(r.centre, ".push/limits", push("p", `{"max": -2}`, 0, "o-1"))
		want(a, a, b)
		time.Sleep(time.Minute)
		want(a, a, b)
		r.centre.Away(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		if age := g.collect(t)["age"]; age < 60 || age > 70 {
			t.Errorf("age %v", age)
		}
	})
}

// TestManyReaders: readers see whole values while they are exchanged, and
// settings are bound meanwhile.
func TestManyReaders(t *testing.T) {
	r := newRig("o-1", "")
	type pair struct{ A, B int }
	v := config.Bind(r.c, "pair", pair{})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { _ = r.c.Run(ctx) })
	for i := range 4 {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if p := v.Get(); p.A != p.B {
					t.Errorf("torn: %+v", p)
					return
				}
				if n < 20 {
					config.Bind(r.c, fmt.Sprintf("late/%d-%d", i, n), pair{})
					_ = r.c.Status()
				}
			}
		})
	}
	done := make(chan struct{})
	stop := v.OnChange(func(_, after pair) {
		if after.A == 300 {
			close(done)
		}
	})
	defer stop()
	for i := range 301 {
		r.centre.Commit(map[string][]byte{"surefoot/config/order/pair": fmt.Appendf(nil, `{"a": %d, "b": %d}`, i, i)})
	}
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("the last value did not arrive")
	}
	cancel()
	all.Wait()
}

func FuzzStored(f *testing.F) {
	f.Add([]byte(`{"id":"p","value":"{\"max\":1}","share":25,"instances":["a"]}`))
	f.Add([]byte(`{"service":"bank","stable":"v1","canary":"v2","weight":10}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := config.DecodePush(b); err == nil && (p.ID == "" || p.Value == "" || p.Share < 0 || p.Share > 100) {
			t.Errorf("%+v", p)
		}
		if r, err := canary.Decode("surefoot/route/bank", b, 3); err == nil && (r.Service != "bank" || r.Revision != 3 || r.Validate() != nil) {
			t.Errorf("%+v", r)
		}
	})
}

// FuzzLastGood: whatever is on the disk, a start without the centre succeeds.
func FuzzLastGood(f *testing.F) {
	f.Add([]byte(`{"service":"order","store":3,"items":[],"sum":"4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"}`))
	f.Add([]byte(`{"service":"order","items":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "order.lastgood.json"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		r := newRig("o-1", dir)
		r.c.Wait = -1
		v := config.Bind(r.c, "limits", limits{Max: 1})
		if err := r.c.Load(t.Context()); err != nil || v.Get().Max < 0 {
			t.Error(err, v.Get())
		}
	})
}

// BenchmarkRead is Get beside what else is used for the like, by all cores.
func BenchmarkRead(b *testing.B) {
	type wide struct{ A, B, C, D, E, F, G, H int64 } // 64 bytes
	word, sixtyFour := config.Fixed(3), config.Fixed(wide{H: 1})
	var mu sync.RWMutex
	plain := 3
	for _, c := range []struct {
		name string
		read func() int
	}{
		{"Get word", func() int { return word.Get() }},
		{"Get 64 bytes", func() int { return int(sixtyFour.Get().H) }},
		{"Load 64 bytes", func() int { return int(sixtyFour.Load().H) }},
		{"RWMutex word", func() int { mu.RLock(); defer mu.RUnlock(); return plain }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				sum := 0
				for pb.Next() {
					sum += c.read()
				}
				_ = sum
			})
		})
	}
}
