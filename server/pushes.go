package server

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/contrib/etcd"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/config"
	"github.com/surefoot-go/surefoot/server/push"
	"github.com/surefoot-go/surefoot/server/store"
)

// pushes takes every push of a setting through its stages. What is under way
// lies in the config centre: a control plane that starts anew goes on with it.
type pushes struct {
	store  func() *config.Store
	series store.Series
	logs   store.Logs
	counts *counts
	log    *slog.Logger

	mu     sync.Mutex
	known  map[string]config.Push // those under way, by id
	said   map[string][2]string   // what the judge says of them, in two languages
	judges map[string]*pushJudge  // by id; the loop's own
}

// pushJudge follows one push. Totals become differences here.
type pushJudge struct {
	machine *push.Machine
	totals  map[string]push.Count
	failing bool
}

func newPushes(store func() *config.Store, series store.Series, logs store.Logs, counts *counts, log *slog.Logger) *pushes {
	return &pushes{
		store: store, series: series, logs: logs, counts: counts, log: log,
		known: make(map[string]config.Push), said: make(map[string][2]string), judges: make(map[string]*pushJudge),
	}
}

// learn takes in a push as it was written.
func (p *pushes) learn(one config.Push) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old, had := p.known[one.ID]
	switch {
	case one.State != config.Running:
		delete(p.known, one.ID)
		delete(p.said, one.ID)
	case !had || old.Revision < one.Revision:
		p.known[one.ID] = one
	}
}

// follow reads pushes as they are written, until ctx ends.
func (p *pushes) follow(ctx context.Context) error {
	err := p.store().KV.Watch(ctx, config.PushPrefix, func(e etcd.Event) {
		switch e.Kind {
		case etcd.Put:
			var one config.Push
			if err := json.Unmarshal(e.Value, &one); err != nil || one.ID == "" {
				p.log.Error("a push cannot be read", "key", e.Key, "err", err)
				return
			}
			one.Revision = e.Revision
			p.learn(one)
		case etcd.Delete:
			p.learn(config.Push{ID: e.Key[strings.LastIndexByte(e.Key, '/')+1:]})
		}
	})
	return ended(ctx, err)
}

// run judges each push under way each second, until ctx ends.
func (p *pushes) run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			p.step(ctx, now)
		}
	}
}

func (p *pushes) underWay() []config.Push {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]config.Push, 0, len(p.known))
	for _, one := range p.known {
		out = append(out, one)
	}
	for id := range p.judges {
		if _, ok := p.known[id]; !ok {
			delete(p.judges, id)
		}
	}
	slices.SortFunc(out, func(a, b config.Push) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

func (p *pushes) step(ctx context.Context, now time.Time) {
	for _, one := range p.underWay() {
		j := p.judges[one.ID]
		totals, lately := p.counts.of(one.Service, now)
		if j == nil {
			plan := push.Plan{Share: one.Plan.Share, For: one.Plan.For, Force: one.Plan.Force}
			j = &pushJudge{machine: push.Resume(one.ID, plan, push.Stage(one.Stage), one.Instances, one.Share, now, beforePush(one, lately)), totals: totals}
			p.judges[one.ID] = j
		}
		seen, err := p.reports(ctx, one.Service, one.Key, now)
		if err != nil {
			if ctx.Err() == nil && !j.failing {
				p.log.Error("what instances report cannot be read; the push waits", "id", one.ID, "err", err)
			}
			j.failing = true
			continue
		}
		a := j.machine.Step(now, push.Sample{First: one.Began(), Revision: one.Revision, Instances: j.instances(seen, totals, p.reasons(ctx, one, seen))})
		p.act(ctx, j, one, a)
	}
}

// beforePush are the calls of the last minutes, if none of them was answered
// with the new value.
func beforePush(one config.Push, lately push.Count) push.Count {
	if one.Stage != string(push.Check) {
		return push.Count{}
	}
	return lately
}

func (j *pushJudge) instances(seen []report, totals map[string]push.Count, why map[string]string) []push.Instance {
	out := make([]push.Instance, 0, len(seen))
	for _, r := range seen {
		now, was := totals[r.instance], j.totals[r.instance]
		if now.Calls < was.Calls { // it was forgotten and came back
			was = push.Count{}
		}
		out = append(out, push.Instance{
			ID: r.instance, Seen: r.at, Revision: r.revision, Checked: r.checked, Refused: r.refused, Why: why[r.instance],
			Calls: now.Calls - was.Calls, Errors: now.Errors - was.Errors, Time: now.Time - was.Time,
		})
	}
	j.totals = totals
	return out
}

// act writes down what the judge says. What cannot be written is tried again
// next second.
func (p *pushes) act(ctx context.Context, j *pushJudge, one config.Push, a push.Action) {
	var err error
	switch a.Verdict {
	case push.Keep:
		p.mu.Lock()
		if _, on := p.known[one.ID]; on {
			p.said[one.ID] = [2]string{a.Reason, a.ReasonZh}
		}
		p.mu.Unlock()
		return
	case push.Move:
		one.Stage, one.Instances, one.Share = string(a.Stage), append([]string{}, a.Instances...), a.Share
		if one, err = p.store().MovePush(ctx, one); err != nil {
			delete(p.judges, one.ID) // what is written counts: it is judged anew from there
		}
	case push.Commit:
		one, err = p.store().CommitPush(ctx, one, a.Reason, a.ReasonZh)
		if err != nil && errs.KindOf(err) == errs.Conflict {
			one, err = p.back(ctx, one, "the setting was changed by somebody else meanwhile", "期间该配置被他人修改")
		}
	case push.Rollback:
		one, err = p.back(ctx, one, a.Reason, a.ReasonZh)
	}
	if err != nil {
		if !j.failing && ctx.Err() == nil {
			p.log.Error("a push cannot go on; will try again", "id", one.ID, "service", one.Service, "key", one.Key, "err", err)
		}
		j.failing = true
		return
	}
	j.failing = false
	p.learn(one)
	if one.State != config.Running {
		p.log.Warn("push of a setting has ended", "id", one.ID, "service", one.Service, "key", one.Key, "state", string(one.State), "reason", one.Reason)
	}
}

func (p *pushes) back(ctx context.Context, one config.Push, reason, reasonZh string) (config.Push, error) {
	fresh, err := p.store().PushOf(ctx, one.Service, one.Key) // it is gone if somebody has aborted it
	if err != nil || fresh.ID != one.ID {
		if err == nil || errs.KindOf(err) == errs.NotFound {
			p.learn(config.Push{ID: one.ID})
			return one, nil
		}
		return one, err
	}
	return p.store().EndPush(ctx, fresh, config.RolledBack, reason, reasonZh, config.Author{By: config.Automat, Why: reason})
}
