package config

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	settings "github.com/surefoot-go/surefoot/config"
	"github.com/surefoot-go/surefoot/contrib/etcd"
	"github.com/surefoot-go/surefoot/errs"
)

// PushPrefix is where pushes are kept, after their end too:
// surefoot/push/<service>/<id>, a Push as JSON.
const PushPrefix = "surefoot/push/"

const keptPushes = 20 // that ended, of each service

// PushUnderWay is the id of the Conflict that refuses a change of a setting
// whose push has not ended.
const PushUnderWay = "push_under_way"

// State is what has become of a push.
type State string

// The states of a push.
const (
	Running    State = "running"
	Committed  State = "committed"
	RolledBack State = "rolled_back"
	Aborted    State = "aborted"
)

// Push is a push as it is kept: enough for another control plane to go on with
// it. What processes read of it lies beside the setting, as config.Push.
type Push struct {
	ID        string    `json:"id"`
	Service   string    `json:"service"`
	Key       string    `json:"key"` // below the service's name
	Value     string    `json:"value"`
	Before    string    `json:"before"` // the value when the push began; "" for none
	Stage     string    `json:"stage"`
	Instances []string  `json:"instances"`
	Share     int       `json:"share"` // percent, besides Instances
	By        string    `json:"by"`
	Why       string    `json:"why"`
	Since     time.Time `json:"since"`
	Plan      PushPlan  `json:"plan"`
	Base      int64     `json:"base"`  // revision of the setting when the push began
	First     int64     `json:"first"` // revision of the push when it began; 0 while it is Revision
	State     State     `json:"state"`
	Reason    string    `json:"reason"`
	ReasonZh  string    `json:"reasonZh"`
	Ended     time.Time `json:"ended,omitzero"`
	Revision  int64     `json:"-"` // of the push now
}

// PushPlan is what who pushes may choose; zero fields mean the defaults of
// package push.
type PushPlan struct {
	Share int           `json:"share"` // percent
	For   time.Duration `json:"for"`   // nanoseconds
	Force bool          `json:"force"`
}

// Began is the revision at which processes saw the push first.
func (p Push) Began() int64 { return cmp.Or(p.First, p.Revision) }

func pushRecord(service, id string) string { return PushPrefix + service + "/" + id }

// StartPush begins a push of a value that is allowed, at its first stage. It
// is a Conflict with id PushUnderWay while another one of the key runs.
func (s *Store) StartPush(ctx context.Context, service, key, stage, value string, plan PushPlan, who Author) (Push, error) {
	const op = "config.StartPush"
	who, err := who.check(op)
	if err != nil {
		return Push{}, err
	}
	if _, err := s.CheckValue(ctx, service, key, []byte(value)); err != nil {
		return Push{}, errs.Wrap(err, op)
	}
	cur, err := s.current(ctx, settings.Key(service, key))
	if err != nil {
		return Push{}, errs.Wrap(err, op)
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	p := Push{
		ID: fmt.Sprintf("%x-%s", now.UnixMilli(), strings.ToLower(rand.Text()[:4])), Service: service, Key: key, Value: value, Before: string(cur.Value),
		Stage: stage, Instances: []string{}, By: who.By, Why: who.Why, Since: now, Plan: plan, Base: cur.Revision, State: Running,
	}
	item, record, err := p.writes(0)
	if err != nil {
		return Push{}, err
	}
	p.Revision, err = s.commit(ctx, who, item, nil, record)
	if err != nil && overtaken(err) {
		return Push{}, errs.New(errs.Conflict, op, "a push of this key is under way; wait for its end or abort it").ID(PushUnderWay).With("key", key)
	}
	return p, errs.Wrap(err, op)
}

// writes are the two of a push under way, if its revision is still rev.
func (p Push) writes(rev int64) (item, record etcd.Write, err error) {
	shown, err := json.Marshal(settings.Push{
		ID: p.ID, Value: p.Value, Stage: p.Stage, Instances: p.Instances, Share: p.Share, By: p.By, Why: p.Why, Since: p.Since,
	})
	if err == nil {
		record, err = p.record()
	}
	if err == nil {
		if _, bad := settings.DecodePush(shown); bad != nil { // what no process would read
			return item, record, errs.New(errs.Invalid, "config.push", "the value is refused").Detail(bad.Error())
		}
	}
	if err != nil {
		return item, record, errs.New(errs.Internal, "config.push", "the push can not be written down").Because(err)
	}
	return etcd.Write{Key: settings.PushKey(p.Service, p.Key), Value: shown, If: rev}, record, nil
}

func (p Push) record() (etcd.Write, error) {
	value, err := json.Marshal(p)
	return etcd.Write{Key: pushRecord(p.Service, p.ID), Value: value, If: Any}, err
}

// MovePush writes the stage, instances and share of a push under way, as they
// are in p. It is a Conflict when the push has moved or ended meanwhile.
func (s *Store) MovePush(ctx context.Context, p Push) (Push, error) {
	const op = "config.MovePush"
	p.First = p.Began()
	item, record, err := p.writes(p.Revision)
	if err != nil {
		return p, err
	}
	rev, err := s.KV.Commit(ctx, item, record)
	if err != nil {
		return p, errs.Wrap(err, op)
	}
	p.Revision = rev
	s.log().InfoContext(ctx, "push of a setting", slog.String("service", p.Service), slog.String("key", p.Key), slog.String("id", p.ID), slog.String("stage", p.Stage), slog.Any("instances", p.Instances), slog.Int("share", p.Share))
	return p, nil
}

// CommitPush makes the value of a push under way the setting, in one commit
// with the end of the push. It is a Conflict when the setting was changed since
// the push began, or the push has moved or ended.
func (s *Store) CommitPush(ctx context.Context, p Push, reason, reasonZh string) (Push, error) {
	p.State, p.Reason, p.ReasonZh = Committed, reason, reasonZh
	set := etcd.Write{Key: settings.Key(p.Service, p.Key), Value: []byte(p.Value), If: p.Base}
	return s.endPush(ctx, "config.CommitPush", p, Author{By: p.By, Why: p.Why}, set, []byte(p.Before), etcd.Write{Key: settings.PushKey(p.Service, p.Key), Delete: true, If: p.Revision})
}

// EndPush takes a push under way back, as RolledBack or Aborted. It is a
// Conflict when the push has moved or ended meanwhile.
func (s *Store) EndPush(ctx context.Context, p Push, state State, reason, reasonZh string, who Author) (Push, error) {
	const op = "config.EndPush"
	who, err := who.check(op)
	if err != nil {
		return p, err
	}
	p.State, p.Reason, p.ReasonZh = state, reason, reasonZh
	return s.endPush(ctx, op, p, who, etcd.Write{Key: settings.PushKey(p.Service, p.Key), Delete: true, If: p.Revision}, []byte(p.Value))
}

func (s *Store) endPush(ctx context.Context, op string, p Push, who Author, w etcd.Write, before []byte, with ...etcd.Write) (Push, error) {
	p.Ended, p.First = time.Now().UTC().Truncate(time.Millisecond), p.Began()
	record, err := p.record()
	if err != nil {
		return p, errs.New(errs.Internal, op, "the push can not be written down").Because(err)
	}
	rev, err := s.commit(ctx, who, w, before, append(with, record)...)
	if err != nil {
		return p, errs.Wrap(err, op)
	}
	p.Revision = rev
	if all, err := s.Pushes(ctx, p.Service); err == nil && len(all) > keptPushes {
		s.forgetPushes(ctx, all)
	}
	return p, nil
}

func (s *Store) forgetPushes(ctx context.Context, all []Push) {
	var old []etcd.Item
	ended := 0
	for _, p := range all {
		if p.State == Running {
			continue
		}
		if ended++; ended > keptPushes {
			old = append(old, etcd.Item{Key: pushRecord(p.Service, p.ID)})
		}
	}
	if err := s.drop(ctx, old); err != nil {
		s.log().WarnContext(ctx, "old pushes stay for now", slog.Any("error", err))
	}
}

// Pushes returns the pushes of a service, or with "" of all: those under way
// first, then the newest.
func (s *Store) Pushes(ctx context.Context, service string) ([]Push, error) {
	const op = "config.Pushes"
	prefix := PushPrefix
	if service != "" {
		prefix += service + "/"
	}
	items, _, err := s.KV.List(ctx, prefix)
	if err != nil {
		return nil, errs.Wrap(err, op)
	}
	out := make([]Push, 0, len(items))
	for _, it := range items {
		var p Push
		if err := json.Unmarshal(it.Value, &p); err != nil || p.ID == "" {
			s.log().WarnContext(ctx, "unreadable push", slog.String("key", it.Key), slog.Any("error", err))
			continue
		}
		p.Revision = it.Revision // written in one commit with what processes read
		out = append(out, p)
	}
	slices.SortStableFunc(out, func(a, b Push) int {
		if ra, rb := a.State == Running, b.State == Running; ra != rb {
			if ra {
				return -1
			}
			return 1
		}
		return b.Since.Compare(a.Since)
	})
	return out, nil
}

// PushOf returns the push of a key that is under way, or NotFound.
func (s *Store) PushOf(ctx context.Context, service, key string) (Push, error) {
	const op = "config.PushOf"
	if err := checkKey(op, settings.Key(service, key)); err != nil {
		return Push{}, err
	}
	all, err := s.Pushes(ctx, service)
	if err != nil {
		return Push{}, errs.Wrap(err, op)
	}
	for _, p := range all {
		if p.Key == key && p.State == Running {
			return p, nil
		}
	}
	return Push{}, errs.New(errs.NotFound, op, "no push of this key is under way").With("key", key)
}
