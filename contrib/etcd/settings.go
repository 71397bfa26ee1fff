package etcd

import (
	"context"
	"maps"
	"slices"

	"github.com/surefoot-go/surefoot/config/driver"
	"github.com/surefoot-go/surefoot/errs"
)

// Settings are the settings in an etcd cluster, for package config. Fill in KV.
// It is safe for concurrent use; whoever made KV closes it, after those who use
// the Settings have ended.
//
// What one Commit of KV wrote is in one Snapshot. A watcher hears the Snapshot
// again about every 5 s while the cluster answers and the watch has come as far
// as the cluster, changed or not: one that was not heard for longer is old.
type Settings struct {
	KV *KV
}

var _ driver.Writer = (*Settings)(nil)

// Watch implements driver.Driver.
func (s *Settings) Watch(ctx context.Context, prefix string, fn func(driver.Snapshot)) error {
	known := map[string]driver.Item{}
	var revision int64
	err := s.KV.watch(ctx, prefix, func(batch []Event) {
		for _, e := range batch {
			revision = e.Revision
			switch e.Kind {
			case Put:
				known[e.Key] = driver.Item{Key: e.Key, Value: e.Value, Revision: e.Revision}
			case Delete:
				delete(known, e.Key)
			}
		}
		now := driver.Snapshot{Items: make([]driver.Item, 0, len(known)), Revision: revision}
		for _, key := range slices.Sorted(maps.Keys(known)) {
			item := known[key]
			item.Value = slices.Clone(item.Value)
			now.Items = append(now.Items, item)
		}
		fn(now)
	})
	return errs.Wrap(err, "etcd.Settings.Watch")
}

// Put implements driver.Writer by KV.PutIf.
func (s *Settings) Put(ctx context.Context, key string, value []byte, rev int64) (int64, error) {
	rev, err := s.KV.PutIf(ctx, key, value, rev)
	return rev, errs.Wrap(err, "etcd.Settings.Put")
}

// Delete implements driver.Writer by KV.Delete.
func (s *Settings) Delete(ctx context.Context, key string, rev int64) error {
	return errs.Wrap(s.KV.Delete(ctx, key, rev), "etcd.Settings.Delete")
}
