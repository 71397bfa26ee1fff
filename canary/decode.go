package canary

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Prefix is where routes live in a config centre: surefoot/route/<service>.
const Prefix = "surefoot/route/"

// maxRoute is the largest route believed, in bytes; a full one has 32 labels of
// 320 bytes.
const maxRoute = 64 << 10

// Decode reads the canary route stored under key at a revision and
// validates it: its service must be the one the key names, which is filled in
// when empty. A route of more than 64 KiB is refused.
func Decode(key string, value []byte, revision int64) (Route, error) {
	service, ok := strings.CutPrefix(key, Prefix)
	if !ok {
		return Route{}, fmt.Errorf("key %q is not under %s", key, Prefix)
	}
	if len(value) > maxRoute {
		return Route{}, fmt.Errorf("route has %d bytes, at most %d", len(value), maxRoute)
	}
	var r Route
	if err := json.Unmarshal(value, &r); err != nil {
		return Route{}, fmt.Errorf("route is no JSON object of a route: %w", err)
	}
	if r.Service == "" {
		r.Service = service
	}
	if r.Service != service {
		return Route{}, fmt.Errorf("route of %q is stored under %q", r.Service, service)
	}
	r.Revision = revision
	if err := r.Validate(); err != nil {
		return Route{}, err
	}
	return r, nil
}
