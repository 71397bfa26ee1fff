package detect

import (
	"math"
	"time"

	"github.com/surefoot-go/surefoot/server/topology"
)

// reach is how many seconds a track remembers one by one.
const reach = 60

// lag is how old, in seconds, a second must be before it is learnt from: by
// then a fault that began in it has shown.
const lag = 10

// known is how many calls must have been learnt from before their habits count;
// until then no slowness is a symptom, and failures only where 3 s differ from
// at least 50 calls before or half of the calls fail.
const known = 100

// halfLife of what is usual, in seconds that had calls.
const halfLife = 300

// latest is the window, in seconds, that a symptom's value is read from.
const latest = 10

// second is the calls counted in one second.
type second struct {
	sec           int64
	calls, errors uint64
	hist          [topology.Buckets]uint32
}

// track is one target in one view.
type track struct {
	stat     topology.Stat // as last shown
	sec      int64         // when
	first    int64         // second of the first call; 0 before
	lastCall int64
	lastWish int64 // last call made or refused by a caller's guard
	learnt   int64 // newest second that went, or was kept from going, into the past
	ring     [reach]second
	past     past
	doubt    int64 // since when suspect; 0 when not
	errors   sign
	slow     sign
}

// past is what is usual; decayed counts.
type past struct {
	calls, errors float64
	hist          [topology.Buckets]float64
}

// sign is the state of one metric.
type sign struct {
	on      bool
	since   int64
	fired   int64   // last second in which it looked like a new symptom
	after   int64   // seconds up to this one are settled
	size    float64 // largest share that fired
	lastBad int64
	goodRun uint64 // calls since the last bad one
	value   float64
	samples int
	at      int64
	usual   float64
}

// observe takes in the totals as of sec.
func (t *track) observe(sec int64, s *topology.Stat, set *Settings) {
	calls, errors, rejected := s.Calls, s.Errors, s.Rejected
	old := t.stat
	if s.Calls < old.Calls { // forgotten and found again: totals began anew
		old = topology.Stat{}
	}
	calls -= old.Calls
	errors -= old.Errors
	rejected -= old.Rejected
	t.sec = sec
	if calls > 0 {
		if t.first == 0 {
			t.first, t.learnt = sec, sec
		}
		t.lastCall = sec
	}
	if calls > 0 || rejected > 0 {
		t.lastWish = sec
	}
	if calls > 0 && sec-t.first >= int64(set.WarmUp/time.Second) {
		slot := &t.ring[sec%reach]
		if slot.sec != sec {
			*slot = second{sec: sec}
		}
		slot.calls += calls
		slot.errors += errors
		for i := range s.Latency {
			slot.hist[i] += uint32(s.Latency[i] - old.Latency[i])
		}
	}
	t.stat = *s
	t.learn(sec)
}

// learn moves seconds older than lag into the past, unless they are in doubt.
func (t *track) learn(sec int64) {
	skip := t.errors.on || t.slow.on || t.doubt != 0 && sec-t.doubt < halfLife
	for s := max(t.learnt+1, sec-reach+1); s <= sec-lag; s++ {
		t.learnt = s
		slot := &t.ring[s%reach]
		if slot.sec != s || slot.calls == 0 || skip {
			continue
		}
		const keep = 0.99769 // 2^(-1/halfLife)
		t.past.calls = t.past.calls*keep + float64(slot.calls)
		t.past.errors = t.past.errors*keep + float64(slot.errors)
		for i := range t.past.hist {
			t.past.hist[i] = t.past.hist[i]*keep + float64(slot.hist[i])
		}
	}
}

// quantile of the past in milliseconds; the bucket's upper bound, so that it
// errs to the quiet side.
func (p *past) quantile(q float64) float64 {
	rank, seen := q*p.calls, 0.0
	for i, c := range p.hist {
		if seen += c; seen >= rank {
			return min(topology.Bound(i), topology.Bound(topology.Buckets-2))
		}
	}
	return 0
}

// judge updates both metrics and returns those that are symptoms.
func (t *track) judge(sec int64, now time.Time, set *Settings, rival bool) []Symptom {
	if t.first == 0 {
		return nil
	}
	var out []Symptom
	doubt := false
	// With nothing learnt yet, one failure in a hundred calls is taken as usual.
	usual := (t.past.errors + 1) / (t.past.calls + 100)
	share := 0.0
	if t.past.calls > 0 {
		share = t.past.errors / t.past.calls
	}
	bad := func(s *second) uint64 { return s.errors }
	windows, least := errorWindows, set.Errors
	if t.past.calls < known {
		// Young: what came before the last 3 s stands for the past, if it is enough.
		if w := t.tally(0, sec-3, bad, false); w.calls >= known/2 {
			usual = float64(w.bad+1) / float64(w.calls+10)
			windows = windows[:1]
		} else {
			least = 0.5
		}
	}
	d := t.measure(&t.errors, sec, bad, max(1.5*usual, 0.005), windows, least, 2, set)
	doubt = doubt || d
	if t.update(&t.errors, sec, set, rival, 1.5*usual, share, func(w tally) float64 { return float64(w.bad) / float64(w.calls) }, bad) {
		out = append(out, t.symptom(&t.errors, ErrorShare, now))
	}
	if t.past.calls >= known || t.slow.on {
		p99 := t.past.quantile(.99)
		limit := max(set.Factor*p99, p99+float64(set.Above)/1e6)
		from := topology.Buckets - 1
		for i := range topology.Buckets {
			if topology.Bound(i) >= limit {
				from = i + 1
				break
			}
		}
		slow := func(s *second) (n uint64) {
			for i := from; i < topology.Buckets; i++ {
				n += uint64(s.hist[i])
			}
			return n
		}
		tail := 0.0
		for i := from; i < topology.Buckets; i++ {
			tail += t.past.hist[i]
		}
		p := max(0.01, 1.5*tail/max(t.past.calls, 1))
		d := t.measure(&t.slow, sec, slow, p, slowWindows, set.Slow, 3, set)
		doubt = doubt || d
		if t.update(&t.slow, sec, set, rival, 1.5*p, p99, func(w tally) float64 { return w.hist.Quantile(.99) }, slow) {
			out = append(out, t.symptom(&t.slow, LatencyP99, now))
		}
	}
	switch {
	case !doubt:
		t.doubt = 0
	case t.doubt == 0:
		t.doubt = sec
	}
	return out
}

// tally is the calls of some seconds.
type tally struct {
	calls, bad uint64
	busy       int // seconds with a bad call
	hist       topology.Histogram
}

// tally adds up the seconds behind after, up to sec.
func (t *track) tally(after, sec int64, bad func(*second) uint64, hist bool) (w tally) {
	for s := max(after+1, t.sec-reach+1, 0); s <= sec; s++ {
		slot := &t.ring[s%reach]
		if slot.sec != s {
			continue
		}
		b := bad(slot)
		w.calls += slot.calls
		w.bad += b
		if b > 0 {
			w.busy++
		}
		if hist {
			for i, c := range slot.hist {
				w.hist[i] += uint64(c)
			}
		}
	}
	return w
}

// window is a stretch of the latest seconds and the share in it that is large.
type window struct {
	seconds int64
	share   float64
}

// A busy host stops for a second now and then, which is slow for all calls of
// that second: so what is slow has no 3 s window.
var (
	errorWindows = []window{{3, .2}, {latest, .1}, {reach, 0}}
	slowWindows  = []window{{latest, .2}, {reach, 0}}
)

// measure looks for a new symptom in the windows and notes it in s. In the
// longest of them least is large. It returns whether the present is in doubt:
// unlikely, if not impossible.
func (t *track) measure(s *sign, sec int64, bad func(*second) uint64, usual float64, windows []window, least float64, busy int, set *Settings) (doubt bool) {
	now := &t.ring[sec%reach]
	if now.sec == sec && now.calls > 0 {
		if b := bad(now); b > 0 {
			s.lastBad, s.goodRun = sec, now.calls-b
		} else {
			s.goodRun += now.calls
		}
	}
	for _, win := range windows {
		w := t.tally(max(sec-win.seconds, s.after), sec, bad, false)
		if w.bad == 0 {
			continue
		}
		share, large := float64(w.bad)/float64(w.calls), max(win.share, least)
		if share < max(large/2, 2*usual) {
			continue
		}
		p := chance(w.calls, w.bad, usual)
		doubt = doubt || p < 1e-4
		// One burst is a hiccup, unless it was the end of all calls.
		lasting := w.busy >= busy || s.goodRun == 0 && sec-s.lastBad >= 2
		if share >= large && w.bad >= uint64(set.MinBad) && p < set.Chance && lasting {
			s.fired, s.size = sec, max(s.size, share)
		}
	}
	return doubt
}

// update turns a sign on or off and returns whether it is on. calm is the
// share that may be usual.
func (t *track) update(s *sign, sec int64, set *Settings, rival bool, calm, usual float64, value func(tally) float64, bad func(*second) uint64) bool {
	if s.fired == sec && !s.on && rival {
		s.on, s.since = true, t.onset(sec, bad)
		s.usual = usual
	}
	if !s.on {
		s.size = 0
		return false
	}
	w := t.tally(max(sec-latest, s.since-1), sec, bad, true)
	if w.calls > 0 {
		s.value, s.samples, s.at = value(w), int(w.calls), sec
	}
	quiet := set.Quiet
	if t.stat.Service != "" && rival {
		quiet = set.Retired
	}
	// What was small takes longer to be seen gone.
	calm = max(calm, min(0.02, s.size/4))
	if s.size < .2 {
		w = t.tally(sec-3*latest, sec, bad, false)
	}
	switch {
	case w.calls >= 10 && float64(w.bad) <= calm*float64(w.calls),
		s.goodRun >= 5 && sec-s.lastBad >= latest,
		sec-t.lastWish >= int64(quiet/time.Second):
		s.on, s.after = false, sec
	}
	return s.on
}

// onset walks back to the second in which the bad calls began: two seconds of
// good calls alone end the walk.
func (t *track) onset(sec int64, bad func(*second) uint64) int64 {
	began, good := sec, 0
	for s := sec; s > max(sec-reach, 0) && good < 2; s-- {
		slot := &t.ring[s%reach]
		switch {
		case slot.sec != s || slot.calls == 0:
		case bad(slot) > 0:
			began, good = s, 0
		default:
			good++
		}
	}
	return began
}

func (t *track) symptom(s *sign, metric string, now time.Time) Symptom {
	return Symptom{
		Target: t.stat.Target, Kind: t.stat.Kind, Metric: metric,
		Value: round(s.value), Baseline: round(s.usual),
		Since: time.Unix(s.since, 0).UTC(), At: time.Unix(s.at, 0).UTC(), Samples: s.samples,
	}
}

func round(x float64) float64 { return math.Round(x*1e4) / 1e4 }

// chance returns the probability that of n calls at least bad are bad when each
// is with probability p: the upper tail of the binomial distribution. It is
// asked only where bad is at least twice n*p, so the terms shrink fast.
func chance(n, bad uint64, p float64) float64 {
	if p >= 1 {
		return 1
	}
	N, k := float64(n), float64(bad)
	lg := func(x float64) float64 { v, _ := math.Lgamma(x + 1); return v }
	term := math.Exp(lg(N) - lg(k) - lg(N-k) + k*math.Log(p) + (N-k)*math.Log1p(-p))
	sum := term
	for ; k < N && term > sum*1e-12; k++ {
		term *= (N - k) / (k + 1) * p / (1 - p)
		sum += term
	}
	return min(sum, 1)
}
