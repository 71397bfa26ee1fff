package errs

import "strconv"

// Kind is the family of a failure. It decides the HTTP status, the gRPC code,
// whose fault it was and whether trying again can help. The zero value is
// Internal. A service names its own failures with (*Error).ID on a Kind; it
// does not add kinds.
type Kind uint8

// The kinds. The comment of each is its id, its HTTP status and its gRPC code.
const (
	Internal           Kind = iota // internal_error 500 INTERNAL: a mistake on our side
	Invalid                        // invalid_request 400 INVALID_ARGUMENT: the request makes no sense
	Unauthorized                   // unauthorized 401 UNAUTHENTICATED: we do not know who asks
	Forbidden                      // forbidden 403 PERMISSION_DENIED: we know, and they may not
	NotFound                       // not_found 404 NOT_FOUND
	Conflict                       // conflict 409 ABORTED: somebody else changed it first, or it exists
	FailedPrecondition             // failed_precondition 412 FAILED_PRECONDITION: not in a state that allows it
	TooMany                        // too_many_requests 429 RESOURCE_EXHAUSTED: over a limit; later it may work
	Canceled                       // canceled 499 CANCELLED: the caller went away
	Unimplemented                  // unimplemented 501 UNIMPLEMENTED
	BadGateway                     // bad_gateway 502 UNAVAILABLE: a service behind us answered nonsense
	Unavailable                    // unavailable 503 UNAVAILABLE: not now; later it may work
	Timeout                        // timeout 504 DEADLINE_EXCEEDED: time ran out, the outcome may be unknown
	kinds
)

// Fault says who must change something for the next try to succeed.
type Fault uint8

// Whose fault a failure was.
const (
	Callee Fault = iota // the one who was asked, or something behind it
	Caller              // the one who asked; it says nothing about the callee's health
)

// String returns "callee" or "caller".
func (f Fault) String() string {
	if f == Caller {
		return "caller"
	}
	return "callee"
}

// table holds what is fixed about each kind. The gRPC numbers are those of
// google.golang.org/grpc/codes, copied so that this room needs no gRPC.
var table = [kinds]struct {
	id    string
	http  int
	grpc  uint32
	fault Fault
	retry bool
	grave int    // of joined errors the one with the most decides
	title string // the HTTP reason phrase, RFC 9110 (499 is nginx's)
	text  string // the message when nobody wrote one that is safe
}{
	Internal:           {"internal_error", 500, 13, Callee, false, 12, "Internal Server Error", "something went wrong on our side"},
	Invalid:            {"invalid_request", 400, 3, Caller, false, 5, "Bad Request", "the request is not valid"},
	Unauthorized:       {"unauthorized", 401, 16, Caller, false, 7, "Unauthorized", "please sign in"},
	Forbidden:          {"forbidden", 403, 7, Caller, false, 6, "Forbidden", "this is not allowed"},
	NotFound:           {"not_found", 404, 5, Caller, false, 3, "Not Found", "not found"},
	Conflict:           {"conflict", 409, 10, Caller, false, 2, "Conflict", "this conflicts with another change"},
	FailedPrecondition: {"failed_precondition", 412, 9, Caller, false, 4, "Precondition Failed", "this cannot be done in the current state"},
	TooMany:            {"too_many_requests", 429, 8, Caller, true, 1, "Too Many Requests", "too many requests; please try again later"},
	Canceled:           {"canceled", 499, 1, Caller, false, 0, "Client Closed Request", "the request was canceled"},
	Unimplemented:      {"unimplemented", 501, 12, Callee, false, 11, "Not Implemented", "this is not implemented"},
	BadGateway:         {"bad_gateway", 502, 14, Callee, true, 9, "Bad Gateway", "a service behind this one gave no usable answer"},
	Unavailable:        {"unavailable", 503, 14, Callee, true, 8, "Service Unavailable", "this is not available right now; please try again later"},
	Timeout:            {"timeout", 504, 4, Callee, true, 10, "Gateway Timeout", "this took too long"},
}

func (k Kind) known() Kind {
	if k >= kinds {
		return Internal
	}
	return k
}

// ID returns the id programs switch on, such as "invalid_request".
func (k Kind) ID() string { return table[k.known()].id }

// String returns the same as ID.
func (k Kind) String() string { return k.ID() }

// HTTP returns the HTTP status, 400 to 599.
func (k Kind) HTTP() int { return table[k.known()].http }

// GRPC returns the number of the gRPC code, as in google.golang.org/grpc/codes.
func (k Kind) GRPC() uint32 { return table[k.known()].grpc }

func (k Kind) grave() int { return table[k.known()].grave }

// Fault says whose fault failures of this kind are. A Caller's fault is no
// reason to open a breaker.
func (k Kind) Fault() Fault { return table[k.known()].fault }

// Retryable says whether the same request may succeed later. It does not say
// that repeating it is harmless: after Timeout and BadGateway the first one
// may have been done, so only an idempotent request may be repeated.
func (k Kind) Retryable() bool { return table[k.known()].retry }

// KindOfHTTP returns the kind for an HTTP status: the exact one if there is
// one, the nearest in meaning for other statuses of 400 to 599, and Internal
// for everything else.
func KindOfHTTP(status int) Kind {
	for k := Internal; k < kinds; k++ {
		if table[k].http == status {
			return k
		}
	}
	switch status {
	case 407:
		return Unauthorized
	case 408, 522, 524: // 52x are Cloudflare's
		return Timeout
	case 410:
		return NotFound
	case 423:
		return Conflict
	case 428:
		return FailedPrecondition
	case 505:
		return Unimplemented
	case 520, 523, 525, 526:
		return BadGateway
	case 507, 521, 529:
		return Unavailable
	}
	if status >= 400 && status < 500 {
		return Invalid
	}
	return Internal
}

// KindOfGRPC returns the kind for the number of a gRPC code. OK and numbers
// gRPC does not define are Internal. Codes that share a kind (ALREADY_EXISTS,
// OUT_OF_RANGE, UNKNOWN, DATA_LOSS) map to the nearest.
func KindOfGRPC(code uint32) Kind {
	switch code {
	case 1:
		return Canceled
	case 3, 11: // INVALID_ARGUMENT, OUT_OF_RANGE
		return Invalid
	case 4:
		return Timeout
	case 5:
		return NotFound
	case 6, 10: // ALREADY_EXISTS, ABORTED
		return Conflict
	case 7:
		return Forbidden
	case 8:
		return TooMany
	case 9:
		return FailedPrecondition
	case 12:
		return Unimplemented
	case 14:
		return Unavailable
	case 16:
		return Unauthorized
	}
	return Internal
}

// codeIDs are ids for gRPC codes that share a kind with another, so that they
// come back as themselves after a way over HTTP.
var codeIDs = [...]struct {
	code uint32
	id   string
}{{6, "already_exists"}, {11, "out_of_range"}, {15, "data_loss"}}

// KindOfID returns the kind whose own id is id, and false if it is nobody's:
// then it is a service's own id, or nonsense.
func KindOfID(id string) (Kind, bool) {
	for k := Internal; k < kinds; k++ {
		if table[k].id == id {
			return k, true
		}
	}
	return Internal, false
}

// title returns the reason phrase for a status of this kind.
func title(k Kind, status int) string {
	if status == k.HTTP() {
		return table[k.known()].title
	}
	return "HTTP " + strconv.Itoa(status)
}
