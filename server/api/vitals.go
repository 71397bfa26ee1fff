package api

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/topology"
	"github.com/surefoot-go/surefoot/server/vitals"
)

// Vitals is what a service says about itself.
type Vitals struct {
	Service       string           `json:"service"`
	At            Time             `json:"at"`
	WindowSeconds float64          `json:"windowSeconds"` // of the rates in Locks
	Findings      []vitals.Finding `json:"findings"`      // open ones first, then those closed lately, each newest first; never nil
	Locks         []Lock           `json:"locks"`         // the longest waited for first, at most 20; never nil
	Instances     []Instance       `json:"instances"`     // heard of in the last minutes, sorted; never nil
	Incomplete    bool             `json:"incomplete"`    // the series cannot be read now: Locks and some Instances are missing
}

// Lock is how much goroutines waited for one lock, all instances together.
type Lock struct {
	Name           string  `json:"name"`
	Kind           string  `json:"kind"`           // "lock", which counts itself, or "site": a place in the mutex profile
	WaitPerSecond  float64 `json:"waitPerSecond"`  // seconds waited in a second
	WaitsPerSecond float64 `json:"waitsPerSecond"` // waits in a second
	Waits          float64 `json:"waits"`          // in the window
}

// Instance is one process of a service.
type Instance struct {
	Instance string `json:"instance"`
	Version  string `json:"version"`
	Findings int    `json:"findings"` // open ones
}

const (
	lockWindow    = time.Minute // the library sends every 2 s
	mostLocks     = 20
	mostInstances = 200
)

func (a *API) vitals(w http.ResponseWriter, r *http.Request) error {
	const op = "api.Vitals"
	name := r.PathValue("name")
	out := Vitals{
		Service: name, At: Time(time.Now()), WindowSeconds: lockWindow.Seconds(),
		Findings: a.Live.Findings(name), Locks: []Lock{}, Instances: []Instance{},
	}
	for _, kind := range []struct{ name, label, wait, waits string }{
		{"lock", "surefoot_lock", "surefoot_lock_wait_seconds_total", "surefoot_lock_waits_total"},
		{"site", "surefoot_lock_site", "surefoot_lock_site_wait_seconds_total", "surefoot_lock_site_waits_total"},
	} {
		locks, err := a.locks(r.Context(), name, kind.name, kind.label, kind.wait, kind.waits)
		out.Locks = append(out.Locks, locks...)
		out.Incomplete = out.Incomplete || err != nil
	}
	slices.SortStableFunc(out.Locks, func(x, y Lock) int {
		switch {
		case x.WaitPerSecond > y.WaitPerSecond:
			return -1
		case x.WaitPerSecond < y.WaitPerSecond:
			return 1
		}
		return strings.Compare(x.Name, y.Name)
	})
	out.Locks = out.Locks[:min(len(out.Locks), mostLocks)]
	var err error
	out.Instances, err = a.instances(r.Context(), name, out.Findings)
	out.Incomplete = out.Incomplete || err != nil
	if !out.Incomplete && len(out.Findings)+len(out.Locks)+len(out.Instances) == 0 && !a.knows(name) {
		return unknownService(op, name)
	}
	return writeJSON(w, http.StatusOK, out)
}

// knows tells whether spans, findings or the catalog name a service.
func (a *API) knows(name string) bool {
	if _, seen := a.Live.Topology().Node(name); seen {
		return true
	}
	_, known := a.Catalog.Entry(name)
	return known || len(a.Live.Findings(name)) > 0
}

func unknownService(op, name string) error {
	return errs.New(errs.NotFound, op, "no telemetry has named this service and the catalog does not know it").With("name", name)
}

// locks reads the counters of locks as rates, the longest wait first.
func (a *API) locks(ctx context.Context, service, kind, label, wait, waits string) ([]Lock, error) {
	pick := "{service_name=" + strconv.Quote(service) + "}[" + strconv.Itoa(int(lockWindow.Seconds())) + "s]"
	rate := func(metric string) string { return "sum by (" + label + ") (rate(" + metric + pick + "))" }
	now := time.Now()
	found, err := a.Series.Query(ctx, "topk("+strconv.Itoa(mostLocks)+", "+rate(wait)+" > 0)", now)
	if err != nil || len(found.Series) == 0 {
		return nil, err
	}
	counts, err := a.Series.Query(ctx, rate(waits), now)
	if err != nil {
		return nil, err
	}
	out := make([]Lock, 0, len(found.Series))
	for _, s := range found.Series {
		l := Lock{Name: s.Labels[label], Kind: kind}
		if l.Name == "" || len(s.Points) == 0 {
			continue
		}
		l.WaitPerSecond = s.Points[0].Value
		for _, c := range counts.Series {
			if c.Labels[label] == l.Name && len(c.Points) > 0 {
				l.WaitsPerSecond = c.Points[0].Value
				l.Waits = c.Points[0].Value * lockWindow.Seconds()
			}
		}
		out = append(out, l)
	}
	return out, nil
}

// instances are those that send metrics, and those with open findings.
func (a *API) instances(ctx context.Context, service string, findings []vitals.Finding) ([]Instance, error) {
	type id struct{ instance, version string }
	all := map[id]int{}
	res, err := a.Series.Query(ctx, "group by (service_instance_id, service_version) (target_info{service_name="+strconv.Quote(service)+"})", time.Now())
	for _, s := range res.Series { // none when it failed
		if i := s.Labels["service_instance_id"]; i != "" {
			all[id{i, s.Labels["service_version"]}] = 0
		}
	}
	for _, f := range findings {
		if f.State == vitals.Open {
			all[id{f.Instance, f.Version}]++
		}
	}
	out := make([]Instance, 0, len(all))
	for k, n := range all {
		out = append(out, Instance{k.instance, k.version, n})
	}
	slices.SortFunc(out, func(x, y Instance) int {
		if c := strings.Compare(x.Version, y.Version); c != 0 {
			return c
		}
		return strings.Compare(x.Instance, y.Instance)
	})
	return out[:min(len(out), mostInstances)], err
}

// idle is the node of a service that has sent no spans lately.
func (a *API) idle(name, owner string) topology.Node {
	n := topology.Node{Name: name, Kind: topology.Service, State: topology.Idle, Owner: owner, Versions: []topology.Version{}}
	for _, f := range a.Live.Findings(name) {
		if f.State == vitals.Open {
			n.Findings++
			n.State = topology.Warn
		}
	}
	return n
}
