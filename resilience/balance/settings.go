package balance

import (
	"math"
	"time"
)

// Settings say when an instance is ejected and how it comes back. The zero
// value is the safe default. They are plain data: decode them, compare them,
// replace them with Tune while calls run.
type Settings struct {
	// Failures is how many failures in a row eject an instance; 0 means 5, as
	// in Envoy; negative means they do not. Successes between them start the
	// count anew. One that comes back and fails at once is out again at once.
	Failures int
	// Margin is by how much the share of an instance's successes must be below
	// that of all others together for it to be ejected, although it answers
	// some calls; 0 means 0.3, negative means that this is no reason.
	Margin float64
	// MinCalls is how many calls in Window must be known, of the instance and
	// of the others, before Margin counts; 0 or negative means 20: with fewer,
	// luck alone makes such differences.
	MinCalls int
	// Window is how far back latencies and shares look, in the way of an
	// exponentially weighted mean; 0 or negative means 10s, as in Finagle's peak EWMA.
	Window time.Duration

	// Ejection is how long an instance is out the first time, up to a quarter
	// more so that several do not come back together; the n-th time in a row it
	// is n times as long. Each Ejection without a new one makes n one less. 0
	// means 30s, as in Envoy; negative means that none is ejected.
	Ejection time.Duration
	// MaxEjection is the most that it grows to; 0 or negative means 5min, as in
	// Envoy.
	MaxEjection time.Duration
	// MaxShare is the largest share of the instances that may be out at a time,
	// rounded down; 0 means 0.5: if more fail, it is the target and not an
	// instance, and the others would fall under the load of all. Negative means
	// that none is ejected.
	MaxShare float64
	// Ramp is how long an instance that comes back, or joins others, takes to
	// get its whole share, linearly from a tenth; 0 means 10s, negative means at
	// once.
	Ramp time.Duration
}

// OrDefault returns s with every zero field replaced by its default.
func (s Settings) OrDefault() Settings {
	if s.Failures == 0 {
		s.Failures = 5
	}
	if s.Margin == 0 || math.IsNaN(s.Margin) {
		s.Margin = 0.3
	}
	if s.MinCalls <= 0 {
		s.MinCalls = 20
	}
	if s.Window <= 0 {
		s.Window = 10 * time.Second
	}
	if s.Ejection == 0 {
		s.Ejection = 30 * time.Second
	}
	if s.MaxEjection <= 0 {
		s.MaxEjection = 5 * time.Minute
	}
	if s.MaxShare == 0 || math.IsNaN(s.MaxShare) {
		s.MaxShare = 0.5
	}
	if s.Ramp == 0 {
		s.Ramp = 10 * time.Second
	}
	return s
}

// mostOut is how many of n instances may be out at a time; one always stays.
func (s *Settings) mostOut(n int) int {
	if s.Ejection < 0 || s.MaxShare < 0 {
		return 0
	}
	return min(int(s.MaxShare*float64(n)), n-1)
}
