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

// known is how many calls must have been learnt from before their habits count.
// Until then no slowness is a symptom, and failures are compared with the calls
// before the window, if those are half as many; if not, nearly all must fail.
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
	kin      *past // of the service a version belongs to, once that is known; nil otherwise
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
	if calls > 0 && (t.kin != nil || sec-t.first >= int64(set.WarmUp/time.Second)) {
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

// question is what is asked of one metric.
type question struct {
	bad        func(*second) uint64
	calls, was float64 // the past: calls, and bad ones among them
	floor      float64 // a share of bad calls that is nothing to wonder at
	least      float64 // that is large in the longest window
	windows    []window
	busy       int // seconds with bad calls that make more than a hiccup
	usual      float64
	value      func(tally) float64
}

func (q *question) share() float64 { return q.was / max(q.calls, 1) }

// judge updates both metrics and returns those that are symptoms.
func (t *track) judge(sec int64, now time.Time, set *Settings, rival bool) []Symptom {
	if t.first == 0 {
		return nil
	}
	var out []Symptom
	failures := question{
		bad:   func(s *second) uint64 { return s.errors },
		calls: t.past.calls, was: t.past.errors, floor: 0.005, least: set.Errors, windows: errorWindows, busy: 2,
		value: func(w tally) float64 { return float64(w.bad) / float64(w.calls) },
	}
	failures.usual = failures.share()
	if t.kin != nil && t.past.calls < known {
		failures.usual = t.kin.errors / t.kin.calls
	}
	doubt := t.measure(&t.errors, sec, &failures, set)
	if t.update(&t.errors, sec, &failures, set, rival) {
		out = append(out, t.symptom(&t.errors, ErrorShare, now))
	}
	if t.past.calls >= known || t.slow.on {
		slowness := t.slowness(set)
		doubt = t.measure(&t.slow, sec, &slowness, set) || doubt
		if t.update(&t.slow, sec, &slowness, set, rival) {
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

// slowness asks for calls far above the usual p99.
func (t *track) slowness(set *Settings) question {
	p99 := t.past.quantile(.99)
	limit := max(set.Factor*p99, p99+float64(set.Above)/1e6)
	from := topology.Buckets - 1
	for i := range topology.Buckets {
		if topology.Bound(i) >= limit {
			from = min(i+1, topology.Buckets-1)
			break
		}
	}
	q := question{
		bad: func(s *second) (n uint64) {
			for i := from; i < topology.Buckets; i++ {
				n += uint64(s.hist[i])
			}
			return n
		},
		calls: t.past.calls, floor: 0.01, least: set.Slow, windows: slowWindows, busy: 3, usual: p99,
		value: func(w tally) float64 { return w.hist.Quantile(.99) },
	}
	for i := from; i < topology.Buckets; i++ {
		q.was += t.past.hist[i]
	}
	return q
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
	errorWindows = []window{{3, .2}, {latest, .1}, {2 * latest, .05}, {reach, 0}}
	slowWindows  = []window{{latest, .2}, {reach, 0}}
)

// measure looks for a new symptom in the windows and notes it in s. It returns
// whether the present is in doubt: unlikely, if not impossible.
func (t *track) measure(s *sign, sec int64, q *question, set *Settings) (doubt bool) {
	now := &t.ring[sec%reach]
	if now.sec == sec && now.calls > 0 {
		if b := q.bad(now); b > 0 {
			s.lastBad, s.goodRun = sec, now.calls-b
		} else {
			s.goodRun += now.calls
		}
	}
	for _, win := range q.windows {
		w := t.tally(max(sec-win.seconds, s.after), sec, q.bad, false)
		if w.bad == 0 {
			continue
		}
		calls, was, large, limit := q.calls, q.was, max(win.share, q.least), set.Chance
		p := 0.0
		switch {
		case calls >= known:
		case t.kin != nil: // a version of a service with a past
			calls, was = t.kin.calls, t.kin.errors
		default: // young: what came before the window stands for the past
			before := t.tally(0, sec-win.seconds, q.bad, false)
			calls, was = float64(before.calls), float64(before.bad)
			limit *= 100         // it is asked for some seconds only
			if calls < known/2 { // or nothing does
				calls, was, large = 0, 0, max(large, .5)
				p = chance(w.calls, w.bad, .3)
			}
		}
		share := float64(w.bad) / float64(w.calls)
		if share < max(large/2, 2*q.floor, 2*was/max(calls, 1)) {
			continue
		}
		p = max(p, chance(w.calls, w.bad, q.floor), coincidence(w.calls, w.bad, calls, was))
		doubt = doubt || p < 1e-4
		// One burst is a hiccup, unless it was the end of all calls.
		lasting := w.busy >= q.busy || s.goodRun == 0 && sec-s.lastBad >= 2
		if share >= large && w.bad >= uint64(set.MinBad) && p < limit && lasting {
			s.fired, s.size = sec, max(s.size, share)
		}
	}
	return doubt
}

// update turns a sign on or off and returns whether it is on.
func (t *track) update(s *sign, sec int64, q *question, set *Settings, rival bool) bool {
	if s.fired == sec && !s.on && rival {
		s.on, s.since = true, t.onset(sec, s.size, q.bad)
		s.usual = q.usual
	}
	if !s.on {
		s.size = 0
		return false
	}
	w := t.tally(max(sec-latest, s.since-1), sec, q.bad, true)
	if w.calls > 0 {
		s.value, s.samples, s.at = q.value(w), int(w.calls), sec
	}
	quiet := set.Quiet
	if t.stat.Service != "" && rival {
		quiet = set.Retired
	}
	// What was small takes longer to be seen gone.
	calm := max(1.5*(q.was+1)/(q.calls+100), min(0.02, s.size/4))
	if s.size < .2 {
		w = t.tally(sec-3*latest, sec, q.bad, false)
	}
	switch {
	case w.calls >= 10 && float64(w.bad) <= calm*float64(w.calls),
		s.goodRun >= 5 && sec-s.lastBad >= latest,
		sec-t.lastWish >= int64(quiet/time.Second):
		s.on, s.after = false, sec
	}
	return s.on
}

// onset walks back to the second in which the bad calls began: so many good
// calls in a row that the share at hand would hardly allow them end the walk.
func (t *track) onset(sec int64, share float64, bad func(*second) uint64) int64 {
	began, good := sec, 0.0
	for s := sec; s > max(sec-reach, 0) && good*share < 6; s-- {
		slot := &t.ring[s%reach]
		if slot.sec != s || slot.calls == 0 {
			continue
		}
		if bad(slot) > 0 {
			began, good = s, 0
		} else {
			good += float64(slot.calls)
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
// asked only where bad is at least n*p, so the terms shrink.
func chance(n, bad uint64, p float64) float64 {
	N, k := float64(n), float64(bad)
	term := math.Exp(lf(N) - lf(k) - lf(N-k) + k*math.Log(p) + (N-k)*math.Log1p(-p))
	sum := term
	for ; k < N && term > sum*1e-12; k++ {
		term *= (N - k) / (k + 1) * p / (1 - p)
		sum += term
	}
	return min(sum, 1)
}

// coincidence returns the probability that at least bad of the bad calls of
// past and present together fall on the n present ones by chance: the upper
// tail of the hypergeometric distribution (Fisher's exact test). A short past
// proves little, and this accounts for it. The past may be fractions.
func coincidence(n, bad uint64, past, was float64) float64 {
	N, k := float64(n), float64(bad)
	all, marked := N+past, k+was
	if past <= 0 || was > past {
		return 0
	}
	choose := func(a, b float64) float64 { return lf(a) - lf(b) - lf(a-b) }
	term := math.Exp(choose(N, k) + choose(past, was) - choose(all, marked))
	sum := term
	for left := was; k < N && left >= 1 && term > sum*1e-12; k, left = k+1, left-1 {
		term *= (N - k) / (k + 1) * left / (past - left + 1)
		sum += term
	}
	return min(sum, 1)
}

// lf is the logarithm of the factorial.
func lf(x float64) float64 {
	v, _ := math.Lgamma(x + 1)
	return v
}
