package shed

import (
	"math"
	"time"

	"github.com/surefoot-go/surefoot/resilience/internal/knee"
)

// machine is the door without lock, clock and channels: requests and outcomes
// go in with the time, admissions and refusals come out, some of them about
// requests that waited, in settled.
type machine struct {
	s       Settings
	made    bool
	learner knee.Finder
	running int
	latency float64 // mean of the last ones, ns

	queues  [levels][lanes]list // by level
	waiting int
	settled []*waiter

	overloaded bool
	since      int64 // of the overload
	ends       int64 // of the interval in which the next two are counted
	came       int   // requests
	dropped    int   // of those refused for lack of room

	ops    map[string]*op
	big    *op   // has the most places
	usual  trend // of all, as their operations are usually
	ended  int   // requests since the last turn
	late   int   // of those, Overloads
	shares shares
	slots  []slot
	free   []int32

	admitted, left, strays         uint64
	full, waitedOut, deadlinesLost uint64
}

// slot is one request that is worked on. Its generation makes a pass good for
// exactly one Done.
type slot struct {
	gen   uint32
	start int64
	op    *op
}

// Shares of requests refused for lack of room that begin and end an overload.
const (
	enters = 0.10
	leaves = 0.05
)

type verdict uint8

const (
	admit verdict = iota
	queue
	unbounded // admitted without a slot
	full
	waited
	hopeless
)

type answer struct {
	pass Pass
	err  error
}

// waiter is a request in the queue.
type waiter struct {
	answer     chan answer // holds 1
	list       *list
	prev, next *waiter
	queued     bool
	arrived    int64
	user       uint64
	op         *op
	slot       int32 // of the admitted, when settled
	err        error // of the refused, when settled
}

// list is waiters by arrival.
type list struct{ oldest, newest *waiter }

func (l *list) add(w *waiter) {
	w.list, w.prev = l, l.newest
	if l.newest != nil {
		l.newest.next = w
	} else {
		l.oldest = w
	}
	l.newest = w
}

func (l *list) remove(w *waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		l.oldest = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		l.newest = w.prev
	}
	w.prev, w.next = nil, nil
}

func (m *machine) ready() {
	if !m.made {
		m.set(Settings{}.OrDefault())
	}
}

func (m *machine) set(s Settings) {
	m.s = s
	hi := s.Max
	if hi < 0 {
		hi = math.MaxInt32
	}
	if m.made {
		m.learner.Bound(s.Min, hi)
		return
	}
	m.made = true
	m.learner.Start(s.Start, s.Min, hi)
}

// arrive decides about a request that has the given time left, negative if it
// has no deadline. On admit the slot is its place; on queue the caller goes on
// with enqueue.
func (m *machine) arrive(now int64, left time.Duration, level int, user uint64, o *op) (verdict, int32) {
	m.ready()
	if m.s.Max < 0 {
		m.admitted++
		return unbounded, 0
	}
	m.turn(now)
	m.learner.Climb(now)
	m.came++
	m.shares.arrived(user)
	if left >= 0 && m.s.Margin > 0 && float64(left) < m.s.Margin*o.latency && !o.probe(now) {
		return hopeless, 0
	}
	if m.waiting == 0 && m.room(o) {
		return admit, m.enter(now, user, o)
	}
	m.learner.Blocked(1)
	if m.s.Queue < 0 || m.waiting >= m.s.Queue && !m.evict(now, level, user, o) {
		m.dropped++
		return full, 0
	}
	return queue, 0
}

// evict refuses a request in the queue that matters less than one of the given
// level and user: of the lowest level, beyond its share first, the oldest. Under
// overload the oldest of the same sort matters less, too.
func (m *machine) evict(now int64, level int, user uint64, o *op) bool {
	sort := level*lanes + lanes - 1 - m.lane(user, o)
	for i := range levels * lanes {
		if i > sort || i == sort && !m.overloaded {
			return false
		}
		if w := m.queues[i/lanes][lanes-1-i%lanes].oldest; w != nil {
			m.refuse(now, w, full)
			return true
		}
	}
	return false
}

// lane is where a request of a level waits: who is beyond its share comes after
// the others.
func (m *machine) lane(user uint64, o *op) int {
	switch {
	case m.hog(o):
		return hogs
	case m.overloaded && !m.s.Unfair && m.shares.over(user):
		return loud
	}
	return plain
}

// enqueue adds a request and returns how long it may wait.
func (m *machine) enqueue(now int64, left time.Duration, level int, user uint64, o *op, w *waiter) time.Duration {
	w.arrived, w.user, w.op, w.queued = now, user, o, true
	m.queues[level][m.lane(user, o)].add(w)
	m.waiting++
	limit := m.s.MaxWait
	if left >= 0 {
		spare := left
		if m.s.Margin > 0 {
			spare -= time.Duration(m.s.Margin * o.latency)
		}
		limit = min(limit, max(spare, 0))
	}
	return limit
}

// leave takes a request out of the queue whose time was up, or whose caller
// went away.
func (m *machine) leave(now int64, w *waiter, late bool) {
	m.unqueue(w)
	if late {
		m.dropped++
	} else {
		m.left++
	}
}

func (m *machine) unqueue(w *waiter) {
	w.list.remove(w)
	w.queued = false
	m.waiting--
}

func (m *machine) refuse(now int64, w *waiter, v verdict) {
	m.unqueue(w)
	m.dropped++
	w.err = m.refusal(now, v)
	m.settled = append(m.settled, w)
}

// enter gives a request a slot.
func (m *machine) enter(now int64, user uint64, o *op) int32 {
	m.running++
	if o.running++; m.big == nil || o.running > m.big.running {
		m.big = o
	}
	m.admitted++
	m.shares.admitted(user)
	var i int32
	if n := len(m.free); n > 0 {
		i = m.free[n-1]
		m.free = m.free[:n-1]
	} else {
		i = int32(len(m.slots))
		m.slots = append(m.slots, slot{})
	}
	m.slots[i].start, m.slots[i].op = now, o
	return i
}

// done takes the outcome of the request in slot i and lets others in.
func (m *machine) done(now int64, i int32, gen uint32, o Outcome) bool {
	s := &m.slots[i]
	if s.gen != gen {
		m.strays++
		return false
	}
	s.gen++
	m.free = append(m.free, i)
	m.running--
	of := s.op
	s.op = nil
	of.running--
	if o == Ignored {
		m.learner.Climb(now)
	} else {
		m.learn(now, float64(now-s.start), of, o == Success)
	}
	m.fill(now)
	return true
}

// fill lets requests in while there is room, and refuses those that waited too
// long.
func (m *machine) fill(now int64) {
	m.turn(now)
	m.learner.Climb(now)
	if m.waiting > 0 {
		m.expire(now)
	}
	for m.waiting > 0 {
		w := m.pick()
		if w == nil {
			return
		}
		m.unqueue(w)
		w.slot = -1
		if m.s.Max >= 0 {
			w.slot = m.enter(now, w.user, w.op)
		}
		m.settled = append(m.settled, w)
	}
}

// pick is who is next, nil if there is no room for it.
func (m *machine) pick() *waiter {
	for l := levels - 1; l >= 0; l-- {
		for lane := range lanes {
			q := &m.queues[l][lane]
			w := q.oldest
			if m.overloaded {
				w = q.newest
			}
			if w != nil && m.room(w.op) {
				return w
			}
		}
	}
	return nil
}

func (m *machine) expire(now int64) {
	limit := float64(m.s.MaxWait)
	if m.overloaded {
		limit = min(m.target(), limit)
	}
	for l := range levels {
		for lane := range lanes {
			q := &m.queues[l][lane]
			for q.oldest != nil && float64(now-q.oldest.arrived) > limit {
				m.refuse(now, q.oldest, waited)
			}
		}
	}
}

// target is how long a request waits under overload, ns.
func (m *machine) target() float64 {
	if m.s.Target > 0 {
		return float64(m.s.Target)
	}
	return max(5e6, m.latency)
}

// turn keeps the state of overload and the shares up to date.
func (m *machine) turn(now int64) {
	if now >= m.ends {
		// Few refusals are the crest of a wave of requests, most of which can
		// wait; many are an overload, in which waiting helps nobody.
		share := float64(m.dropped) / float64(max(m.came, 1))
		if over := share > enters || m.overloaded && share > leaves; over != m.overloaded {
			m.overloaded, m.since = over, now
		}
		if m.ended >= 8 && m.late*2 > m.ended {
			// All that was admitted before ends late, too, and is no news; what is
			// below 32 the learner finds from there.
			m.learner.Cut(now, max(m.running/2, 32))
		}
		m.came, m.dropped, m.ended, m.late = 0, 0, 0, 0
		m.ends = now + int64(m.s.MaxWait)
	}
	m.shares.turn(now)
}

// refusal counts a refusal and says when to try again: an overload is expected
// to last for as long again as it has lasted.
func (m *machine) refusal(now int64, v verdict) error {
	r := 0
	switch v {
	case full:
		m.full++
	case waited:
		m.waitedOut++
		r = 1
	default:
		m.deadlinesLost++
		r = 2
	}
	lasted := time.Duration(0)
	if m.overloaded {
		lasted = time.Duration(now - m.since)
	}
	for i := range refusals[r] {
		if f := &refusals[r][i]; lasted <= f.after || i == len(refusals[r])-1 {
			return f
		}
	}
	return nil
}

// refusals are made once, so that a refusal costs no allocation. Up to 5s:
// package retry's longest wait, beyond which it gives up.
var refusals = func() (rs [3][6]Refused) {
	ms := [6]time.Duration{100, 200, 500, 1000, 2000, 5000}
	for r, reason := range []Reason{Full, Waited, Deadline} {
		for i := range ms {
			rs[r][i] = Refused{reason, ms[i] * time.Millisecond}
		}
	}
	return rs
}()

func (m *machine) snapshot() Snapshot {
	return Snapshot{
		Limit: m.learner.Limit(), Running: m.running, Waiting: m.waiting, Overloaded: m.overloaded,
		Latency: time.Duration(m.latency), Admitted: m.admitted, Left: m.left, Strays: m.strays,
		Refused: map[Reason]uint64{Full: m.full, Waited: m.waitedOut, Deadline: m.deadlinesLost},
	}
}
