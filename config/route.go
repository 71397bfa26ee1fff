package config

import (
	"context"
	"log/slog"
	"reflect"
	"strings"

	"github.com/surefoot-go/surefoot/canary"
	"github.com/surefoot-go/surefoot/config/driver"
	"github.com/surefoot-go/surefoot/errs"
)

// followRoutes keeps the table as the routes of the centre. A route that cannot
// be used leaves the one before it.
func (c *Config) followRoutes(ctx context.Context) error {
	var seen int64
	lost := map[string]bool{}     // lacked by a store that started over
	refused := map[string]int64{} // said already, by service
	err := c.Centre.Watch(ctx, canary.Prefix, func(s driver.Snapshot) {
		over := s.Revision > 0 && s.Revision < seen // the store has started over: it has deleted nothing
		seen = s.Revision
		if over {
			clear(refused)
		}
		here := map[string]bool{}
		for _, it := range s.Items {
			service := strings.TrimPrefix(it.Key, canary.Prefix)
			here[service] = true
			delete(lost, service)
			held, known := c.routes.Get(service)
			r, err := canary.Decode(it.Key, it.Value, it.Revision)
			if err == nil && known && reflect.DeepEqual(r, held) || err != nil && refused[service] == it.Revision {
				continue
			}
			if err == nil {
				if known && held.Revision > it.Revision {
					c.routes.Delete(service) // of a store that has started over
				}
				err = c.routes.Set(r)
			}
			if err != nil {
				refused[service] = it.Revision
				c.sinks.Log.LogAttrs(ctx, slog.LevelError, "route refused, the one before stays",
					slog.String("service", service), slog.Int64("revision", it.Revision), slog.Any("err", err))
				continue
			}
			c.sinks.Log.LogAttrs(ctx, slog.LevelInfo, "route applied", slog.String("service", service),
				slog.String("canary", r.Canary), slog.Int("weight", r.Weight), slog.Int64("revision", it.Revision))
		}
		for _, r := range c.routes.All() {
			if over {
				lost[r.Service] = !here[r.Service]
			}
			if !here[r.Service] && !lost[r.Service] {
				c.routes.Delete(r.Service)
				c.sinks.Log.InfoContext(ctx, "route removed", "service", r.Service)
			}
		}
	})
	return errs.New(errs.Unavailable, "config.Run", "routes: no longer watched").Because(err)
}
