package shed

import "time"

// Settings say how many requests are worked on at once and how long others
// wait. They are plain data: decode them, compare them, replace them with Set
// while requests come.
type Settings struct {
	// Start is the first limit on requests at once; 0 or negative means 1000:
	// too many do harm only under overload, and are too many for a second or two
	// where callers have deadlines; too few refuse work that could be done, for
	// as long as it takes to learn (go test -run 'Overload|NoHarm' -v
	// ./resilience/shed). Without deadlines what is far too high comes down by
	// half in every few latencies.
	Start int
	// Min is the lowest limit; 0 or negative means 1.
	Min int
	// Max is the highest; 0 means 10000, negative means no limit: then nothing
	// waits and nothing is refused.
	Max int

	// Queue is how many requests wait at most; 0 means 1000, 100ms of what
	// 10000/s bring; negative means none.
	Queue int
	// MaxWait is how long a request waits at most; 0 or negative means 100ms,
	// CoDel's interval (RFC 8289). When a tenth of the requests of a MaxWait are
	// refused for lack of room that is an overload and no longer a burst.
	MaxWait time.Duration
	// Target is how long a request waits at most under overload; 0 or negative
	// means 5ms, CoDel's target, or what the work takes if that is more: with
	// slow work places become free less often.
	Target time.Duration

	// Margin is how much of a request's time the work is expected to take: a
	// request that has less than Margin times the mean latency left is refused.
	// 0 means 1, negative means none is refused for that.
	Margin float64
	// Unfair switches the shares of users off.
	Unfair bool
}

// OrDefault returns s with every zero field replaced by its default, except
// Target, whose default depends on what is measured.
func (s Settings) OrDefault() Settings {
	if s.Start <= 0 {
		s.Start = 1000
	}
	if s.Min <= 0 {
		s.Min = 1
	}
	if s.Max == 0 {
		s.Max = 10000
	}
	if s.Max > 0 {
		s.Max = max(s.Max, s.Min)
		s.Start = min(max(s.Start, s.Min), s.Max)
	}
	if s.Queue == 0 {
		s.Queue = 1000
	}
	if s.MaxWait <= 0 {
		s.MaxWait = 100 * time.Millisecond
	}
	s.Target = max(s.Target, 0)
	if s.Margin == 0 || s.Margin != s.Margin {
		s.Margin = 1
	}
	return s
}
