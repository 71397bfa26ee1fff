package api

import (
	"mime"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/surefoot-go/surefoot/errs"
)

// Guard protects a handler that a browser on the same machine can reach. It
// refuses, with 403, a request whose Host header names none of hosts (which
// stops a foreign site that rebinds its DNS name to this address) and a
// cross-origin request that could change something. An empty hosts skips the
// first check; LocalHosts fits a server that listens on loopback. refuse
// writes the answer.
func Guard(next http.Handler, hosts []string, refuse func(http.ResponseWriter, *http.Request, error)) http.Handler {
	const op = "api.Guard"
	cross := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(hosts) > 0 && !slices.Contains(hosts, hostOnly(r.Host)) {
			refuse(w, r, errs.New(errs.Forbidden, op, "this host name is not served here; use the address that surefoot printed").With("host", r.Host))
			return
		}
		if err := cross.Check(r); err != nil {
			refuse(w, r, errs.New(errs.Forbidden, op, "cross-origin requests may not change anything").Because(err))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// LocalHosts are the names by which a person reaches a loopback listener.
func LocalHosts() []string { return []string{"localhost", "127.0.0.1", "::1"} }

// hostOnly strips the port and IPv6 brackets from a Host header.
func hostOnly(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.Trim(host, "[]"))
}

// wantJSON refuses a request body that is not declared as JSON. A browser
// cannot send that type across origins without asking first.
func wantJSON(r *http.Request) error {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return errs.New(errs.Invalid, "api.Decode", "Content-Type must be application/json").ID("unsupported_media_type").Status(http.StatusUnsupportedMediaType)
	}
	return nil
}
