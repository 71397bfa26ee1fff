package httpx

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
)

// Client describes calls to one target. Make one *http.Client per target with
// HTTP, or a Transport with New, and keep it: the breaker, the retry budget
// and the connections live in it. Client itself is plain data; the zero value
// works but reports its target as "".
type Client struct {
	Service string            // service.name of the caller, written into error chains
	Target  string            // service.name of the callee, or what to call an external one
	Policy  resilience.Policy // the zero value is resilience.Default
	Observe observe.Sinks     // where spans and metrics go

	// ConnectTimeout bounds name lookup and connecting; 0 means 1s, the
	// article's, negative means only the deadline bounds it.
	ConnectTimeout time.Duration
	// ReadTimeout bounds each silence of the target: until the header of its
	// answer, and between two parts of the body; 0 means 2s, the article's,
	// negative means none. A stream of events that may be silent for long needs
	// it negative, and Policy.Timeout and Policy.AttemptTimeout too.
	ReadTimeout time.Duration
	// MaxConns bounds connections to one host, and how many of them are kept
	// when idle; 0 means 256, negative means no bound and 256 kept. A request
	// over it waits, for as long as its deadline allows. (http.Transport keeps
	// only 2: under load it would connect anew for most requests.)
	MaxConns int

	// Transport does the exchange; nil means an http.Transport made from the
	// fields above. With another one those fields do not apply to connecting.
	Transport http.RoundTripper
}

// HTTP returns an *http.Client that uses New. It has no Timeout of its own: the
// policy and the request's context limit it.
func (c Client) HTTP() *http.Client { return &http.Client{Transport: c.New()} }

// New returns a transport with c's policy around every request.
func (c Client) New() *Transport {
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, time.Second)
	c.ReadTimeout = cmp.Or(c.ReadTimeout, 2*time.Second)
	base := c.Transport
	if base == nil {
		base = c.transport()
	}
	return &Transport{
		client: c, base: base, tell: newClientTelemetry(c.Observe, c.Target),
		guard: resilience.New(c.Target, c.Policy, c.Observe),
	}
}

func (c Client) transport() *http.Transport {
	idle, conns := c.MaxConns, c.MaxConns
	if idle == 0 {
		idle, conns = 256, 256
	} else if idle < 0 {
		idle, conns = 256, 0
	}
	connect := max(c.ConnectTimeout, 0)
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: connect, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:    2 * connect, // one round trip more than connecting
		ResponseHeaderTimeout:  max(c.ReadTimeout, 0),
		ExpectContinueTimeout:  time.Second,
		MaxIdleConns:           2 * idle,
		MaxIdleConnsPerHost:    idle,
		MaxConnsPerHost:        conns,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		ForceAttemptHTTP2:      true,
	}
}

// Transport is an http.RoundTripper with a policy. It is safe for concurrent
// use. Close idle connections with CloseIdleConnections, or with the same
// method of the http.Client; there is nothing else to close.
//
// A failed exchange is an *errs.Error of kind Timeout, Canceled or Unavailable.
// An answer is an answer, whatever its status, and comes back without error,
// after the policy has done what it can about statuses of 500 and over and 429.
// A request is tried again only if its method is idempotent or it has an
// Idempotency-Key header or Policy.Idempotent says so, and only if its body can
// be had again (http.NewRequest sees to that for bytes and strings).
//
// The body of an answer is the caller's to read and close, as always. One that
// is declared to be at most 64 KiB, and every one that JSON asks for, is read as
// part of the try: it comes whole or not at all. A longer one, or a stream, ends
// with the request's context, with Policy.Timeout counted from the start of the
// call, and with a silence of ReadTimeout; not with the try's own limit; and
// what goes wrong in it no longer concerns the breaker.
type Transport struct {
	client Client
	base   http.RoundTripper
	guard  *resilience.Guard
	tell   *clientTelemetry
}

// Guard returns the policy at work: its breaker's state, and Set to change the
// policy while calls run.
func (t *Transport) Guard() *resilience.Guard { return t.guard }

// CloseIdleConnections closes the connections that no request uses.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// RoundTrip makes one call under the policy.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	started := time.Now()
	tries := 0
	resp, err := resilience.Do(req.Context(), t.guard,
		func(ctx context.Context) (*http.Response, error) {
			tries++
			return t.try(ctx, req, tries-1, started)
		},
		resilience.Idempotent[*http.Response](repeatable(req, t.guard.Policy().Idempotent)),
		resilience.Hold(
			func(resp *http.Response, release context.CancelFunc) *http.Response { release(); return resp },
			discard),
	)
	if tries == 0 && req.Body != nil {
		_ = req.Body.Close() // RoundTrip must, and nobody else has seen it
	}
	if resp != nil {
		return resp, nil // the policy has had its say about the status
	}
	return nil, errs.From(err).At(errs.Border{
		Service: t.client.Service, Op: t.op(req), Started: started, Trace: flow.TraceID(req.Context()),
	})
}

// op names calls of this client in chains and spans.
func (t *Transport) op(req *http.Request) string { return t.client.Target + " " + method(req) }

// try is one exchange. It returns an answer and, if its status is a failure, an
// error for the policy beside it.
func (t *Transport) try(ctx context.Context, req *http.Request, n int, started time.Time) (*http.Response, error) {
	ctx, sent := t.tell.start(ctx, req, t.op(req), n)
	resp, err := t.exchange(ctx, req, n, started)
	var e *errs.Error
	switch {
	case err != nil:
		e = failure(ctx, req.Context(), err, t.op(req))
	case resp.StatusCode >= 400:
		e = errs.New(errs.KindOfHTTP(resp.StatusCode), t.op(req), "a service behind this one answered with an error").
			With("status", resp.StatusCode).RetryAfter(retryAfter(resp.Header, time.Now()))
	}
	sent.finish(ctx, req, resp, e)
	if e != nil {
		return resp, e
	}
	return resp, nil
}

// exchange sends a copy of req in a context that ends with the try until the
// answer, or the header of a long one, is there, and from then on with the body.
func (t *Transport) exchange(ctx context.Context, req *http.Request, n int, started time.Time) (*http.Response, error) {
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	detach := context.AfterFunc(ctx, func() { end(context.Cause(ctx)) })
	out := req.Clone(life)
	if n > 0 && out.GetBody != nil {
		body, err := out.GetBody()
		if err != nil {
			end(nil)
			return nil, err
		}
		out.Body = body
	}
	flow.Inject(ctx, out.Header)
	resp, err := t.base.RoundTrip(out)
	if err != nil {
		detach()
		end(nil)
		return nil, err
	}
	b := &body{from: resp.Body, target: t.client.Target, op: t.op(req), caller: req.Context(), life: life, end: end, silence: t.client.ReadTimeout}
	if limit := small(req, resp); limit > 0 {
		// Read it as part of the try, so that an answer that breaks off counts
		// as the failure it is, and can be tried again.
		raw, err := io.ReadAll(io.LimitReader(b, limit+1))
		detach()
		_ = b.Close()
		if err != nil {
			return nil, err
		}
		resp.Body = &readBody{*bytes.NewReader(raw), b.target}
		return resp, nil
	}
	switch {
	case !detach(): // the try ended as the answer came
		_ = b.Close()
		return nil, context.Cause(ctx)
	case resp.StatusCode == http.StatusSwitchingProtocols:
		return resp, nil // its body is a connection and lives by its own rules
	}
	resp.Body = b
	b.outlive(started, t.guard.Policy().Timeout)
	return resp, nil
}

// failure says in our words why an exchange failed.
func failure(try, caller context.Context, err error, op string) *errs.Error {
	if e, ok := errors.AsType[*errs.Error](err); ok {
		return e
	}
	kind, msg := errs.Unavailable, "a service behind this one cannot be reached"
	switch {
	case errors.Is(caller.Err(), context.Canceled):
		kind, msg = errs.Canceled, "the request was canceled"
	case try.Err() != nil, caller.Err() != nil, errs.KindOf(err) == errs.Timeout:
		kind, msg = errs.Timeout, "a service behind this one did not answer in time"
	}
	return errs.New(kind, op, msg).Because(err)
}

// repeatable says whether req may be sent again.
func repeatable(req *http.Request, always bool) bool {
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		return false
	}
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodTrace:
		return true
	}
	// The same two headers net/http reads for its own retries.
	return always || req.Header.Get("Idempotency-Key") != "" || req.Header.Get("X-Idempotency-Key") != ""
}

// retryAfter reads the Retry-After header: seconds, or a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if v == "" || len(v) > 64 {
		return 0
	}
	const most = time.Hour
	if s, err := strconv.ParseUint(v, 10, 31); err == nil {
		return min(time.Duration(s)*time.Second, most)
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(at.Sub(now), 0), most)
	}
	return 0
}
