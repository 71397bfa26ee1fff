package balance

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Outcome is what a finished call says about its instance.
type Outcome uint8

// The outcomes of a call.
const (
	Ignored Outcome = iota // nothing but that it took at least so long: canceled by the caller, a hedge that lost, shed, or never sent
	Success                // it works; also if it refused this request (a 4xx)
	Failure                // it does not, or cannot be reached
)

// state is what is known about an instance. It outlives a Set.
type state struct {
	calls atomic.Int64 // under way
	from  atomic.Int64 // out before, growing after; 0 means in since ever
	late  average      // latency

	mu        sync.Mutex
	last      time.Duration // when a call ended
	good, bad float64       // calls in the window
	row       int           // failures in a row
	judged    time.Duration // when its share was last compared
	times     int           // ejections in a row
	counts    Counts
}

// Counts are totals since the instance was first known. They only grow.
type Counts struct {
	Successes uint64 `json:"successes"`
	Failures  uint64 `json:"failures"`
	Ignored   uint64 `json:"ignored"`
	Ejections uint64 `json:"ejections"`
}

// average is an exponentially weighted mean of latencies in seconds. Writers
// may lose each other's updates: it is a mean.
type average struct {
	mean atomic.Uint64 // bits of a float64; 0 means unknown
	at   atomic.Int64
}

// add folds x in, by the time passed since the last, and at least by a 32nd: of
// a busy instance the latest few dozen calls are enough.
func (a *average) add(now time.Duration, window time.Duration, x float64) {
	if was := math.Float64frombits(a.mean.Load()); was != 0 {
		part := max(1-fade(now-time.Duration(a.at.Load()), window), 1./32)
		x = was + (x-was)*part
	}
	a.mean.Store(math.Float64bits(max(x, 1e-9)))
	a.at.Store(int64(now))
}

// fade is about exp(-past/window), from 1 to 0.
func fade(past, window time.Duration) float64 {
	if past <= 0 {
		return 1
	}
	x := float64(past) / float64(window)
	return 1 / (1 + x*(1+x*(0.5+x/6)))
}

// out says whether it is ejected.
func (s *state) out(now time.Duration) bool { return int64(now) < s.from.Load() }

// ramp is the part of its share that it may have, from a tenth to 1.
func (s *state) ramp(now time.Duration, rules *Settings) float64 {
	from := s.from.Load()
	if from == 0 || rules.Ramp <= 0 {
		return 1
	}
	past := now - time.Duration(from)
	if past >= rules.Ramp {
		return 1
	}
	return 0.1 + 0.9*float64(max(past, 0))/float64(rules.Ramp)
}

// known is the mean of all, or a guess.
func (a *average) known() float64 {
	if mean := math.Float64frombits(a.mean.Load()); mean != 0 {
		return mean
	}
	return unknown
}

// expect is what is to be expected now: the mean of its own, which fades towards
// that of all. An unknown instance is like the others, and one that was slow is
// asked again.
func (a *average) expect(now, window time.Duration, all float64) float64 {
	own := math.Float64frombits(a.mean.Load())
	if own == 0 {
		return all
	}
	return all + (own-all)*fade(now-time.Duration(a.at.Load()), window)
}

// cost is what a call to it is expected to take, in seconds: its latency as
// often as there would be calls under way for its weight.
func (m *member) cost(now time.Duration, rules *Settings, all *average) float64 {
	return m.late.expect(now, rules.Window, all.known()) * (1 + float64(max(m.calls.Load(), 0))/m.weight)
}

// unknown is the latency of a target that has not answered yet, in seconds.
const unknown = 1e-3

// failed is how much longer than usual a failure counts: an instance that fails
// fast must not look like the best one.
const failed = 4

// done folds the end of a call in and says whether it may be a reason to eject
// the instance.
func (s *state) done(now time.Duration, rules *Settings, all *average, o Outcome, latency time.Duration) bool {
	took := max(latency.Seconds(), 1e-9)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch o {
	case Success:
		s.counts.Successes++
		s.row = 0
		s.age(now, rules)
		s.good++
		if latency >= 0 {
			s.late.add(now, rules.Window, took)
			all.add(now, rules.Window, took)
		}
		return false
	case Failure:
		s.counts.Failures++
		s.row++
		s.age(now, rules)
		s.bad++
		s.late.add(now, rules.Window, max(took, failed*all.known()))
		return s.suspect(now, rules)
	}
	s.counts.Ignored++
	if took > s.late.expect(now, rules.Window, all.known()) {
		s.age(now, rules)
		s.late.add(now, rules.Window, took) // it would have taken at least that long
	}
	return false
}

// age lets the window move on to now.
func (s *state) age(now time.Duration, rules *Settings) {
	if past := now - s.last; past > 0 {
		f := fade(past, rules.Window)
		s.good *= f
		s.bad *= f
		s.last = now
	}
}

// suspect says whether to look for a reason to eject it. That costs a look at
// each of the others, so it is not done at every failure.
func (s *state) suspect(now time.Duration, rules *Settings) bool {
	if s.row != rules.Failures {
		all, pause := s.good+s.bad, rules.Window/10
		if rules.Failures > 0 && s.row > rules.Failures {
			pause = rules.Window / 100
		} else if rules.Margin < 0 || all < float64(rules.MinCalls) || s.bad/all <= rules.Margin {
			return false
		}
		if now-s.judged < pause {
			return false
		}
	}
	s.judged = now
	return true
}

// tally is its calls in the window.
func (s *state) tally(now time.Duration, rules *Settings) (good, bad float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := fade(now-s.last, rules.Window)
	return s.good * f, s.bad * f
}

// eject takes it out if it has failed often enough in a row, or much more often
// than the others, who have good and bad calls together. draw, from 0 to 1,
// varies for how long.
func (s *state) eject(now time.Duration, rules *Settings, good, bad, draw float64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	inARow := rules.Failures > 0 && s.row >= rules.Failures
	own, others := s.good/(s.good+s.bad), good/(good+bad)
	outlier := rules.Margin > 0 && s.good+s.bad >= float64(rules.MinCalls) &&
		good+bad >= float64(rules.MinCalls) && others-own > rules.Margin
	if !inARow && !outlier {
		return false
	}
	if back := time.Duration(s.from.Load()); s.times > 0 {
		s.times = max(s.times-int((now-back)/rules.Ejection), 0)
	}
	s.times++
	s.counts.Ejections++
	long := rules.Ejection * time.Duration(min(s.times, 1<<10))
	long = min(long+time.Duration(draw*float64(long)/4), rules.MaxEjection)
	s.from.Store(int64(now + long))
	// What it did is paid for; only the failures in a row stay, so that one
	// more is enough.
	s.good, s.bad = 0, 0
	s.row = max(s.row, rules.Failures-1)
	return true
}
