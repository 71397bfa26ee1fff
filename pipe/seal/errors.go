package seal

// Cause says in one word why a connection was refused or ended. It is the
// value of a metric's attribute, so the set is closed.
type Cause string

// The causes. All but Refused and Timeout are what an attacker, a broken
// network or a wrong setting does to us; none of them is told to the peer.
const (
	Malformed  Cause = "malformed"   // bytes that no peer of this protocol sends
	Version    Cause = "version"     // another version of the protocol
	UnknownKey Cause = "unknown_key" // a key id that the Keyring does not have
	ExpiredKey Cause = "expired_key" // a key before its time or after it
	Revoked    Cause = "revoked"     // the session's key left the Keyring
	Forged     Cause = "forged"      // a tag that is wrong: changed, reordered, repeated, or made without the key
	Stale      Cause = "stale"       // a first message from long ago, or a clock that is off
	Replayed   Cause = "replayed"    // a first message that was seen before
	Oversized  Cause = "oversized"   // longer than the receiver takes
	Truncated  Cause = "truncated"   // the stream ended without the close record
	Identity   Cause = "identity"    // a name that the key does not speak for
	Limit      Cause = "limit"       // more under one key than is safe
	Timeout    Cause = "timeout"     // the handshake took too long
	Probe      Cause = "probe"       // closed without a byte: a balancer that looks whether the port is open
	Refused    Cause = "refused"     // the peer closed during the handshake and, by design, does not say why
)

// Error is why a connection was refused or ended.
type Error struct {
	Cause Cause
	Err   error // what lies below, if anything
}

// Error names the cause and what lies below. It holds no key and no content.
func (e *Error) Error() string {
	if e.Err == nil {
		return "seal: " + string(e.Cause)
	}
	return "seal: " + string(e.Cause) + ": " + e.Err.Error()
}

// Unwrap returns what lies below.
func (e *Error) Unwrap() error { return e.Err }
