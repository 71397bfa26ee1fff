package balance

import (
	"math"
	"time"
)

// Status is one instance at one moment.
type Status struct {
	Instance
	InFlight  int       `json:"inFlight"`          // calls under way
	LatencyMs float64   `json:"latencyMs"`         // the mean that choices follow; 0 if unknown
	Share     float64   `json:"share"`             // the part of its weight that it gets: 0 ejected, below 1 coming back or joining
	Ejected   bool      `json:"ejected,omitempty"` // it gets no calls
	Until     time.Time `json:"until,omitzero"`    // when an ejected one comes back
	Row       int       `json:"row"`               // failures in a row
	Counts    Counts    `json:"counts"`
}

// Snapshot is every instance at this moment, in the order given to Set; nil if
// none is known.
func (b *Balancer) Snapshot() []Status {
	s := b.now.Load()
	if s == nil {
		return nil
	}
	now, rules := s.clock(), b.rules()
	list := make([]Status, len(s.all.members))
	for i, m := range s.all.members {
		st := Status{Instance: m.instance, InFlight: int(m.calls.Load()),
			LatencyMs: math.Float64frombits(m.late.mean.Load()) * 1e3, Share: m.ramp(now, rules)}
		if m.out(now) {
			st.Ejected, st.Share = true, 0
			st.Until = s.base.Add(time.Duration(m.from.Load())).Round(0)
		}
		m.mu.Lock()
		st.Row, st.Counts = m.row, m.counts
		m.mu.Unlock()
		list[i] = st
	}
	return list
}
