package supervise

import (
	"math"
	"time"
)

// Restart says when a failed worker is run again. The zero value waits 100ms at
// first and 30s at most, and gives up after 10 restarts in 5 minutes: a worker
// that fails at once is given up after 40s to 82s
// (go test -run TestGivesUp -v ./supervise). It is plain data.
type Restart struct {
	Base   time.Duration // first wait; 0 means 100ms, negative means no wait
	Cap    time.Duration // longest wait; 0 or negative means 30s
	Factor float64       // growth; 0 means 2, less than 1 means 1 (no growth)
	Jitter float64       // random share of each wait; 0 means 0.5, negative means none: workers that failed together come back apart
	// Steady is how long a run must last to have the waits begin again at
	// Base; 0 or negative means 1m.
	Steady time.Duration
	// Max is how many restarts within Window are borne; at the next failure
	// the worker is given up, the rest of its tree is stopped and the tree has
	// failed. 0 means 10, negative means no bound.
	Max    int
	Window time.Duration // 0 or negative means 5m
}

// OrDefault returns r with every zero field replaced by its default.
func (r Restart) OrDefault() Restart {
	return r.over(Restart{
		Base: 100 * time.Millisecond, Cap: 30 * time.Second, Factor: 2, Jitter: 0.5,
		Steady: time.Minute, Max: 10, Window: 5 * time.Minute,
	})
}

// over returns r with every zero field replaced by that of def.
func (r Restart) over(def Restart) Restart {
	pick := func(v *time.Duration, def time.Duration, positive bool) {
		if *v == 0 || positive && *v < 0 {
			*v = def
		}
	}
	pick(&r.Base, def.Base, false)
	pick(&r.Cap, def.Cap, true)
	pick(&r.Steady, def.Steady, true)
	pick(&r.Window, def.Window, true)
	if r.Factor == 0 {
		r.Factor = def.Factor
	}
	if r.Jitter == 0 {
		r.Jitter = def.Jitter
	}
	if r.Max == 0 {
		r.Max = def.Max
	}
	return r
}

// history is what is remembered of a worker's failures.
type history struct {
	row    int         // failures since the last steady run
	recent []time.Time // restarts granted within Window, oldest first; at most Max
}

// failed folds in a run from begun to now and says whether, and after which
// wait, to start again. r has its defaults, rand is in [0,1).
func (h *history) failed(begun, now time.Time, r Restart, rand float64) (wait time.Duration, again bool) {
	if now.Sub(begun) >= r.Steady {
		h.row = 0
	}
	if r.Max >= 0 {
		for len(h.recent) > 0 && now.Sub(h.recent[0]) >= r.Window {
			h.recent = h.recent[1:]
		}
		if len(h.recent) >= r.Max {
			return 0, false
		}
		h.recent = append(h.recent, now)
	}
	wait = r.wait(h.row, rand)
	h.row++
	return wait, true
}

// wait is the wait after n failures in a row before this one.
func (r Restart) wait(n int, rand float64) time.Duration {
	if r.Base <= 0 {
		return 0
	}
	top := float64(r.Base) * math.Pow(max(r.Factor, 1), float64(n))
	if !(top < float64(r.Cap)) { // also when infinite or NaN
		top = float64(r.Cap)
	}
	if r.Jitter > 0 {
		top *= 1 - min(r.Jitter, 1)*rand
	}
	return time.Duration(top)
}
