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
// The room is pure. It does not say whose fault a symptom is (see diagnose)
// and does not tell anybody (see alert).
package detect

import (
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
	Metric   string    `json:"metric"`   // ErrorShare or LatencyP99
	Value    float64   `json:"value"`    // now
	Baseline float64   `json:"baseline"` // before
	Since    time.Time `json:"since"`    // when it began, as far as the samples tell
	At       time.Time `json:"at"`       // of Value
	Samples  int       `json:"samples"`  // calls behind Value
}

// Detector watches every target it is shown. The zero value is ready. Not
// safe for concurrent use.
type Detector struct{}

// Step folds one second of statistics in and returns the active symptoms,
// sorted by target and metric.
func (d *Detector) Step(now time.Time, stats []topology.Stat) []Symptom { return nil }

// Paint returns t with the states of nodes and edges set by the symptoms.
func Paint(t topology.Topology, active []Symptom) topology.Topology { return t }
