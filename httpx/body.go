package httpx

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/surefoot-go/surefoot/errs"
)

func bodyTooLarge(limit int64) *errs.Error {
	return errs.New(errs.Invalid, "httpx.Read", "the request body is too large").
		ID("body_too_large").Status(http.StatusRequestEntityTooLarge).
		Detail("the limit is " + strconv.FormatInt(limit, 10) + " bytes")
}

// Read decodes r's body, one JSON value, into a T. Unknown members are ignored,
// so that a new client can talk to an old server. What is wrong with the body
// is the caller's fault and comes back as invalid_request, with a detail that
// names the field but not Go's types; a body over the server's limit comes back
// as body_too_large, 413.
func Read[T any](r *http.Request) (T, error) {
	const op = "httpx.Read"
	var v T
	dec := json.NewDecoder(r.Body)
	err := dec.Decode(&v)
	if err == nil {
		if _, more := dec.Token(); more != io.EOF {
			return v, errs.New(errs.Invalid, op, "the request body is not valid JSON").
				Detail("there is something after the first value")
		}
		return v, nil
	}
	if tooBig, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return v, bodyTooLarge(tooBig.Limit)
	}
	e := errs.New(errs.Invalid, op, "the request body is not valid JSON").Because(err)
	if at, ok := errors.AsType[*json.SyntaxError](err); ok {
		return v, e.Detail("syntax error at byte " + strconv.FormatInt(at.Offset, 10))
	}
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return v, e.Detail(fmt.Sprintf("%s cannot be a %s", or(t.Field, "the body"), t.Value))
	}
	switch {
	case errors.Is(err, io.EOF):
		return v, e.Detail("the body is empty")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return v, e.Detail("the body ends too early")
	}
	if k := errs.KindOf(err); k != errs.Internal { // the time ran out, or the caller left
		return v, errs.Wrap(err, op)
	}
	return v, e
}

// Write answers with v as JSON. A v that cannot be encoded is an error before
// anything is written. With status 204 and 304 v is not written.
func Write(w http.ResponseWriter, status int, v any) error {
	if status == http.StatusNoContent || status == http.StatusNotModified {
		w.WriteHeader(status)
		return nil
	}
	body, err := json.Marshal(v)
	if err != nil {
		return errs.Wrap(err, "httpx.Write")
	}
	w.Header().Set("Content-Type", errs.TypeJSON)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		// The client has left; that is its choice and no fault of ours.
		return errs.New(errs.Canceled, "httpx.Write", "the client went away").Because(err)
	}
	return nil
}

func or(s, def string) string {
	if s == "" {
		return def
	}
	return s
}
