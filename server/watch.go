package server

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/alert"
	"github.com/surefoot-go/surefoot/server/api"
	"github.com/surefoot-go/surefoot/server/detect"
	"github.com/surefoot-go/surefoot/server/diagnose"
	"github.com/surefoot-go/surefoot/server/ingest"
	"github.com/surefoot-go/surefoot/server/red"
	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/topology"
	"github.com/surefoot-go/surefoot/server/vitals"
)

// Names of blobs, and how many incidents are kept.
const (
	incidentBlob = "incident/"
	reportBlob   = "report/"
	mostSilent   = 64  // services without spans on the map
	mostTold     = 8   // findings told to browsers in a second, half of what api.Hub lets them lag behind; they read the rest
	keptOver     = 200 // incidents loaded at start, as many as alert.Book keeps; older ones are deleted then
)

// blobs keeps incidents and their reports.
type blobs interface {
	Put(ctx context.Context, name string, value []byte) error
	Get(ctx context.Context, name string) ([]byte, error)
	Delete(ctx context.Context, name string) error
	List(ctx context.Context, prefix string, yield func(name string, value []byte) bool) error
}

// watch turns batches of spans, and of what services have found in themselves,
// into the picture of the last second, symptoms and incidents. One goroutine, run, owns the pure rooms; everybody else sees
// what it publishes. It never waits for a disk that it could do without:
// series and diagnoses are written by others, through bounded channels.
type watch struct {
	batches <-chan ingest.Batch
	red     *red.Fold             // fed by the receiver; flushed here
	samples chan<- []store.Sample // full means dropped: totals are sent again next second
	ward    *ward
	rel     *releases
	blobs   blobs
	live    *live
	shelf   *shelf
	hub     *api.Hub
	log     *slog.Logger

	graph    topology.Graph
	detector detect.Detector
	findings vitals.Board
	book     alert.Book
	known    atomic.Pointer[[]alert.Incident]
	unsaved  map[string]alert.Incident // could not be kept yet, by id
	refused  uint64                    // findings there was no room for, when last warned of
	warned   time.Time
}

// load takes in the incidents of earlier runs; call it before run.
func (w *watch) load(ctx context.Context) error {
	var all []alert.Incident
	err := w.blobs.List(ctx, incidentBlob, func(name string, value []byte) bool {
		var inc alert.Incident
		if err := json.Unmarshal(value, &inc); err != nil {
			w.log.Error("a kept incident cannot be read; it is skipped", "name", name, "err", err)
			return true
		}
		all = append(all, inc)
		return true
	})
	if err != nil {
		return errs.Wrap(err, "server.load")
	}
	slices.SortFunc(all, func(a, b alert.Incident) int { return b.OpenedAt.Compare(a.OpenedAt) })
	for _, old := range all[min(len(all), keptOver):] {
		if old.State != alert.Ended {
			continue
		}
		for _, name := range []string{reportBlob + old.ID, incidentBlob + old.ID} {
			if err := w.blobs.Delete(ctx, name); err != nil {
				return errs.Wrap(err, "server.load")
			}
		}
	}
	w.book.Load(all[:min(len(all), keptOver)])
	w.show()
	return nil
}

func (w *watch) show() {
	all := w.book.Incidents()
	w.known.Store(&all)
}

// Incidents returns those known at the last second.
func (w *watch) Incidents() []alert.Incident {
	if p := w.known.Load(); p != nil {
		return *p
	}
	return []alert.Incident{}
}

// Report reads the kept diagnosis of an incident.
func (w *watch) Report(ctx context.Context, id string) (diagnose.Report, error) {
	const op = "server.Report"
	raw, err := w.blobs.Get(ctx, reportBlob+id)
	if errs.KindOf(err) == errs.NotFound {
		return diagnose.Report{}, errs.New(errs.NotFound, op, "there is no report on this incident yet")
	}
	if err != nil {
		return diagnose.Report{}, errs.Wrap(err, op)
	}
	var r diagnose.Report
	if err := json.Unmarshal(raw, &r); err != nil {
		return r, errs.New(errs.Internal, op, "the kept report cannot be read").Because(err)
	}
	return r, nil
}

// run folds what arrives and takes a step each second, until ctx ends.
func (w *watch) run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case b := <-w.batches:
			w.graph.Fold(b.Spans, b.At)
			w.findings.Fold(b.Logs, b.At)
		case v := <-w.ward.verdicts:
			w.explain(ctx, time.Now(), v)
		case now := <-tick.C:
			w.step(ctx, now)
		}
	}
}

// step is one second: look, judge, tell.
func (w *watch) step(ctx context.Context, now time.Time) {
	stats := w.graph.Stats(now)
	symptoms := append(w.detector.Step(now, stats), w.look(now)...)
	open := w.live.open()
	t := detect.Paint(withSilent(w.graph.Snapshot(now), open), symptoms)
	for i := range t.Nodes {
		t.Nodes[i].Owner = w.shelf.Owner(t.Nodes[i].Name)
		t.Nodes[i].Findings = open[t.Nodes[i].Name]
	}
	w.live.picture.Store(&t)
	w.live.tick(now)

	notes := w.rel.step(now, stats)
	for _, n := range notes {
		if !w.seen(n.service, symptoms) {
			symptoms = append(symptoms, n.symptom(now))
		}
	}
	for _, ev := range w.book.Step(now, symptoms, t) {
		w.tell(ctx, ev)
		w.ward.noticed(ev)
	}
	for _, n := range notes {
		w.released(ctx, now, n)
	}
	w.ward.visit(now, w.Incidents(), t)
	w.ward.forget(w.Incidents())
	w.retry(ctx)

	if s := w.red.Flush(now); len(s) > 0 {
		select {
		case w.samples <- s:
		default:
		}
	}
	w.hub.State("topology", t)
}

// withSilent adds the services that send no spans and have something to say all
// the same.
func withSilent(t topology.Topology, open map[string]int) topology.Topology {
	var silent []topology.Node
	for name := range open {
		if _, known := t.Node(name); !known {
			silent = append(silent, topology.Node{Name: name, Kind: topology.Service, State: topology.Idle, Versions: []topology.Version{}})
		}
	}
	byName := func(a, b topology.Node) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(silent, byName)
	t.Nodes = append(t.Nodes, silent[:min(len(silent), mostSilent)]...)
	slices.SortFunc(t.Nodes, byName)
	return t
}

// look shows the findings that hold, tells what is new about them and returns
// them as symptoms.
func (w *watch) look(now time.Time) []detect.Symptom {
	symptoms, changed := w.findings.Step(now)
	all := w.findings.Findings()
	w.live.findings.Store(&all)
	for _, f := range changed[:min(len(changed), mostTold)] {
		w.hub.Publish("finding", f)
	}
	if n := w.findings.Refused(); n > w.refused && now.Sub(w.warned) >= time.Minute {
		w.log.Warn("services have more findings than are kept; new ones are left out", "records", n-w.refused)
		w.refused, w.warned = n, now
	}
	return symptoms
}

// tell keeps an incident, shows it and passes it on.
func (w *watch) tell(ctx context.Context, ev alert.Event) {
	inc := ev.Incident
	w.show()
	w.keep(ctx, inc)
	w.hub.Publish("incident", inc)
	level := slog.LevelInfo
	if ev.Kind == alert.Opened {
		level = slog.LevelWarn
	}
	if ev.Kind != alert.Updated {
		w.log.Log(ctx, level, "incident "+string(ev.Kind), "id", inc.ID, "title", inc.Title, "origin", inc.Origin, "owner", inc.Owner)
	}
}

// keep writes an incident; one that cannot be written (a full disk) is tried
// again each second and lives in memory meanwhile.
func (w *watch) keep(ctx context.Context, inc alert.Incident) {
	raw, err := json.Marshal(inc)
	if err == nil {
		err = w.blobs.Put(ctx, incidentBlob+inc.ID, raw)
	}
	if err == nil {
		delete(w.unsaved, inc.ID)
		return
	}
	if w.unsaved == nil {
		w.unsaved = make(map[string]alert.Incident)
	}
	if _, again := w.unsaved[inc.ID]; !again {
		w.log.Error("an incident could not be kept; will try again", "id", inc.ID, "err", err)
	}
	w.unsaved[inc.ID] = inc
}

func (w *watch) retry(ctx context.Context) {
	for _, inc := range w.unsaved {
		w.keep(ctx, inc)
		return // one a second is enough
	}
}

// explain writes a diagnosis into its incident.
func (w *watch) explain(ctx context.Context, now time.Time, v verdict) {
	w.ward.done(v)
	if v.err != nil {
		w.log.Error("an incident could not be diagnosed; will try again", "id", v.id, "err", v.err)
		return
	}
	o := v.report.Origin
	if o.Name == "" {
		return
	}
	ev, changed := w.book.Explain(now, v.id, alert.Origin{
		Name: o.Name, Kind: o.Kind, Version: o.Version, Owner: v.report.Owner, Why: o.Why, WhyZh: o.WhyZh,
	})
	if changed {
		w.tell(ctx, ev)
	}
}

// seen tells whether somebody knows already that the service's calls are in
// trouble; a leak is another matter.
func (w *watch) seen(service string, active []detect.Symptom) bool {
	return slices.ContainsFunc(w.Incidents(), func(i alert.Incident) bool {
		return i.State == alert.Open && i.Felt() && concerns(i, service)
	}) || slices.ContainsFunc(active, func(s detect.Symptom) bool {
		name, _, _ := strings.Cut(s.Target, "@")
		return !s.Found() && name == service
	})
}

// released writes a release's end into the incidents that it concerns.
func (w *watch) released(ctx context.Context, now time.Time, n note) {
	for _, inc := range w.Incidents() {
		if inc.State != alert.Open || !concerns(inc, n.service) {
			continue
		}
		if ev, ok := w.book.Note(now, inc.ID, n.text, n.textZh); ok {
			w.tell(ctx, ev)
		}
	}
}

func concerns(inc alert.Incident, service string) bool {
	return inc.Origin == service || slices.Contains(inc.Services, service) || slices.ContainsFunc(inc.Symptoms, func(s alert.Symptom) bool {
		name, _, _ := strings.Cut(s.Target, "@")
		return name == service
	})
}
