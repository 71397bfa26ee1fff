package vitals

import (
	"cmp"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/surefoot-go/surefoot/server/detect"
	"github.com/surefoot-go/surefoot/server/store"
)

// The attributes of a record, see Finding.
const (
	attrKind  = "surefoot.finding"
	attrID    = "surefoot.finding.id"
	attrState = "surefoot.finding.state"
	attrLock  = "surefoot.lock.problem"
)

// Bounds of texts, in bytes. A sentence of the library has about 250.
const (
	maxText  = 600
	maxPlace = 200
	maxWord  = 32
	maxName  = 200 // of a service, version, instance or id
)

// kinds are the kinds that have a name and a unit of their own.
var kinds = map[string]struct{ metric, unit string }{
	"goroutines":  {detect.GoroutineLeak, Count},
	"heap":        {detect.HeapGrowth, Bytes},
	"descriptors": {detect.DescriptorLeak, Count},
	"timers":      {detect.TimerGrowth, Count},
	"gc":          {detect.GCPressure, Seconds},
	"scheduler":   {detect.SchedulerLatency, Seconds},
	"mutex":       {detect.LockContention, Seconds},
	"stack":       {detect.StackGrowth, Bytes},
	lockKind:      {detect.LockProblem, Count},
	pipeKind:      {detect.PipeRefusal, Count},
}

const (
	lockKind = "lock"
	pipeKind = "pipe"
)

// happens are the kinds that are told as they happen.
var happens = map[string]bool{lockKind: true, pipeKind: true}

// Is tells whether a log record is one of a finding.
func Is(l store.Log) bool {
	return len(l.Attrs) > 0 && (l.Attrs[attrKind] != "" || l.Attrs[attrLock] != "" || cause(l) != "")
}

// cause is why package pipe refused something; "" for any other record.
func cause(l store.Log) string {
	if l.Body == "pipe: refused" && l.Attrs["cause"] != "probe" { // a probe is a balancer that looks
		return l.Attrs["cause"]
	}
	return ""
}

// Read turns a log record into a Finding; ok is false when it is none. now is
// when it arrived. What is missing or makes no sense is left at zero or put
// right: a record can say anything.
func Read(l store.Log, now time.Time) (f Finding, ok bool) {
	if !Is(l) {
		return Finding{}, false
	}
	a := l.Attrs
	f = Finding{
		Kind: word(a[attrKind]), State: Open, Service: cmp.Or(clean(l.Service, maxName), "unknown_service"), Version: clean(l.Version, maxName), Instance: clean(l.Instance, maxName),
		At: l.At.UTC().Truncate(time.Millisecond), Unit: Count, Metric: detect.OtherFinding,
		Value: number(a["surefoot.finding.value"]), Before: number(a["surefoot.finding.before"]),
		PerMinute: number(a["surefoot.finding.per_minute"]), Limit: number(a["surefoot.finding.limit"]),
		Count: int64(number(a["surefoot.finding.count"])), WaitSeconds: number(a["surefoot.finding.wait_s"]),
		Created: clean(a["surefoot.finding.created"], maxPlace), Creator: clean(a["surefoot.finding.creator"], maxPlace),
		Blocked: clean(a["surefoot.finding.blocked"], maxPlace), Wait: clean(a["surefoot.finding.wait"], maxPlace),
		Method: clean(a["surefoot.finding.method"], maxPlace),
		Text:   clean(l.Body, maxText), TextZh: clean(a["surefoot.finding.text_zh"], maxText), TraceID: trace(a["trace_id"], l.TraceID),
	}
	if k, known := kinds[f.Kind]; known {
		f.Metric, f.Unit = k.metric, k.unit
	}
	switch a["surefoot.finding.unit"] {
	case "share":
		f.Unit = Share
	case "s":
		f.Unit = Seconds
	case "s/s":
		f.Unit = Waiting
	case "bytes", "By":
		f.Unit = Bytes
	}
	if a[attrState] == Closed {
		f.State = Closed
	}
	f.Version = cmp.Or(f.Version, clean(a["surefoot.finding.version"], maxName))
	f.ID = clean(a[attrID], maxName)
	happened(&f, a, cause(l))
	f.ID = cmp.Or(f.ID, strings.TrimSpace(f.Kind+" "+f.Created))
	f.Text = cmp.Or(f.Text, strings.TrimSpace(f.Kind+" "+f.Created))
	f.TextZh = cmp.Or(f.TextZh, f.Text)
	if f.At.After(now) {
		f.At = now.UTC().Truncate(time.Millisecond)
	}
	f.Since = f.At
	if t, err := time.Parse(time.RFC3339Nano, a["surefoot.finding.since"]); err == nil && t.Before(f.At) && t.After(f.At.AddDate(-1, 0, 0)) {
		f.Since = t.UTC().Truncate(time.Millisecond)
	}
	return f, true
}

// happened fills in a record that is told as it happens.
func happened(f *Finding, a map[string]string, cause string) {
	switch {
	case a[attrKind] != "":
		if happens[f.Kind] { // the names are taken
			f.Kind, f.Metric, f.Unit = "other", detect.OtherFinding, Count
		}
		return
	case a[attrLock] != "":
		f.Kind, f.Count = lockKind, 1
		f.Created, f.Wait = clean(a["surefoot.lock"], maxPlace), clean(a[attrLock], maxPlace)
		f.Blocked, f.WaitSeconds = clean(a["surefoot.lock.other"], maxPlace), number(a["surefoot.lock.for_s"])
		f.ID = lockKind + " " + f.Wait + " " + f.Created + " " + f.Blocked
	default:
		f.Kind, f.Count = pipeKind, max(1, int64(number(a["refused"])))
		f.Created, f.Wait = clean(a["peer"], maxPlace), clean(cause, maxPlace)
		f.ID = pipeKind + " " + f.Wait // whoever the peers are: there may be many
		what := clean(a["what"], maxPlace)
		f.Text = "its pipe refused: " + f.Wait + ", last from " + f.Created + ": " + what
		f.TextZh = "pipe 拒绝：" + f.Wait + "，最近来自 " + f.Created + "：" + what
	}
	f.State, f.Metric, f.Unit, f.Value, f.Before = Open, kinds[f.Kind].metric, Count, float64(f.Count), 0
}

// Fold takes in the records of findings among logs, which arrived at now.
func (b *Board) Fold(logs []store.Log, now time.Time) {
	now = now.UTC().Truncate(time.Millisecond)
	for i := range logs {
		if f, ok := Read(logs[i], now); ok {
			b.note(f, now)
		}
	}
}

// number is never negative, NaN or without bound.
func number(s string) float64 {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(v) {
		return 0
	}
	return min(max(v, 0), most)
}

// word is a kind: a short name that may stand in a query or an address.
func word(s string) string {
	if len(s) > maxWord {
		return "other"
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' && r != '-' {
			return "other"
		}
	}
	return s
}

func trace(s string, own store.TraceID) string {
	s = strings.ToLower(s)
	if len(s) == 32 && strings.Trim(s, "0123456789abcdef") == "" && strings.Trim(s, "0") != "" {
		return s
	}
	if own.IsZero() {
		return ""
	}
	return own.String()
}

// clean makes a text from outside one line of at most limit bytes that shows
// as what it is: no control characters, nothing that turns the direction of
// reading.
func clean(s string, limit int) string {
	if len(s) > limit {
		for limit > 0 && !utf8.RuneStart(s[limit]) {
			limit--
		}
		s = s[:limit] + "…"
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == utf8.RuneError, r == '\u2028', r == '\u2029':
			return -1
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}
