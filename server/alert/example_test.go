package alert_test

import (
	"fmt"
	"time"

	"github.com/surefoot-go/surefoot/server/alert"
	"github.com/surefoot-go/surefoot/server/detect"
	"github.com/surefoot-go/surefoot/server/topology"
)

// A symptom opens an incident; ten quiet seconds resolve it.
func Example() {
	graph := topology.Topology{
		Nodes: []topology.Node{{Name: "payment", Kind: topology.Service}, {Name: "bank", Kind: topology.External}},
		Edges: []topology.Edge{{From: "payment", To: "bank", External: true}},
	}
	now := time.Date(2026, 11, 23, 4, 5, 6, 0, time.UTC)
	active := []detect.Symptom{{Target: "bank", Kind: topology.External, Metric: detect.ErrorShare, Value: 1, Since: now, At: now}}
	var book alert.Book
	for s := range 30 {
		if s == 5 {
			active = nil
		}
		for _, ev := range book.Step(now.Add(time.Duration(s)*time.Second), active, graph) {
			fmt.Printf("%d s: %s %s\n", s, ev.Kind, ev.Incident.Title)
		}
	}
	// Output:
	// 0 s: opened bank is failing: 100 % of calls
	// 5 s: updated bank is failing: 100 % of calls
	// 15 s: resolved bank is failing: 100 % of calls
}
