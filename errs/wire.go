package errs

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"math"
	"strings"
	"time"
)

// MaxWire is how much of a body Decode looks at, in bytes. A transport need
// not read more of a failed answer.
const MaxWire = 64 << 10

// Media types of an encoded error.
const (
	TypeJSON    = "application/json"
	TypeProblem = "application/problem+json" // RFC 9457
)

// Options says how to encode. The zero value is the house JSON with the chain,
// for calls between services.
type Options struct {
	Edge    bool // leave the chain out: the reader is a stranger
	Problem bool // RFC 9457 problem details instead of the house shape
}

// ContentType returns the media type Encode produces.
func (o Options) ContentType() string {
	if o.Problem {
		return TypeProblem
	}
	return TypeJSON
}

// stamp is RFC 3339 in UTC with milliseconds.
const stamp = "2006-01-02T15:04:05.000Z"

type wireHop struct {
	Service   string  `json:"service"`
	Op        string  `json:"op"`
	Error     string  `json:"error"`
	At        string  `json:"at"`
	ElapsedMs float64 `json:"elapsedMs"`
}

// wireHouse is the house shape. The order of the fields is the order on the wire.
type wireHouse struct {
	Code      int               `json:"code"`
	Error     string            `json:"error"`
	Message   string            `json:"message"`
	Details   []string          `json:"details,omitempty"`
	Args      map[string]string `json:"args,omitempty"`
	TraceID   string            `json:"traceId,omitempty"`
	Timestamp string            `json:"timestamp"`
	Chain     []wireHop         `json:"chain,omitempty"`
}

// wireProblem is RFC 9457: the standard members, then ours as extensions.
type wireProblem struct {
	Type      string            `json:"type"`
	Title     string            `json:"title"`
	Status    int               `json:"status"`
	Detail    string            `json:"detail"`
	Error     string            `json:"error"`
	Details   []string          `json:"details,omitempty"`
	Args      map[string]string `json:"args,omitempty"`
	TraceID   string            `json:"traceId,omitempty"`
	Timestamp string            `json:"timestamp"`
	Chain     []wireHop         `json:"chain,omitempty"`
}

// Encode returns the public part of From(err) as one JSON object. It never
// holds the cause, a value given to With, or a stack, and is at most MaxWire
// bytes: longer parts are cut as Assemble cuts them. Encode(nil) is nil.
func Encode(err error, o Options) []byte {
	e := From(err)
	if e == nil {
		return nil
	}
	var chain []wireHop
	if !o.Edge {
		chain = make([]wireHop, len(e.hops))
		for i, h := range e.hops {
			chain[i] = wireHop{clean(h.Service, maxName), clean(h.Op, maxName), h.Error, h.At.UTC().Format(stamp), millis(h.Elapsed)}
		}
	}
	at, msg, details := e.at.UTC().Format(stamp), clean(e.msg, maxMessage), bounds(e.details)
	var v any = wireHouse{e.HTTP(), e.Code(), msg, details, e.args, e.trace, at, chain}
	if o.Problem {
		v = wireProblem{
			Type: "about:blank", Title: title(e.kind, e.HTTP()), Status: e.HTTP(), Detail: msg,
			Error: e.Code(), Details: details, Args: e.args, TraceID: e.trace, Timestamp: at, Chain: chain,
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)  // it is JSON, served as JSON with nosniff
	if enc.Encode(v) != nil { // cannot happen: strings and finite numbers only
		return []byte(`{"code":500,"error":"internal_error","message":""}` + "\n")
	}
	return b.Bytes()
}

// millis rounds to microseconds, so that a fast hop is not 0.
func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

// duration is the reverse of millis for any number a stranger may send.
func duration(ms float64) time.Duration {
	if !(ms > 0) { // also NaN
		return 0
	}
	if ms > 24*60*60*1e3 {
		return 24 * time.Hour
	}
	return time.Duration(math.Round(ms * float64(time.Millisecond)))
}

// wireAny reads both shapes at once. Members that are not of the type we write
// make the body foreign, except the extras, which are then only dropped.
type wireAny struct {
	Code      *int            `json:"code"`
	Status    *int            `json:"status"`
	Error     json.RawMessage `json:"error"`
	Message   json.RawMessage `json:"message"`
	Detail    json.RawMessage `json:"detail"`
	Title     json.RawMessage `json:"title"`
	Details   json.RawMessage `json:"details"`
	Args      json.RawMessage `json:"args"`
	TraceID   json.RawMessage `json:"traceId"`
	Timestamp json.RawMessage `json:"timestamp"`
	Chain     json.RawMessage `json:"chain"`
}

// Decode returns the error in the body of an HTTP answer with the given status
// and content type. It never fails and never returns nil: the answer was a
// failure, whatever the body says. Remote is true on the result.
//
// A body in one of our two shapes whose code agrees with the status gives its
// id, message, details, trace and chain, bounded as Assemble says. Any other
// body, plain text, another's JSON or problem details, nothing at all, gives
// the kind and the status and a generic message: another's text may hold
// anything, so its first 512 bytes go to the log under "remote_body" and no
// further. Only the first MaxWire bytes of body are looked at.
func Decode(body []byte, status int, contentType string) *Error {
	body = body[:min(len(body), MaxWire)]
	if status >= 400 && status <= 599 && jsonType(contentType) {
		var w wireAny
		if json.Unmarshal(body, &w) == nil {
			if e := w.ours(status); e != nil {
				return e
			}
		}
	}
	e := Assemble(Parts{Kind: KindOfHTTP(status), Status: status, Remote: true})
	e.attrs = append(e.attrs, slog.Int("remote_status", status))
	if text := strings.TrimSpace(clean(string(body[:min(len(body), 1024)]), 512)); text != "" {
		e.attrs = append(e.attrs, slog.String("remote_body", text))
	}
	return e
}

// jsonType says whether a content type promises JSON, or nothing.
func jsonType(contentType string) bool {
	t, _, _ := strings.Cut(contentType, ";")
	t = strings.ToLower(strings.TrimSpace(t))
	return t == "" || t == TypeJSON || strings.HasSuffix(t, "+json")
}

// ours returns the error if w is one of our shapes, else nil.
func (w *wireAny) ours(status int) *Error {
	id, ok := text(w.Error)
	if !ok || !validID(id) {
		return nil
	}
	message := w.Message
	switch {
	case w.Code != nil && *w.Code == status:
	case w.Code == nil && w.Status != nil && *w.Status == status:
		message = w.Detail
	default:
		return nil
	}
	msg, ok := text(message)
	if !ok {
		return nil
	}
	p := Parts{Kind: KindOfHTTP(status), Status: status, ID: id, Message: msg, Remote: true}
	if k, standard := KindOfID(id); standard && k != p.Kind {
		p.ID = "" // somebody else's word for it: trust the status
	}
	_ = json.Unmarshal(w.Details, &p.Details) // extras: absent or foreign is fine
	if json.Unmarshal(w.Args, &p.Args) != nil {
		p.Args = nil
	}
	p.Trace, _ = text(w.TraceID)
	if s, ok := text(w.Timestamp); ok {
		p.At = when(s)
	}
	var chain []wireHop
	if json.Unmarshal(w.Chain, &chain) != nil {
		chain = nil
	}
	for _, h := range chain {
		p.Chain = append(p.Chain, Hop{h.Service, h.Op, h.Error, when(h.At), duration(h.ElapsedMs)})
	}
	return Assemble(p)
}

func text(raw json.RawMessage) (string, bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	var s string
	return s, json.Unmarshal(raw, &s) == nil
}

// when reads a time a stranger sent; the zero time if it is none that RFC 3339
// could write back.
func when(s string) time.Time {
	if len(s) > 40 {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	if t = t.UTC(); t.Year() < 1970 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}
