// Package detect tells when a service, one of its versions, or something it
// calls behaves worse than in its own recent past.
//
//	var d detect.Detector
//	for each second {
//		g.Fold(batch, now)
//		symptoms := d.Step(now, g.Stats(now))
//		shown := detect.Paint(g.Snapshot(now), symptoms)
//	}
//
// Two shares are watched: failed calls, and calls slower than three times the
// usual p99. A share becomes a symptom when it is both large (a fifth of the
// last 3 s, a tenth of 10 s, 5 % of 20 s or 3 % of a minute of failures; a fifth
// of 10 s or 5 % of a minute of slow calls) and next to impossible by chance, were all as before: less likely than 1e-9 by Fisher's exact test
// against the past, and than 1e-9 for a target of which one call in 200 fails
// and one in 100 is slow. Healthy load therefore stays silent, and five failures
// of five calls suffice. A single burst is no symptom unless all calls ended
// with it.
//
// What is usual is learnt from each target itself, with a half-life of five
// minutes, and not from times that are symptomatic or suspect, nor from the
// 10 seconds after a target is first called. Until 100 calls have been learnt
// from, only sudden failures count.
//
// The room is pure. It does not say whose fault a symptom is (see diagnose)
// and does not tell anybody (see alert).
package detect

import (
	"cmp"
	"slices"
	"time"

	"github.com/surefoot-go/surefoot/server/topology"
)

// Metrics of a Symptom.
const (
	ErrorShare = "error_share" // failed calls over calls, 0 to 1
	LatencyP99 = "latency_p99" // milliseconds
)

// Symptom is one measure of one target that is worse than it used to be.
type Symptom struct {
	Target   string    `json:"target"`   // a service, an external, or service@version
	Kind     string    `json:"kind"`     // topology.Service, External or Database
	Metric   string    `json:"metric"`   // ErrorShare, LatencyP99, or that of a finding
	Value    float64   `json:"value"`    // in the last 10 s that had calls
	Baseline float64   `json:"baseline"` // before; 0 while nothing has been learnt
	Since    time.Time `json:"since"`    // when it began, as far as the last minute tells
	At       time.Time `json:"at"`       // of Value
	Samples  int       `json:"samples"`  // calls behind Value, or findings
	Finding  Finding   `json:"finding,omitzero"`
}

// Settings says when to see a symptom and when to let it go.
type Settings struct {
	WarmUp  time.Duration // calls this soon after a target's first do not count; 0 means 10s
	MinBad  int           // bad calls a symptom needs; 0 means 5
	Errors  float64       // least error share in a minute; 0 means 0.03, the rollback rule's
	Slow    float64       // least share of slow calls in a minute; 0 means 0.05
	Factor  float64       // slow is slower than this times the usual p99; 0 means 3
	Above   time.Duration // and slower than it by this; 0 means 50ms, beyond the hiccups of a busy host
	Chance  float64       // highest probability of chance; 0 means 1e-9
	Quiet   time.Duration // without a call or a wish for one, a symptom ends after this; 0 means 2m
	Retired time.Duration // the same for a version while its service has calls; 0 means 15s
}

func (s Settings) orDefault() Settings {
	s.WarmUp = cmp.Or(s.WarmUp, 10*time.Second)
	s.MinBad = cmp.Or(s.MinBad, 5)
	s.Errors = cmp.Or(s.Errors, 0.03)
	s.Slow = cmp.Or(s.Slow, 0.05)
	s.Factor = cmp.Or(s.Factor, 3)
	s.Above = cmp.Or(s.Above, 50*time.Millisecond)
	s.Chance = cmp.Or(s.Chance, 1e-9)
	s.Quiet = cmp.Or(s.Quiet, 2*time.Minute)
	s.Retired = cmp.Or(s.Retired, 15*time.Second)
	return s
}

// Detector watches every target it is shown. The zero value is ready. Not
// safe for concurrent use. Its memory is what the targets shown to it need,
// about 16 kB each, so the Graph's limits bound it.
type Detector struct {
	Settings Settings // set before the first Step

	tracks map[trackKey]*track
}

type trackKey struct {
	target string
	view   topology.View
}

// Step takes in the running totals as of now, about once a second, and returns
// the active symptoms sorted by target and metric; never nil. A service is
// watched both in its own spans and in its callers', and either can see a
// symptom: what is dead sends no spans.
//
// A symptom ends when the share is back to usual over at least 10 calls in 10 s
// (30 s when it never was large), or when the last 5 calls and 10 s were good,
// where calls are rarer. It does not end
// because calls stop while the callers' breakers refuse them. When nobody
// calls and nobody wishes to, it ends after Settings.Quiet.
func (d *Detector) Step(now time.Time, stats []topology.Stat) []Symptom {
	if d.tracks == nil {
		d.Settings = d.Settings.orDefault()
		d.tracks = map[trackKey]*track{}
	}
	sec := now.Unix()
	active := map[string]int{} // versions with calls, by service
	seen := make([]*track, 0, len(stats))
	for i := range stats {
		s := &stats[i]
		k := trackKey{s.Target, s.View}
		t := d.tracks[k]
		if t == nil {
			t = &track{}
			d.tracks[k] = t
		}
		t.kin = nil
		if s.Version != "" {
			if own := d.tracks[trackKey{s.Service, topology.Own}]; own != nil && own.past.calls >= known {
				t.kin = &own.past
			}
		}
		t.observe(sec, s, &d.Settings)
		seen = append(seen, t)
		if s.Version != "" || s.Service != "" {
			if sec-t.lastCall < reach {
				active[s.Service]++
			}
		}
	}
	for k, t := range d.tracks {
		if t.sec != sec { // the Graph has forgotten it
			delete(d.tracks, k)
		}
	}
	out := []Symptom{}
	for _, t := range seen {
		rival := t.stat.Service == "" || active[t.stat.Service] > 1
		out = append(out, t.judge(sec, now, &d.Settings, rival)...)
	}
	return merge(out)
}

// merge keeps the worse of two views of the same thing.
func merge(s []Symptom) []Symptom {
	slices.SortFunc(s, func(a, b Symptom) int {
		return cmp.Or(cmp.Compare(a.Target, b.Target), cmp.Compare(a.Metric, b.Metric), cmp.Compare(b.Value, a.Value))
	})
	kept := s[:0]
	for _, x := range s {
		if n := len(kept); n > 0 && kept[n-1].Target == x.Target && kept[n-1].Metric == x.Metric {
			if x.Since.Before(kept[n-1].Since) {
				kept[n-1].Since = x.Since
			}
			continue
		}
		kept = append(kept, x)
	}
	return kept
}

// Paint returns t with the states of nodes and edges that the symptoms ask
// for: Bad for a node whose calls fail and for the edges to it that carry
// failures, also when breakers keep all calls away; Warn for a node that is
// slow, has one bad version or has found something wrong in itself, and for
// edges to what is slow. t is not changed.
func Paint(t topology.Topology, active []Symptom) topology.Topology {
	worst, found := map[string]string{}, map[string]bool{}
	for _, s := range active {
		name, _, version := cutVersion(s, t)
		switch {
		case s.Found():
			found[name] = true
		case s.Metric == ErrorShare && !version:
			worst[name] = topology.Bad
		case worst[name] == "":
			worst[name] = topology.Warn
		}
	}
	t.Nodes, t.Edges = slices.Clone(t.Nodes), slices.Clone(t.Edges)
	for i := range t.Nodes {
		n := &t.Nodes[i]
		if w := worst[n.Name]; w != "" {
			n.State = w
		} else if found[n.Name] {
			n.State = topology.Warn
		}
	}
	for i := range t.Edges {
		e := &t.Edges[i]
		switch w := worst[e.To]; {
		case w == topology.Bad && e.State == topology.Warn:
			e.State = topology.Bad
		case w == topology.Warn && e.State == topology.OK:
			e.State = topology.Warn
		}
	}
	return t
}

// cutVersion splits a target into the node and, when it is no node itself, the
// version.
func cutVersion(s Symptom, t topology.Topology) (name, version string, ok bool) {
	if _, node := t.Node(s.Target); node {
		return s.Target, "", false
	}
	return Split(s.Target)
}

// Split cuts a target "service@version" in two; ok is false, and name the
// whole target, when there is no version in it.
func Split(target string) (name, version string, ok bool) {
	for i := len(target) - 1; i > 0; i-- {
		if target[i] == '@' {
			return target[:i], target[i+1:], true
		}
	}
	return target, "", false
}
