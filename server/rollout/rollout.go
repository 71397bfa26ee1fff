// Package rollout judges a release while it takes traffic: it is handed the
// calls of the canary version, second by second, and says when to take the
// version off.
//
//	var m rollout.Machine // error share over 3 % for 30 s
//	for each second {
//		a := m.Step(now, rollout.Sample{Version: "v2", Good: good, Bad: bad})
//		if a.Verdict == rollout.Rollback { write weight 0, mark the version for review }
//	}
//
// It is pure: it reads no clock, starts no goroutine and opens no connection.
// It compares the canary with a fixed limit only; it does not compare it with
// the stable version, and it does not raise the weight of a good one.
package rollout

import (
	"fmt"
	"math"
	"time"
)

// Rule is when a version goes off traffic: its share of failed calls stays over
// MaxErrorShare for the length For. The zero value is "error rate over 3 % for
// 30 s", the rule of the reference release process.
//
// The share is measured over the last third of For, or further back until
// MinSamples calls are in sight (at most 10 minutes).
type Rule struct {
	MaxErrorShare float64       // 0..1, exceeded when strictly over; 0 means 0.03, negative means never roll back
	For           time.Duration // how long without a break; 0 means 30s, negative means at once
	// MinSamples is how many calls it takes to judge at all; 0 means 10, negative
	// means 1. Besides, the share must be over MaxErrorShare with one failure
	// taken away: one alone never decides, however few the calls.
	MinSamples int
}

const (
	defaultShare = 0.03
	defaultFor   = 30 * time.Second
	memory       = 10 * time.Minute // calls older than this are forgotten
	defaultCalls = 10
	resolution   = time.Second // calls nearer to each other are counted together
)

// OrDefault returns r with its defaults written out.
func (r Rule) OrDefault() Rule {
	if r.MaxErrorShare == 0 || math.IsNaN(r.MaxErrorShare) {
		r.MaxErrorShare = defaultShare
	}
	if r.For == 0 {
		r.For = defaultFor
	}
	r.For = max(r.For, 0)
	switch {
	case r.MinSamples < 0:
		r.MinSamples = 1
	case r.MinSamples == 0:
		r.MinSamples = defaultCalls
	}
	return r
}

// Sample is what finished since the step before: calls that Version answered,
// by outcome. Bad means the callee's fault; a caller's mistake is Good.
// Negative counts are read as 0.
type Sample struct {
	Version   string
	Good, Bad int
}

// Verdict is what to do.
type Verdict uint8

const (
	Keep     Verdict = iota // leave the version where it is
	Rollback                // take the version off traffic
)

// String returns "keep" or "rollback".
func (v Verdict) String() string {
	if v == Rollback {
		return "rollback"
	}
	return "keep"
}

// Action is the answer to one step, with the evidence for it.
type Action struct {
	Verdict  Verdict
	Version  string    // the version judged
	Since    time.Time // since when the share has been over the limit; zero when it is not
	Calls    int       // calls since Since
	Failed   int       // of which failed
	Reason   string    // why, for a person; empty for Keep with the share under the limit
	ReasonZh string    // the same in Chinese
}

// Machine judges one version of one service by one Rule. The zero value is
// ready. A new Version in a sample starts it afresh. It is not safe for
// concurrent use; set Rule before the first step.
type Machine struct {
	Rule Rule

	version string
	seen    []bucket // oldest first
	last    time.Time
	since   time.Time // start of the time over the limit; zero when under
	lastBad time.Time // newest failed call since then
	streak  count     // calls since then
	verdict Action    // kept once it is Rollback
}

type count struct{ calls, bad int }

type bucket struct {
	at time.Time
	count
}

// over tells whether the share of failed calls in c exceeds limit.
func (c count) over(limit float64) bool {
	return limit >= 0 && c.calls > 0 && float64(c.bad) > limit*float64(c.calls)
}

// plainly tells whether it still does with one failure taken away.
func (c count) plainly(limit float64) bool {
	return count{calls: c.calls, bad: c.bad - 1}.over(limit)
}

// Step folds one sample into m and says what to do. now must not run backwards;
// where it does, the step counts as taken at the latest time seen. A pause
// between steps longer than the rule's For starts the measuring afresh: nobody
// watched. Rollback is repeated on every further step for the same version, so
// that a caller whose write failed can simply try again, until Reset.
func (m *Machine) Step(now time.Time, s Sample) Action {
	r := m.Rule.OrDefault()
	if s.Version != m.version {
		m.Reset()
		m.version = s.Version
	}
	if m.verdict.Verdict == Rollback {
		return m.verdict
	}
	if now.Before(m.last) {
		now = m.last
	}
	if !m.last.IsZero() && now.Sub(m.last) > max(r.For, resolution) {
		m.forget()
	}
	m.last = now
	got := count{bad: max(s.Bad, 0)}
	got.calls = got.bad + max(s.Good, 0)
	m.remember(now, got)

	recent := m.recent(now, r)
	if !recent.over(r.MaxErrorShare) {
		m.since, m.lastBad, m.streak = time.Time{}, time.Time{}, count{}
		return Action{Version: m.version}
	}
	if m.since.IsZero() {
		m.since = now
	}
	m.streak.calls += got.calls
	m.streak.bad += got.bad
	if got.bad > 0 {
		m.lastBad = now
	}
	a := Action{Version: m.version, Since: m.since, Calls: m.streak.calls, Failed: m.streak.bad}
	// Time runs from the first failure to the newest one: good calls that
	// follow a shorter trouble must not fill up the time.
	lasted := m.lastBad.Sub(m.since)
	if m.lastBad.IsZero() || lasted < r.For || m.streak.calls < r.MinSamples || !m.streak.plainly(r.MaxErrorShare) {
		a.Reason, a.ReasonZh = watching(m.streak, r)
		return a
	}
	a.Verdict = Rollback
	a.Reason, a.ReasonZh = rollback(m.version, m.streak, lasted, r)
	m.verdict = a
	return a
}

// Reset forgets everything but the rule.
func (m *Machine) Reset() {
	*m = Machine{Rule: m.Rule, seen: m.seen[:0]}
}

// forget drops what was measured and keeps the version.
func (m *Machine) forget() {
	v := m.version
	m.Reset()
	m.version = v
}

func (m *Machine) remember(now time.Time, c count) {
	if c.calls > 0 {
		if n := len(m.seen); n > 0 && now.Sub(m.seen[n-1].at) < resolution {
			m.seen[n-1].calls += c.calls
			m.seen[n-1].bad += c.bad
		} else {
			m.seen = append(m.seen, bucket{now, c})
		}
	}
	old := 0
	for old < len(m.seen) && now.Sub(m.seen[old].at) >= memory {
		old++
	}
	m.seen = append(m.seen[:0], m.seen[old:]...)
}

// recent counts back from now over a third of the rule's length, or further
// until enough calls are in sight.
func (m *Machine) recent(now time.Time, r Rule) count {
	var c count
	for i := len(m.seen) - 1; i >= 0; i-- {
		b := m.seen[i]
		if now.Sub(b.at) >= max(r.For/3, resolution) && c.calls >= r.MinSamples {
			break
		}
		c.calls += b.calls
		c.bad += b.bad
	}
	return c
}

func watching(c count, r Rule) (en, zh string) {
	return fmt.Sprintf("error share %s, over %s; rolled back if it lasts %s over at least %d calls",
			percent(c), limit(r), r.For, r.MinSamples),
		fmt.Sprintf("错误率 %s，超过 %s；若持续 %s 且不少于 %d 次调用，将自动回滚",
			percent(c), limit(r), r.For, r.MinSamples)
}

func rollback(version string, c count, lasted time.Duration, r Rule) (en, zh string) {
	lasted = lasted.Round(time.Second)
	return fmt.Sprintf("version %s: error share %s for %s (%d of %d calls failed), rule: over %s for %s",
			version, percent(c), lasted, c.bad, c.calls, limit(r), r.For),
		fmt.Sprintf("版本 %s：错误率 %s，已持续 %s（%d 次调用中 %d 次失败），规则：超过 %s 持续 %s",
			version, percent(c), lasted, c.calls, c.bad, limit(r), r.For)
}

func percent(c count) string {
	return fmt.Sprintf("%.1f %%", 100*float64(c.bad)/float64(max(c.calls, 1)))
}

func limit(r Rule) string { return fmt.Sprintf("%.3g %%", 100*r.MaxErrorShare) }
