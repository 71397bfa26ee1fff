package discovery

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/surefoot-go/surefoot/discovery/driver"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience/balance"
	"github.com/surefoot-go/surefoot/safe"
)

// Registration keeps one instance listed and knows whether others can see it.
// It must not be copied; its fields must not change once it runs.
type Registration struct {
	Driver   driver.Registrar
	Service  string
	Instance balance.Instance
	// Alarm is how long the instance may be invisible before that is logged, and
	// again each minute; 0 means 30s, negative means never.
	Alarm   time.Duration
	Observe observe.Sinks

	mu      sync.Mutex
	visible bool
	since   time.Time // of visible; zero before Run
	err     error
}

// Run lists the instance and keeps it listed until ctx ends, then takes it off
// and returns ctx's error. Otherwise it returns only what no time can cure: an
// instance that can never be listed, or a driver that was closed. The metric
// surefoot.discovery.visible is 1 while others can see it and 0 while not.
func (r *Registration) Run(ctx context.Context) error {
	sinks := r.Observe.OrDefault()
	r.set(false, errs.New(errs.Unavailable, "discovery.Registration", "not registered yet"))
	unmeasure := r.measure(sinks)
	defer unmeasure()
	watch, end := context.WithCancel(ctx)
	alarm := safe.Go(watch, "discovery alarm", func(ctx context.Context) error { return r.alarm(ctx, sinks) })
	defer func() {
		end()
		<-alarm.Done()
	}()
	err := r.Driver.Register(ctx, r.Service, r.Instance, func(visible bool, err error) {
		r.set(visible, err)
		level, text := slog.LevelInfo, "discovery: registered"
		if !visible {
			level, text = slog.LevelWarn, "discovery: not visible, registering again"
		}
		attrs := []slog.Attr{slog.String("service", r.Service), slog.String("instance", cmp.Or(r.Instance.ID, r.Instance.Addr))}
		if err != nil {
			attrs = append(attrs, slog.Any("err", err))
		}
		sinks.Log.LogAttrs(ctx, level, text, attrs...)
	})
	r.set(false, err)
	return err
}

func (r *Registration) set(visible bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since.IsZero() || visible != r.visible {
		r.since = time.Now()
	}
	r.visible, r.err = visible, err
	if visible {
		r.err = nil
	}
}

// Visible tells whether others can see the instance, as read back from the
// registry, since when that is so, and why not.
func (r *Registration) Visible() (visible bool, since time.Time, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.visible, r.since, r.err
}

// alarm says each minute that the instance cannot be seen.
func (r *Registration) alarm(ctx context.Context, sinks observe.Sinks) error {
	limit := cmp.Or(r.Alarm, 30*time.Second)
	if limit < 0 {
		return nil
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var said time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			visible, since, why := r.Visible()
			if visible || now.Sub(since) < limit || now.Sub(said) < time.Minute {
				continue
			}
			said = now
			sinks.Log.LogAttrs(ctx, slog.LevelError, "discovery: nobody can see this instance", slog.String("service", r.Service),
				slog.String("instance", cmp.Or(r.Instance.ID, r.Instance.Addr)), slog.Duration("for", now.Sub(since).Round(time.Second)), slog.Any("err", why))
		}
	}
}

func (r *Registration) measure(sinks observe.Sinks) (stop func()) {
	m := sinks.Meter.Meter(scope)
	g, err := m.Int64ObservableGauge("surefoot.discovery.visible", metric.WithUnit("1"),
		metric.WithDescription("Whether others can see this instance in the registry."))
	if err != nil {
		return func() {}
	}
	to := metric.WithAttributes(attribute.String("surefoot.target", r.Service))
	reg, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		n := int64(0)
		if visible, _, _ := r.Visible(); visible {
			n = 1
		}
		o.ObserveInt64(g, n, to)
		return nil
	}, g)
	if err != nil {
		return func() {}
	}
	return func() { _ = reg.Unregister() }
}
