// Package consul is the little of Consul's HTTP API that the drivers of
// discovery and config share: a request, and a query that waits for changes.
package consul

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/resilience/retry"
)

// DefaultAddr is where an agent listens on its machine.
const DefaultAddr = "127.0.0.1:8500"

const (
	maxBody = 32 << 20         // bytes of an answer
	patient = 10 * time.Second // of one request, besides what it waits for changes
	waiting = 8 * time.Second  // for changes, in one query; Consul adds up to a sixteenth
	base    = 100 * time.Millisecond
	longest = 5 * time.Second
	// soonest is between two queries that brought nothing new: an agent that
	// answers at once whatever it is asked must not be asked in a loop.
	soonest = 500 * time.Millisecond
)

// Client asks one agent. It is plain data.
type Client struct {
	Addr       string // host:port or a URL; "" means 127.0.0.1:8500
	Token      string // of Consul's ACL; "" means none
	Datacenter string // "" means the agent's
	HTTP       *http.Client
	Log        *slog.Logger
}

var transport = &http.Client{Transport: &http.Transport{
	MaxIdleConns: 1024, MaxIdleConnsPerHost: 1024, IdleConnTimeout: 90 * time.Second, ResponseHeaderTimeout: waiting + patient,
}}

func (c *Client) url(path string, q url.Values) string {
	addr := cmp.Or(c.Addr, DefaultAddr)
	if !strings.Contains(addr, "://") {
		addr = "http://" + addr
	}
	if c.Datacenter != "" {
		q.Set("dc", c.Datacenter)
	}
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return strings.TrimSuffix(addr, "/") + path
}

// Answer is what the agent said.
type Answer struct {
	Status int
	Index  uint64 // X-Consul-Index; 0 when there is none
	Body   []byte
}

// Do makes one request, with body as JSON unless it is nil. An answer of 404 or
// 409 is no error: it can mean what was asked for.
func (c *Client) Do(ctx context.Context, op, method, path string, q url.Values, body any) (Answer, error) {
	if q == nil {
		q = url.Values{}
	}
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return Answer{}, errs.New(errs.Internal, op, "the request cannot be written").Because(err)
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url(path, q), in)
	if err != nil {
		return Answer{}, errs.New(errs.Invalid, op, "the address of Consul is no address").Because(err)
	}
	if c.Token != "" {
		req.Header.Set("X-Consul-Token", c.Token)
	}
	resp, err := cmp.Or(c.HTTP, transport).Do(req)
	if err != nil {
		return Answer{}, away(ctx, op, err)
	}
	defer func() { _ = resp.Body.Close() }() // read, or given up
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return Answer{}, away(ctx, op, err)
	}
	a := Answer{Status: resp.StatusCode, Body: b}
	a.Index, _ = strconv.ParseUint(resp.Header.Get("X-Consul-Index"), 10, 64) // 0 is none
	switch {
	case len(b) > maxBody:
		return a, errs.New(errs.BadGateway, op, fmt.Sprintf("Consul's answer has more than %d bytes", maxBody))
	case a.Status/100 == 2 || a.Status == http.StatusNotFound || a.Status == http.StatusConflict:
		return a, nil
	case a.Status == http.StatusForbidden || a.Status == http.StatusUnauthorized:
		return a, errs.New(errs.Forbidden, op, "Consul refused access; check the token").Because(said(a))
	case a.Status/100 == 4:
		return a, errs.New(errs.Invalid, op, "Consul refused the request").Because(said(a))
	}
	return a, errs.New(errs.Unavailable, op, "Consul cannot answer now").Because(said(a))
}

// said is Consul's own words, for the log.
func said(a Answer) error {
	text := strings.TrimSpace(string(a.Body[:min(len(a.Body), 300)]))
	return fmt.Errorf("status %d: %s", a.Status, text)
}

func away(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil {
		return errs.Wrap(ctx.Err(), op)
	}
	return errs.New(errs.Unavailable, op, "Consul does not answer").Because(err)
}

// Follow asks again and again, each time waiting for a change, and hands each
// answer to fn, until ctx ends; it returns ctx's error. Answers come at least
// every 10 s while Consul answers. An error of fn counts as no answer. What
// breaks it is tried again with full jitter, 100 ms doubling to 5 s.
func (c *Client) Follow(ctx context.Context, op, path string, q url.Values, fn func(Answer) error) error {
	var index uint64
	failing := 0
	for {
		ask := url.Values{}
		for k, v := range q {
			ask[k] = v
		}
		if index > 0 && failing == 0 {
			ask.Set("index", strconv.FormatUint(index, 10))
			ask.Set("wait", waiting.String())
		}
		begun := time.Now()
		qctx, cancel := context.WithTimeout(ctx, waiting+patient)
		a, err := c.Do(qctx, op, http.MethodGet, path, ask, nil)
		cancel()
		if ctx.Err() != nil {
			return errs.Wrap(ctx.Err(), op)
		}
		if err == nil {
			err = fn(a)
		}
		wait := time.Duration(0)
		if err != nil {
			wait = Wait(failing)
			level := slog.LevelDebug
			if failing++; failing == 4 {
				level = slog.LevelWarn // said once an outage
			}
			c.log().LogAttrs(ctx, level, "consul: the query failed", slog.String("path", path), slog.Any("err", err))
		} else {
			failing = 0
			old := index
			index = max(a.Index, 1) // 0 would not wait
			if a.Index < old {
				index = 0 // it has started over: list again
			}
			if took := time.Since(begun); index == old && took < soonest {
				wait = soonest - took
			} else if took < base/5 {
				wait = base/5 - took // changes in a row are told together
			}
		}
		if retry.Wait(ctx, wait) != nil {
			return errs.Wrap(ctx.Err(), op)
		}
	}
}

// Wait is the pause after failure n+1: full jitter, but never nothing.
func Wait(n int) time.Duration {
	limit := min(base<<min(n, 10), longest)
	return limit/10 + rand.N(limit-limit/10)
}

func (c *Client) log() *slog.Logger { return cmp.Or(c.Log, slog.Default()) }
