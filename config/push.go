package config

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"
)

// Where things are in the config centre.
const (
	Prefix       = "surefoot/config/" // surefoot/config/<service>/<key>
	SchemaPrefix = "surefoot/schema/" // surefoot/schema/<service>/<key>
	PushDir      = ".push"            // surefoot/config/<service>/.push/<key>: a Push
)

// maxValue is the largest value believed, in bytes.
const maxValue = 64 << 10

// Push is a new value of a setting on its way: some processes run it, all check
// it. It lies beside the value that all others run; taking it away takes
// everybody back.
type Push struct {
	ID        string    `json:"id"`
	Value     string    `json:"value"`               // the new value, as JSON
	Stage     string    `json:"stage"`               // for people; what counts is who is chosen
	Instances []string  `json:"instances,omitempty"` // that run it
	Share     int       `json:"share,omitempty"`     // percent of all instances that run it besides
	By        string    `json:"by"`
	Why       string    `json:"why,omitempty"`
	Since     time.Time `json:"since"`
}

// Chosen tells whether an instance is to run the value. The same instances stay
// chosen when Share grows.
func (p Push) Chosen(instance string) bool {
	if slices.Contains(p.Instances, instance) {
		return true
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(p.ID + "/" + instance)) // it never fails
	return int(h.Sum64()%100) < p.Share
}

// DecodePush reads what is stored under a push's key.
func DecodePush(value []byte) (Push, error) {
	var p Push
	if len(value) > 2*maxValue {
		return p, fmt.Errorf("a push has %d bytes, at most %d", len(value), 2*maxValue)
	}
	if err := json.Unmarshal(value, &p); err != nil {
		return p, fmt.Errorf("a push is no JSON object of one: %w", err)
	}
	if p.ID == "" || p.Value == "" || len(p.Value) > maxValue || p.Share < 0 || p.Share > 100 {
		return p, fmt.Errorf("a push has an id, a value of at most %d bytes and a share from 0 to 100", maxValue)
	}
	return p, nil
}

// PushKey is where the push of a service's key lies.
func PushKey(service, key string) string { return Prefix + service + "/" + PushDir + "/" + key }

// Key is where the value of a service's key lies.
func Key(service, key string) string { return Prefix + service + "/" + key }

// ValidKey tells whether a key can be one: segments of printable text between
// slashes, none of them empty or with a dot in front, at most 255 bytes.
func ValidKey(key string) bool {
	if len(key) > 255 {
		return false
	}
	for part := range strings.SplitSeq(key, "/") {
		if part == "" || part[0] == '.' || strings.ContainsFunc(part, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }) {
			return false
		}
	}
	return true
}
