package diagnose_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/server/alert"
	"github.com/surefoot-go/surefoot/server/detect"
	"github.com/surefoot-go/surefoot/server/diagnose"
	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/topology"
)

var update = flag.Bool("update", false, "rewrite the stories")

// books is a catalog of two.
type books struct{}

func (books) Owner(name string) string {
	return map[string]string{"user": "team-users", "bank": "team-payments", "payment": "team-payments", "order": "team-checkout"}[name]
}

func (books) Section(name string, symptoms ...string) (string, string, bool) {
	switch {
	case name == "payment" && symptoms[0] == detect.GoroutineLeak, name == "user" && symptoms[0] == detect.GoroutineLeak:
		return "Goroutine leak (goroutine_leak)", "1. Restart one instance and look whether it begins again.", true
	case name == "bank":
		return "Errors (error_share)", "1. Call the bank's duty desk.\n2. Do not force the breaker closed.", true
	case name == "payment":
		return "Errors (error_share)", "1. Take the version off traffic: `surefoot route set payment --weight 0`.", true
	case name == "order" && symptoms[0] != "latency_p99" && symptoms[0] != "error_share":
		return "When " + symptoms[0] + " is in trouble", "1. Look at it.", true
	}
	return "", "", false
}

// TestStories runs testdata/*.txt: what is done, ----, what is told.
//
//	run SECONDS
//	fault NAME           see shop_test.go; "none" ends it
//	found SERVICE METRIC VALUE BASE VERSION METHOD
//	                     the service finds something in itself, a minute ago
//	silent               the store has no spans from here on, old ones neither
//	suspects             a diagnosis in short
//	report LANG          and in full
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

func tell(t *testing.T, script string) string {
	var out strings.Builder
	s := newShop()
	start := s.now
	s.opened = func(ev alert.Event) {
		fmt.Fprintf(&out, "%ds %s: %s, %s\n", int(s.now.Sub(start).Seconds()), ev.Kind, ev.Incident.Title, ev.Incident.Severity)
	}
	look := func() diagnose.Report {
		if s.open == nil {
			t.Fatalf("no incident after %s", s.now.Sub(start))
		}
		d := diagnose.Doctor{Spans: s, Logs: s, Catalog: books{}}
		rep, err := d.Diagnose(context.Background(), s.now, *s.open, s.topo)
		if err != nil {
			t.Fatal(err)
		}
		return rep
	}
	for _, line := range strings.Split(script, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		switch f[0] {
		case "run":
			n, _ := strconv.Atoi(f[1])
			for range n {
				s.second()
			}
		case "fault":
			s.fault = f[1]
		case "found":
			value, _ := strconv.ParseFloat(f[3], 64)
			base, _ := strconv.ParseFloat(f[4], 64)
			s.findings = append(s.findings, detect.Symptom{
				Target: f[1], Kind: topology.Service, Metric: f[2], Value: value, Baseline: base, Since: s.now.Add(-time.Minute), At: s.now, Samples: 2,
				Finding: detect.Finding{
					Version: f[5], Instance: f[1] + "-2", Instances: 2, Created: f[1] + "/outbox.go:88", Method: strings.ReplaceAll(f[6], "-", " "), TraceID: "4bf92f3577b34da6a3ce929d0e0e4736",
					Text:   fmt.Sprintf("%s is +%.0f, created at %s/outbox.go:88, first seen in %s", f[2], value-base, f[1], f[5]),
					TextZh: fmt.Sprintf("%s 多出 %.0f，创建于 %s/outbox.go:88，首次见于 %s", f[2], value-base, f[1], f[5]),
				},
			})
		case "silent":
			s.silent, s.spans, s.graph, s.detect = true, nil, topology.Graph{}, detect.Detector{}
		case "suspects":
			fmt.Fprintf(&out, "%ds suspects:\n", int(s.now.Sub(start).Seconds()))
			for _, c := range look().Candidates {
				fmt.Fprintf(&out, "  %.2f %s %s: %s\n", c.Score, c.Name, c.Version, c.Why)
			}
		case "report":
			out.WriteString(look().Text(f[1]))
		default:
			t.Fatal("unknown:", line)
		}
	}
	return out.String()
}

// TestRightSuspect: 5 s after the incident opens, every fault is named first.
func TestRightSuspect(t *testing.T) {
	tests := []struct {
		fault, want, version string
		slow                 bool
	}{
		{"bank-down", "bank", "", false},
		{"bank-slow", "bank", "", true},
		{"bad-release", "payment", "v2", false},
		{"inventory-dead", "inventory", "", false},
		{"payment-hangs", "payment", "", true},
		{"user-slow", "user", "", true},
		{"db-slow", "sqlite/order@order", "", true},
	}
	for _, tt := range tests {
		t.Run(tt.fault, func(t *testing.T) {
			s := newShop()
			for range 45 {
				s.second()
			}
			if s.open != nil {
				t.Fatalf("an incident of healthy load: %+v", s.open)
			}
			s.fault = tt.fault
			took := 0
			for s.open == nil {
				if s.second(); took > 15 {
					t.Fatal("no incident after 15 s")
				}
				took++
			}
			for _, wait := range []int{0, 5, 20} {
				for range wait {
					s.second()
				}
				d := diagnose.Doctor{Spans: s, Logs: s, Catalog: books{}}
				rep, err := d.Diagnose(context.Background(), s.now, *s.open, s.topo)
				if err != nil {
					t.Fatal(err)
				}
				o := rep.Origin
				if o.Name != tt.want || wait > 0 && (o.Version != tt.version || o.Slow != tt.slow) {
					t.Errorf("%d s after: %s %s slow=%v (%.2f) %s, want %s %s slow=%v\n%+v", wait, o.Name, o.Version, o.Slow, o.Score, o.Why, tt.want, tt.version, tt.slow, rep.Candidates)
				}
				for _, c := range rep.Candidates {
					if c.Score < 0 || c.Score > 1 {
						t.Errorf("score %v of %s", c.Score, c.Name)
					}
				}
				if wait == 0 {
					t.Logf("incident after %d s, %s scores %.2f", took, o.Name, o.Score)
				}
			}
		})
	}
}

// TestHostileText: what spans say stays text in the report.
func TestHostileText(t *testing.T) {
	s := newShop()
	s.fault = "none"
	for range 30 {
		s.second()
	}
	evil := "x\n# Fake heading\n| a | b |\n<script>alert(1)</script> [click](http://evil.example) `code` **bold** ![i](x) www.evil.example \u202eabc \x1b[31m ---"
	for k := range s.spans {
		sp := &s.spans[k]
		if k%7 == 0 && sp.Kind == store.KindServer {
			sp.Error, sp.Message, sp.Name = true, evil, evil
			sp.Service = "a|b`\n## c <b>"
		}
	}
	inc := alert.Incident{ID: "inc-1", Title: evil, TitleZh: evil, OpenedAt: s.now, Timeline: []alert.Entry{{At: s.now, Text: evil, TextZh: evil}}}
	rep, err := diagnose.Doctor{Spans: s, Logs: s}.Diagnose(context.Background(), s.now, inc, topology.Topology{})
	if err != nil {
		t.Fatal(err)
	}
	for _, md := range []string{rep.Markdown, rep.MarkdownZh} {
		for _, bad := range []string{"<script", "\n# Fake", "](", "\u202e", "\x1b", "http://evil", " www.evil", "\n| a |", "<b>"} {
			if i := strings.Index(md, bad); i >= 0 && !(bad == "](" && md[i-1] == '\\') {
				t.Errorf("%q stands in the report: %.200s", bad, md[max(0, i-60):])
			}
		}
		for n, line := range strings.Split(md, "\n") {
			if strings.HasPrefix(line, "| ") && strings.Count(line, "|")-strings.Count(line, `\|`) != 7 {
				t.Errorf("line %d: the table is broken: %s", n, line)
			}
		}
	}
}

// TestStrangeTraces: circles, double ids, clocks that differ, traces without
// end and traces of thousands.
func TestStrangeTraces(t *testing.T) {
	s := newShop()
	id := func(n byte) store.SpanID { return store.SpanID{n} }
	at := s.now
	mk := func(trace byte, i, p byte, kind store.Kind, dur time.Duration, failed bool) store.Span {
		return store.Span{Resource: store.Resource{Service: fmt.Sprint("s", i%3)}, TraceID: store.TraceID{trace}, ID: id(i), Parent: id(p),
			Kind: kind, Start: at, Duration: dur, Error: failed, Attrs: map[string]string{"peer.service": fmt.Sprint("s", p%3)}}
	}
	s.spans = []store.Span{
		mk(1, 1, 2, store.KindServer, time.Second, true), mk(1, 2, 3, store.KindClient, time.Second, true), mk(1, 3, 1, store.KindClient, time.Second, true),
		mk(2, 1, 1, store.KindServer, -time.Second, true), mk(2, 1, 1, store.KindServer, time.Hour, true),
		mk(3, 5, 9, store.KindServer, math.MaxInt64, true), mk(3, 6, 5, store.KindClient, math.MaxInt64, true),
	}
	for n := range 20000 {
		sp := mk(4, 1, 0, store.KindClient, time.Second, true)
		sp.ID = store.SpanID{1, byte(n >> 8), byte(n)}
		sp.Parent = store.SpanID{1, byte((n - 1) >> 8), byte(n - 1)}
		s.spans = append(s.spans, sp)
	}
	inc := alert.Incident{ID: "inc-1", OpenedAt: at.Add(time.Second)}
	began := time.Now()
	rep, err := diagnose.Doctor{Spans: s}.Diagnose(context.Background(), at.Add(time.Minute), inc, topology.Topology{})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	if _, err := json.Marshal(rep); err != nil {
		t.Error(err)
	}
}

func TestTooManySpansAreSampled(t *testing.T) {
	s := newShop()
	for range 45 {
		s.second()
	}
	s.fault = "bank-down"
	for range 20 {
		s.second()
	}
	d := diagnose.Doctor{Spans: s, MaxSpans: 2000}
	a, err := d.Diagnose(context.Background(), s.now, *s.open, s.topo)
	if err != nil {
		t.Fatal(err)
	}
	if a.Origin.Name != "bank" {
		t.Errorf("origin %+v of a sample, want bank", a.Origin)
	}
	full := 0
	for _, i := range a.Impact {
		if i.Service == "gateway" {
			full = i.Requests
		}
	}
	if full < 300 || full > 700 { // 25 s of 20/s
		t.Errorf("%d requests to gateway, want about 500", full)
	}
	if b, _ := d.Diagnose(context.Background(), s.now, *s.open, s.topo); !reflect.DeepEqual(a, b) {
		t.Error("the same store gives two reports")
	}
}

func TestNothingKnown(t *testing.T) {
	inc := alert.Incident{ID: "inc-1", Title: "bank is failing", Origin: "bank", OriginKind: topology.External,
		Symptoms: []alert.Symptom{{Symptom: detect.Symptom{Target: "bank", Metric: detect.ErrorShare, Value: 1}}}}
	rep, err := diagnose.Doctor{Spans: newShop(), Catalog: books{}}.Diagnose(context.Background(), time.Unix(1e9, 0), inc, topology.Topology{})
	if err != nil || rep.Origin.Name != "bank" || rep.Origin.Score != .2 || rep.Owner != "team-payments" {
		t.Errorf("%+v %v, want the deepest symptom and a low score", rep.Origin, err)
	}
	raw, _ := json.Marshal(rep)
	for _, k := range []string{`"evidence":[]`, `"impact":[]`, `"candidates":[{`} {
		if !strings.Contains(string(raw), k) {
			t.Errorf("no %s in %s", k, raw)
		}
	}
	rep, err = diagnose.Doctor{Spans: broken{}}.Diagnose(context.Background(), time.Unix(1e9, 0), inc, topology.Topology{})
	if err == nil {
		t.Errorf("the store cannot be read: %+v", rep)
	}
}

type broken struct{}

func (broken) Window(context.Context, time.Time, time.Time, func(store.Span) bool) error {
	return errors.New("disk on fire")
}

func BenchmarkDiagnose(b *testing.B) {
	s := newShop()
	for range 60 {
		s.second()
	}
	s.fault = "bank-down"
	for range 60 {
		s.second()
	}
	d := diagnose.Doctor{Spans: s, Logs: s, Catalog: books{}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Diagnose(context.Background(), s.now, *s.open, s.topo); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(s.spans)), "spans")
}
