// Package canary says which version of a service serves this user.
//
//	route := canary.Route{Service: "payment", Stable: "v1", Canary: "v2",
//		Match: map[string]string{"tier": "premium"}, Weight: 10}
//	version := route.Pick(labels, userID) // v2 for a tenth of the premium users
//
// The same key always gets the same answer for the same route, and a user who
// got the canary at one weight keeps it at every higher one.
//
// The room is pure: it reads no clock and draws no random numbers. It does not
// decide when a canary is healthy: see server/rollout. It opens no connections:
// the client that calls Pick does.
package canary

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Route says who gets the new version of one service. It is plain data and is
// stored as JSON under surefoot/route/<service>.
type Route struct {
	Service  string            `json:"service"`
	Stable   string            `json:"stable"`          // the version for everybody else
	Canary   string            `json:"canary"`          // the new one; "" means there is none
	Match    map[string]string `json:"match,omitempty"` // labels a user must all have; empty means everybody
	Weight   int               `json:"weight"`          // percent of matching users, 0 to 100
	Revision int64             `json:"revision"`        // of the store it came from; 0 means unknown
	Review   *Review           `json:"review"`          // nil means none is pending
}

// Review is a version taken off traffic until a person has looked: while it is
// there the version is pending and gets no traffic, whatever the weight.
type Review struct {
	Version string    `json:"version"`
	Reason  string    `json:"reason"`
	Since   time.Time `json:"since"`
}

// MarshalJSON adds "pending": true for readers of the API. There is no other
// value: a review that is over is removed.
func (r Review) MarshalJSON() ([]byte, error) {
	type plain Review
	return json.Marshal(struct {
		plain
		Pending bool `json:"pending"`
	}{plain(r), true})
}

// Validate returns nil, or an error that names every field that is wrong.
func (r Route) Validate() error {
	var errs []error
	wrong := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	name := func(field, s string) {
		if len(s) > 128 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '/' || r == 0x7f }) {
			wrong("%s %q must be at most 128 bytes without spaces and '/'", field, s)
		}
	}
	if r.Service == "" {
		wrong("service must not be empty")
	}
	if r.Stable == "" {
		wrong("stable must not be empty")
	}
	name("service", r.Service)
	name("stable", r.Stable)
	name("canary", r.Canary)
	if r.Weight < 0 || r.Weight > 100 {
		wrong("weight %d must be 0 to 100", r.Weight)
	}
	if r.Weight > 0 && r.Canary == "" {
		wrong("weight %d needs a canary", r.Weight)
	}
	if r.Canary != "" && r.Canary == r.Stable {
		wrong("canary and stable are both %q", r.Stable)
	}
	if r.Revision < 0 {
		wrong("revision %d must not be negative", r.Revision)
	}
	if len(r.Match) > 32 {
		wrong("match has %d labels; at most 32", len(r.Match))
	}
	for _, k := range slices.Sorted(maps.Keys(r.Match)) {
		if k == "" || len(k) > 64 || len(r.Match[k]) > 256 {
			wrong("match %q: a key is 1 to 64 bytes, a value at most 256", k)
		}
	}
	if r.Review != nil && r.Review.Version == "" {
		wrong("review must name a version")
	}
	if r.Review != nil && r.Review.Version != "" && r.Review.Version == r.Stable {
		wrong("stable %q is pending review", r.Stable)
	}
	return errors.Join(errs...)
}

// Pick returns the version for a user with these labels and this key (a user
// id, or whatever should always see the same version). It is Stable unless the
// canary is set, not pending review, every Match label is equal, and the key's
// bucket is under Weight. An empty key, nobody in particular, gets the canary
// only at weight 100.
func (r Route) Pick(labels map[string]string, key string) string {
	if r.Canary == "" || r.Weight <= 0 || r.Review != nil && r.Review.Version == r.Canary {
		return r.Stable
	}
	for k, v := range r.Match {
		if got, ok := labels[k]; !ok || got != v {
			return r.Stable
		}
	}
	if r.Weight >= 100 || key != "" && Bucket(r.Service, r.Canary, key) < r.Weight {
		return r.Canary
	}
	return r.Stable
}

// Bucket returns the key's place among 100 for a version of a service. It is
// FNV-1a, 64 bits, over service, 0, version, 0, key, then the finalizer of
// MurmurHash3 (FNV alone spreads short keys unevenly), modulo 100. It never
// changes: other languages may rely on it. Service and version are part of it
// so that not the same users meet every new version first.
func Bucket(service, version, key string) int {
	h := uint64(14695981039346656037)
	h = fnv(h, service) * prime // a zero byte: xor changes nothing
	h = fnv(h, version) * prime
	h = fnv(h, key)
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return int(h % 100)
}

const prime = 1099511628211

func fnv(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * prime
	}
	return h
}

// Table holds the routes of many services. The zero value is empty and ready.
// All methods are safe for concurrent use; readers never wait.
type Table struct {
	routes atomic.Pointer[map[string]Route]
}

// Set puts r in place of the service's route. It refuses a route that does not
// validate and one with an older revision than the one held (0 is never
// older), and keeps what it has.
func (t *Table) Set(r Route) error {
	if err := r.Validate(); err != nil {
		return fmt.Errorf("canary: route of %q: %w", r.Service, err)
	}
	r = r.clone()
	return t.change(func(m map[string]Route) error {
		if old, ok := m[r.Service]; ok && r.Revision != 0 && r.Revision < old.Revision {
			return fmt.Errorf("canary: route of %q: revision %d is older than %d", r.Service, r.Revision, old.Revision)
		}
		m[r.Service] = r
		return nil
	})
}

// Delete removes the service's route.
func (t *Table) Delete(service string) {
	_ = t.change(func(m map[string]Route) error { delete(m, service); return nil })
}

func (t *Table) change(edit func(map[string]Route) error) error {
	for {
		old := t.routes.Load()
		next := make(map[string]Route)
		if old != nil {
			maps.Copy(next, *old)
		}
		if err := edit(next); err != nil {
			return err
		}
		if t.routes.CompareAndSwap(old, &next) {
			return nil
		}
	}
}

// Get returns a copy of the service's route, false if it has none.
func (t *Table) Get(service string) (Route, bool) {
	r, ok := t.get(service)
	return r.clone(), ok
}

func (t *Table) get(service string) (Route, bool) {
	m := t.routes.Load()
	if m == nil {
		return Route{}, false
	}
	r, ok := (*m)[service]
	return r, ok
}

// All returns copies of all routes, by service name.
func (t *Table) All() []Route {
	m := t.routes.Load()
	if m == nil {
		return nil
	}
	all := make([]Route, 0, len(*m))
	for _, service := range slices.Sorted(maps.Keys(*m)) {
		all = append(all, (*m)[service].clone())
	}
	return all
}

// Pick is Route.Pick of the service's route, "" if it has none: then any
// version will do.
func (t *Table) Pick(service string, labels map[string]string, key string) string {
	r, ok := t.get(service)
	if !ok {
		return ""
	}
	return r.Pick(labels, key)
}

func (r Route) clone() Route {
	r.Match = maps.Clone(r.Match)
	if r.Review != nil {
		review := *r.Review
		r.Review = &review
	}
	return r
}
