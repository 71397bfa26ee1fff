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

const (
	historyPrefix = "surefoot/history/" // surefoot/history/<service>/<key>/<time>-<random>
	keptHistory   = 20                  // of each key
)

// Past is one value that a setting had, whole.
type Past struct {
	At       time.Time `json:"at"`
	By       string    `json:"by"`
	Why      string    `json:"why"`
	Value    string    `json:"value"` // "" when the setting was deleted
	Revision int64     `json:"-"`     // of the value and of this entry: written in one commit
}

// remember is the write that goes with one to a setting; none for other keys.
func remember(w etcd.Write, now time.Time, who Author) []etcd.Write {
	rest, ok := strings.CutPrefix(w.Key, Prefix)
	service, key, cut := strings.Cut(rest, "/")
	if !ok || !cut || strings.HasPrefix(key, settings.PushDir+"/") {
		return nil
	}
	value, err := json.Marshal(Past{At: now, By: who.By, Why: who.Why, Value: string(w.Value)})
	if err != nil {
		return nil // strings and a time always have a JSON form
	}
	return []etcd.Write{{Key: fmt.Sprintf("%s%s/%s/%020d-%s", historyPrefix, service, key, now.UnixNano(), rand.Text()[:6]), Value: value, If: 0}}
}

// History returns the last values of a setting, newest first, at most 20.
// Writes made past the control plane are not in it.
func (s *Store) History(ctx context.Context, service, key string) ([]Past, error) {
	const op = "config.History"
	if err := checkKey(op, settings.Key(service, key)); err != nil {
		return nil, err
	}
	items, err := s.past(ctx, historyPrefix+service+"/"+key+"/")
	if err != nil {
		return nil, errs.Wrap(err, op)
	}
	out := make([]Past, 0, len(items))
	for _, it := range items {
		var p Past
		if err := json.Unmarshal(it.Value, &p); err != nil {
			s.log().WarnContext(ctx, "unreadable entry of the history", slog.String("key", it.Key), slog.Any("error", err))
			continue
		}
		p.Revision = it.Revision
		out = append(out, p)
	}
	return out, nil
}

// past are the entries of one key and not of those below it, newest first.
func (s *Store) past(ctx context.Context, prefix string) ([]etcd.Item, error) {
	items, _, err := s.KV.List(ctx, prefix)
	items = slices.DeleteFunc(items, func(it etcd.Item) bool { return strings.Contains(it.Key[len(prefix):], "/") })
	slices.SortFunc(items, func(a, b etcd.Item) int {
		return cmp.Or(cmp.Compare(b.Revision, a.Revision), strings.Compare(b.Key, a.Key))
	})
	return items, err
}

// forget drops the entries of key beyond the kept ones; it may fail: the next
// write catches up.
func (s *Store) forget(ctx context.Context, key string) {
	prefix := historyPrefix + strings.TrimPrefix(key, Prefix) + "/"
	items, err := s.past(ctx, prefix)
	if err == nil && len(items) > keptHistory {
		err = s.drop(ctx, items[keptHistory:])
	}
	if err != nil {
		s.log().WarnContext(ctx, "old values stay in the history for now", slog.String("key", key), slog.Any("error", err))
	}
}

func (s *Store) drop(ctx context.Context, items []etcd.Item) error {
	for old := range slices.Chunk(items, 100) { // etcd takes 128 writes in a commit
		dels := make([]etcd.Write, len(old))
		for i, it := range old {
			dels[i] = etcd.Write{Key: it.Key, Delete: true, If: Any}
		}
		if _, err := s.KV.Commit(ctx, dels...); err != nil {
			return err
		}
	}
	return nil
}

// Back writes the value that a setting had at a revision of its history again;
// revision 0 means the one before the present one. The error is NotFound when
// the history has none, and Invalid when the value is no longer allowed.
func (s *Store) Back(ctx context.Context, service, key string, revision int64, who Author) (etcd.Item, error) {
	const op = "config.Back"
	all, err := s.History(ctx, service, key)
	if err != nil {
		return etcd.Item{}, errs.Wrap(err, op)
	}
	now, err := s.current(ctx, settings.Key(service, key))
	if err != nil {
		return etcd.Item{}, errs.Wrap(err, op)
	}
	i := slices.IndexFunc(all, func(p Past) bool {
		if revision > 0 {
			return p.Revision == revision
		}
		return p.Value != "" && p.Value != string(now.Value)
	})
	if i < 0 || all[i].Value == "" {
		return etcd.Item{}, errs.New(errs.NotFound, op, "the history has no such value").With("key", key)
	}
	rev, err := s.Put(ctx, now.Key, []byte(all[i].Value), now.Revision, who)
	return etcd.Item{Key: now.Key, Value: []byte(all[i].Value), Revision: rev}, errs.Wrap(err, op)
}
