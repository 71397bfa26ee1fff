package server

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/config"
	"github.com/surefoot-go/surefoot/server/store"
)

// reportGone is how old what an instance said of a setting may be to be shown.
const reportGone = time.Minute

// report is what one instance says of one setting, by its own metrics.
type report struct {
	key, instance, version     string
	revision, checked, refused int64
	at                         time.Time // of the newest point
}

// reports reads what instances say of a service's setting, or with "" of all
// its settings, by key and instance.
func (p *pushes) reports(ctx context.Context, service, key string, now time.Time) ([]report, error) {
	const op = "server.reports"
	labels := "service_name=" + strconv.Quote(service)
	if key != "" {
		labels += ",surefoot_config_key=" + strconv.Quote(key)
	}
	values, err := p.series.Query(ctx, fmt.Sprintf(`{__name__=~"surefoot_config_(revision|checked|refused)",%s}`, labels), now)
	if err != nil {
		return nil, errs.Wrap(err, op)
	}
	times, err := p.series.Query(ctx, fmt.Sprintf(`timestamp(surefoot_config_checked{%s})`, labels), now)
	if err != nil {
		return nil, errs.Wrap(err, op)
	}
	type id struct{ key, instance, version string }
	of := func(s store.ResultSeries) (id, float64, bool) {
		l := s.Labels
		return id{l["surefoot_config_key"], l["service_instance_id"], l["service_version"]}, lastPoint(s), l["surefoot_config_key"] != "" && l["service_instance_id"] != ""
	}
	all := make(map[id]*report)
	for _, s := range times.Series {
		if k, at, ok := of(s); ok {
			all[k] = &report{key: k.key, instance: k.instance, version: k.version, at: time.UnixMilli(int64(at * 1000))}
		}
	}
	for _, s := range values.Series {
		k, v, ok := of(s)
		r := all[k]
		if !ok || r == nil {
			continue
		}
		switch s.Labels["__name__"] {
		case "surefoot_config_revision":
			r.revision = int64(v)
		case "surefoot_config_checked":
			r.checked = int64(v)
		case "surefoot_config_refused":
			r.refused = int64(v)
		}
	}
	newest := make(map[who]report) // an instance that was started again with another version is one
	for _, r := range all {
		w := who{r.key, r.instance}
		if now.Sub(r.at) < reportGone && (newest[w].at.Before(r.at)) {
			newest[w] = *r
		}
	}
	out := make([]report, 0, len(newest))
	for _, r := range newest {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b report) int {
		return cmp.Or(strings.Compare(a.key, b.key), strings.Compare(a.instance, b.instance))
	})
	return out, nil
}

func lastPoint(s store.ResultSeries) float64 {
	if len(s.Points) == 0 {
		return 0
	}
	return s.Points[len(s.Points)-1].Value
}

// reasons are what those that refuse a push say in their logs, by instance.
// They may come later than the metric: then the push goes back without them.
func (p *pushes) reasons(ctx context.Context, one config.Push, seen []report) map[string]string {
	if !slices.ContainsFunc(seen, func(r report) bool { return r.refused >= one.Began() }) {
		return nil
	}
	logs, err := p.logs.Search(ctx, store.LogQuery{Service: one.Service, Contains: "config refused", From: one.Since.Add(-time.Second), Limit: 100})
	if err != nil {
		return nil // the reason is nice to have
	}
	out := make(map[string]string)
	for _, l := range slices.Backward(logs) { // the newest is written last
		if l.Attrs["surefoot.config.key"] == one.Key && l.Attrs["err"] != "" {
			out[l.Instance] = strings.ToValidUTF8(l.Attrs["err"][:min(len(l.Attrs["err"]), 500)], "")
		}
	}
	return out
}
