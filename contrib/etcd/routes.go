package etcd

import (
	"context"
	"log/slog"
	"strings"

	"github.com/surefoot-go/surefoot/canary"
)

// WatchRoutes keeps table as the routes of the cluster, until ctx ends or kv is
// closed, and returns as Watch does. While the cluster is away the table stays
// as it is. A route that does not decode or validate is logged and changes
// nothing: the one before it stays.
func WatchRoutes(ctx context.Context, kv *KV, table *canary.Table) error {
	return kv.Watch(ctx, canary.Prefix, func(e Event) { kv.applyRoute(ctx, table, e) })
}

func (kv *KV) applyRoute(ctx context.Context, table *canary.Table, e Event) {
	service := strings.TrimPrefix(e.Key, canary.Prefix)
	switch e.Kind {
	case Delete:
		table.Delete(service)
		kv.log().InfoContext(ctx, "route removed", slog.String("service", service))
	case Put:
		r, err := canary.Decode(e.Key, e.Value, e.Revision)
		if err == nil {
			if held, ok := table.Get(service); ok && held.Revision > r.Revision {
				r.Revision = 0 // the watch is in order: a lower revision is of a store that started over
			}
			err = table.Set(r)
		}
		if err != nil {
			kv.log().ErrorContext(ctx, "route refused, the one before stays",
				slog.String("service", service), slog.Int64("revision", e.Revision), slog.Any("error", err))
			return
		}
		kv.log().InfoContext(ctx, "route applied", slog.String("service", service),
			slog.String("canary", r.Canary), slog.Int("weight", r.Weight), slog.Int64("revision", e.Revision))
	}
}
