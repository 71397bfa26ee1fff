package httpx

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/balance"
)

// call is one RoundTrip. Its tries may run at the same time. It is used again
// when all of them have returned, so what outlives them must not refer to it.
type call struct {
	t     *Transport
	run   func(context.Context) (*http.Response, error) // try, bound once
	opts  [3]resilience.Option[*http.Response]          // of run; the first never changes
	req   *http.Request
	name  string        // for Policy.Methods; "" if there are none
	begun time.Duration // since t.epoch
	tries atomic.Int32

	mu      sync.Mutex
	mistake *errs.Error // why the request cannot be sent
	asked   []string    // ids of the instances tried
	room    [4]string   // of asked
}

func (x *call) reset() {
	x.req, x.name, x.mistake, x.asked = nil, "", nil, nil
	x.room = [4]string{}
	x.tries.Store(0)
}

// destination is where a try goes.
type destination struct {
	lane     string
	balanced bool
	pick     balance.Pick
	instance balance.Instance
}

// try is one exchange. It returns an answer and, if its status is a failure, an
// error for the policy beside it.
func (x *call) try(ctx context.Context) (*http.Response, error) {
	n := int(x.tries.Add(1)) - 1
	t, req := x.t, x.req
	to, err := x.destination()
	ctx, sent := t.tell.start(ctx, req, &to, n)
	var resp *http.Response
	if err == nil {
		resp, err = x.exchange(ctx, &to, n, sent.span != nil)
	} else if n == 0 && req.Body != nil {
		_ = req.Body.Close() // nobody else will
	}
	var e *errs.Error
	switch {
	case err != nil:
		e = t.failure(ctx, req, err)
	case resp.StatusCode >= 400:
		e = errs.New(errs.KindOfHTTP(resp.StatusCode), t.op(req), "a service behind this one answered with an error").
			With("status", resp.StatusCode).RetryAfter(retryAfter(resp.Header, time.Now()))
	}
	wrong := unsendable(err)
	if to.balanced {
		took := to.pick.Elapsed()
		o := x.outcome(e, took)
		if wrong {
			o, took = balance.Ignored, 0
		}
		if to.pick.Done(o, took) {
			t.tell.ejected(ctx, &to)
		}
	}
	sent.finish(ctx, req, resp, e)
	switch {
	case e == nil:
		return resp, nil
	case wrong:
		x.mu.Lock()
		x.mistake = e
		x.mu.Unlock()
		// To the policy it is as if it had not been sent, which it has not:
		// neither worth another try nor anything about the target.
		return nil, errs.New(errs.Canceled, t.op(req), e.Message()).Because(err)
	}
	return resp, e
}

// outcome is what a try says about its instance.
func (x *call) outcome(e *errs.Error, took time.Duration) balance.Outcome {
	if e == nil {
		return balance.Success
	}
	switch k := e.Kind(); {
	case k == errs.Canceled, k == errs.TooMany, k == errs.Unavailable && e.RetryDelay() > 0:
		return balance.Ignored
	case k == errs.Timeout && took < x.t.guard.Policy().AttemptTimeout/10:
		return balance.Ignored // the caller was in a hurry
	case k.Fault() == errs.Caller:
		return balance.Success
	}
	return balance.Failure
}

// destination chooses where the next try goes.
func (x *call) destination() (to destination, err error) {
	c := &x.t.client
	if c.Lane != nil {
		to.lane = c.Lane(x.req.Context())
	}
	if c.Balancer == nil || elsewhere(x.req) {
		return to, nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if to.lane != "" {
		to.pick, err = c.Balancer.PickVersion(to.lane, x.asked...)
	} else {
		to.pick, err = c.Balancer.Pick(x.asked...)
	}
	if err != nil {
		return to, err
	}
	to.balanced, to.instance = true, to.pick.Instance()
	if x.asked == nil {
		x.asked = x.room[:0]
	}
	x.asked = append(x.asked, to.instance.ID)
	return to, nil
}

// elsewhere says that req follows a redirect away from the target.
func elsewhere(req *http.Request) bool {
	from := req.Response
	return from != nil && from.Request != nil && from.Request.URL.Host != req.URL.Host
}

// exchange sends req, or a copy of it, in a context that ends with the try until
// the answer, or the header of a long one, is there, and from then on with the
// body.
func (x *call) exchange(ctx context.Context, to *destination, n int, traced bool) (*http.Response, error) {
	t, req := x.t, x.req
	out := req
	var life *exchange
	if t.client.ReadTimeout > 0 || !same(ctx, req.Context()) {
		life = &exchange{t: t, req: req, values: ctx, parent: ctx}
		life.out = *req.WithContext(life) // which is inlined, so there is no other allocation
		out = &life.out
	} else if traced || n > 0 || to.balanced || carries(ctx, req.Header) {
		out = req.WithContext(ctx)
	}
	if out != req && carries(ctx, req.Header) {
		if out.Header = req.Header.Clone(); out.Header == nil {
			out.Header = http.Header{}
		}
		flow.Inject(ctx, out.Header)
	}
	if n > 0 && req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			life.end(nil)
			return nil, err
		}
		out.Body = body
	}
	if to.balanced {
		direct(out, &to.instance)
	}
	resp, err := t.base.RoundTrip(out)
	if err != nil {
		life.end(nil)
		return nil, err
	}
	resp.Request = req // an instance's address is nobody's business
	limit := t.small(req, resp)
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols: // its body is a connection and lives by its own rules
		if !life.arrive(nil) {
			_ = resp.Body.Close()
			return nil, context.Cause(ctx)
		}
	case resp.Body == nil || resp.Body == http.NoBody:
		life.end(nil)
		resp.Body = t.empty
	case limit > 0:
		// Read it as part of the try, so that an answer that breaks off counts
		// as the failure it is, and can be tried again.
		whole, err := x.read(ctx, resp, life, limit)
		_ = resp.Body.Close()
		life.end(nil)
		if err != nil {
			return nil, err
		}
		resp.Body = whole
	default:
		if life == nil {
			life = &exchange{t: t, req: req, values: ctx, parent: ctx}
		}
		if !life.arrive(req.Context()) { // the try ended as the answer came
			_ = resp.Body.Close()
			life.end(nil)
			return nil, context.Cause(ctx)
		}
		life.follow(resp.Body, x.begun, t.guard.Timeout(x.name))
		resp.Body = life
	}
	return resp, nil
}

// same says that two contexts end at the same time.
func same(try, caller context.Context) bool {
	a, some := try.Deadline()
	b, too := caller.Deadline()
	return some == too && a.Equal(b) && try.Done() == caller.Done()
}

// carries says whether ctx has anything to put into h, or h something that must
// not be sent.
func carries(ctx context.Context, h http.Header) bool {
	if _, ok := ctx.Deadline(); ok {
		return true
	}
	if len(h) > 0 && (h[flow.HeaderTimeout] != nil || h[flow.HeaderAttempt] != nil) {
		return true
	}
	return flow.Attempt(ctx) > 0 || trace.SpanContextFromContext(ctx).IsValid() || baggage.FromContext(ctx).Len() > 0
}

// hostLabel is the label of an instance that is its Host header.
const hostLabel = "host"

// direct has out sent to an instance.
func direct(out *http.Request, to *balance.Instance) {
	if host := to.Labels[hostLabel]; host != "" {
		out.Host = host
	} else if out.Host == "" {
		out.Host = out.URL.Host
	}
	u := *out.URL
	u.Host = to.Addr
	out.URL = &u
}

// failure says in our words why an exchange failed.
func (t *Transport) failure(try context.Context, req *http.Request, err error) *errs.Error {
	if unsendable(err) {
		return errs.New(errs.Internal, t.op(req), "something went wrong on our side").Because(err)
	}
	return failure(try, req.Context(), err, t.op(req))
}

func failure(try, caller context.Context, err error, op string) *errs.Error {
	if e, ok := errors.AsType[*errs.Error](err); ok {
		return e
	}
	kind, msg := errs.Unavailable, "a service behind this one cannot be reached"
	switch {
	case errors.Is(caller.Err(), context.Canceled):
		kind, msg = errs.Canceled, "the request was canceled"
	case caller.Err() == nil && errors.Is(try.Err(), context.Canceled): // another try was faster
		kind, msg = errs.Canceled, "the request was canceled"
	case try.Err() != nil, caller.Err() != nil, errs.KindOf(err) == errs.Timeout:
		kind, msg = errs.Timeout, "a service behind this one did not answer in time"
	}
	return errs.New(kind, op, msg).Because(err)
}

// unsendable says that a transport did not send a request because there is
// something wrong with it. net/http has no better way to tell than its text; of a
// body of the wrong length it sometimes tells only that the connection is closed.
func unsendable(err error) bool {
	if err == nil {
		return false
	}
	s := err.Error()
	if !strings.Contains(s, "http") && !strings.HasPrefix(s, "unsupported protocol scheme") {
		return false
	}
	for _, part := range []string{
		"unsupported protocol scheme", "http: no Host in request URL", "http: nil Request.URL", "http: nil Request.Header",
		"http: invalid method", "http: invalid header field", "http: invalid trailer", "http: invalid Host header",
		"http: Request.ContentLength=", "http: ContentLength=", "request body larger than specified content length",
	} {
		if strings.Contains(s, part) {
			return true
		}
	}
	return false
}

// check returns what can be seen to be wrong with req, or nil.
func (t *Transport) check(u *url.URL) error {
	switch {
	case u == nil:
		return errors.New("http: nil Request.URL")
	case t.client.Transport != nil: // it may know more
		return nil
	case u.Scheme != "http" && u.Scheme != "https":
		return errors.New("unsupported protocol scheme " + strconv.Quote(u.Scheme))
	case u.Host == "":
		return errors.New("http: no Host in request URL")
	}
	return nil
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
