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
}

// Is tells whether a log record is one of a finding.
func Is(l store.Log) bool { return l.Attrs[attrKind] != "" }

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
	case "s", "s/s":
		f.Unit = Seconds
	case "bytes", "By":
		f.Unit = Bytes
	}
	if a[attrState] == Closed {
		f.State = Closed
	}
	f.ID = cmp.Or(clean(a[attrID], maxName), strings.TrimSpace(f.Kind+" "+f.Created))
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
	return min(max(v, 0), 1e15)
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
