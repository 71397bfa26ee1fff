package errs

import (
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Border is where an error leaves a service: the server side of a transport.
type Border struct {
	Service string    // service.name, given to every hop made in this process
	Op      string    // the operation the transport was serving
	Started time.Time // when it began; zero means not measured
	Now     time.Time // zero means time.Now()
	Trace   string    // the trace id of the request; "" keeps the error's own
}

// At returns e as it leaves a service: every hop without a service gets b's,
// the hop of b.Op gets its duration (it is added if the newest hop is not it),
// and the trace id becomes b's, because that is the one this service's log has.
// Transports call it once, just before they write; callers of Wrap need not.
func (e *Error) At(b Border) *Error {
	if b.Now.IsZero() {
		b.Now = time.Now()
	}
	var elapsed time.Duration
	if !b.Started.IsZero() {
		elapsed = max(b.Now.Sub(b.Started), 0)
	}
	c := e.clone()
	c.hops = slices.Clone(e.hops)
	ours := len(c.hops) > 0 && c.hops[0].Service == "" && c.hops[0].Op == b.Op
	for i := range c.hops {
		h := &c.hops[i]
		if h.Service == "" {
			h.Service = b.Service
			if h.At.Before(b.Started) { // made at start-up, a package variable
				h.At = b.Now
			}
		}
	}
	if !c.remote && c.at.Before(b.Started) {
		c.at = b.Now
	}
	if ours {
		c.hops[0].At, c.hops[0].Elapsed = b.Now, elapsed
	} else {
		c.push(Hop{Service: b.Service, Op: b.Op, Error: c.Code(), At: b.Now, Elapsed: elapsed})
	}
	if validTrace(b.Trace) {
		c.trace = b.Trace
	}
	return c
}

// Behind returns e with h as its origin if it has no chain yet: how a client
// names the service behind an answer that tells no story of its own.
func (e *Error) Behind(h Hop) *Error {
	if len(e.hops) > 0 {
		return e
	}
	if h.Error == "" {
		h.Error = e.Code()
	}
	if h.At.IsZero() {
		h.At = e.at
	}
	c := e.clone()
	c.hops = []Hop{h}
	return c
}

// Parts is all of an error that may cross a wire, for transports that carry it
// in an encoding of their own.
type Parts struct {
	Kind       Kind
	Status     int               // HTTP status; 0 means Kind.HTTP()
	GRPC       uint32            // gRPC code; 0 means by Kind and ID
	ID         string            // "" means Kind.ID()
	Message    string            // "" means a generic one
	Language   string            // of Message, a BCP 47 tag; "" means not known
	Args       map[string]string // public values for the texts of a Catalog
	Details    []string          // public
	Trace      string            // 32 hex digits, or ""
	At         time.Time         // zero means time.Now()
	Chain      []Hop             // newest first, origin last
	RetryAfter time.Duration     // 0 means no hint
	Remote     bool              // decided by another service
}

// Parts returns what may cross a wire. The caller owns the slices and the map.
func (e *Error) Parts() Parts {
	return Parts{
		Kind: e.kind, Status: e.HTTP(), GRPC: e.GRPC(), ID: e.Code(), Message: e.msg, Language: e.lang, Args: maps.Clone(e.args),
		Details: e.Details(), Trace: e.trace,
		At: e.at, Chain: e.Chain(), RetryAfter: e.retry, Remote: e.remote,
	}
}

// Limits on what Assemble believes. A longer part is cut, a wrong one dropped.
const (
	maxMessage = 1024 // bytes
	maxDetail  = 512  // bytes
	maxDetails = 32
	maxName    = 128 // bytes of a service or operation name
	maxRetry   = time.Hour
)

// Assemble is the reverse of Parts. It takes parts from strangers: text is cut
// to 1 KiB and cleaned of control characters, details to 32 of 512 bytes, args to
// what Arg takes, the chain to 32 hops, a retry delay to an hour; an id, a code, a
// language or a trace id that is none is dropped.
func Assemble(p Parts) *Error {
	e := &Error{
		kind: p.Kind.known(), msg: clean(p.Message, maxMessage), at: p.At, remote: p.Remote,
		retry: min(max(p.RetryAfter, 0), maxRetry),
	}
	if e.at.IsZero() {
		e.at = time.Now()
	}
	if validID(p.ID) && p.ID != e.kind.ID() {
		e.id = p.ID
	}
	if p.Status >= 400 && p.Status <= 599 && p.Status != e.kind.HTTP() && KindOfHTTP(p.Status) == e.kind {
		e.status = p.Status
	}
	e.codes(p)
	switch {
	case e.msg == "":
		e.msg = table[e.kind].text
	case validTag(p.Language):
		e.lang = p.Language
	}
	e.args = boundedArgs(p.Args)
	if validTrace(p.Trace) {
		e.trace = p.Trace
	}
	e.details = bounds(p.Details)
	hops := bounded(slices.Clone(p.Chain))
	for i := range hops {
		h := &hops[i]
		h.Service, h.Op = clean(h.Service, maxName), clean(h.Op, maxName)
		if !validID(h.Error) {
			h.Error = e.Code()
		}
		h.Elapsed = max(h.Elapsed, 0)
	}
	e.hops = hops
	return e
}

// codes keeps a gRPC code that is not the kind's own; where nothing else names
// the failure, the code does, so that it survives HTTP too.
func (e *Error) codes(p Parts) {
	if p.GRPC == 0 || p.GRPC > 16 || p.GRPC == e.kind.GRPC() || KindOfGRPC(p.GRPC) != e.kind {
		return
	}
	e.grpc = p.GRPC
	for _, c := range codeIDs {
		if c.code == p.GRPC && p.ID == "" {
			e.id = c.id
		}
	}
}

// boundedArgs are the values of args that Arg would take; of too many the first
// by name.
func boundedArgs(args map[string]string) map[string]string {
	if len(args) == 0 || len(args) > 1024 {
		return nil
	}
	out := make(map[string]string, min(len(args), maxArgs))
	for _, name := range slices.Sorted(maps.Keys(args)) {
		if validName(name) && len(out) < maxArgs {
			out[name] = clean(args[name], maxArg)
		}
	}
	return out
}

// bounds is details as they may cross: the limits hold on the way out too, so
// that what we encode always fits into what Decode looks at.
func bounds(details []string) []string {
	var out []string
	for _, d := range details[:min(len(details), maxDetails)] {
		out = append(out, clean(d, maxDetail))
	}
	return out
}

// clean makes s fit to show: valid UTF-8, no control characters, at most n bytes.
func clean(s string, n int) string {
	if len(s) > n {
		s = s[:n]
		for len(s) > 0 && !utf8.RuneStart(s[len(s)-1]) {
			s = s[:len(s)-1]
		}
		if r, size := utf8.DecodeLastRuneInString(s); r == utf8.RuneError && size == 1 {
			s = s[:len(s)-1]
		}
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r), r == utf8.RuneError:
			return -1
		}
		return r
	}, s)
}
