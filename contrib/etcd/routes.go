package etcd

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"

	"github.com/surefoot-go/surefoot/canary"
)

// RoutePrefix is where routes live: surefoot/route/<service>.
const RoutePrefix = "surefoot/route/"

// maxRoute is the largest route believed, in bytes; a full one has 32 labels of
// 320 bytes.
const maxRoute = 64 << 10

// WatchRoutes keeps table as the routes of the cluster, until ctx ends or kv is
// closed, and returns as Watch does. While the cluster is away the table stays
// as it is. A route that does not decode or validate is logged and changes
// nothing: the one before it stays.
func WatchRoutes(ctx context.Context, kv *KV, table *canary.Table) error {
	return kv.Watch(ctx, RoutePrefix, func(e Event) { kv.applyRoute(ctx, table, e) })
}

func (kv *KV) applyRoute(ctx context.Context, table *canary.Table, e Event) {
	service := strings.TrimPrefix(e.Key, RoutePrefix)
	switch e.Kind {
	case Delete:
		table.Delete(service)
		kv.log().InfoContext(ctx, "route removed", slog.String("service", service))
	case Put:
		r, err := DecodeRoute(e.Key, e.Value, e.Revision)
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

// DecodeRoute reads the route stored under key at a revision and validates it:
// its service must be the one the key names, which is filled in when empty.
func DecodeRoute(key string, value []byte, revision int64) (canary.Route, error) {
	service, ok := strings.CutPrefix(key, RoutePrefix)
	if !ok {
		return canary.Route{}, fmt.Errorf("key %q is not under %s", key, RoutePrefix)
	}
	if len(value) > maxRoute {
		return canary.Route{}, fmt.Errorf("route has %d bytes, at most %d", len(value), maxRoute)
	}
	var r canary.Route
	if err := json.Unmarshal(value, &r); err != nil {
		return canary.Route{}, fmt.Errorf("route is no JSON object of a route: %w", err)
	}
	if r.Service == "" {
		r.Service = service
	}
	if r.Service != service {
		return canary.Route{}, fmt.Errorf("route of %q is stored under %q", r.Service, service)
	}
	r.Revision = revision
	if err := r.Validate(); err != nil {
		return canary.Route{}, err
	}
	return r, nil
}
