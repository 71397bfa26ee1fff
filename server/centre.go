package server

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	settings "github.com/surefoot-go/surefoot/config"
	"github.com/surefoot-go/surefoot/config/tree"
	"github.com/surefoot-go/surefoot/contrib/etcd"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/resilience/balance"
	"github.com/surefoot-go/surefoot/server/api"
	"github.com/surefoot-go/surefoot/server/config"
	"github.com/surefoot-go/surefoot/server/push"
)

// centre is the settings and instances of services in the API's words.
type centre struct {
	routes *routes
	pushes *pushes
}

func (c *centre) store() *config.Store { return c.routes.store() }

func serviceName(op, service string) error {
	if strings.Contains(service, "/") || !settings.ValidKey(service) {
		return errs.New(errs.Invalid, op, "that is no name of a service")
	}
	return nil
}

// Instances lists the registry.
func (c *centre) Instances(ctx context.Context, service string) ([]api.Listed, error) {
	const op = "server.Instances"
	prefix := etcd.InstancePrefix
	if service != "" {
		if serviceName(op, service) != nil {
			return []api.Listed{}, nil // telemetry may name it so; nobody can be registered under it
		}
		prefix += service + "/"
	}
	items, _, err := c.store().KV.List(ctx, prefix)
	if err != nil {
		return nil, errs.Wrap(err, op)
	}
	out := make([]api.Listed, 0, len(items))
	for _, it := range items {
		name, id, ok := strings.Cut(strings.TrimPrefix(it.Key, etcd.InstancePrefix), "/")
		var in balance.Instance
		if !ok || json.Unmarshal(it.Value, &in) != nil {
			continue // what no client can use either
		}
		l := api.Listed{Service: name, ID: id, Addr: in.Addr, Version: in.Version, Zone: in.Zone, Weight: in.Weight, Labels: in.Labels}
		if in.ID != "" {
			l.ID = in.ID
		}
		if l.Weight == 0 {
			l.Weight = 1
		}
		if l.Labels == nil {
			l.Labels = map[string]string{}
		}
		out = append(out, l)
	}
	return out, nil
}

// ServiceConfig is everything about a service's settings.
func (c *centre) ServiceConfig(ctx context.Context, service string) (api.ServiceConfig, error) {
	const op = "server.ServiceConfig"
	out := api.ServiceConfig{Service: service, Keys: []api.Value{}, Applied: []api.Applied{}, Pushes: []api.Push{}}
	if serviceName(op, service) != nil {
		return out, nil // telemetry may name it so; nothing can be set for it
	}
	items, err := c.store().List(ctx, settings.Prefix+service+"/")
	if err != nil {
		return out, errs.Wrap(err, op)
	}
	schemas, err := c.store().Schemas(ctx, service)
	if err != nil {
		return out, errs.Wrap(err, op)
	}
	for _, it := range items {
		v, err := c.value(ctx, service, it, schemas)
		if err != nil {
			return out, errs.Wrap(err, op)
		}
		out.Keys = append(out.Keys, v)
	}
	reports, err := c.pushes.reports(ctx, service, "", time.Now())
	if err != nil {
		return out, errs.Wrap(err, op)
	}
	for _, r := range reports {
		out.Applied = append(out.Applied, api.Applied{Instance: r.instance, Version: r.version, Key: r.key, Revision: r.revision, Checked: r.checked, Refused: r.refused})
	}
	all, err := c.store().Pushes(ctx, service)
	if err != nil {
		return out, errs.Wrap(err, op)
	}
	for _, p := range all {
		out.Pushes = append(out.Pushes, c.show(p))
	}
	return out, nil
}

// value is an item with who wrote it, as far as the history knows.
func (c *centre) value(ctx context.Context, service string, it etcd.Item, schemas map[string]bool) (api.Value, error) {
	key := strings.TrimPrefix(it.Key, settings.Prefix+service+"/")
	v := api.Value{Key: key, Value: string(it.Value), Revision: it.Revision, Schema: schemas[key]}
	past, err := c.store().History(ctx, service, key)
	if err != nil {
		return v, err
	}
	if i := slices.IndexFunc(past, func(p config.Past) bool { return p.Revision == it.Revision }); i >= 0 {
		at := api.Time(past[i].At)
		v.By, v.Why, v.At = past[i].By, past[i].Why, &at
	}
	return v, nil
}

func (c *centre) show(p config.Push) api.Push {
	out := api.Push{
		ID: p.ID, Key: p.Key, Stage: p.Stage, Share: p.Share, Instances: append([]string{}, p.Instances...), Since: api.Time(p.Since), By: p.By, Why: p.Why,
		Value: p.Value, Diff: config.Diff(p.Before, p.Value), State: string(p.State), Reason: p.Reason, ReasonZh: p.ReasonZh,
	}
	if p.Stage == string(push.Share) {
		out.Share = push.Plan{Share: p.Plan.Share}.OrDefault().Share // also when they are named one by one
	}
	if p.State == config.Running {
		c.pushes.mu.Lock()
		said := c.pushes.said[p.ID]
		c.pushes.mu.Unlock()
		out.Reason, out.ReasonZh = said[0], said[1]
	}
	return out
}

// Value is one setting.
func (c *centre) Value(ctx context.Context, service, key string) (api.Value, error) {
	const op = "server.Value"
	it, err := c.store().Get(ctx, settings.Key(service, key))
	if err != nil {
		return api.Value{}, errs.Wrap(err, op)
	}
	return c.written(ctx, op, service, it)
}

func (c *centre) written(ctx context.Context, op, service string, it etcd.Item) (api.Value, error) {
	schemas, err := c.store().Schemas(ctx, service)
	if err != nil {
		return api.Value{}, errs.Wrap(err, op)
	}
	v, err := c.value(ctx, service, it, schemas)
	return v, errs.Wrap(err, op)
}

// History is what a setting was.
func (c *centre) History(ctx context.Context, service, key string) ([]api.Past, error) {
	past, err := c.store().History(ctx, service, key)
	if err != nil {
		return nil, errs.Wrap(err, "server.History")
	}
	out := make([]api.Past, 0, len(past))
	for i, p := range past {
		before := ""
		if i+1 < len(past) {
			before = past[i+1].Value
		}
		out = append(out, api.Past{Revision: p.Revision, At: api.Time(p.At), By: p.By, Why: p.Why, Value: p.Value, Diff: config.Diff(before, p.Value)})
	}
	return out, nil
}

// CheckValue says what a value would change, or why it is refused.
func (c *centre) CheckValue(ctx context.Context, service, key, value string) ([]tree.Change, error) {
	diff, err := c.store().CheckValue(ctx, service, key, []byte(value))
	return diff, errs.Wrap(err, "server.CheckValue")
}

// WriteValue writes at once.
func (c *centre) WriteValue(ctx context.Context, service, key, value, by, why string) (api.Value, error) {
	const op = "server.WriteValue"
	if err := c.free(ctx, op, service, key); err != nil {
		return api.Value{}, err
	}
	full := settings.Key(service, key)
	rev, err := c.store().Put(ctx, full, []byte(value), config.Any, config.Author{By: by, Why: why})
	if err != nil {
		return api.Value{}, errs.Wrap(err, op)
	}
	c.routes.learnRule(full, []byte(value))
	return c.written(ctx, op, service, etcd.Item{Key: full, Value: []byte(value), Revision: rev})
}

// RollbackValue writes a value of the history again.
func (c *centre) RollbackValue(ctx context.Context, service, key, to, by, why string) (api.Value, error) {
	const op = "server.RollbackValue"
	if err := c.free(ctx, op, service, key); err != nil {
		return api.Value{}, err
	}
	rev := int64(0)
	if to != "previous" {
		var err error
		if rev, err = strconv.ParseInt(to, 10, 64); err != nil || rev < 1 {
			return api.Value{}, errs.New(errs.Invalid, op, "rollback takes a revision or previous")
		}
	}
	it, err := c.store().Back(ctx, service, key, rev, config.Author{By: by, Why: why})
	if err != nil {
		return api.Value{}, errs.Wrap(err, op)
	}
	c.routes.learnRule(it.Key, it.Value)
	return c.written(ctx, op, service, it)
}

// free refuses a change beside a push under way, which would be judged by
// another value than the one it began with.
func (c *centre) free(ctx context.Context, op, service, key string) error {
	_, err := c.store().PushOf(ctx, service, key)
	switch {
	case err == nil:
		return errs.New(errs.Conflict, op, "a push of this key is under way; abort it first").ID(config.PushUnderWay)
	case errs.KindOf(err) == errs.NotFound:
		return nil
	}
	return errs.Wrap(err, op)
}

// StartPush writes a push down; the loop takes it on.
func (c *centre) StartPush(ctx context.Context, service, key string, o api.PushOrder) (api.Push, error) {
	plan := config.PushPlan{Share: o.Share, For: time.Duration(o.ForSeconds * float64(time.Second)), Force: o.Force}
	p, err := c.store().StartPush(ctx, service, key, string(push.Check), o.Value, plan, config.Author{By: o.By, Why: o.Why})
	if err != nil {
		return api.Push{}, errs.Wrap(err, "server.StartPush")
	}
	c.pushes.learn(p)
	return c.show(p), nil
}

// AbortPush takes a push under way back.
func (c *centre) AbortPush(ctx context.Context, service, key, by, why string) (api.Push, error) {
	const op = "server.AbortPush"
	for n := 1; ; n++ {
		p, err := c.store().PushOf(ctx, service, key)
		if err != nil {
			return api.Push{}, errs.Wrap(err, op)
		}
		en, zh := "by "+by, "操作人 "+by
		if why != "" {
			en, zh = en+": "+why, zh+"："+why
		}
		p, err = c.store().EndPush(ctx, p, config.Aborted, en, zh, config.Author{By: by, Why: why})
		if err != nil && errs.KindOf(err) == errs.Conflict && n < 5 {
			continue // it moved on meanwhile
		}
		if err != nil {
			return api.Push{}, errs.Wrap(err, op)
		}
		c.pushes.learn(p)
		return c.show(p), nil
	}
}
