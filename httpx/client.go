package httpx

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/balance"
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

	// Board lists the Guard of this client, so that a person can see and force
	// its breaker; nil lists it nowhere.
	Board *resilience.Board
	// Balancer chooses the instance for each try; nil means the host of the URL,
	// as it is. With one, the URL's host is the target's name: it stays in the
	// Host header (an instance with a label "host" gets that one) while the
	// connection goes to the instance's Addr. A retry and a hedge go elsewhere if
	// they can. A redirect to another host is followed there. What ejects an
	// instance is in balance.Settings: that is the breaker of an instance, while
	// Policy.Breaker is the target's and sees what is left after the retries'
	// choice of instances. With https the instance's certificate must be good for
	// its Addr, unless Transport has a TLSClientConfig with a ServerName.
	Balancer *balance.Balancer
	// Lane names the version of the target that is to serve a call, such as what
	// canary.Table.Pick says; nil or "" means any. Without a Balancer it is
	// reported and steers nothing; if no instance has that version, or all that
	// have are ejected or were tried, any other serves.
	Lane func(ctx context.Context) string

	// ConnectTimeout bounds name lookup and connecting; 0 means 1s, the
	// article's, negative means only the deadline bounds it.
	ConnectTimeout time.Duration
	// ReadTimeout bounds each silence of the target: until the header of its
	// answer, and between two parts of the body; 0 means 2s, the article's,
	// negative means none. A stream of events that may be silent for long needs
	// it negative, and Policy.Timeout and Policy.AttemptTimeout too.
	ReadTimeout time.Duration
	// MaxBody bounds the body of an answer, in bytes: reading beyond it is an
	// error of kind BadGateway. 0 means no bound but JSON's own, MaxAnswer;
	// negative means no bound either.
	MaxBody int64
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
	t := &Transport{
		client: c, base: base, tell: newClientTelemetry(c.Observe, c.Target),
		guard: resilience.NewOn(c.Board, c.Target, c.Policy, c.Observe),
		epoch: time.Now(), empty: &emptyBody{c.Target},
	}
	t.calls.New = func() any {
		x := &call{t: t}
		x.run, x.opts[0] = x.try, resilience.Hold[*http.Response](nil, discard)
		return x
	}
	return t
}

func (c Client) transport() *http.Transport {
	idle, conns := c.MaxConns, c.MaxConns
	if idle == 0 {
		idle, conns = 256, 256
	} else if idle < 0 {
		idle, conns = 256, 0
	}
	all := 2 * idle
	if c.Balancer != nil {
		all = 0 // as many as there are instances: one's must not push another's out
	}
	connect := max(c.ConnectTimeout, 0)
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: connect, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:    2 * connect, // one round trip more than connecting
		ResponseHeaderTimeout:  max(c.ReadTimeout, 0),
		ExpectContinueTimeout:  time.Second,
		MaxIdleConns:           all,
		MaxIdleConnsPerHost:    idle,
		MaxConnsPerHost:        conns,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		ForceAttemptHTTP2:      true,
		// HTTP/2 sends all requests over one connection: without pings one that
		// has died silently is used until TCP gives up, a quarter of an hour.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
	}
}

// Transport is an http.RoundTripper with a policy. It is safe for concurrent
// use. Close idle connections with CloseIdleConnections, or with the same
// method of the http.Client; there is nothing else to close.
//
// A failed exchange is an *errs.Error of kind Timeout, Canceled or Unavailable;
// TooMany if a limit of the policy refused it; Internal if the request itself
// cannot be sent, which is this program's mistake, is not tried again and says
// nothing about the target. An answer is an answer, whatever its status, and
// comes back without error, after the policy has done what it can about
// statuses of 500 and over and 429. A request is tried again only if its method
// is idempotent or it has an Idempotency-Key header or Policy.Idempotent says
// so, and only if its body can be had again (http.NewRequest sees to that for
// bytes and strings). Policy.Methods match its method and, if WithTemplate gave
// one, the template, else the path: "GET /charges/{id}".
//
// The body of an answer is the caller's to read and close, as always. One that
// is declared to be at most 64 KiB, and every one that JSON asks for, is read as
// part of the try: it comes whole or not at all. A longer one, or a stream, ends
// with the request's context, with Policy.Timeout counted from the start of the
// call, and with a silence of ReadTimeout; not with the try's own limit; and
// what goes wrong in it no longer concerns the breaker.
//
// What is not used costs nothing: without an OpenTelemetry SDK no span or
// metric is made, without a limit no context, without something to send along
// no copy of the request.
type Transport struct {
	client Client
	base   http.RoundTripper
	guard  *resilience.Guard
	tell   *clientTelemetry
	epoch  time.Time
	empty  *emptyBody
	calls  sync.Pool // of *call; one is put back when Do, which waits for its tries, has returned
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
	ctx := req.Context()
	x := t.calls.Get().(*call)
	x.req, x.begun = req, time.Since(t.epoch)
	if t.guard.HasMethods() && req.URL != nil {
		x.name = method(req) + " " + cmp.Or(template(ctx), req.URL.Path)
	}
	var resp *http.Response
	var err error
	if err = t.check(req.URL); err != nil {
		err = t.failure(ctx, req, err)
	} else {
		opts := x.opts[:2]
		if opts[1] = repeatable(req); x.name != "" {
			opts = append(opts, resilience.Named[*http.Response](x.name))
		}
		resp, err = resilience.Do(ctx, t.guard, x.run, opts...)
	}
	tries, mistake, begun := x.tries.Load(), x.mistake, x.begun
	x.reset()
	t.calls.Put(x)
	if tries == 0 && req.Body != nil {
		_ = req.Body.Close() // RoundTrip must, and nobody else has seen it
	}
	if resp != nil {
		return resp, nil // the policy has had its say about the status
	}
	if mistake != nil {
		err = mistake
	}
	return nil, errs.From(err).At(errs.Border{
		Service: t.client.Service, Op: t.op(req), Started: time.Now().Add(begun - time.Since(t.epoch)), Trace: flow.TraceID(ctx),
	})
}

// op names calls of this client in chains and spans.
func (t *Transport) op(req *http.Request) string { return t.client.Target + " " + method(req) }

// repeatable says whether req may be sent again, if that does not depend on the
// policy.
func repeatable(req *http.Request) (o resilience.Option[*http.Response]) {
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		return resilience.Idempotent[*http.Response](false)
	}
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodTrace:
		return resilience.Idempotent[*http.Response](true)
	}
	// The same two headers net/http reads for its own retries.
	if req.Header.Get("Idempotency-Key") != "" || req.Header.Get("X-Idempotency-Key") != "" {
		return resilience.Idempotent[*http.Response](true)
	}
	return o
}

// discard gets rid of an answer that another try replaces. A small one has been
// read; waiting for the rest of a long one is worth more than a connection.
func discard(resp *http.Response) {
	if resp != nil {
		_ = resp.Body.Close()
	}
}
