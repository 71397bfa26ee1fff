// Package alert turns symptoms into incidents that open once, gather what
// belongs together, and resolve when all is quiet again.
//
//	var b alert.Book
//	for _, ev := range b.Step(now, symptoms, topo) {
//		save(ev.Incident)
//	}
//
// The room is pure: the caller keeps incidents across restarts (Load), asks
// for a diagnosis (Explain) and tells people.
package alert

import (
	"cmp"
	"slices"
	"time"

	"github.com/surefoot-go/surefoot/server/detect"
)

// States of an Incident.
const (
	Open  = "open"
	Ended = "resolved"
)

// Severities of an Incident.
const (
	Page = "page" // a tenth of the calls of something failed, or more, or a service is near a limit: a person must act now
	Warn = "warn" // a person should know
)

// Incident is symptoms that overlap in time and hang together in the graph.
// It is a plain value: what a Book returns shares nothing with the Book.
type Incident struct {
	ID         string     `json:"id"`    // inc-<when it opened, UTC>-<number>
	State      string     `json:"state"` // Open or Ended
	Title      string     `json:"title"`
	TitleZh    string     `json:"titleZh"`
	Severity   string     `json:"severity"` // Page or Warn; never falls
	OpenedAt   time.Time  `json:"openedAt"`
	ResolvedAt *time.Time `json:"resolvedAt"`
	Origin     string     `json:"origin"` // name of the node at fault; a guess until HasReport
	OriginKind string     `json:"originKind"`
	Symptoms   []Symptom  `json:"symptoms"` // in order of appearance, at most 64
	Services   []string   `json:"services"` // with a symptom, or calling something outside that has one; sorted
	Owner      string     `json:"owner"`
	Timeline   []Entry    `json:"timeline"` // at most 200
	HasReport  bool       `json:"hasReport"`
}

// Since returns when the first symptom began.
func (i Incident) Since() time.Time {
	since := i.OpenedAt
	for _, s := range i.Symptoms {
		if s.Since.Before(since) {
			since = s.Since
		}
	}
	return since
}

// Felt tells whether some symptom was seen in calls, so that somebody has felt
// it; else services have only found something in themselves.
func (i Incident) Felt() bool {
	return slices.ContainsFunc(i.Symptoms, func(s Symptom) bool { return !s.Found() })
}

func (i Incident) clone() Incident {
	i.Symptoms = slices.Clone(i.Symptoms)
	i.Services = slices.Clone(i.Services)
	i.Timeline = slices.Clone(i.Timeline)
	return i
}

// Symptom is a detect.Symptom at its worst, and when it cleared.
type Symptom struct {
	detect.Symptom
	ClearedAt *time.Time `json:"clearedAt,omitempty"` // nil while active
}

// Entry is one line of an incident's history.
type Entry struct {
	At     time.Time `json:"at"`
	Text   string    `json:"text"`
	TextZh string    `json:"textZh"`
}

// Kind says what happened to an incident.
type Kind string

// Kinds of Event.
const (
	Opened   Kind = "opened"
	Updated  Kind = "updated"
	Resolved Kind = "resolved"
)

// Event is a change of an incident, with the incident as it is afterwards.
type Event struct {
	Kind     Kind     `json:"kind"`
	Incident Incident `json:"incident"`
}

// Origin is a diagnosis' answer.
type Origin struct {
	Name, Kind string
	Version    string // when one version of the service is at fault
	Owner      string
	Why, WhyZh string // one sentence each
}

// Incidents returns all incidents: open ones first, then newest first; never
// nil. Values are as of the latest Step.
func (b *Book) Incidents() []Incident {
	out := make([]Incident, 0, len(b.incidents))
	for _, i := range b.incidents {
		out = append(out, i.clone())
	}
	slices.SortStableFunc(out, func(x, y Incident) int {
		return cmp.Or(cmp.Compare(x.State, y.State), y.OpenedAt.Compare(x.OpenedAt), cmp.Compare(y.ID, x.ID))
	})
	return out
}
