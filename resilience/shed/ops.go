package shed

import "time"

// op is what the door knows of one operation.
type op struct {
	running int
	latency float64 // mean of the last ones, ns
	probed  int64   // when a request was last let through although it seemed hopeless
	usual   trend
}

// maxOps bounds the memory that operations need; those above it share one op.
const maxOps = 256

// The lanes of a level: who is beyond its share waits behind the others.
const (
	plain = iota
	loud  // the user is
	hogs  // the operation is
	lanes
)

// op returns the operation of that name.
func (m *machine) op(name string) *op {
	if o := m.ops[name]; o != nil {
		return o
	}
	if len(m.ops) >= maxOps {
		name = ""
		if o := m.ops[name]; o != nil {
			return o
		}
	}
	if m.ops == nil {
		m.ops = make(map[string]*op)
	}
	o := new(op)
	m.ops[name] = o
	return o
}

// probe lets one hopeless request through per latency: what is hopeless must be
// found out anew.
func (o *op) probe(now int64) bool {
	if o.running > 0 && float64(now-o.probed) < o.latency {
		return false
	}
	o.probed = now
	return true
}

// hog says that an operation holds more than half of the places, so that what
// it waits for makes the others wait.
func (m *machine) hog(o *op) bool { return len(m.ops) > 1 && o.running*2 > m.learner.Limit() }

// room says whether an operation may have one more place. An eighth of them, at
// least four, are not for the one that has the most, so that the others can go
// on when all of its requests hang, or the limit was lowered below them.
func (m *machine) room(o *op) bool {
	if m.s.Max < 0 {
		return true
	}
	limit := m.learner.Limit()
	switch kept := limit / 8; {
	case len(m.ops) < 2:
		return m.running < limit
	case o == m.big:
		return m.running < limit && o.running < limit-kept
	default:
		return m.running < limit || m.running-m.big.running < max(kept, 4) && m.running < m.s.Max
	}
}

// learn takes how long a request took.
func (m *machine) learn(now int64, took float64, o *op, good bool) {
	m.ended++
	if good {
		const last = 32
		if m.latency == 0 {
			m.latency = took
		}
		m.latency += (took - m.latency) / last
		if o.latency == 0 {
			o.latency = took
		}
		o.latency += (took - o.latency) / last
	} else {
		m.late++
	}
	if len(m.ops) > 1 {
		// What is learned must not depend on which operations happened to be
		// asked for while it was measured.
		o.usual.add(took)
		m.usual.add(o.usual.mean)
		took = max(took-o.usual.mean+m.usual.mean, 1)
	}
	m.learner.Done(now, time.Duration(took), good)
}

// trend is a mean that moves slowly.
type trend struct {
	mean float64
	n    int
}

func (t *trend) add(v float64) {
	t.n = min(t.n+1, 1000)
	t.mean += (v - t.mean) / float64(t.n)
}
