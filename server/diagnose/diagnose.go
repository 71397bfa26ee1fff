// Package diagnose writes the first report on an incident: what is broken,
// since when, whose it is, what to do, and the evidence, from spans and logs.
//
//	d := diagnose.Doctor{Spans: spans, Logs: logs, Catalog: cat}
//	report, err := d.Diagnose(ctx, now, incident, topo)
//	fmt.Print(report.Text("en"))
//
// It reads the store once per report. It changes nothing and tells nobody.
package diagnose

import (
	"context"
	"time"

	"github.com/surefoot-go/surefoot/server/alert"
	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/topology"
)

// Report is a diagnosis. Texts exist in English and Chinese.
type Report struct {
	Incident   string      `json:"incident"`
	At         time.Time   `json:"at"`
	Origin     Candidate   `json:"origin"` // Candidates[0]; zero when nothing is known
	Candidates []Candidate `json:"candidates"`
	Evidence   []Evidence  `json:"evidence"`
	Impact     []Impact    `json:"impact"`
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
	Score   float64 `json:"score"`             // 0 to 1
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
	Requests         int     `json:"requests"`   // since the incident began, among the spans read
	ErrorShareBefore float64 `json:"errorShareBefore"`
	P99              float64 `json:"p99Ms"`
	P99Before        float64 `json:"p99MsBefore"`
}

// Runbook is the section that fits best; zero when there is none.
type Runbook struct {
	Title string `json:"title"`
	Body  string `json:"body"` // Markdown
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

// Doctor diagnoses. Logs and Catalog may be nil.
type Doctor struct {
	Spans   Spans
	Logs    Logs
	Catalog Catalog
}

// Diagnose reports on an incident as of now.
func (d Doctor) Diagnose(ctx context.Context, now time.Time, inc alert.Incident, t topology.Topology) (Report, error) {
	return Report{Incident: inc.ID, At: now}, nil
}
