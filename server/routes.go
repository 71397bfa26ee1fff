package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/surefoot-go/surefoot/canary"
	"github.com/surefoot-go/surefoot/contrib/etcd"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/api"
	"github.com/surefoot-go/surefoot/server/config"
	"github.com/surefoot-go/surefoot/server/rollout"
)

// ruleKey is the setting of a service that holds the rule of its canary:
// surefoot/config/<service>/rollout.
const ruleKey = "/rollout"

// routes is the config centre in the API's words, and what the judge of
// releases needs of it at once: the routes and rules as last seen. What is
// written here is seen here at once; what others write, when the watch says so.
type routes struct {
	now atomic.Pointer[config.Store]
	hub *api.Hub
	log *slog.Logger

	mu    sync.Mutex
	known map[string]canary.Route // by service
	rules map[string]api.Rule     // by service
}

func newRoutes(kv *etcd.KV, hub *api.Hub, log *slog.Logger) *routes {
	r := &routes{hub: hub, log: log, known: make(map[string]canary.Route), rules: make(map[string]api.Rule)}
	r.use(kv)
	return r
}

// use says where the config centre is from now on.
func (r *routes) use(kv *etcd.KV) {
	r.now.Store(&config.Store{KV: kv, Log: r.log, Check: map[string]func(string, []byte, []byte) error{"": checkSetting}})
}

func (r *routes) store() *config.Store { return r.now.Load() }

// checkSetting is the say of the room that owns a setting. Settings that no
// room here owns are their service's affair.
func checkSetting(key string, _, after []byte) error {
	if !strings.HasSuffix(key, ruleKey) || after == nil {
		return nil
	}
	_, err := decodeRule(after)
	return err
}

func decodeRule(value []byte) (api.Rule, error) {
	var r api.Rule
	d := json.NewDecoder(bytes.NewReader(value))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return r, errors.New(`a rollout rule is JSON like {"maxErrorShare":0.03,"forSeconds":30}`)
	}
	if r.MaxErrorShare < 0 || r.MaxErrorShare > 1 || r.ForSeconds < 0 || r.ForSeconds > 3600 {
		return r, errors.New("maxErrorShare is 0 to 1, forSeconds 0 to 3600")
	}
	return r, nil
}

// load reads what there is now.
func (r *routes) load(ctx context.Context) error {
	const op = "server.routes"
	all, err := r.store().Routes(ctx)
	if err != nil {
		return errs.Wrap(err, op)
	}
	for _, route := range all {
		r.learn(route)
	}
	settings, err := r.store().List(ctx, config.Prefix)
	if err != nil {
		return errs.Wrap(err, op)
	}
	for _, it := range settings {
		r.learnRule(it.Key, it.Value)
	}
	return nil
}

// run follows routes until ctx ends.
func (r *routes) run(ctx context.Context) error {
	err := r.store().Watch(ctx, func(all []canary.Route) {
		seen := make(map[string]bool, len(all))
		for _, route := range all {
			seen[route.Service] = true
			r.learn(route)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for service := range r.known {
			if !seen[service] {
				delete(r.known, service)
			}
		}
	})
	return ended(ctx, err)
}

// runRules follows the rules until ctx ends.
func (r *routes) runRules(ctx context.Context) error {
	err := r.store().KV.Watch(ctx, config.Prefix, func(e etcd.Event) {
		if e.Kind == etcd.Put || e.Kind == etcd.Delete {
			r.learnRule(e.Key, e.Value)
		}
	})
	return ended(ctx, err)
}

// ended is the error of a watch: none when it was asked to end.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// learn takes in a route and tells the console when it is news.
func (r *routes) learn(route canary.Route) {
	r.mu.Lock()
	old, had := r.known[route.Service]
	news := !had || route.Revision > old.Revision
	if news {
		r.known[route.Service] = route
	}
	r.mu.Unlock()
	if news {
		r.hub.Publish("route", r.show(route))
	}
}

func (r *routes) learnRule(key string, value []byte) {
	service, ok := strings.CutSuffix(strings.TrimPrefix(key, config.Prefix), ruleKey)
	if !ok || strings.Contains(service, "/") { // deeper down, such as a push under way, it is no rule
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if value == nil {
		delete(r.rules, service)
		return
	}
	rule, err := decodeRule(value)
	if err != nil { // written past us; the rule before it stays
		r.log.Error("a rollout rule cannot be used", "key", key, "err", err)
		return
	}
	r.rules[service] = rule
}

// current are the canaries that take traffic now.
func (r *routes) current() []release {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []release
	for service, route := range r.known {
		if route.Canary == "" || route.Weight == 0 || route.Review != nil && route.Review.Version == route.Canary {
			continue
		}
		rule := r.rules[service]
		out = append(out, release{service, route.Canary, rollout.Rule{
			MaxErrorShare: rule.MaxErrorShare, For: time.Duration(rule.ForSeconds * float64(time.Second)),
		}})
	}
	slices.SortFunc(out, func(a, b release) int { return strings.Compare(a.service, b.service) })
	return out
}

// rollback takes a version off traffic and marks it; changed is false when that
// was so already.
func (r *routes) rollback(ctx context.Context, service, version, reason string) (changed bool, err error) {
	changed, err = r.store().Rollback(ctx, service, version, reason)
	if err != nil {
		return false, errs.Wrap(err, "server.rollback")
	}
	if route, err := r.store().Route(ctx, service); err == nil {
		r.learn(route)
	}
	return changed, nil
}

// show is a route as the API writes it.
func (r *routes) show(c canary.Route) api.Route {
	r.mu.Lock()
	rule := r.rules[c.Service]
	r.mu.Unlock()
	full := rollout.Rule{MaxErrorShare: rule.MaxErrorShare, For: time.Duration(rule.ForSeconds * float64(time.Second))}.OrDefault()
	out := api.Route{
		Service: c.Service, Stable: c.Stable, Canary: c.Canary, Match: c.Match, Weight: c.Weight, Revision: c.Revision,
		Rule: api.Rule{MaxErrorShare: full.MaxErrorShare, ForSeconds: full.For.Seconds()},
	}
	if out.Match == nil {
		out.Match = map[string]string{}
	}
	if c.Review != nil {
		out.Review = &api.Review{Version: c.Review.Version, Reason: c.Review.Reason, Since: api.Time(c.Review.Since), Pending: true}
	}
	return out
}

// Routes returns all routes by service.
func (r *routes) Routes(context.Context) ([]api.Route, error) {
	r.mu.Lock()
	all := make([]canary.Route, 0, len(r.known))
	for _, c := range r.known {
		all = append(all, c)
	}
	r.mu.Unlock()
	slices.SortFunc(all, func(a, b canary.Route) int { return strings.Compare(a.Service, b.Service) })
	out := make([]api.Route, 0, len(all))
	for _, c := range all {
		out = append(out, r.show(c))
	}
	return out, nil
}

// PutRoute writes a route, and before it the rule when one is given: a canary
// never runs under the wrong one.
func (r *routes) PutRoute(ctx context.Context, in api.Route, rule *api.Rule, rev int64, by, why string) (api.Route, error) {
	const op = "server.PutRoute"
	who := config.Author{By: by, Why: why}
	next := canary.Route{Service: in.Service, Stable: in.Stable, Canary: in.Canary, Match: in.Match, Weight: in.Weight}
	if err := next.Validate(); err != nil {
		return api.Route{}, errs.New(errs.Invalid, op, "the route is not valid").Detail(strings.Split(err.Error(), "\n")...)
	}
	if err := r.putRule(ctx, in.Service, rule, who); err != nil {
		return api.Route{}, errs.Wrap(err, op)
	}
	out, err := r.store().PutRoute(ctx, next, rev, who)
	if err != nil {
		return api.Route{}, errs.Wrap(err, op)
	}
	r.learn(out)
	return r.show(out), nil
}

func (r *routes) putRule(ctx context.Context, service string, rule *api.Rule, who config.Author) error {
	if rule == nil {
		return nil
	}
	r.mu.Lock()
	same := r.rules[service] == *rule
	r.mu.Unlock()
	if same {
		return nil
	}
	value, err := json.Marshal(rule)
	if err != nil {
		return err
	}
	key := config.Prefix + service + ruleKey
	if _, err := r.store().Put(ctx, key, value, config.Any, who); err != nil {
		return err
	}
	r.learnRule(key, value)
	return nil
}

// ClearRoute ends the review of a version that was taken off.
func (r *routes) ClearRoute(ctx context.Context, service, by, note string) (api.Route, error) {
	out, err := r.store().ClearReview(ctx, service, by, note)
	if err != nil {
		return api.Route{}, errs.Wrap(err, "server.ClearRoute")
	}
	r.learn(out)
	return r.show(out), nil
}

// Setting reads one value below surefoot/config/.
func (r *routes) Setting(ctx context.Context, key string) (api.Setting, error) {
	it, err := r.store().Get(ctx, config.Prefix+key)
	if err != nil {
		return api.Setting{}, errs.Wrap(err, "server.Setting")
	}
	return api.Setting{Key: key, Value: string(it.Value), Revision: it.Revision}, nil
}

// PutSetting writes one value below surefoot/config/.
func (r *routes) PutSetting(ctx context.Context, key, value string, rev int64, by, why string) (api.Setting, error) {
	rev, err := r.store().Put(ctx, config.Prefix+key, []byte(value), rev, config.Author{By: by, Why: why})
	if err != nil {
		return api.Setting{}, errs.Wrap(err, "server.PutSetting")
	}
	r.learnRule(config.Prefix+key, []byte(value))
	return api.Setting{Key: key, Value: value, Revision: rev}, nil
}

// Audit returns the newest changes.
func (r *routes) Audit(ctx context.Context) ([]api.Change, error) {
	all, err := r.store().Audit(ctx, 0)
	if err != nil {
		return nil, errs.Wrap(err, "server.Audit")
	}
	out := make([]api.Change, 0, len(all))
	for _, c := range all {
		out = append(out, api.Change{
			At: api.Time(c.At), By: c.By, Why: c.Why, Key: c.Key, Before: c.Before, After: c.After, Revision: c.Revision,
		})
	}
	return out, nil
}
