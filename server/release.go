package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/surefoot-go/surefoot/server/detect"
	"github.com/surefoot-go/surefoot/server/rollout"
	"github.com/surefoot-go/surefoot/server/topology"
)

// release is a canary under way: a version that takes traffic now.
type release struct {
	service, version string
	rule             rollout.Rule
}

// note is a rollback that was carried out.
type note struct {
	service, version string
	text, textZh     string
	action           rollout.Action
}

// symptom is the failure that led to the rollback, for an incident of its own
// where the detector, which waits for other signs than the rule, saw none.
func (n note) symptom(now time.Time) detect.Symptom {
	return detect.Symptom{
		Target: n.service + "@" + n.version, Kind: topology.Service, Metric: detect.ErrorShare,
		Value: float64(n.action.Failed) / float64(max(n.action.Calls, 1)), Since: n.action.Since, At: now, Samples: n.action.Calls,
	}
}

// releases judges every canary that takes traffic, each second, and takes a
// bad one off. step belongs to the loop that draws the picture; run carries
// orders out in a goroutine of its own, since they are writes to the config
// centre.
type releases struct {
	current  func() []release // what is under way; must not block
	rollback func(ctx context.Context, service, version, reason string) (changed bool, err error)
	log      *slog.Logger

	judges map[string]*judge // by service
	orders chan order        // full means: ordered again next second
	notes  chan note         // full means: the loop is far behind, run waits
}

// judge follows one version of one service. Totals become differences here.
type judge struct {
	machine       rollout.Machine
	version       string
	calls, errors uint64
	counting      bool // totals were seen before
}

type order struct {
	release
	action rollout.Action
}

func newReleases(current func() []release, rollback func(context.Context, string, string, string) (bool, error), log *slog.Logger) *releases {
	return &releases{
		current: current, rollback: rollback, log: log,
		judges: make(map[string]*judge), orders: make(chan order, 8), notes: make(chan note, 8),
	}
}

// step judges one second and returns the rollbacks carried out since the last.
func (r *releases) step(now time.Time, stats []topology.Stat) []note {
	under := make(map[string]bool)
	for _, rel := range r.current() {
		under[rel.service] = true
		j := r.judges[rel.service]
		if j == nil || j.version != rel.version || j.machine.Rule != rel.rule {
			j = &judge{version: rel.version, machine: rollout.Machine{Rule: rel.rule}}
			r.judges[rel.service] = j
		}
		a := j.machine.Step(now, j.sample(rel, stats))
		if a.Verdict != rollout.Rollback {
			continue
		}
		select {
		case r.orders <- order{rel, a}:
		default: // Step says it again next second
		}
	}
	for service := range r.judges {
		if !under[service] {
			delete(r.judges, service)
		}
	}
	var out []note
	for {
		select {
		case n := <-r.notes:
			out = append(out, n)
		default:
			return out
		}
	}
}

// sample is what the version answered since the last second. Totals that
// shrink belong to a version that was forgotten and came back.
func (j *judge) sample(rel release, stats []topology.Stat) rollout.Sample {
	s := rollout.Sample{Version: rel.version}
	for _, st := range stats {
		if st.Service != rel.service || st.Version != rel.version || st.View != topology.Own {
			continue
		}
		if j.counting && st.Calls >= j.calls && st.Errors >= j.errors {
			s.Bad = int(st.Errors - j.errors)
			s.Good = int(st.Calls-j.calls) - s.Bad
		}
		j.calls, j.errors = st.Calls, st.Errors
	}
	j.counting = true
	return s
}

// run carries orders out until ctx ends.
func (r *releases) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case o := <-r.orders:
			changed, err := r.rollback(ctx, o.service, o.version, o.action.Reason)
			if err != nil {
				r.log.Error("a bad release could not be taken off traffic; will try again", "service", o.service, "version", o.version, "err", err)
				continue
			}
			if !changed { // an order given twice before the first was carried out
				continue
			}
			r.log.Warn("release taken off traffic, pending review", "service", o.service, "version", o.version, "reason", o.action.Reason)
			n := note{o.service, o.version, "Taken off traffic: " + o.action.Reason, "已摘除流量：" + o.action.ReasonZh, o.action}
			select {
			case r.notes <- n:
			case <-ctx.Done():
				return nil
			}
		}
	}
}
