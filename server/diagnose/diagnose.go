// Package diagnose writes the first report on an incident: what is broken,
// since when, whose it is, what to do, and the evidence, from spans and logs.
//
//	d := diagnose.Doctor{Spans: spans, Logs: logs, Catalog: cat}
//	report, err := d.Diagnose(ctx, now, incident, topo)
//	fmt.Print(report.Text("en"))
//
// A failed request is followed down to the spans where it began to fail: the
// deepest ones. A call that failed and that no span answers speaks against the
// callee; one that ran out of time, against whoever spent it. A slow request is
// split into the time each node spent itself. Both are compared with the minute
// before the incident, and what grew is shared out among the nodes: that share
// is a candidate's score. What a service has found wrong in itself is the cause
// when nothing else was felt, and otherwise a cause that may be, with its
// evidence.
//
// It reads the store once per report. It changes nothing and tells nobody.
package diagnose

import (
	"cmp"
	"context"
	"time"

	"github.com/surefoot-go/surefoot/server/alert"
	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/topology"
)

// Report is a diagnosis. Texts exist in English and Chinese, and may quote what
// spans and logs say: escape them as the place where they are shown demands.
// Both Markdowns are escaped.
type Report struct {
	Incident   string      `json:"incident"`
	At         time.Time   `json:"at"`
	Since      time.Time   `json:"since"` // the first request that failed or the first symptom
	Title      string      `json:"title"`
	TitleZh    string      `json:"titleZh"`
	Origin     Candidate   `json:"origin"`     // Candidates[0]; zero when nothing is known
	Candidates []Candidate `json:"candidates"` // best first, at most 5; never nil
	Evidence   []Evidence  `json:"evidence"`   // at most 12; never nil
	Impact     []Impact    `json:"impact"`     // worst first; never nil
	Owner      string      `json:"owner"`
	Runbook    Runbook     `json:"runbook"`
	Markdown   string      `json:"markdown"` // in English
	MarkdownZh string      `json:"markdownZh"`
}

// Candidate is a node that may be at fault.
type Candidate struct {
	Name    string  `json:"name"`
	Kind    string  `json:"kind"`              // topology.Service, External or Database
	Version string  `json:"version,omitempty"` // when one version alone is at fault
	Score   float64 `json:"score"`             // 0 to 1: the share of what went wrong that it explains
	Slow    bool    `json:"slow,omitempty"`    // it spends time rather than fails
	Finding string  `json:"finding,omitempty"` // metric of what it has found wrong in itself, such as detect.GoroutineLeak
	Why     string  `json:"why"`
	WhyZh   string  `json:"whyZh"`
}

// Evidence is one observation behind a diagnosis.
type Evidence struct {
	Text    string    `json:"text"`
	TextZh  string    `json:"textZh"`
	TraceID string    `json:"traceId"` // an example; may be empty
	At      time.Time `json:"at"`
}

// Impact is what one service's callers felt.
type Impact struct {
	Service          string  `json:"service"`
	ErrorShare       float64 `json:"errorShare"` // since the incident began
	Requests         int     `json:"requests"`   // since the incident began
	ErrorShareBefore float64 `json:"errorShareBefore"`
	P99              float64 `json:"p99Ms"`
	P99Before        float64 `json:"p99MsBefore"`
	Entry            bool    `json:"entry,omitempty"` // requests enter the system here: what users feel
}

// Runbook is the section that fits best; zero when there is none.
type Runbook struct {
	Title string `json:"title"`
	Body  string `json:"body"` // Markdown, as its author wrote it
}

// Text returns the report as Markdown in lang, "zh" or English for anything else.
func (r Report) Text(lang string) string {
	if lang == "zh" {
		return r.MarkdownZh
	}
	return r.Markdown
}

// Spans is the part of store.Spans a diagnosis reads.
type Spans interface {
	Window(ctx context.Context, from, to time.Time, yield func(store.Span) bool) error
}

// Logs is the part of store.Logs a diagnosis reads.
type Logs interface {
	Search(ctx context.Context, q store.LogQuery) ([]store.Log, error)
}

// Catalog knows owners and runbooks; *catalog.Catalog is one.
type Catalog interface {
	Owner(name string) string
	Section(name string, symptoms ...string) (title, body string, ok bool)
}

// Doctor diagnoses. Logs and Catalog may be nil. Safe for concurrent use.
type Doctor struct {
	Spans    Spans
	Logs     Logs
	Catalog  Catalog
	MaxSpans int // spans held in memory, about 300 bytes each; 0 means 100000. Of more, whole traces are left out evenly
}

// How far a diagnosis looks.
const (
	before = time.Minute     // the minute to compare with
	early  = 5 * time.Second // spans began this long before their symptom was seen, at most
	after  = 2 * time.Minute // of an incident that lasts, its beginning is enough
)

// Diagnose reports on an incident as of now. It fails only when the spans
// cannot be read; logs that cannot be read are evidence left out. ctx ends it.
func (d Doctor) Diagnose(ctx context.Context, now time.Time, inc alert.Incident, t topology.Topology) (Report, error) {
	f, seen := found(inc), felt(inc).Since()
	if alone(inc) {
		seen = inc.Since()
	}
	since := seen.Add(-early)
	end := now
	if e := since.Add(after); e.Before(end) {
		end = e
	}
	if alone(inc) { // nothing began for callers: what they feel now is compared with the minute before
		since, end = now.Add(-before), now
	}
	r := reader{max: cmp.Or(d.MaxSpans, 100_000), since: since.UnixNano(), words: map[string]string{}, traces: map[store.TraceID][]span{}}
	if err := d.Spans.Window(ctx, since.Add(-before), end, r.add); err != nil {
		return Report{}, err
	}
	var c *caseFile
	var suspects []Candidate
	if alone(inc) {
		c = look(&r, t, inc)
	} else {
		c = examine(&r, t, inc)
		suspects = c.candidates()
	}
	rep := Report{
		Incident: inc.ID, At: now.UTC().Truncate(time.Millisecond), Since: c.began(seen),
		Candidates: f.join(suspects), Evidence: f.evidence(), Impact: c.impact(),
	}
	if alone(inc) {
		rep.Impact = f.concerned(rep.Impact)
	}
	if len(rep.Candidates) > 0 {
		rep.Origin = rep.Candidates[0]
		if !alone(inc) {
			spans := c.evidence(rep.Origin)
			rep.Evidence = append(spans, rep.Evidence[:min(len(rep.Evidence), mostEvidence-len(spans))]...)
		}
		rep.Evidence = append(rep.Evidence, d.logs(ctx, rep.Origin, rep.Evidence, since, end)...)
		rep.Evidence = rep.Evidence[:min(len(rep.Evidence), mostEvidence)]
	}
	rep.Title, rep.TitleZh = headline(rep.Origin, inc)
	d.lookUp(&rep, inc, c)
	rep.Markdown = markdown(rep, inc, en)
	rep.MarkdownZh = markdown(rep, inc, zh)
	return rep, nil
}

// lookUp attaches the owner and the runbook section. What lies outside may
// have neither: then its most affected caller's are the next best.
func (d Doctor) lookUp(rep *Report, inc alert.Incident, c *caseFile) {
	if d.Catalog == nil || rep.Origin.Name == "" {
		return
	}
	o := rep.Origin
	var words []string
	if o.Finding != "" {
		words = append(words, o.Finding)
	}
	if o.Version != "" && o.Finding == "" {
		words = append(words, "version")
	}
	switch {
	case alone(inc):
	case o.Slow:
		words = append(words, "latency_p99")
	default:
		words = append(words, "error_share")
	}
	names := append([]string{o.Name}, c.callers(o.Name)...)
	for k, name := range names {
		rep.Owner = cmp.Or(rep.Owner, d.Catalog.Owner(name))
		if rep.Runbook.Body != "" {
			continue
		}
		w := words
		if k > 0 {
			w = append([]string{o.Name}, words...)
		}
		if title, body, ok := d.Catalog.Section(name, w...); ok {
			rep.Runbook = Runbook{Title: title, Body: body}
			if k > 0 {
				rep.Runbook.Title = name + ": " + title
			}
		}
	}
}
