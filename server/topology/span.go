package topology

import (
	"strconv"
	"strings"

	"github.com/surefoot-go/surefoot/server/store"
)

// Failed tells whether s failed in a way that speaks against the callee:
// status ERROR, but not because the caller gave up (499, CANCELLED) or asked
// for something it may not have (other 4xx but 408 and 429, and gRPC's codes
// of that meaning).
func Failed(s *store.Span) bool {
	if !s.Error {
		return false
	}
	switch s.Attrs["error.type"] {
	case "canceled", "cancelled", "CANCELLED", "context canceled", "context.Canceled",
		"invalid_request", "unauthorized", "forbidden", "not_found", "conflict", "failed_precondition":
		return false
	}
	if code := first(s.Attrs, "http.response.status_code", "http.status_code"); code != "" {
		n, err := strconv.Atoi(code)
		return err != nil || n < 400 || n > 499 || n == 408 || n == 429
	}
	switch first(s.Attrs, "rpc.grpc.status_code", "rpc.response.status_code") {
	case "1", "3", "5", "6", "7", "9", "11", "16",
		"CANCELLED", "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
		"FAILED_PRECONDITION", "OUT_OF_RANGE", "UNAUTHENTICATED":
		return false
	}
	return true
}

// Rejected tells whether s looks like a call that its own caller's guard
// refused to send, as package resilience does under the id breaker_open. It
// says nothing new about the callee. The id travels, so a server span below s
// proves the opposite.
func Rejected(s *store.Span) bool {
	return s.Error && s.Kind == store.KindClient && s.Attrs["error.type"] == "breaker_open" &&
		first(s.Attrs, "http.response.status_code", "http.status_code") == ""
}

// Callee returns what a client or producer span says of whom it called, and
// whether that is a database: peer.service, service.peer.name, then for a
// database system/namespace@host, for a queue system/destination, for
// anything else server.address:port, with the names of older semantic
// conventions behind each. It is empty when the span does not tell.
func Callee(s *store.Span) (name, kind string) {
	system := first(s.Attrs, "db.system.name", "db.system")
	kind = External
	if system != "" {
		kind = Database
	}
	if peer := first(s.Attrs, "peer.service", "service.peer.name"); peer != "" {
		return clip(peer), kind
	}
	host := first(s.Attrs, "server.address", "net.peer.name", "net.sock.peer.addr", "network.peer.address")
	if system != "" {
		name = system
		if ns := first(s.Attrs, "db.namespace", "db.name"); ns != "" {
			name += "/" + ns
		}
		if host == "" {
			host = s.Service // embedded: its own, not one that others share
		}
		return clip(name + "@" + host), kind
	}
	if mq := s.Attrs["messaging.system"]; mq != "" {
		if d := first(s.Attrs, "messaging.destination.name", "messaging.destination"); d != "" {
			mq += "/" + d
		}
		return clip(mq), kind
	}
	if host == "" {
		return "", kind
	}
	if port := first(s.Attrs, "server.port", "net.peer.port", "network.peer.port"); port != "" {
		host += ":" + port
	}
	return clip(host), kind
}

func protocol(s *store.Span) string {
	switch {
	case first(s.Attrs, "db.system.name", "db.system") != "":
		return DB
	case first(s.Attrs, "rpc.system", "rpc.system.name") == "grpc":
		return GRPC
	case first(s.Attrs, "http.request.method", "http.method", "url.full", "http.url") != "":
		return HTTP
	}
	return Other
}

func first(attrs map[string]string, keys ...string) string {
	for _, k := range keys {
		if v := attrs[k]; v != "" {
			return v
		}
	}
	return ""
}

// longest is the most bytes of a name that are kept.
const longest = 200

// clip bounds a name that comes from outside.
func clip(s string) string {
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest], "") + "…"
}
