package breaker

import "time"

const (
	slots      = 10               // of a rolling window
	kept       = 16               // transitions remembered
	firstShare = 0.1              // of the traffic let through at the beginning of a ramp
	probeLease = 30 * time.Second // after which a probe that was never handed back no longer holds its place
)

// machine is the breaker without lock and clock: time and outcomes go in,
// admissions and transitions come out.
type machine struct {
	state State
	gen   uint64    // counts transitions and, for the rules that have them, intervals; an outcome of an older one says nothing about now
	since time.Time // of the last transition
	until time.Time // Open: when to probe; HalfOpen: when probes out now are given up

	// Closed.
	epoch       time.Time // when the window's slot 0 began
	width       time.Duration
	head        int64
	ring        [slots]struct{ ok, bad int }
	ok, bad     int // sums over ring
	consecutive int

	// HalfOpen.
	flying, passed  int       // probes out; probes that succeeded
	ramp            time.Time // when the ramp began; zero while probing
	credit          float64   // fraction of a call the ramp has saved up
	rampOK, rampBad int
	counts          Counts
	lastErr         error
	lastErrAt       time.Time
	changes         [kept]Change
}

// allow reports whether a call may go through now.
func (m *machine) allow(now time.Time, s *Settings) bool {
	if m.state == Open && !now.Before(m.until) {
		m.move(now, HalfOpen, nil)
	}
	if m.state == HalfOpen && !m.ramp.IsZero() && now.Sub(m.ramp) >= s.Ramp {
		m.move(now, Closed, nil)
	}
	m.restart(now, s)
	ok := false
	switch {
	case m.state == Closed:
		ok = true
	case m.state == Open:
	case !m.ramp.IsZero():
		m.credit += max(firstShare, float64(now.Sub(m.ramp))/float64(s.Ramp))
		if m.credit >= 1 {
			m.credit--
			ok = true
		}
	default:
		if m.flying > 0 && now.After(m.until) {
			m.flying = 0
			m.gen++ // a late hand-back must not free a place twice
		}
		if m.flying+m.passed < s.MaxRequests {
			m.flying++
			m.until = now.Add(probeLease)
			ok = true
		}
	}
	if !ok {
		m.counts.Rejected++
	}
	return ok
}

// done takes the outcome of a call admitted in generation gen. draw is a random
// number in [0,1) for the time it may have to stay open.
func (m *machine) done(now time.Time, s *Settings, gen uint64, o Outcome, err error, draw float64) (Change, bool) {
	switch o {
	case Success:
		m.counts.Successes++
	case Failure:
		m.counts.Failures++
		m.lastErr, m.lastErrAt = err, now
	case Answered:
		m.counts.Answered++
	default:
		m.counts.Ignored++
	}
	m.restart(now, s)
	if s.Rule == Off || gen != m.gen {
		return Change{}, false
	}
	switch m.state {
	case Closed:
		if o != Success && o != Failure {
			return Change{}, false
		}
		m.count(now, s, o)
		if o == Failure && m.trips(s) {
			return m.open(now, s, err, draw), true
		}
	case HalfOpen:
		if !m.ramp.IsZero() {
			return m.ramped(now, s, o, err, draw)
		}
		m.flying--
		if o == Failure {
			return m.open(now, s, err, draw), true
		}
		if o == Ignored {
			return Change{}, false
		}
		m.consecutive = 0
		m.passed++
		if m.passed < s.MaxRequests {
			return Change{}, false
		}
		if s.Rule == Windowed && s.Ramp > 0 {
			m.ramp, m.credit = now, 1 // the first call of the ramp goes through
			return Change{}, false
		}
		return m.move(now, Closed, nil), true
	}
	return Change{}, false
}

// ramped takes an outcome while traffic is let back: too many failures open
// the breaker again.
func (m *machine) ramped(now time.Time, s *Settings, o Outcome, err error, draw float64) (Change, bool) {
	switch o {
	case Failure:
		m.consecutive++
		m.rampBad++
		if m.rampBad >= s.MaxRequests && float64(m.rampBad) >= s.FailureShare*float64(m.rampBad+m.rampOK) {
			return m.open(now, s, err, draw), true
		}
	case Success:
		m.consecutive = 0
		m.rampOK++
	}
	if now.Sub(m.ramp) >= s.Ramp {
		return m.move(now, Closed, nil), true
	}
	return Change{}, false
}

// count adds an outcome to the window.
func (m *machine) count(now time.Time, s *Settings, o Outcome) {
	m.turn(now, s)
	slot := &m.ring[m.head%slots]
	if o == Success {
		m.consecutive = 0
		slot.ok++
		m.ok++
		return
	}
	m.consecutive++
	slot.bad++
	m.bad++
}

// succeed counts n successes that ended before the window turned.
func (m *machine) succeed(n int, s *Settings) {
	m.counts.Successes += uint64(n)
	if m.state != Closed || s.Rule != Windowed {
		return
	}
	m.ring[m.head%slots].ok += n
	m.ok += n
	m.consecutive = 0
}

// trips says whether the window opens the breaker.
func (m *machine) trips(s *Settings) bool {
	if s.Rule == Consecutive {
		return m.consecutive > max(s.Failures, 0)
	}
	if s.Rule == Windowed && m.consecutive >= s.MinCalls {
		return true
	}
	calls := m.ok + m.bad
	return calls >= s.MinCalls && float64(m.bad) >= s.FailureShare*float64(calls)
}

// restart begins the next interval of a rule that has them when the last one is over, as
// sony/gobreaker does: calls that are still out belong to the last one.
func (m *machine) restart(now time.Time, s *Settings) {
	if m.state == Closed && s.Rule.byInterval() && s.Interval > 0 && now.Sub(m.epoch) > s.Interval {
		m.forget(now)
		m.gen++
	}
}

// turn forgets what the window no longer covers. Time that runs backwards
// counts into the newest slot.
func (m *machine) turn(now time.Time, s *Settings) {
	if s.Rule.byInterval() {
		return
	}
	width := s.width()
	if m.epoch.IsZero() || width != m.width {
		m.forget(now)
		m.width = width
	}
	slot := int64(now.Sub(m.epoch) / width)
	for n := 0; m.head < slot; n++ {
		if n == slots {
			m.head = slot
			m.consecutive = 0 // a run that is older than the window is no run
			break
		}
		m.head++
		old := &m.ring[m.head%slots]
		m.ok -= old.ok
		m.bad -= old.bad
		old.ok, old.bad = 0, 0
	}
}

func (m *machine) forget(now time.Time) {
	clear(m.ring[:])
	m.ok, m.bad, m.head, m.consecutive, m.epoch = 0, 0, 0, 0, now
}

func (m *machine) open(now time.Time, s *Settings, err error, draw float64) Change {
	wait := s.Timeout
	if s.Rule == Windowed {
		wait = time.Duration(float64(wait) * (0.75 + draw/2))
	}
	run := m.consecutive
	c := m.move(now, Open, err)
	m.consecutive = run
	m.until = now.Add(wait)
	return c
}

// move changes the state and starts its counts anew.
func (m *machine) move(now time.Time, to State, err error) Change {
	c := Change{At: now, From: m.state, To: to, Err: err}
	m.changes[m.counts.Changes%kept] = c
	m.counts.Changes++
	m.gen++
	m.state, m.since, m.until = to, now, time.Time{}
	m.flying, m.passed, m.ramp, m.credit, m.rampOK, m.rampBad = 0, 0, time.Time{}, 0, 0, 0
	if to == Closed {
		m.forget(now)
	}
	return c
}

// last is the newest transition.
func (m *machine) last() Change {
	return m.changes[(m.counts.Changes+kept-1)%kept]
}

func (m *machine) snapshot() Snapshot {
	s := Snapshot{
		State: m.state, Since: m.since, Consecutive: m.consecutive, Counts: m.counts,
		LastErr: m.lastErr, LastErrAt: m.lastErrAt,
	}
	n := min(m.counts.Changes, kept)
	for i := m.counts.Changes - n; i < m.counts.Changes; i++ {
		s.Changes = append(s.Changes, m.changes[i%kept])
	}
	return s
}
