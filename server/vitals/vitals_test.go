package vitals_test

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/surefoot-go/surefoot/server/detect"
	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/vitals"
)

var t0 = time.Date(2026, 11, 23, 4, 5, 0, 0, time.UTC)

// record is one of service's finding id; more are attributes, "name=value".
func record(service, id, state string, value float64, at time.Time, more ...string) store.Log {
	l := store.Log{
		Resource: store.Resource{Service: service, Version: "v1", Instance: service + "-1"}, At: at, Severity: 13, Body: service + " is unwell",
		Attrs: map[string]string{
			"surefoot.finding": "goroutines", "surefoot.finding.id": id, "surefoot.finding.state": state,
			"surefoot.finding.value": strconv.FormatFloat(value, 'g', -1, 64), "surefoot.finding.before": "100",
		},
	}
	for _, m := range more {
		name, v, _ := strings.Cut(m, "=")
		switch name {
		case "version":
			l.Version = v
		case "instance":
			l.Instance = v
		default:
			l.Attrs[name] = v
		}
	}
	return l
}

func TestRead(t *testing.T) {
	l := record("pay", "g-1", "open", 5812, t0, "surefoot.finding.since=2026-11-23T03:54:00Z", "surefoot.finding.per_minute=430", "surefoot.finding.limit=9000",
		"surefoot.finding.count=4812", "surefoot.finding.created=pay/receipts.go:88", "surefoot.finding.creator=pay.Send", "surefoot.finding.blocked=pay/receipts.go:91",
		"surefoot.finding.wait=chan send", "surefoot.finding.wait_s=660", "surefoot.finding.method=leak profile", "surefoot.finding.text_zh=泄漏", "trace_id=4BF92F3577B34DA6A3CE929D0E0E4736")
	got, ok := vitals.Read(l, t0.Add(time.Second))
	want := vitals.Finding{
		ID: "g-1", Kind: "goroutines", Metric: detect.GoroutineLeak, State: vitals.Open, Service: "pay", Version: "v1", Instance: "pay-1",
		Since: t0.Add(-11 * time.Minute), At: t0, Value: 5812, Before: 100, PerMinute: 430, Limit: 9000, Unit: vitals.Count,
		Count: 4812, Created: "pay/receipts.go:88", Creator: "pay.Send", Blocked: "pay/receipts.go:91", Wait: "chan send", WaitSeconds: 660,
		Method: "leak profile", Text: "pay is unwell", TextZh: "泄漏", TraceID: "4bf92f3577b34da6a3ce929d0e0e4736",
	}
	if !ok || got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if f, ok := vitals.Read(store.Log{Body: "hello", Attrs: map[string]string{"surefoot.finding.id": "x"}}, t0); ok {
		t.Errorf("%+v of a record that is no finding", f)
	}
}

// What makes no sense is put right, not believed.
func TestReadNonsense(t *testing.T) {
	soon, ago := t0.Add(time.Hour), t0.AddDate(-3, 0, 0)
	tests := []struct {
		name, attr string
		ok         func(f vitals.Finding) bool
	}{
		{"unknown kind", "surefoot.finding=frobnication", func(f vitals.Finding) bool {
			return f.Kind == "frobnication" && f.Metric == detect.OtherFinding && f.Unit == vitals.Count
		}},
		{"kind with markup", "surefoot.finding=<b>heap", func(f vitals.Finding) bool { return f.Kind == "other" }},
		{"long kind", "surefoot.finding=" + strings.Repeat("a", 40), func(f vitals.Finding) bool { return f.Kind == "other" }},
		{"unit", "surefoot.finding.unit=share", func(f vitals.Finding) bool { return f.Unit == vitals.Share }},
		{"state", "surefoot.finding.state=maybe", func(f vitals.Finding) bool { return f.State == vitals.Open }},
		{"no id", "surefoot.finding.id=", func(f vitals.Finding) bool { return f.ID == "goroutines" }},
		{"NaN", "surefoot.finding.value=NaN", func(f vitals.Finding) bool { return f.Value == 0 }},
		{"infinity", "surefoot.finding.value=+Inf", func(f vitals.Finding) bool { return f.Value == 1e15 }},
		{"negative", "surefoot.finding.value=-5", func(f vitals.Finding) bool { return f.Value == 0 }},
		{"words for a number", "surefoot.finding.count=many", func(f vitals.Finding) bool { return f.Count == 0 }},
		{"since in the future", "surefoot.finding.since=" + soon.Format(time.RFC3339), func(f vitals.Finding) bool { return f.Since.Equal(t0) }},
		{"since long ago", "surefoot.finding.since=" + ago.Format(time.RFC3339), func(f vitals.Finding) bool { return f.Since.Equal(t0) }},
		{"no since", "surefoot.finding.since=yesterday", func(f vitals.Finding) bool { return f.Since.Equal(t0) }},
		{"no trace", "trace_id=none", func(f vitals.Finding) bool { return f.TraceID == "" }},
		{"zero trace", "trace_id=" + strings.Repeat("0", 32), func(f vitals.Finding) bool { return f.TraceID == "" }},
		{"lines", "surefoot.finding.created=a\nb\x1b[31m\u202ec\tgo:1", func(f vitals.Finding) bool { return f.Created == "a b[31mc go:1" }},
		{"long", "surefoot.finding.created=" + strings.Repeat("协", 300), func(f vitals.Finding) bool {
			return f.Created == strings.Repeat("协", 66)+"…"
		}},
	}
	for _, tt := range tests {
		if f, ok := vitals.Read(record("pay", "g", "open", 200, t0, tt.attr), t0); !ok || !tt.ok(f) {
			t.Errorf("%s: %+v", tt.name, f)
		}
	}
}

// show is the board in short: state, service/instance/id and value of each.
func show(b *vitals.Board) string {
	var out []string
	for _, f := range b.Findings() {
		s := fmt.Sprintf("%s %s/%s %g", f.State, f.Instance, f.ID, f.Value)
		if f.Expired {
			s += " expired"
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

func TestLife(t *testing.T) {
	var b vitals.Board
	at := func(s int) time.Time { return t0.Add(time.Duration(s) * time.Second) }
	told := 0
	for _, step := range []struct {
		at     int
		logs   []store.Log
		want   string
		events int // told since the step before
	}{
		{0, []store.Log{record("pay", "g", "open", 200, at(0))}, "open pay-1/g 200", 1},
		{30, []store.Log{record("pay", "g", "open", 220, at(30))}, "open pay-1/g 220", 0},
		{60, []store.Log{record("pay", "g", "open", 260, at(60))}, "open pay-1/g 260", 1}, // 160 of growth, it was 100
		{61, []store.Log{record("pay", "g", "open", 210, at(29))}, "open pay-1/g 260", 0}, // overtaken
		{90, []store.Log{record("pay", "g", "closed", 100, at(90))}, "closed pay-1/g 260", 1},
		{91, []store.Log{record("pay", "g", "open", 230, at(89))}, "closed pay-1/g 260", 0}, // late
		{92, []store.Log{record("pay", "g", "closed", 0, at(92))}, "closed pay-1/g 260", 0},
		{100, []store.Log{record("pay", "g", "open", 300, at(100))}, "open pay-1/g 300", 1}, // again
		{189, nil, "open pay-1/g 300", 0},
		{190, nil, "closed pay-1/g 300 expired", 1},
		{200, []store.Log{record("bad", "x", "closed", 1, at(200))}, "closed pay-1/g 300 expired", 0}, // never opened
		{3600 + 189, nil, "closed pay-1/g 300 expired", 0},
		{3600 + 190, nil, "", 0},
	} {
		b.Fold(step.logs, at(step.at))
		_, changed := b.Step(at(step.at))
		if got := show(&b); got != step.want || len(changed) != step.events {
			t.Errorf("at %d: %q with %d told, want %q with %d", step.at, got, len(changed), step.want, step.events)
		}
		told += len(changed)
	}
	if n := b.Refused(); n != 0 {
		t.Errorf("%d refused", n)
	}
}

// What is told only as it happens is counted and closes after quiet minutes.
func TestHappenings(t *testing.T) {
	var b vitals.Board
	log := func(at time.Time, attrs ...string) store.Log {
		l := store.Log{Resource: store.Resource{Service: "pay", Version: "v1", Instance: "pay-1"}, At: at, Body: "cart and books are locked in both orders", Attrs: map[string]string{}}
		for _, a := range attrs {
			name, v, _ := strings.Cut(a, "=")
			l.Attrs[name] = v
		}
		return l
	}
	refused := func(l store.Log) store.Log { l.Body = "pipe: refused"; return l }
	for n := range 3 {
		at := t0.Add(time.Duration(n) * time.Minute)
		b.Fold([]store.Log{
			log(at, "surefoot.lock.problem=order", "surefoot.lock=cart", "surefoot.lock.other=books"),
			refused(log(at, "cause=forged", "peer=10.0.0.7:4242", "refused=20", "what=a record that does not open")),
			refused(log(at, "cause=probe", "peer=10.0.0.1:1")),
			log(at, "cause=forged"),
			log(at, "surefoot.finding=lock"), // the name is taken
		}, at)
	}
	now := t0.Add(2 * time.Minute)
	symptoms, _ := b.Step(now)
	var lines []string
	for _, s := range symptoms {
		lines = append(lines, fmt.Sprintf("%s %g %s: %s", s.Metric, s.Value, s.Finding.Created, s.Finding.Text))
	}
	want := []string{
		"finding 0 : cart and books are locked in both orders",
		"lock_problem 3 cart: cart and books are locked in both orders",
		"pipe_refusal 60 10.0.0.7:4242: its pipe refused: forged, last from 10.0.0.7:4242: a record that does not open",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	if symptoms, _ := b.Step(now.Add(5 * time.Minute)); len(symptoms) != 2 {
		t.Errorf("after 5 minutes %+v", symptoms)
	}
	if symptoms, _ := b.Step(now.Add(10 * time.Minute)); len(symptoms) != 0 {
		t.Errorf("after 10 minutes %+v", symptoms)
	}
}

// A clock that was set back does not hide a finding for ever.
func TestClockSetBack(t *testing.T) {
	var b vitals.Board
	b.Fold([]store.Log{record("pay", "g", "open", 200, t0)}, t0)
	for s := 30; s <= 240; s += 30 {
		now := t0.Add(time.Duration(s) * time.Second)
		b.Fold([]store.Log{record("pay", "g", "open", 300, now.Add(-time.Hour))}, now)
		b.Step(now)
	}
	if got := show(&b); got != "open pay-1/g 300" {
		t.Error(got)
	}
}

// Instances of one service and one complaint are one symptom: the worst speaks,
// and the first names the version.
func TestSymptoms(t *testing.T) {
	var b vitals.Board
	b.Fold([]store.Log{
		record("pay", "g", "open", 300, t0, "instance=a", "version=v3", "surefoot.finding.since=2026-11-23T04:01:00Z", "surefoot.finding.text_zh=一"),
		record("pay", "g", "open", 900, t0, "instance=b", "version=v4", "surefoot.finding.since=2026-11-23T04:03:00Z", "surefoot.finding.text_zh=二", "surefoot.finding.created=x.go:1"),
		record("pay", "h", "open", 9e8, t0, "surefoot.finding=heap", "surefoot.finding.limit=1e9"),
		record("pay", "d", "closed", 1, t0, "surefoot.finding=descriptors"),
		record("user", "d", "open", 700, t0, "surefoot.finding=descriptors", "surefoot.finding.limit=1024", "surefoot.finding.per_minute=40"),
		record("user", "t", "open", 700, t0, "surefoot.finding=timers", "surefoot.finding.limit=10240", "surefoot.finding.per_minute=40"),
	}, t0)
	got, _ := b.Step(t0)
	var lines []string
	for _, s := range got {
		lines = append(lines, fmt.Sprintf("%s %s %g of %g since %s, %s of %d, near=%v, %s %s", s.Target, s.Metric, s.Value, s.Baseline, s.Since.Format("15:04"), s.Finding.Version, s.Finding.Instances, s.Finding.Near, s.Finding.TextZh, s.Finding.Created))
		if !s.Found() {
			t.Errorf("%+v is no finding", s)
		}
	}
	want := []string{
		"pay goroutine_leak 900 of 100 since 04:01, v3 of 2, near=false, 二 x.go:1",
		"pay heap_growth 9e+08 of 100 since 04:05, v1 of 1, near=true, pay is unwell ",
		"user descriptor_leak 700 of 100 since 04:05, v1 of 1, near=true, user is unwell ",
		"user timer_growth 700 of 100 since 04:05, v1 of 1, near=false, user is unwell ",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

// However many findings come, a Board stays of a size, what is closed goes
// first, and one service cannot push out another's.
func TestBounds(t *testing.T) {
	b := vitals.Board{PerService: 4, Most: 10}
	now := t0
	put := func(service, id, state string) { b.Fold([]store.Log{record(service, id, state, 200, now)}, now) }
	put("good", "g", "open")
	for n := range 20 {
		put("bad", fmt.Sprint(n), "open")
	}
	if got := b.Refused(); got != 16 || len(b.Findings()) != 5 {
		t.Errorf("%d refused, %s", got, show(&b))
	}
	now = now.Add(time.Second)
	put("bad", "1", "closed")
	put("bad", "new", "open")
	if got := show(&b); strings.Contains(got, "bad-1/1 ") || !strings.Contains(got, "bad-1/new ") {
		t.Error(got)
	}
	for n := range 20 {
		put(fmt.Sprint("s", n), "g", "open")
	}
	if got := len(b.Findings()); got != 10 {
		t.Errorf("%d findings", got)
	}
	if got := show(&b); !strings.Contains(got, "good-1/g") {
		t.Error(got)
	}
	if _, changed := b.Step(now); len(changed) != 10 {
		t.Errorf("%d told", len(changed))
	}
	now = now.Add(3 * time.Hour)
	b.Step(now)
	now = now.Add(3 * time.Hour)
	if b.Step(now); len(b.Findings()) != 0 {
		t.Error("not all is forgotten")
	}
	put("good", "g", "open")
	if len(b.Findings()) != 1 {
		t.Error("no room after all was forgotten")
	}
}

func FuzzBoard(f *testing.F) {
	f.Add("goroutines", "g", "open", "5812", "2026-11-23T03:54:00Z", "a.go:1", "body", "pay", int64(0))
	f.Add("", "", "closed", "-1e400", "x", "\x1b]0;\xff\u202e", "<script>", "", int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, kind, id, state, value, since, place, body, service string, at int64) {
		b := vitals.Board{PerService: 2, Most: 3}
		l := store.Log{Resource: store.Resource{Service: service, Version: id, Instance: place}, At: time.Unix(0, at), Body: body, Attrs: map[string]string{
			"surefoot.finding": kind, "surefoot.finding.id": id, "surefoot.finding.state": state, "surefoot.finding.value": value, "surefoot.finding.since": since,
			"surefoot.finding.created": place, "surefoot.finding.text_zh": body, "trace_id": id, "surefoot.finding.limit": value, "surefoot.finding.per_minute": value,
			"surefoot.lock.problem": state, "surefoot.lock": place, "cause": kind, "peer": place, "refused": value, "what": body,
		}}
		for n := range 6 {
			now := t0.Add(time.Duration(n) * 40 * time.Second)
			b.Fold([]store.Log{l, l}, now)
			symptoms, _ := b.Step(now)
			for _, s := range symptoms {
				if math.IsNaN(s.Value) || math.IsInf(s.Value, 0) || s.At.After(now) || s.Since.After(s.At) {
					t.Errorf("%+v", s)
				}
			}
			for _, got := range b.Findings() {
				for _, s := range []string{got.ID, got.Kind, got.Service, got.Version, got.Instance, got.Created, got.Text, got.TextZh, got.TraceID} {
					if !utf8.ValidString(s) || len(s) > 610 || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }) {
						t.Errorf("%q", s)
					}
				}
			}
			l.Instance += "x"
		}
		if n := len(b.Findings()); n > 3 {
			t.Errorf("%d findings", n)
		}
	})
}
