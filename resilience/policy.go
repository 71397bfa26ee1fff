package resilience

import (
	"time"

	"github.com/surefoot-go/surefoot/resilience/breaker"
	"github.com/surefoot-go/surefoot/resilience/hedge"
	"github.com/surefoot-go/surefoot/resilience/limit"
	"github.com/surefoot-go/surefoot/resilience/retry"
)

// Policy is everything a Guard does to a call. The zero value is the safe
// default. A Policy is plain data: decode it, check it with Validate, replace
// it with Set while calls run.
type Policy struct {
	// Timeout bounds all tries and the waits between them; 0 means 10s,
	// negative means only the caller's deadline. Ten seconds hold 4 tries of 2s
	// and the longest default waits.
	Timeout time.Duration
	// AttemptTimeout bounds one try; 0 means 2s, the article's read limit,
	// negative means none.
	AttemptTimeout time.Duration
	// Retry says how often to try again. Only idempotent calls are tried again,
	// and only those that no other layer tries again (see flow.Attempt).
	Retry retry.Policy
	// Breaker says when to stop calling; Rule Off means never.
	Breaker breaker.Settings
	// Hedge says when to ask again because an answer is late. It is off unless
	// Max is positive: hedging makes some calls twice. Only calls that may be
	// tried again are hedged, only while the breaker is closed, and each
	// further try is paid from the retry budget. The tries of one call then run
	// at the same time.
	Hedge hedge.Settings
	// Rate, Bulkhead and Adaptive limit what goes out, all methods together.
	// The zero Rate and the zero Bulkhead are no limit; Adaptive is off unless
	// Max is positive. A call that is over a limit for longer than MaxWait is
	// refused and not tried again: MaxWait and Queue say how long to wait.
	Rate     limit.RateSettings
	Bulkhead limit.BulkheadSettings
	Adaptive limit.AdaptiveSettings
	// Idempotent says that repeating a call does no harm; without it nothing is
	// tried again. The option Idempotent says so for a single call.
	Idempotent bool
	// Methods says what differs for some methods of the target. The first whose
	// Pattern matches the call's name (see Named) counts.
	Methods []Method
}

// Method is what differs from the Policy for some methods. A zero or nil field
// means as the Policy. The retry budget, the breaker and the limits are the
// target's and the same for all methods.
type Method struct {
	// Pattern is matched against a call's name: "GET /v1/orders/*" for HTTP,
	// where the method may be "*" too; "package.Service/Method" or
	// "package.Service/*" for gRPC; "*" for all. A * matches any run of
	// characters, also none.
	Pattern        string
	Timeout        time.Duration // as Policy.Timeout
	AttemptTimeout time.Duration // as Policy.AttemptTimeout
	// Retry replaces all of Policy.Retry but Budget, Reserve and Window.
	Retry *retry.Policy
	// Hedge replaces Policy.Hedge, and learns from the latencies of the
	// Pattern's calls only.
	Hedge      *hedge.Settings
	Idempotent *bool // as Policy.Idempotent
}

// Default is the zero Policy: it recovers by itself after an outage.
func Default() Policy { return Policy{} }

// Classic is the article's set of numbers, exactly: each try 2s; 3 further
// tries after 1s, 2s and 4s, no jitter, no budget; a breaker that opens for 60s
// after more than 5 failures in a row. It has no limit of its own over all
// tries. After a 5s stall at 60 % load calls fail for another 58s; with Default
// for 3s (go test -run RecoveryFromAStall -v ./resilience). Prefer Default.
func Classic() Policy {
	return Policy{Timeout: -1, AttemptTimeout: 2 * time.Second, Retry: retry.Classic(), Breaker: breaker.Classic()}
}

// OrDefault returns p with every zero field replaced by its default. What is
// off unless Max is positive has Max -1 then. Methods stay as they are: the same
// slice, which must not be changed any more.
func (p Policy) OrDefault() Policy {
	if p.Timeout == 0 {
		p.Timeout = 10 * time.Second
	}
	if p.AttemptTimeout == 0 {
		p.AttemptTimeout = 2 * time.Second
	}
	p.Retry = p.Retry.OrDefault()
	p.Breaker = p.Breaker.OrDefault()
	p.Hedge = asked(p.Hedge)
	p.Rate = p.Rate.OrDefault()
	p.Bulkhead = p.Bulkhead.OrDefault()
	if p.Adaptive.Max > 0 {
		p.Adaptive = p.Adaptive.OrDefault()
	} else {
		p.Adaptive = limit.AdaptiveSettings{Max: -1}
	}
	return p
}

// asked is s with its defaults, off unless somebody asked for it.
func asked(s hedge.Settings) hedge.Settings {
	if s.Max <= 0 {
		return hedge.Settings{Max: -1}
	}
	return s.OrDefault()
}
