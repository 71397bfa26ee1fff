// Package config is the one way to change the world: every setting and route is
// written through it, checked by the room that owns the key, only if nobody was
// faster, and with a line in the audit trail in the same commit.
//
//	s := &config.Store{KV: kv}
//	route, err := s.PutRoute(ctx, canary.Route{Service: "payment", Stable: "v1", Canary: "v2", Weight: 10},
//		config.Any, config.Author{By: "li", Why: "first tenth"})
//
// It decides nothing about a release: package rollout does. Services read what
// is written here with package contrib/etcd.
package config

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/surefoot-go/surefoot/canary"
	settings "github.com/surefoot-go/surefoot/config"
	"github.com/surefoot-go/surefoot/contrib/etcd"
	"github.com/surefoot-go/surefoot/errs"
)

// Where things live. Audit and review keys are written only together with what
// they are about.
const (
	Prefix       = "surefoot/config/" // surefoot/config/<service>/<key>
	RoutePrefix  = canary.Prefix      // surefoot/route/<service>
	auditPrefix  = "surefoot/audit/"  // by time
	reviewPrefix = "surefoot/review/" // surefoot/review/<service>/<version>
)

// Any as a revision means: write over whatever is there. 0 means that nothing
// may be there.
const Any = etcd.Any

const (
	maxKey       = 512
	maxValue     = 64 << 10
	maxShown     = 8 << 10 // of a value in the audit trail
	maxName      = 128     // of an author
	maxWhy       = 1024
	defaultAudit = 200
	trimEvery    = 20
	tries        = 5
)

// Store reads and writes settings and routes. Only KV is required. It is safe
// for concurrent use and owns nothing to close.
type Store struct {
	KV *etcd.KV
	// Check holds, by key prefix below Prefix, what the rooms that own settings
	// say about a new value (nil for a deletion); the longest prefix decides.
	// An error refuses the write and its text is shown to who asked.
	Check map[string]func(key string, before, after []byte) error
	Keep  int          // audit records kept at least; 0 means 200
	Log   *slog.Logger // nil means slog.Default()

	writes atomic.Int64
}

// Author is who changes something and why. By is required.
type Author struct {
	By  string `json:"by"`
	Why string `json:"why"`
}

// Change is one line of the audit trail. Values over 8 KiB are cut.
type Change struct {
	At       time.Time `json:"at"`
	By       string    `json:"by"`
	Why      string    `json:"why"`
	Key      string    `json:"key"`
	Before   string    `json:"before"` // "" when the key was not there
	After    string    `json:"after"`  // "" when the key was deleted
	Revision int64     `json:"revision"`
}

// Get returns the setting under key; errs.NotFound when there is none.
func (s *Store) Get(ctx context.Context, key string) (etcd.Item, error) {
	const op = "config.Get"
	if err := checkKey(op, key); err != nil {
		return etcd.Item{}, err
	}
	it, err := s.KV.Get(ctx, key)
	return it, errs.Wrap(err, op)
}

// List returns the settings under prefix, which must begin with Prefix. A push
// under way is no setting: see Pushes.
func (s *Store) List(ctx context.Context, prefix string) ([]etcd.Item, error) {
	const op = "config.List"
	if !strings.HasPrefix(prefix, Prefix) {
		return nil, errs.New(errs.Invalid, op, "settings live under "+Prefix)
	}
	items, _, err := s.KV.List(ctx, prefix)
	items = slices.DeleteFunc(items, func(it etcd.Item) bool { return strings.Contains(it.Key, "/"+settings.PushDir+"/") })
	return items, errs.Wrap(err, op)
}

// Put writes a setting if its revision is still rev and returns the new one.
// The error is Invalid for a bad key, author or value, and Conflict when
// somebody else was faster. A route is written with PutRoute.
func (s *Store) Put(ctx context.Context, key string, value []byte, rev int64, who Author) (int64, error) {
	const op = "config.Put"
	if len(value) > maxValue || !utf8.Valid(value) || value == nil {
		return 0, errs.New(errs.Invalid, op, fmt.Sprintf("a value is text of at most %d bytes", maxValue))
	}
	return s.set(ctx, op, key, value, rev, who)
}

// Delete removes a setting if its revision is still rev; NotFound when there
// is none.
func (s *Store) Delete(ctx context.Context, key string, rev int64, who Author) error {
	_, err := s.set(ctx, "config.Delete", key, nil, rev, who)
	return err
}

func (s *Store) set(ctx context.Context, op, key string, value []byte, rev int64, who Author) (int64, error) {
	if err := checkKey(op, key); err != nil {
		return 0, err
	}
	who, err := who.check(op)
	if err != nil {
		return 0, err
	}
	var out int64
	err = s.again(ctx, op, rev, func() error {
		cur, err := s.current(ctx, key)
		if err != nil {
			return err
		}
		if rev != Any && rev != cur.Revision {
			return changed(op, key, cur.Revision)
		}
		if value == nil && cur.Revision == 0 {
			return errs.New(errs.NotFound, op, "no such key").With("key", key)
		}
		if check := s.owner(key); check != nil {
			if err := check(key, cur.Value, value); err != nil {
				return errs.New(errs.Invalid, op, "the value is refused").Detail(lines(err)...).With("key", key)
			}
		}
		if value != nil {
			if err := s.allowed(ctx, op, key, value); err != nil {
				return err
			}
		}
		out, err = s.commit(ctx, who, etcd.Write{Key: key, Value: value, Delete: value == nil, If: cur.Revision}, cur.Value)
		return err
	})
	return out, errs.Wrap(err, op)
}

func (s *Store) owner(key string) func(string, []byte, []byte) error {
	best := ""
	for p := range s.Check {
		if strings.HasPrefix(key, p) && len(p) >= len(best) {
			best = p
		}
	}
	return s.Check[best]
}

// current is the item under key; revision 0 means that there is none.
func (s *Store) current(ctx context.Context, key string) (etcd.Item, error) {
	it, err := s.KV.Get(ctx, key)
	if err != nil && errs.KindOf(err) == errs.NotFound {
		return etcd.Item{Key: key}, nil
	}
	return it, err
}

// again repeats a read and write that was overtaken, where the caller does not
// mind by whom.
func (s *Store) again(ctx context.Context, op string, rev int64, fn func() error) error {
	for n := 1; ; n++ {
		err := fn()
		if err == nil || rev != Any || n == tries || ctx.Err() != nil || !overtaken(err) {
			return err
		}
	}
}

// overtaken tells a lost race from a refusal that is a Conflict too.
func overtaken(err error) bool { return errs.From(err).Code() == errs.Conflict.ID() }

func changed(op, key string, rev int64) error {
	return errs.New(errs.Conflict, op, fmt.Sprintf("the value was changed by somebody else, its revision is now %d; read it again", rev)).With("key", key)
}

// commit writes the change, what goes with it and its line of the audit trail,
// all or nothing.
func (s *Store) commit(ctx context.Context, who Author, w etcd.Write, before []byte, with ...etcd.Write) (int64, error) {
	now := time.Now().UTC()
	line, err := json.Marshal(Change{At: now, By: who.By, Why: who.Why, Key: w.Key, Before: shown(before), After: shown(w.Value)})
	if err != nil {
		return 0, errs.New(errs.Internal, "config.commit", "the change can not be written down").Because(err)
	}
	past := remember(w, now, who)
	all := append([]etcd.Write{w, {Key: fmt.Sprintf("%s%020d-%s", auditPrefix, now.UnixNano(), rand.Text()[:6]), Value: line, If: 0}}, append(past, with...)...)
	rev, err := s.KV.Commit(ctx, all...)
	if err != nil {
		return 0, err
	}
	s.log().InfoContext(ctx, "configuration changed", slog.String("key", w.Key), slog.String("by", who.By), slog.String("why", who.Why), slog.Int64("revision", rev))
	if s.writes.Add(1)%trimEvery == 1 {
		s.trim(ctx)
	}
	if len(past) > 0 {
		s.forget(ctx, w.Key)
	}
	return rev, nil
}

// Audit returns the newest changes first, at most limit of them; limit 0 means
// all that are kept.
func (s *Store) Audit(ctx context.Context, limit int) ([]Change, error) {
	const op = "config.Audit"
	items, _, err := s.KV.List(ctx, auditPrefix)
	if err != nil {
		return nil, errs.Wrap(err, op)
	}
	slices.Reverse(items)
	if limit > 0 {
		items = items[:min(limit, len(items))]
	}
	out := make([]Change, 0, len(items))
	for _, it := range items {
		var c Change
		if err := json.Unmarshal(it.Value, &c); err != nil {
			s.log().WarnContext(ctx, "unreadable audit record", slog.String("key", it.Key), slog.Any("error", err))
			continue
		}
		c.Revision = it.Revision // written in the same commit
		out = append(out, c)
	}
	return out, nil
}

// trim forgets the oldest audit records. It may fail: the next one catches up.
func (s *Store) trim(ctx context.Context) {
	keep := s.Keep
	if keep <= 0 {
		keep = defaultAudit
	}
	items, _, err := s.KV.List(ctx, auditPrefix)
	if err != nil || len(items) <= keep {
		return
	}
	if err := s.drop(ctx, items[:len(items)-keep]); err != nil {
		s.log().WarnContext(ctx, "old audit records stay for now", slog.Any("error", err))
	}
}

func (s *Store) log() *slog.Logger {
	if s.Log == nil {
		return slog.Default()
	}
	return s.Log
}

// check returns a with its spaces trimmed, or why it is none.
func (a Author) check(op string) (Author, error) {
	a.By, a.Why = strings.TrimSpace(a.By), strings.TrimSpace(a.Why)
	switch {
	case a.By == "":
		return a, errs.New(errs.Invalid, op, "say who makes the change").Detail("by must not be empty")
	case len(a.By) > maxName || !plain(a.By):
		return a, errs.New(errs.Invalid, op, "say who makes the change").Detail(fmt.Sprintf("by is a name of at most %d bytes", maxName))
	case len(a.Why) > maxWhy || !utf8.ValidString(a.Why):
		return a, errs.New(errs.Invalid, op, "say in fewer words why").Detail(fmt.Sprintf("why is text of at most %d bytes", maxWhy))
	}
	return a, nil
}

func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func checkKey(op, key string) error {
	rest, ok := strings.CutPrefix(key, Prefix)
	parts := strings.Split(rest, "/")
	if !ok || len(key) > maxKey || !plain(key) || len(parts) < 2 || !settings.ValidKey(rest) {
		return errs.New(errs.Invalid, op, fmt.Sprintf("a setting's key is %s<service>/<key>, at most %d bytes, and no part of it is empty or begins with a dot", Prefix, maxKey))
	}
	return nil
}

func shown(v []byte) string {
	if len(v) <= maxShown {
		return string(v)
	}
	return strings.ToValidUTF8(string(v[:maxShown]), "") + fmt.Sprintf("… (%d bytes)", len(v))
}

// lines are the parts of a joined error.
func lines(err error) []string { return strings.Split(err.Error(), "\n") }
