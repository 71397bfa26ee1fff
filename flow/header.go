package flow

import (
	"net/http"
	"net/url"
	"strings"

	"go.opentelemetry.io/otel/propagation"
)

// header is propagation.HeaderCarrier without the allocation for each name that
// is not written as net/http writes it.
type header http.Header

var _ propagation.ValuesGetter = header(nil)

func canonical(key string) string {
	switch key {
	case "traceparent":
		return "Traceparent"
	case "tracestate":
		return "Tracestate"
	case "baggage":
		return "Baggage"
	case HeaderAttempt:
		return key
	}
	return http.CanonicalHeaderKey(key)
}

// Get returns the first value of key.
func (h header) Get(key string) string {
	if v := h[canonical(key)]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Values returns all values of key.
func (h header) Values(key string) []string { return h[canonical(key)] }

// Set replaces the values of key.
func (h header) Set(key, value string) { h[canonical(key)] = []string{value} }

// Keys returns the names there are.
func (h header) Keys() []string {
	keys := make([]string, 0, len(h))
	for k := range h {
		keys = append(keys, k)
	}
	return keys
}

// PeekLabel is Label of what Extract would make of the values of a baggage
// header, at a fraction of the price: for who decides whether to look at a
// request at all.
func PeekLabel(baggage []string, key string) (label string) {
	for _, line := range baggage {
		for len(line) > 0 {
			var member string
			member, line, _ = strings.Cut(line, ",")
			k, v, pair := strings.Cut(member, "=")
			if k, ours := strings.CutPrefix(strings.TrimSpace(k), prefix); !ours || !pair || k != key {
				continue
			}
			v, _, _ = strings.Cut(v, ";")
			v, err := url.PathUnescape(strings.TrimSpace(v))
			if err != nil || len(v) > maxValue {
				v = ""
			}
			label = v // the last one counts
		}
	}
	return label
}

// PeekTraceID is TraceID of what Extract would make of the values of a
// traceparent header.
func PeekTraceID(v []string) string {
	if len(v) == 0 || len(v[0]) < 55 || v[0][2] != '-' || v[0][35] != '-' {
		return ""
	}
	id, zero := v[0][3:35], true
	for i := range len(id) {
		c := id[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return ""
		}
		zero = zero && c == '0'
	}
	if zero {
		return ""
	}
	return id
}
