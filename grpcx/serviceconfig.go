package grpcx

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/retry"
)

// ServiceConfig writes p as a gRPC service config, for those who want grpc's
// own retries, in Go or in another language, or hand the config out by their
// resolver:
//
//	config, err := grpcx.ServiceConfig(resilience.Classic(), "shop.Orders/Get")
//	conn, err := grpc.NewClient(target, grpc.WithDefaultServiceConfig(config), ...)
//
// Use it or Client, not both: Client switches grpc's retries off, so that one
// layer retries. What a service config cannot say is lost: the breaker, hedging,
// the limits and the jitter (grpc's is a fifth up or down).
//
// Methods that may be repeated are named in idempotent, as in
// Client.Idempotent; p.Idempotent means all. Patterns in p.Methods must be
// "package.Service/Method", "package.Service/*" or "*"; another one is an error.
//
// The timeout is for the whole call, as grpc has none for a try: the shorter of
// Timeout and what all tries and waits can take. Tried again is what failed
// with UNAVAILABLE or RESOURCE_EXHAUSTED. The retry budget becomes
// retryThrottling. grpc makes at most 5 tries, whatever Max says.
//
// Classic gives the article's service config, whose maxAttempts of 3 counts the
// first try: one try fewer than Classic makes elsewhere.
func ServiceConfig(p resilience.Policy, idempotent ...string) (string, error) {
	p = p.OrDefault()
	names := []configName{{}}
	add := func(pattern string) error {
		n, err := parseName(pattern)
		if err == nil && !slices.Contains(names, n) {
			names = append(names, n)
		}
		return err
	}
	for _, m := range p.Methods {
		if err := add(m.Pattern); err != nil {
			return "", err
		}
	}
	repeat := map[configName]bool{}
	for _, s := range idempotent {
		if err := add(s); err != nil {
			return "", err
		}
		n, _ := parseName(s)
		repeat[n] = true
	}
	var c serviceConfig
	for _, n := range names {
		again := p.Idempotent || repeat[n] || repeat[configName{Service: n.Service}] || repeat[configName{}]
		c.Methods = append(c.Methods, n.config(p, again))
	}
	if r := p.Retry; r.Budget > 0 {
		// grpc stops at half the tokens, and a failure takes one.
		c.Throttling = &throttling{MaxTokens: min(max(2*r.Reserve, 1), 1000), Ratio: max(r.Budget, 0.001)}
	}
	out, err := json.Marshal(c)
	return string(out), err
}

// The JSON of a service config, as far as we write it; see grpc's
// doc/service_config.md.
type serviceConfig struct {
	Methods    []methodConfig `json:"methodConfig"`
	Throttling *throttling    `json:"retryThrottling,omitempty"`
}

type methodConfig struct {
	Names   []configName  `json:"name"`
	Timeout string        `json:"timeout,omitempty"`
	Retry   *configPolicy `json:"retryPolicy,omitempty"`
}

// configName names a method, all of a service if Method is empty, or all there
// are.
type configName struct {
	Service string `json:"service,omitempty"`
	Method  string `json:"method,omitempty"`
}

type configPolicy struct {
	MaxAttempts int      `json:"maxAttempts"`
	Initial     string   `json:"initialBackoff"`
	Max         string   `json:"maxBackoff"`
	Multiplier  float64  `json:"backoffMultiplier"`
	Codes       []string `json:"retryableStatusCodes"`
}

type throttling struct {
	MaxTokens int     `json:"maxTokens"`
	Ratio     float64 `json:"tokenRatio"`
}

func parseName(pattern string) (n configName, err error) {
	if pattern == "*" || pattern == "*/*" {
		return n, nil
	}
	n.Service, n.Method = split(strings.TrimPrefix(pattern, "/"))
	if n.Method == "*" {
		n.Method = ""
	} else if n.Method == "" {
		n.Service = ""
	}
	if n.Service == "" || strings.ContainsAny(n.Service+n.Method, "* /") {
		return n, fmt.Errorf(`grpcx: a service config cannot name %q: write "package.Service/Method", "package.Service/*" or "*"`, pattern)
	}
	return n, nil
}

// covers tells whether a pattern of n matches every call that m names.
func (n configName) covers(m configName) bool {
	return n == configName{} || n.Service == m.Service && (n.Method == "" || n.Method == m.Method)
}

// config is the part of p for calls that n names.
func (n configName) config(p resilience.Policy, again bool) methodConfig {
	whole, try, r := p.Timeout, p.AttemptTimeout, p.Retry
	for _, m := range p.Methods {
		if pattern, _ := parseName(m.Pattern); !pattern.covers(n) {
			continue
		}
		if m.Timeout != 0 {
			whole = m.Timeout
		}
		if m.AttemptTimeout != 0 {
			try = m.AttemptTimeout
		}
		if m.Retry != nil {
			r = m.Retry.OrDefault()
		}
		if m.Idempotent != nil {
			again = *m.Idempotent
		}
		break // the first wins
	}
	out := methodConfig{Names: []configName{n}}
	attempts := min(r.Max+1, 5)
	if r == retry.Classic().OrDefault() {
		attempts = 3
	}
	if !again || attempts < 2 {
		attempts = 1
	}
	var waits time.Duration
	if attempts > 1 {
		base, top, factor := max(r.Base, time.Millisecond), r.Cap, max(r.Factor, 1)
		if top <= 0 {
			top = time.Hour
		}
		out.Retry = &configPolicy{MaxAttempts: attempts, Initial: seconds9(base), Max: seconds9(top), Multiplier: factor,
			Codes: []string{"UNAVAILABLE", "RESOURCE_EXHAUSTED"}}
		for i := range attempts - 1 {
			waits += time.Duration(1.2 * min(float64(base)*math.Pow(factor, float64(i)), float64(top)))
		}
	}
	if try > 0 {
		if all := time.Duration(attempts)*try + waits; whole <= 0 || all < whole {
			whole = all
		}
	}
	if whole > 0 {
		out.Timeout = seconds9(whole)
	}
	return out
}

// seconds9 writes d as JSON has a google.protobuf.Duration.
func seconds9(d time.Duration) string {
	return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(d.Seconds(), 'f', 9, 64), "0"), ".") + "s"
}
