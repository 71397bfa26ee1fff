package vitals

import (
	"cmp"
	"slices"
	"time"

	"github.com/surefoot-go/surefoot/server/detect"
	"github.com/surefoot-go/surefoot/server/topology"
)

// mostSymptoms bounds what one Step returns, so that a crowd of findings
// cannot drown the symptoms that were measured from outside.
const mostSymptoms = 256

// Step closes what has expired by now, and returns a symptom for each service
// and metric that has open findings, sorted by both, and the findings that
// were opened, closed or have grown by half since the last Step, at most 64.
func (b *Board) Step(now time.Time) (symptoms []detect.Symptom, changed []Finding) {
	now = now.UTC().Truncate(time.Millisecond)
	b.expire(now)
	for _, k := range b.changed {
		if e := b.all[k]; e != nil {
			changed = append(changed, e.Finding)
		}
	}
	b.changed = b.changed[:0]
	return b.symptoms(), changed
}

// symptoms joins the open findings of one service and metric into one: the
// worst instance speaks, and the earliest names the version it began in.
func (b *Board) symptoms() (out []detect.Symptom) {
	type group struct{ service, metric string }
	groups := map[group][]*Finding{}
	for i := range b.Findings() {
		f := &b.list[i]
		if f.State == Open {
			g := group{f.Service, f.Metric}
			groups[g] = append(groups[g], f)
		}
	}
	for g, all := range groups {
		slices.SortStableFunc(all, func(x, y *Finding) int { return cmp.Compare(y.growth(), x.growth()) })
		worst, first := all[0], all[0]
		instances := map[string]bool{}
		s := detect.Symptom{
			Target: g.service, Kind: topology.Service, Metric: g.metric,
			Value: worst.Value, Baseline: worst.Before, At: worst.At, Samples: len(all),
		}
		id := ""
		for _, f := range all {
			if f.Since.Before(first.Since) {
				first = f
			}
			if f.near() {
				s.Finding.Near = true
			}
			id = cmp.Or(id, f.TraceID)
			instances[f.Instance] = true
		}
		s.Since = first.Since
		s.Finding = detect.Finding{
			Version: first.Version, Instance: worst.Instance, Instances: len(instances), Text: worst.Text, TextZh: worst.TextZh,
			TraceID: id, Created: worst.Created, Method: worst.Method, Unit: worst.Unit, Near: s.Finding.Near,
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(x, y detect.Symptom) int {
		return cmp.Or(cmp.Compare(x.Target, y.Target), cmp.Compare(x.Metric, y.Metric))
	})
	return out[:min(len(out), mostSymptoms)]
}
