package alert_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/server/alert"
	"github.com/surefoot-go/surefoot/server/detect"
	"github.com/surefoot-go/surefoot/server/topology"
)

var update = flag.Bool("update", false, "rewrite the stories")

var t0 = time.Date(2026, 11, 23, 4, 5, 0, 0, time.UTC)

// TestStories runs testdata/*.txt: what is done, ----, what is told and when.
//
//	graph a>b b>c!             the calls; ! marks what is outside
//	+ TARGET METRIC VALUE BASE a symptom appears, or changes its value
//	- TARGET METRIC            it is gone
//	found TARGET METRIC VALUE BASE VERSION [near]
//	                           the service has found something in itself
//	run SECONDS
//	explain ID NAME KIND WHY   a diagnosis answers
//	restart                    the Book is saved and loaded
//	timeline                   all incidents with their history
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no stories", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			script, want, _ := strings.Cut(string(raw), "----\n")
			got := tell(t, script)
			if *update {
				if err := os.WriteFile(f, []byte(script+"----\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got:\n%swant:\n%s", got, want)
			}
		})
	}
}

func graphOf(words []string) (t topology.Topology) {
	kinds := map[string]string{}
	for _, w := range words {
		from, to, _ := strings.Cut(w, ">")
		kind := topology.Service
		if strings.HasSuffix(to, "!") {
			to, kind = to[:len(to)-1], topology.External
		}
		kinds[from] = topology.Service
		if kinds[to] == "" || kind != topology.Service {
			kinds[to] = kind
		}
		t.Edges = append(t.Edges, topology.Edge{From: from, To: to, External: kind != topology.Service})
	}
	for n, k := range kinds {
		t.Nodes = append(t.Nodes, topology.Node{Name: n, Kind: k})
	}
	return t
}

func tell(t *testing.T, script string) string {
	var out strings.Builder
	b := &alert.Book{}
	now := t0
	var graph topology.Topology
	var active []detect.Symptom
	at := func(target, metric string) int {
		return slices.IndexFunc(active, func(s detect.Symptom) bool { return s.Target == target && s.Metric == metric })
	}
	told := func(ev alert.Event) {
		i := ev.Incident
		fmt.Fprintf(&out, "%ds %s %s %s %q %v\n", int(now.Sub(t0).Seconds()), ev.Kind, i.ID, i.Severity, i.Title, i.Services)
	}
	for _, line := range strings.Split(script, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		switch f[0] {
		case "graph":
			graph = graphOf(f[1:])
		case "+":
			value, _ := strconv.ParseFloat(f[3], 64)
			base, _ := strconv.ParseFloat(f[4], 64)
			s := detect.Symptom{Target: f[1], Kind: topology.Service, Metric: f[2], Value: value, Baseline: base, Since: now.Add(-2 * time.Second), At: now, Samples: 20}
			if n, ok := graph.Node(f[1]); ok {
				s.Kind = n.Kind
			}
			if k := at(f[1], f[2]); k >= 0 {
				active[k] = s
			} else {
				active = append(active, s)
			}
		case "found":
			value, _ := strconv.ParseFloat(f[3], 64)
			base, _ := strconv.ParseFloat(f[4], 64)
			s := detect.Symptom{Target: f[1], Kind: topology.Service, Metric: f[2], Value: value, Baseline: base, Since: now.Add(-time.Minute), At: now, Samples: 1, Finding: detect.Finding{
				Version: f[5], Instance: f[1] + "-1", Instances: 1, Created: f[1] + "/outbox.go:88", Near: len(f) > 6,
				Text: fmt.Sprintf("%s is %g, before %g", f[2], value, base), TextZh: fmt.Sprintf("%s 为 %g，此前 %g", f[2], value, base),
			}}
			if k := at(f[1], f[2]); k >= 0 {
				active[k] = s
			} else {
				active = append(active, s)
			}
		case "-":
			k := at(f[1], f[2])
			active = slices.Delete(active, k, k+1)
		case "run":
			n, _ := strconv.Atoi(f[1])
			for range n {
				now = now.Add(time.Second)
				for _, ev := range b.Step(now, active, graph) {
					told(ev)
				}
			}
		case "explain":
			name, version, _ := detect.Split(f[2])
			ev, ok := b.Explain(now, f[1], alert.Origin{Name: name, Version: version, Kind: f[3], Owner: "team-x", Why: strings.Join(f[4:], " "), WhyZh: "……"})
			if !ok {
				t.Fatal("no incident", line)
			}
			told(ev)
		case "restart":
			raw, err := json.Marshal(b.Incidents())
			if err != nil {
				t.Fatal(err)
			}
			var saved []alert.Incident
			if err := json.Unmarshal(raw, &saved); err != nil {
				t.Fatal(err)
			}
			b = &alert.Book{}
			b.Load(saved)
			fmt.Fprintf(&out, "%ds restarted with %d\n", int(now.Sub(t0).Seconds()), len(saved))
		case "timeline":
			for _, i := range b.Incidents() {
				fmt.Fprintf(&out, "%s %s\n  %s\n  %s\n", i.ID, i.State, i.Title, i.TitleZh)
				for _, e := range i.Timeline {
					fmt.Fprintf(&out, "  %ds %s\n      %s\n", int(e.At.Sub(t0).Seconds()), e.Text, e.TextZh)
				}
			}
		default:
			t.Fatal("unknown:", line)
		}
	}
	return out.String()
}

func TestJSONShape(t *testing.T) {
	var b alert.Book
	ev := b.Step(t0, []detect.Symptom{{Target: "bank", Kind: topology.External, Metric: detect.ErrorShare, Value: 1, Since: t0, At: t0}}, graphOf([]string{"payment>bank!"}))
	raw, err := json.Marshal(ev[0].Incident)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"id", "state", "title", "titleZh", "severity", "openedAt", "resolvedAt", "origin", "originKind", "symptoms", "services", "owner", "timeline", "hasReport"} {
		if _, ok := got[k]; !ok {
			t.Errorf("no %q in %s", k, raw)
		}
	}
	sym := got["symptoms"].([]any)[0].(map[string]any)
	for _, k := range []string{"target", "metric", "value", "baseline", "since", "at"} {
		if _, ok := sym[k]; !ok {
			t.Errorf("no %q in symptom %v", k, sym)
		}
	}
}

// TestBounds: whatever happens, an incident and a Book stay of a size.
func TestBounds(t *testing.T) {
	b := alert.Book{Keep: 3}
	now := t0
	graph := topology.Topology{}
	for n := range 100 {
		graph.Edges = append(graph.Edges, topology.Edge{From: "hub", To: fmt.Sprint("s", n)})
	}
	for round := range 20 {
		var active []detect.Symptom
		for n := range 100 {
			if round%2 == 0 {
				active = append(active, detect.Symptom{Target: fmt.Sprint("s", n), Metric: detect.ErrorShare, Value: .5})
			}
		}
		active = append(active, detect.Symptom{Target: "hub", Metric: detect.LatencyP99, Value: 100})
		now = now.Add(time.Second)
		b.Step(now, active, graph)
	}
	got := b.Incidents()
	if len(got) > 40 {
		t.Errorf("%d incidents", len(got))
	}
	for _, i := range got {
		if len(i.Symptoms) > 64 || len(i.Timeline) > 200 {
			t.Errorf("%d symptoms, %d lines", len(i.Symptoms), len(i.Timeline))
		}
	}
	for range 10 {
		for range 15 {
			now = now.Add(time.Second)
			b.Step(now, nil, graph)
		}
		b.Step(now, []detect.Symptom{{Target: "x", Metric: detect.ErrorShare, Value: 1}}, graph)
	}
	for range 15 {
		now = now.Add(time.Second)
		b.Step(now, nil, graph)
	}
	if n := len(b.Incidents()); n != 3 {
		t.Errorf("%d incidents kept, want 3", n)
	}
}

// TestEventsShareNothing: a receiver may do with an event what it likes.
func TestEventsShareNothing(t *testing.T) {
	var b alert.Book
	ev := b.Step(t0, []detect.Symptom{{Target: "bank", Metric: detect.ErrorShare, Value: 1}}, topology.Topology{})
	want := b.Incidents()
	ev[0].Incident.Symptoms[0].Target = "changed"
	ev[0].Incident.Timeline[0].Text = "changed"
	if got := b.Incidents(); !reflect.DeepEqual(got, want) {
		t.Error("an event shares memory with its Book")
	}
}

// TestFindingAfterRestart: a finding that is not told again yet is waited for;
// one that is told again and then closed needs no grace.
func TestFindingAfterRestart(t *testing.T) {
	leak := []detect.Symptom{{Target: "pay", Metric: detect.GoroutineLeak, Value: 9, Finding: detect.Finding{Text: "leaks"}}}
	for _, again := range []bool{false, true} {
		var first, b alert.Book
		first.Step(t0, leak, topology.Topology{})
		b.Load(first.Incidents())
		ended := 0
		for s := 1; ended == 0; s++ {
			active := leak[:0]
			if again && s == 20 {
				active = leak
			}
			for _, ev := range b.Step(t0.Add(time.Duration(s)*time.Second), active, topology.Topology{}) {
				if ev.Kind == alert.Resolved {
					ended = s
				}
			}
		}
		if want := map[bool]int{false: 71, true: 31}[again]; ended != want {
			t.Errorf("told again %v: resolved after %d s, want %d", again, ended, want)
		}
	}
}

// TestLoadKeepsTheNewest: however they come, the oldest are forgotten first.
func TestLoadKeepsTheNewest(t *testing.T) {
	var saved []alert.Incident
	for n := range 5 {
		saved = append(saved, alert.Incident{ID: fmt.Sprint("inc-x-", 5-n), State: alert.Ended, OpenedAt: t0.Add(-time.Duration(n) * time.Hour)})
	}
	b := alert.Book{Keep: 2}
	b.Load(saved)
	b.Step(t0, nil, topology.Topology{})
	if got := b.Incidents(); len(got) != 2 || got[0].ID != "inc-x-5" || got[1].ID != "inc-x-4" {
		t.Errorf("kept %+v, want the two newest", got)
	}
	ev := b.Step(t0, []detect.Symptom{{Target: "x", Metric: detect.ErrorShare, Value: 1}}, topology.Topology{})
	if len(ev) != 1 || !strings.HasSuffix(ev[0].Incident.ID, "-6") {
		t.Errorf("events %+v, want a new incident number 6", ev)
	}
}
