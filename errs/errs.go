package errs

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// maxHops bounds a chain. A longer one keeps its newest hops and its origin
// and loses the middle: a loop in the call graph must not grow the answer.
const maxHops = 32

// Hop is one step of the road a failure took: one operation that gave up
// because of it.
type Hop struct {
	Service string        // service.name; empty until the error crosses a border
	Op      string        // the operation, a constant such as "order.Place"
	Error   string        // the id at this hop; it differs where a hop translated the error
	At      time.Time     // when this hop saw it
	Elapsed time.Duration // how long the operation had run; 0 means not measured
}

// Error is a failure on its way to whoever can act on it. Make one with New,
// Wrap, From, Decode or Assemble. It is safe for concurrent use because it
// does not change: methods return changed copies.
//
// Error, Unwrap and LogValue show the cause and are for logs. What may cross
// a wire is exactly what Parts returns.
type Error struct {
	kind    Kind
	status  int    // 0 means kind.HTTP()
	grpc    uint32 // 0 means by kind and id
	id      string // "" means kind.ID()
	msg     string
	lang    string // of msg; "" means not known
	args    map[string]string
	details []string
	trace   string
	at      time.Time
	hops    []Hop // newest first, origin last
	attrs   []slog.Attr
	cause   error
	retry   time.Duration
	remote  bool
}

// New returns an error that starts its chain at op. The message is read by
// strangers: say what they can do, name no table, host or secret.
func New(k Kind, op, msg string) *Error {
	now := time.Now()
	e := &Error{kind: k.known(), msg: msg, at: now}
	e.hops = []Hop{{Op: op, Error: e.Code(), At: now}}
	return e
}

// Wrap returns err with one more hop, op, at the front of its chain; kind, id,
// message, details, trace and retry delay stay. Wrap(nil, op) is nil.
//
// An err that holds no *Error becomes one as described at From, with err as
// its cause.
func Wrap(err error, op string) error {
	if err == nil {
		return nil
	}
	e := From(err).clone()
	e.push(Hop{Op: op, Error: e.Code(), At: time.Now()})
	return e
}

// From returns the *Error that err is or holds, with err as its cause if it
// was wrapped by others. Of several (errors.Join) it takes the gravest, the
// first of equals, with the details of all: what is the callee's fault before
// what is the caller's, what a retry cannot help before what it can, and
// Canceled last, for it is mostly the echo of another failure. Errors of other
// packages beside an *Error count as its cause.
//
// An error of another package becomes Timeout if it is context.DeadlineExceeded
// or says Timeout() true, Unavailable if a network connection could not be made
// or broke, Canceled if it is context.Canceled, else Internal; its text becomes
// the cause and the message a generic safe one. sql.ErrNoRows and
// fs.ErrNotExist are Internal too: whether "no such row" means that the caller
// asked for what is not there, or that our data is broken, only the one who
// asked the database knows, and he says errs.NotFound. From(nil) is nil. From
// adds no hop.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*Error); ok && e != nil {
		return e
	}
	if e := find(err); e != nil {
		c := e.clone()
		c.cause = err // err leads to e and to e's cause
		c.details = together(err, e)
		return c
	}
	k := foreign(err)
	return &Error{kind: k, msg: table[k].text, at: time.Now(), cause: err}
}

// KindOf returns the kind From(err) has. KindOf(nil) is Internal: ask whether
// err is nil first.
func KindOf(err error) Kind {
	if err == nil {
		return Internal
	}
	if e, ok := err.(*Error); ok && e != nil {
		return e.kind
	}
	if e := find(err); e != nil {
		return e.kind
	}
	return foreign(err)
}

const typedNil = "errs: a nil *errs.Error was returned as an error"

func (e *Error) clone() *Error {
	c := *e
	return &c
}

// push puts h at the front of c's chain. c must be a fresh copy.
func (e *Error) push(h Hop) {
	hops := make([]Hop, 0, len(e.hops)+1)
	hops = append(hops, h)
	hops = append(hops, e.hops...)
	e.hops = bounded(hops)
}

func bounded(hops []Hop) []Hop {
	if len(hops) <= maxHops {
		return hops
	}
	hops[maxHops-1] = hops[len(hops)-1]
	return hops[:maxHops:maxHops]
}

// With returns e with a value for the log, and only for the log.
func (e *Error) With(key string, v any) *Error {
	c := e.clone()
	c.attrs = append(slices.Clip(e.attrs), slog.Any(key, v))
	return c
}

// Detail returns e with more public details, one sentence each.
func (e *Error) Detail(s ...string) *Error {
	c := e.clone()
	c.details = append(slices.Clip(e.details), s...)
	return c
}

// Field returns e with a public detail about one field of the request, such as
// ("items[2].quantity", "must be positive"): the detail "field: problem". Over
// gRPC it is a BadRequest.FieldViolation of that field.
func (e *Error) Field(field, problem string) *Error { return e.Detail(field + ": " + problem) }

// CutField is the reverse of Field: the two parts of a detail that names a
// field. ok is false for any other sentence.
func CutField(detail string) (field, problem string, ok bool) {
	field, problem, ok = strings.Cut(detail, ": ")
	if !ok || problem == "" || len(field) == 0 || len(field) > maxName {
		return "", "", false
	}
	for i := range len(field) {
		c := field[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' && c != '[' && c != ']' {
			return "", "", false
		}
	}
	return field, problem, true
}

// Because returns e with cause for the log. If cause is or holds an *Error,
// its chain follows e's, so that the origin stays visible; its message,
// details and id do not cross. A cause e has already is kept beside it.
func (e *Error) Because(cause error) *Error {
	if cause == nil {
		return e
	}
	c := e.clone()
	if e.cause != nil {
		c.cause = errors.Join(e.cause, cause)
	} else {
		c.cause = cause
	}
	if inner := find(cause); inner != nil {
		c.hops = bounded(append(slices.Clip(e.hops), inner.hops...))
		if c.trace == "" {
			c.trace = inner.trace
		}
	}
	return c
}

// ID returns e with a service's own id in place of its kind's, such as
// "out_of_stock". An id is 1 to 64 of a-z, 0-9, '_', '-' and '.'; anything
// else is a programmer's mistake and leaves e as it is.
func (e *Error) ID(id string) *Error {
	if !validID(id) {
		return e
	}
	c := e.clone()
	c.id = id
	if len(e.hops) > 0 {
		c.hops = slices.Clone(e.hops)
		c.hops[0].Error = id
	}
	return c
}

// Status returns e with its own HTTP status in place of its kind's, such as
// 413 on Invalid. A status that KindOfHTTP does not map to e's kind leaves e
// as it is.
func (e *Error) Status(http int) *Error {
	if http < 400 || http > 599 || KindOfHTTP(http) != e.kind {
		return e
	}
	c := e.clone()
	c.status = http
	return c
}

// RetryAfter returns e with a hint to wait d before trying again. A negative d
// means 0, no hint.
func (e *Error) RetryAfter(d time.Duration) *Error {
	c := e.clone()
	c.retry = max(d, 0)
	return c
}

// Kind returns the family of the failure.
func (e *Error) Kind() Kind { return e.kind }

// Code returns the id programs switch on: the service's own or the kind's.
func (e *Error) Code() string {
	if e.id != "" {
		return e.id
	}
	return e.kind.ID()
}

// HTTP returns the HTTP status, 400 to 599.
func (e *Error) HTTP() int {
	if e.status != 0 {
		return e.status
	}
	return e.kind.HTTP()
}

// GRPC returns the number of the gRPC code: the one the error came with, else
// its kind's. The ids "already_exists" on Conflict, "out_of_range" on Invalid
// and "data_loss" on Internal have the codes of these names.
func (e *Error) GRPC() uint32 {
	if e.grpc != 0 {
		return e.grpc
	}
	for _, c := range codeIDs {
		if e.id == c.id && KindOfGRPC(c.code) == e.kind {
			return c.code
		}
	}
	return e.kind.GRPC()
}

// Message returns the sentence a stranger may read.
func (e *Error) Message() string { return e.msg }

// Details returns the public details. The caller owns the slice.
func (e *Error) Details() []string { return slices.Clone(e.details) }

// Trace returns the trace id, 32 hex digits, or "" if none is known yet.
func (e *Error) Trace() string { return e.trace }

// Time returns when the failure was first seen as an *Error.
func (e *Error) Time() time.Time { return e.at }

// Chain returns the hops, newest first, origin last. The caller owns the slice.
func (e *Error) Chain() []Hop { return slices.Clone(e.hops) }

// Op returns the newest operation, or "".
func (e *Error) Op() string {
	if len(e.hops) == 0 {
		return ""
	}
	return e.hops[0].Op
}

// Remote says whether the error came over a wire: another service decided it.
func (e *Error) Remote() bool { return e.remote }

// RetryDelay returns how long the failing side asks to wait; 0 means no hint.
func (e *Error) RetryDelay() time.Duration { return e.retry }

// Error returns op, id, message and cause in one line, for logs. Never send it
// to a client: Encode does that without the cause.
//
// A nil *Error in an error, the trap of returning a typed nil, is not nil: it
// behaves as an Internal that says so.
func (e *Error) Error() string {
	if e == nil {
		return typedNil
	}
	var b strings.Builder
	if op := e.Op(); op != "" {
		b.WriteString(op)
		b.WriteString(": ")
	}
	b.WriteString(e.Code())
	if e.msg != "" {
		b.WriteString(": ")
		b.WriteString(e.msg)
	}
	if e.cause != nil {
		b.WriteString(": ")
		b.WriteString(e.cause.Error())
	}
	return b.String()
}

// Unwrap returns the cause, nil if there is none or it stayed in another
// process.
func (e *Error) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.cause
}

// Is reports whether target is an *Error of the same kind and id, so that
// errors.Is works with a package variable as the pattern, in the process that
// failed and in every one above it.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && e != nil && t != nil && t.kind == e.kind && t.Code() == e.Code()
}

// LogValue shows everything, the private parts included, as a group; except
// passwords that a driver wrote into the text of the cause, as far as they can
// be told by their place: "scheme://user:password@host", "user:password@tcp(host)"
// and "password=...".
func (e *Error) LogValue() slog.Value {
	if e == nil {
		return slog.StringValue(typedNil)
	}
	attrs := make([]slog.Attr, 0, 10+len(e.attrs))
	attrs = append(attrs, slog.String("id", e.Code()), slog.String("message", e.msg))
	if op := e.Op(); op != "" {
		attrs = append(attrs, slog.String("op", op))
	}
	if e.trace != "" {
		attrs = append(attrs, slog.String("trace", e.trace))
	}
	if e.remote {
		attrs = append(attrs, slog.Bool("remote", true))
	}
	if len(e.details) > 0 {
		attrs = append(attrs, slog.Any("details", e.details))
	}
	if len(e.args) > 0 {
		attrs = append(attrs, slog.Any("args", e.args))
	}
	if len(e.hops) > 1 {
		attrs = append(attrs, slog.String("chain", chainText(e.hops)))
	}
	if e.cause != nil {
		attrs = append(attrs, slog.Attr{Key: "cause", Value: masked(e.cause)})
	}
	return slog.GroupValue(append(attrs, e.attrs...)...)
}

// chainText is "order order.Place unavailable < payment payment.Charge timeout".
func chainText(hops []Hop) string {
	var b strings.Builder
	for i, h := range hops {
		if i > 0 {
			b.WriteString(" < ")
		}
		if h.Service != "" {
			b.WriteString(h.Service)
			b.WriteByte(' ')
		}
		b.WriteString(h.Op)
		b.WriteByte(' ')
		b.WriteString(h.Error)
	}
	return b.String()
}
