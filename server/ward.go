package server

import (
	"context"
	"encoding/json"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/alert"
	"github.com/surefoot-go/surefoot/server/diagnose"
	"github.com/surefoot-go/surefoot/server/topology"
)

// When an incident is diagnosed: at once, again when it has changed or nothing
// was found, at intervals while it is young, and once when it is over. Spans of
// the first failing calls may still be on their way at the first visit.
const (
	soonest  = 4 * time.Second // between two visits
	interval = 15 * time.Second
	young    = 3 * time.Minute
	beds     = 8 // visits waiting for the doctor; more wait for the next second
)

// ward says which incidents the doctor should see and lets him see them one
// after the other, in a goroutine of his own, since he reads the store.
type ward struct {
	doctor   diagnose.Doctor
	blobs    blobs
	requests chan request
	verdicts chan verdict

	charts map[string]*chart // by incident id; owned by the loop that calls visit
}

type chart struct {
	asked   time.Time // last visit
	waiting bool      // a visit is under way
	changed bool      // since asked
	found   bool      // the last visit named an origin
}

type request struct {
	at       time.Time
	incident alert.Incident
	topology topology.Topology
}

type verdict struct {
	id     string
	report diagnose.Report
	err    error
}

func newWard(d diagnose.Doctor, b blobs) *ward {
	return &ward{
		doctor: d, blobs: b, requests: make(chan request, beds), verdicts: make(chan verdict, beds),
		charts: make(map[string]*chart),
	}
}

// noticed hears of a change in an incident that was not the doctor's own.
func (w *ward) noticed(ev alert.Event) {
	c := w.charts[ev.Incident.ID]
	if c == nil {
		c = &chart{}
		w.charts[ev.Incident.ID] = c
	}
	c.changed = true
}

// visit sends those that are due to the doctor.
func (w *ward) visit(now time.Time, all []alert.Incident, t topology.Topology) {
	for _, inc := range all {
		c := w.charts[inc.ID]
		if c == nil && inc.State == alert.Open { // loaded from an earlier run
			c = &chart{changed: true, found: inc.HasReport}
			w.charts[inc.ID] = c
		}
		if c == nil || c.waiting || !c.due(now, inc) {
			continue
		}
		select {
		case w.requests <- request{now, inc, t}:
			c.asked, c.waiting, c.changed = now, true, false
		default:
			return
		}
	}
}

func (c *chart) due(now time.Time, inc alert.Incident) bool {
	since := now.Sub(c.asked)
	switch {
	case inc.State != alert.Open:
		return c.changed
	case c.asked.IsZero():
		return true
	case c.changed || !c.found:
		return since >= soonest
	default:
		return since >= interval && now.Sub(inc.OpenedAt) < young
	}
}

// done notes that the doctor is back.
func (w *ward) done(v verdict) {
	c := w.charts[v.id]
	if c == nil {
		return
	}
	c.waiting = false
	c.found = v.err == nil && v.report.Origin.Name != ""
}

// forget drops the charts of incidents that are over and seen.
func (w *ward) forget(all []alert.Incident) {
	for _, inc := range all {
		if c := w.charts[inc.ID]; c != nil && inc.State != alert.Open && !c.waiting && !c.changed {
			delete(w.charts, inc.ID)
		}
	}
}

// run is the doctor's round; it ends with ctx.
func (w *ward) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-w.requests:
			v := verdict{id: r.incident.ID}
			v.report, v.err = w.see(ctx, r)
			select {
			case w.verdicts <- v:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// see diagnoses and keeps the report.
func (w *ward) see(ctx context.Context, r request) (diagnose.Report, error) {
	const op = "server.diagnose"
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	report, err := w.doctor.Diagnose(ctx, r.at, r.incident, r.topology)
	if err != nil {
		return report, errs.Wrap(err, op)
	}
	raw, err := json.Marshal(report)
	if err != nil {
		return report, errs.Wrap(err, op)
	}
	return report, errs.Wrap(w.blobs.Put(ctx, reportBlob+r.incident.ID, raw), op)
}
