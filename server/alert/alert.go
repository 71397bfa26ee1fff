// Package alert turns symptoms into incidents that open once, gather what
// belongs together, and resolve when all is quiet again.
//
//	var b alert.Book
//	for _, ev := range b.Step(now, symptoms, topo) {
//		save(ev.Incident)
//	}
//
// The room is pure: the caller keeps incidents across restarts (Load) and
// tells people.
package alert

import (
	"time"

	"github.com/surefoot-go/surefoot/server/detect"
	"github.com/surefoot-go/surefoot/server/topology"
)

// States of an Incident.
const (
	Open  = "open"
	Ended = "resolved"
)

// Severities of an Incident.
const (
	Page = "page" // a person must act now
	Warn = "warn" // a person should know
)

// Incident is symptoms that overlap in time and hang together in the graph.
// It is a plain value: what a Book returns shares nothing with the Book.
type Incident struct {
	ID         string     `json:"id"`
	State      string     `json:"state"` // Open or Ended
	Title      string     `json:"title"`
	TitleZh    string     `json:"titleZh"`
	Severity   string     `json:"severity"` // Page or Warn; never falls
	OpenedAt   time.Time  `json:"openedAt"`
	ResolvedAt *time.Time `json:"resolvedAt"`
	Origin     string     `json:"origin"` // name of the node at fault; a guess until diagnosed
	OriginKind string     `json:"originKind"`
	Symptoms   []Symptom  `json:"symptoms"`
	Services   []string   `json:"services"` // affected; sorted
	Owner      string     `json:"owner"`
	Timeline   []Entry    `json:"timeline"`
	HasReport  bool       `json:"hasReport"`
}

// Symptom is a detect.Symptom at its worst, and when it cleared.
type Symptom struct {
	detect.Symptom
	ClearedAt *time.Time `json:"clearedAt,omitempty"`
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

// Book keeps incidents. The zero value is ready. Not safe for concurrent use.
type Book struct {
	Hold  time.Duration // how long all symptoms must be gone before an incident resolves; 0 means 10s
	Grace time.Duration // the same for incidents given to Load, whose detector starts anew; 0 means 60s
}

// Step folds the active symptoms of one second in and returns what changed.
func (b *Book) Step(now time.Time, active []detect.Symptom, t topology.Topology) []Event { return nil }

// Load takes in the incidents of an earlier run, before the first Step.
func (b *Book) Load(incidents []Incident) {}

// Incidents returns all incidents: open ones first, then newest first; never nil.
func (b *Book) Incidents() []Incident { return []Incident{} }

// Explain writes a diagnosis' answer into an incident and marks its report.
func (b *Book) Explain(now time.Time, id string, o Origin) (Event, bool) { return Event{}, false }

// Note adds a line to an incident's timeline.
func (b *Book) Note(now time.Time, id, text, textZh string) (Event, bool) { return Event{}, false }
