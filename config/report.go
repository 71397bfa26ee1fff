package config

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/surefoot-go/surefoot/config/driver"
	"github.com/surefoot-go/surefoot/config/tree"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/resilience/retry"
)

// Status is one setting as this process runs it. No value is in it.
type Status struct {
	Key      string       `json:"key"`
	Layers   []tree.Layer `json:"layers"`             // that say something, besides the default
	Revision int64        `json:"revision"`           // of the centre's item in force; 0 means none
	Pushed   bool         `json:"pushed,omitempty"`   // that item is a push under way
	LastGood bool         `json:"lastGood,omitempty"` // that item comes from the disk: the centre was away at the start
	Checked  int64        `json:"checked"`            // the highest revision the centre has that passes decoding and Validate
	Refused  int64        `json:"refused,omitempty"`  // revision of what the centre has and this process does not use
	Reason   string       `json:"reason,omitempty"`   // why
	FileBad  string       `json:"fileBad,omitempty"`  // why the file there now is not used
}

// Status is each setting, in the order of Bind.
func (c *Config) Status() []Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]Status, 0, len(c.keys))
	for _, k := range c.keys {
		st := Status{
			Key: k.name, Layers: k.layers, Revision: k.revision, Pushed: k.pushed, LastGood: k.lastGood, Checked: k.checked,
		}
		if r := k.refused(); r != nil {
			st.Refused, st.Reason = r.revision, r.reason
		}
		if k.fileBad != nil {
			st.FileBad = k.fileBad.reason
		}
		out = append(out, st)
	}
	return out
}

// Age is how long ago the centre was last known to answer; since Load, if it
// never did; 0 without a centre.
func (c *Config) Age() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.Centre == nil || c.begun.IsZero():
		return 0
	case c.heard.IsZero():
		return time.Since(c.begun)
	}
	return time.Since(c.heard)
}

// measure reports what runs.
func (c *Config) measure() {
	m := c.sinks.Meter.Meter("github.com/surefoot-go/surefoot/config")
	var all []metric.Observable
	gauge := func(name, about string) metric.Int64ObservableGauge {
		g, err := m.Int64ObservableGauge(name, metric.WithDescription(about))
		if err == nil {
			all = append(all, g)
		}
		return g
	}
	revision := gauge("surefoot.config.revision", "Revision of the config centre's value in force.")
	checked := gauge("surefoot.config.checked", "Highest revision in the config centre that passes decoding and validation.")
	refused := gauge("surefoot.config.refused", "Revision that is in the config centre and not used here.")
	age, err := m.Float64ObservableGauge("surefoot.config.age", metric.WithUnit("s"), metric.WithDescription("Time since the config centre was last known to answer."))
	if err != nil || len(all) < 3 {
		return // the names are good; an SDK that refuses them has said so
	}
	_, _ = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, st := range c.Status() {
			to := metric.WithAttributes(attribute.String("surefoot.config.key", st.Key))
			o.ObserveInt64(revision, st.Revision, to)
			o.ObserveInt64(checked, st.Checked, to)
			o.ObserveInt64(refused, st.Refused, to)
		}
		if c.Centre != nil {
			o.ObserveFloat64(age, c.Age().Seconds())
		}
		return nil
	}, append(all, age)...)
}

// publishEvery is how often publish looks for settings bound since, and tries
// again what failed.
const publishEvery = 15 * time.Second

// publish writes what each setting looks like, so that the control plane can
// refuse a value before any process sees it. It is a courtesy: what cannot be
// written is tried again, and never an error. Each setting is written once in the
// life of a process, so two versions of a service do not fight over it.
func (c *Config) publish(ctx context.Context) {
	w, ok := c.Centre.(driver.Writer)
	if !ok {
		return
	}
	done := map[string]bool{}
	for {
		c.mu.Lock()
		keys := slices.DeleteFunc(slices.Clone(c.keys), func(k *key) bool { return done[k.name] })
		c.mu.Unlock()
		if len(keys) > 0 {
			c.publishThese(ctx, w, keys, done)
		}
		if retry.Wait(ctx, publishEvery) != nil {
			return
		}
	}
}

func (c *Config) publishThese(ctx context.Context, w driver.Writer, keys []*key, done map[string]bool) {
	ctx, cancel := context.WithTimeout(ctx, publishEvery)
	defer cancel()
	snap, err := first(ctx, w, SchemaPrefix+c.Service+"/", publishEvery)
	if err != nil {
		return // away
	}
	here := map[string]driver.Item{}
	for _, it := range snap.Items {
		here[it.Key] = it
	}
	for _, k := range keys {
		at := SchemaPrefix + c.Service + "/" + k.name
		s, err := k.value.schema()
		var b []byte
		if err == nil {
			b, err = json.Marshal(s)
		}
		if err == nil && !bytes.Equal(here[at].Value, b) {
			_, err = w.Put(ctx, at, b, here[at].Revision) // many instances start at once, one writes
		}
		if err == nil || errs.KindOf(err) == errs.Conflict {
			done[k.name] = true
		} else {
			c.sinks.Log.DebugContext(ctx, "config: a schema could not be published", "key", k.name, "err", err)
		}
	}
}
