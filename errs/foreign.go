package errs

import (
	"context"
	"net"
	"slices"
	"syscall"
)

// find walks err's tree for the gravest *Error; nil if there is none.
func find(err error) *Error {
	var best *Error
	each(err, func(e *Error) {
		if best == nil || e.kind.grave() > best.kind.grave() {
			best = e
		}
	})
	return best
}

// each calls visit for every *Error in err's tree that is not the cause of
// another.
func each(err error, visit func(*Error)) {
	walk(err, 0, func(x error) bool {
		e, ok := x.(*Error)
		if ok && e != nil {
			visit(e)
		}
		return !ok // what is below e is its cause, not a rival
	})
}

// together is best's details and those of the others in err that best has not,
// in their order.
func together(err error, best *Error) []string {
	details := slices.Clip(best.details)
	each(err, func(e *Error) {
		if e == best {
			return
		}
		for _, d := range e.details[:min(len(e.details), maxDetails)] {
			if len(details) < maxDetails && !slices.Contains(details, d) {
				details = append(details, d)
			}
		}
	})
	return details
}

// maxDepth bounds the walk: an Unwrap that returns itself must not hang us.
const maxDepth = 64

// walk calls visit for err and all it wraps, depth first, until visit says not
// to go below.
func walk(err error, depth int, visit func(error) bool) {
	if err == nil || depth > maxDepth || !visit(err) {
		return
	}
	switch x := err.(type) {
	case interface{ Unwrap() error }:
		walk(x.Unwrap(), depth+1, visit)
	case interface{ Unwrap() []error }:
		for _, e := range x.Unwrap() {
			walk(e, depth+1, visit)
		}
	}
}

// foreign classifies an error that holds no *Error.
func foreign(err error) Kind {
	kind := Internal
	walk(err, 0, func(x error) bool {
		t, ok := x.(interface{ Timeout() bool })
		switch {
		case is(x, context.DeadlineExceeded), ok && t.Timeout():
			kind = Timeout // also over a cancel beside it: it says more
		case kind != Timeout && unreachable(x):
			kind = Unavailable
		case is(x, context.Canceled) && kind == Internal:
			kind = Canceled
		}
		return true
	})
	return kind
}

// unreachable says whether err, for itself, is a connection that could not be
// made or that broke.
func unreachable(err error) bool {
	switch x := err.(type) {
	case *net.OpError:
		return x.Op == "dial" && !is(x.Err, context.Canceled)
	case *net.DNSError:
		return true
	case syscall.Errno:
		switch x {
		case syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE,
			syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENETDOWN:
			return true
		}
	}
	return false
}

// is is errors.Is for x alone.
func is(x, target error) bool {
	if x == target {
		return true
	}
	y, ok := x.(interface{ Is(error) bool })
	return ok && y.Is(target)
}

func validID(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// validTrace says whether s is a W3C trace id: 32 lower-case hex digits, not
// all zero.
func validTrace(s string) bool {
	if len(s) != 32 {
		return false
	}
	zero := true
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
		zero = zero && c == '0'
	}
	return !zero
}
