package server

import (
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/server/alert"
	"github.com/surefoot-go/surefoot/server/detect"
	"github.com/surefoot-go/surefoot/server/topology"
)

// A service that sends no spans is on the map while it has something to say,
// and a crowd of names does not crowd the map.
func TestSilentServicesAreOnTheMap(t *testing.T) {
	was := topology.Topology{Nodes: []topology.Node{{Name: "b", Kind: topology.Service}}}
	got := withSilent(was, map[string]int{"a": 1, "b": 2, "c": 1})
	if len(got.Nodes) != 3 || got.Nodes[0].Name != "a" || got.Nodes[0].State != topology.Idle || got.Nodes[2].Name != "c" {
		t.Errorf("%+v", got.Nodes)
	}
	many := map[string]int{}
	for n := range 1000 {
		many[time.Duration(n).String()] = 1
	}
	if got := withSilent(was, many); len(got.Nodes) != 1+mostSilent {
		t.Errorf("%d nodes", len(got.Nodes))
	}
}

// A leak does not hide that the calls of a new version fail.
func TestALeakIsNotTroubleWithCalls(t *testing.T) {
	w := newWatch()
	leak := detect.Symptom{Target: "pay", Kind: topology.Service, Metric: detect.GoroutineLeak, Value: 9}
	w.book.Step(time.Now(), []detect.Symptom{leak}, topology.Topology{})
	w.show()
	if w.seen("pay", []detect.Symptom{leak}) {
		t.Error("a leak counts as trouble with calls")
	}
	fails := detect.Symptom{Target: "pay@v2", Kind: topology.Service, Metric: detect.ErrorShare, Value: 1}
	if !w.seen("pay", []detect.Symptom{fails}) {
		t.Error("failing calls do not")
	}
	if n := len(w.Incidents()); n != 1 || w.Incidents()[0].Severity != alert.Warn {
		t.Errorf("%+v", w.Incidents())
	}
}
