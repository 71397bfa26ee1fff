package server

import (
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/server/alert"
	"github.com/surefoot-go/surefoot/server/diagnose"
	"github.com/surefoot-go/surefoot/server/topology"
)

// When the doctor is called, second by second.
func TestVisits(t *testing.T) {
	start := time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC)
	w := newWard(diagnose.Doctor{}, nil)
	inc := alert.Incident{ID: "inc-1", State: alert.Open, OpenedAt: start}
	var visits []int
	found := false
	second := func(n int, state string) {
		inc.State = state
		all := []alert.Incident{inc}
		now := start.Add(time.Duration(n) * time.Second)
		if n == 0 || n == 20 || n == 300 && state != alert.Open {
			w.noticed(alert.Event{Incident: inc})
		}
		w.visit(now, all, topology.Topology{})
		w.forget(all)
		select {
		case r := <-w.requests:
			visits = append(visits, n)
			v := verdict{id: r.incident.ID}
			if found {
				v.report.Origin.Name = "bank"
			}
			w.done(v)
		default:
		}
	}
	for n := range 300 {
		found = n >= 4 // the first look is too early to see anything
		second(n, alert.Open)
	}
	second(300, alert.Ended)
	second(301, alert.Ended)
	want := []int{0, 4, 19, 23, 38, 53, 68, 83, 98, 113, 128, 143, 158, 173, 300}
	if len(visits) != len(want) {
		t.Fatalf("%v\nwant %v", visits, want)
	}
	for i := range want {
		if visits[i] != want[i] {
			t.Fatalf("%v\nwant %v", visits, want)
		}
	}
	if len(w.charts) != 0 {
		t.Error("a chart is left")
	}
}

// A full ward does not block the loop, and nobody is forgotten.
func TestFullWard(t *testing.T) {
	now := time.Now()
	w := newWard(diagnose.Doctor{}, nil)
	var all []alert.Incident
	for range beds + 3 {
		all = append(all, alert.Incident{ID: string(rune('a' + len(all))), State: alert.Open, OpenedAt: now})
	}
	w.visit(now, all, topology.Topology{})
	if len(w.requests) != beds {
		t.Fatalf("%d waiting", len(w.requests))
	}
	for range beds {
		w.done(verdict{id: (<-w.requests).incident.ID})
	}
	w.visit(now.Add(time.Second), all, topology.Topology{})
	if len(w.requests) != 3 {
		t.Errorf("%d of 3 left", len(w.requests))
	}
}
