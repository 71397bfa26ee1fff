package errs

import "context"

// find walks err's tree for an *Error. Of several it prefers the first that is
// the callee's fault: joined errors are as bad as the worst of them.
func find(err error) *Error {
	var best *Error
	walk(err, 0, func(x error) bool {
		e, ok := x.(*Error)
		if !ok {
			return true
		}
		if e == nil {
			return false
		}
		if best == nil || best.kind.Fault() == Caller && e.kind.Fault() == Callee {
			best = e
		}
		return false // what is below e is its cause, not a rival
	})
	return best
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
		case is(x, context.Canceled) && kind == Internal:
			kind = Canceled
		}
		return true
	})
	return kind
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
