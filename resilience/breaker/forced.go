package breaker

import (
	"fmt"
	"time"
)

// Forced says whether a person has taken the decision away from a breaker.
type Forced int8

// What a person may decide.
const (
	Auto         Forced = 0 // the breaker decides
	ForcedOpen   Forced = 1 // no call goes through
	ForcedClosed Forced = 2 // all calls go through
)

// String is "auto", "open" or "closed".
func (f Forced) String() string {
	switch f {
	case Auto:
		return "auto"
	case ForcedOpen:
		return "open"
	case ForcedClosed:
		return "closed"
	}
	return "unknown"
}

// MarshalText is String, for JSON and logs.
func (f Forced) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (f *Forced) UnmarshalText(text []byte) error {
	for _, known := range []Forced{Auto, ForcedOpen, ForcedClosed} {
		if string(text) == known.String() {
			*f = known
			return nil
		}
	}
	return fmt.Errorf("breaker: %.32q is none of auto, open, closed", text)
}

// forever is when an opening by force ends.
var forever = time.Unix(1<<40, 0)

// Force opens or closes the breaker until Force(Auto), which returns it to what
// it would be: meanwhile it goes on judging the calls that it would have let
// through, and those only. An unknown f means Auto. Force is no transition and
// OnChange is not told; it reports whether anything changed.
func (b *Breaker) Force(f Forced) bool {
	if f != ForcedOpen && f != ForcedClosed {
		f = Auto
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.forced == f {
		return false
	}
	b.forced, b.forcedAt = f, time.Now()
	b.publish()
	return true
}
