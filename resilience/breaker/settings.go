package breaker

import "time"

// Rule says when a closed breaker opens and how it closes again.
type Rule int8

// The rules.
const (
	// Windowed opens on the share of failures in a rolling window, tries again
	// after less than a second, and lets the traffic back in step by step.
	Windowed Rule = 0
	// Consecutive opens after a run of failures and closes after a few
	// successes, as github.com/sony/gobreaker does by default.
	Consecutive Rule = 1
	// Ratio opens on the share of failures since its interval began, and closes
	// after a few successes, as sony/gobreaker does with a ReadyToTrip that looks
	// at the ratio. Windowed forgets gradually instead of all at once and comes
	// back sooner: it is the better choice unless you compare with gobreaker.
	Ratio Rule = 2
	// Off never opens.
	Off Rule = -1
)

// byInterval says whether a rule counts as sony/gobreaker does: from the beginning
// of an interval, at whose end it starts over.
func (r Rule) byInterval() bool { return r == Consecutive || r == Ratio }

// Settings say when to open and when to try again. The zero value is the
// Windowed rule with its defaults. Settings are plain data: decode them,
// compare them, replace them with Set while calls run. MaxRequests, Interval
// and Timeout mean what they mean in sony/gobreaker.
type Settings struct {
	Rule Rule

	// MaxRequests is how many calls are tried at once while half-open, and how
	// many of them must succeed before the breaker closes; 0 or negative means
	// 3, the article's number.
	MaxRequests int
	// Interval is how far back a closed breaker counts: Windowed forgets
	// gradually, Consecutive and Ratio start over and no longer count the calls
	// that are out then. 0 means 10s, the article's number and Hystrix's window;
	// negative means that those two never start over.
	Interval time.Duration
	// Timeout is how long the breaker stays open before it tries again. 0 or
	// negative means 400ms for Windowed, which also varies it by a quarter either
	// way so that clients do not come back together, and 60s for the other two,
	// the article's number. With 400ms, and Ramp the same, ten clients at 60 %
	// load are back within 1s of the end of a storm; with 500ms there is no
	// margin, with 1s and a Ramp of 3s it takes 3s to 4s and the breaker opens
	// more often (go test ./storm in bench). The price is 7.5 calls a second
	// from each client to a dead target.
	Timeout time.Duration

	// Failures is how many failures in a row are still borne by Consecutive;
	// one more opens it. 0 means 5, the article's number; negative means none.
	Failures int

	// FailureShare is the share of failures in Interval that opens Windowed and
	// Ratio; 0 or negative means 0.5, as in Hystrix.
	FailureShare float64
	// MinCalls is how many calls in Interval Windowed and Ratio want to see
	// before they judge the share, and how many failures in a row open Windowed
	// whatever the share; 0 or negative means 10: half of Hystrix's 20, so that
	// a client with one call a second is protected too.
	MinCalls int
	// Ramp is how long Windowed takes to let all traffic back, linearly and
	// beginning at a tenth, after the tried calls succeeded. It stays half-open
	// meanwhile. 0 means 400ms, for which see Timeout; negative means at once. A
	// target that comes back with a backlog falls over again under a step.
	Ramp time.Duration
}

// Classic is the article's breaker, exactly: MaxRequests 3, Interval 10s,
// Timeout 60s, opening on more than 5 consecutive failures.
func Classic() Settings {
	return Settings{Rule: Consecutive, MaxRequests: 3, Interval: 10 * time.Second, Timeout: 60 * time.Second, Failures: 5}
}

// OrDefault returns s with every zero field replaced by its default.
func (s Settings) OrDefault() Settings {
	if s.MaxRequests <= 0 {
		s.MaxRequests = 3
	}
	if s.Interval == 0 || s.Interval < 0 && !s.Rule.byInterval() {
		s.Interval = 10 * time.Second
	}
	if s.Timeout <= 0 {
		s.Timeout = 400 * time.Millisecond
		if s.Rule.byInterval() {
			s.Timeout = 60 * time.Second
		}
	}
	if s.Failures == 0 {
		s.Failures = 5
	}
	if !(s.FailureShare > 0) {
		s.FailureShare = 0.5
	}
	if s.MinCalls <= 0 {
		s.MinCalls = 10
	}
	if s.Ramp == 0 {
		s.Ramp = 400 * time.Millisecond
	}
	return s
}

// width is how long a slot of Windowed's window lasts.
func (s *Settings) width() time.Duration { return max(s.Interval/slots, 1) }
