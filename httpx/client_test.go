package httpx_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/breaker"
)

// wireFunc is the other side, in fake time: a RoundTripper that never leaves
// the process.
type wireFunc func(*http.Request) (*http.Response, error)

func (f wireFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answer is a response whose body counts itself open until closed.
func answer(status int, body io.Reader, open *atomic.Int64) *http.Response {
	open.Add(1)
	n := int64(-1)
	if s, ok := body.(*strings.Reader); ok {
		n = int64(s.Len())
	}
	return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Header: http.Header{}, ContentLength: n, Body: &counted{Reader: body, open: open}}
}

type counted struct {
	io.Reader
	open *atomic.Int64
	once sync.Once
}

func (c *counted) Close() error { c.once.Do(func() { c.open.Add(-1) }); return nil }

// slow gives one byte after each wait, and obeys ctx as a connection does.
type slow struct {
	ctx  context.Context
	wait []time.Duration
}

func (s *slow) Read(p []byte) (int, error) {
	if len(s.wait) == 0 {
		return 0, io.EOF
	}
	select {
	case <-time.After(s.wait[0]):
		s.wait = s.wait[1:]
		p[0] = 'x'
		return 1, nil
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	}
}

func request(t *testing.T, ctx context.Context, method string, body io.Reader, header ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, "http://bank.example:8443/charges/17?token="+secret, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func TestRetries(t *testing.T) {
	table := []struct {
		name    string
		method  string
		body    io.Reader
		header  []string
		answers []int // 0 is no connection
		policy  resilience.Policy
		ctx     func(context.Context) context.Context
		tries   int
		status  int // 0 means an error
	}{
		{name: "get heals", method: "GET", answers: []int{503, 0, 200}, tries: 3, status: 200},
		{name: "get never heals", method: "GET", answers: []int{502, 502, 502, 502, 502}, tries: 4, status: 502},
		{name: "no connection", method: "GET", answers: []int{0, 0, 0, 0, 0}, tries: 4},
		{name: "500 is not worth a try", method: "GET", answers: []int{500, 200}, tries: 1, status: 500},
		{name: "4xx is not worth a try", method: "GET", answers: []int{404, 200}, tries: 1, status: 404},
		{name: "429 is", method: "GET", answers: []int{429, 200}, tries: 2, status: 200},
		{name: "post", method: "POST", body: strings.NewReader("b"), answers: []int{503, 200}, tries: 1, status: 503},
		{name: "post with key", method: "POST", body: strings.NewReader("body"), header: []string{"Idempotency-Key", "k"}, answers: []int{503, 0, 200}, tries: 3, status: 200},
		{name: "post the policy vouches for", method: "POST", body: strings.NewReader("body"), policy: resilience.Policy{Idempotent: true}, answers: []int{503, 200}, tries: 2, status: 200},
		{name: "put", method: "PUT", body: bytes.NewReader([]byte("body")), answers: []int{503, 200}, tries: 2, status: 200},
		{name: "put that cannot be replayed", method: "PUT", body: io.MultiReader(strings.NewReader("body")), answers: []int{503, 200}, tries: 1, status: 503},
		{name: "somebody above retries", method: "GET", answers: []int{503, 200}, tries: 1, status: 503,
			ctx: func(ctx context.Context) context.Context { return flow.WithAttempt(ctx, 1) }},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var spy spy
				var open atomic.Int64
				var marks, timeouts, bodies []string
				tr := httpx.Client{Service: "payment", Target: "bank", Policy: c.policy, Observe: spy.sinks(), Transport: wireFunc(func(r *http.Request) (*http.Response, error) {
					n := len(marks)
					marks = append(marks, r.Header.Get("Retry-Attempt"))
					timeouts = append(timeouts, r.Header.Get("Request-Timeout-Ms"))
					if r.Body != nil {
						raw, _ := io.ReadAll(r.Body)
						r.Body.Close()
						bodies = append(bodies, string(raw))
					}
					if c.answers[n] == 0 {
						return nil, errors.New("dial tcp 10.0.0.7: connection refused")
					}
					return answer(c.answers[n], strings.NewReader("answer"), &open), nil
				})}.New()
				ctx := t.Context()
				if c.ctx != nil {
					ctx = c.ctx(ctx)
				}
				req := request(t, ctx, c.method, c.body, c.header...)
				resp, err := tr.RoundTrip(req)
				if len(marks) != c.tries {
					t.Fatalf("%d tries, want %d", len(marks), c.tries)
				}
				if c.status == 0 {
					e, ok := errors.AsType[*errs.Error](err)
					if !ok || e.Kind() != errs.Unavailable || e.Remote() || strings.Contains(e.Message(), "10.0.0.7") || !strings.Contains(err.Error(), "10.0.0.7") {
						t.Errorf("error %v", err)
					}
					if chain := e.Chain(); len(chain) != 1 || chain[0].Service != "payment" || chain[0].Op != "bank GET" {
						t.Errorf("chain %+v", chain)
					}
				} else {
					if err != nil || resp.StatusCode != c.status {
						t.Fatalf("%v %v", resp, err)
					}
					if raw, err := io.ReadAll(resp.Body); string(raw) != "answer" || err != nil {
						t.Errorf("body %q %v", raw, err)
					}
					resp.Body.Close()
				}
				if open.Load() != 0 {
					t.Errorf("%d bodies were never closed", open.Load())
				}
				for i, b := range bodies {
					if b != bodies[0] || b == "" {
						t.Errorf("try %d sent %q", i, b)
					}
				}
				spans := spy.ended(trace.SpanKindClient)
				if len(spans) != c.tries || len(spy.recorded("http.client.request.duration")) != c.tries {
					t.Fatalf("%d spans for %d tries", len(spans), c.tries)
				}
				for i, s := range spans {
					want := map[string]string{"peer.service": "bank", "service.peer.name": "bank", "server.address": "bank.example", "server.port": "8443",
						"http.request.method": c.method, "url.full": "http://bank.example:8443/charges/17", "http.request.resend_count": "-", "http.response.status_code": "-", "error.type": "-"}
					mark := ""
					if i > 0 {
						want["http.request.resend_count"], mark = strconv.Itoa(i), strconv.Itoa(i)
					}
					if c.ctx != nil {
						mark = "1"
					}
					status := c.answers[i]
					switch {
					case status == 0:
						want["error.type"] = "unavailable"
					default:
						want["http.response.status_code"] = strconv.Itoa(status)
						if status >= 400 {
							want["error.type"] = errs.KindOfHTTP(status).ID()
						}
					}
					has(t, fmt.Sprint("span ", i), s.attrs, want)
					if bad := status == 0 || status >= 500; (s.status == codes.Error) != bad {
						t.Errorf("span %d: %v", i, s.status)
					}
					if marks[i] != mark {
						t.Errorf("try %d was marked %q", i, marks[i])
					}
					if ms, _ := strconv.Atoi(timeouts[i]); ms <= 0 || ms > 2000 {
						t.Errorf("try %d had %q ms", i, timeouts[i])
					}
				}
				if req.Header.Get("Retry-Attempt") != "" || req.Header.Get("Request-Timeout-Ms") != "" {
					t.Error("the caller's request was changed")
				}
			})
		})
	}
}

func TestBreakerCountsTheTargetOnly(t *testing.T) {
	table := []struct {
		name string
		do   func(ctx context.Context, cancel func()) (int, error)
		open bool
	}{
		{"5xx", func(context.Context, func()) (int, error) { return 500, nil }, true},
		{"no connection", func(context.Context, func()) (int, error) { return 0, errors.New("refused") }, true},
		{"4xx", func(context.Context, func()) (int, error) { return 404, nil }, false},
		{"429", func(context.Context, func()) (int, error) { return 429, nil }, false},
		{"caller leaves", func(ctx context.Context, cancel func()) (int, error) { cancel(); return 0, ctx.Err() }, false},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var open atomic.Int64
				var cancel context.CancelFunc
				calls := 0
				tr := httpx.Client{Target: "bank", Observe: (&spy{}).sinks(), Policy: resilience.Policy{Breaker: breaker.Classic()},
					Transport: wireFunc(func(r *http.Request) (*http.Response, error) {
						calls++
						status, err := c.do(r.Context(), cancel)
						if err != nil {
							return nil, err
						}
						return answer(status, strings.NewReader(""), &open), nil
					})}.New()
				for range 10 {
					var ctx context.Context
					ctx, cancel = context.WithCancel(t.Context())
					resp, err := tr.RoundTrip(request(t, ctx, "POST", nil))
					if err == nil {
						resp.Body.Close()
					}
					cancel()
				}
				if got := tr.Guard().State() == breaker.Open; got != c.open {
					t.Errorf("open %v", got)
				}
				if !c.open {
					return
				}
				before := calls
				body := &counted{Reader: strings.NewReader("b"), open: &open}
				open.Add(1)
				_, err := tr.RoundTrip(request(t, t.Context(), "POST", body))
				if e, ok := errors.AsType[*errs.Error](err); !ok || e.Kind() != errs.Unavailable || calls != before {
					t.Errorf("%v, %d calls", err, calls-before)
				}
				if open.Load() != 0 {
					t.Error("the refused request's body was not closed")
				}
			})
		})
	}
}

// The body of an answer outlives the try that fetched it.
func TestBodyLimits(t *testing.T) {
	s := time.Second
	table := []struct {
		name  string
		waits []time.Duration
		read  time.Duration // ReadTimeout
		ctx   time.Duration // the caller's deadline; 0 means none
		total time.Duration // Policy.Timeout
		n     int
		kind  errs.Kind // of the error; Internal means none
	}{
		{"longer than a try", []time.Duration{s, s, s, s, s}, 0, 0, 0, 5, errs.Internal},
		{"silent", []time.Duration{s, 3 * s, s}, 0, 0, 0, 1, errs.Timeout},
		{"silence allowed", []time.Duration{s, 8 * s}, -1, 0, 0, 2, errs.Internal},
		{"too long in all", slices.Repeat([]time.Duration{1100 * time.Millisecond}, 30), 0, 0, 0, 9, errs.Timeout},
		{"no limit in all", slices.Repeat([]time.Duration{s}, 30), 0, 0, -1, 30, errs.Internal},
		{"the caller's deadline", []time.Duration{s, s, s, s, s}, 0, 2500 * time.Millisecond, 0, 2, errs.Timeout},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var open atomic.Int64
				client := httpx.Client{Target: "bank", ReadTimeout: c.read, Policy: resilience.Policy{Timeout: c.total}, Observe: (&spy{}).sinks(),
					Transport: wireFunc(func(r *http.Request) (*http.Response, error) {
						return answer(200, &slow{r.Context(), c.waits}, &open), nil
					})}.HTTP()
				ctx := t.Context()
				if c.ctx > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.ctx)
					defer cancel()
				}
				resp, err := client.Do(request(t, ctx, "GET", nil))
				if err != nil {
					t.Fatal(err)
				}
				raw, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if len(raw) != c.n || (err != nil) != (c.kind != errs.Internal) || err != nil && errs.KindOf(err) != c.kind {
					t.Errorf("%d bytes, %v", len(raw), err)
				}
				if open.Load() != 0 {
					t.Error("body not closed")
				}
			})
		})
	}
}

// An answer that breaks off counts as a failure of the target: it is tried
// again, it is on the span, and it opens the breaker.
func TestHalfAnAnswer(t *testing.T) {
	type half struct {
		length int64 // declared
		body   func(ctx context.Context) io.Reader
		kind   errs.Kind
	}
	cutOff := func(context.Context) io.Reader {
		return io.MultiReader(strings.NewReader(`{"id":`), failing{errors.New("connection reset")})
	}
	stalled := func(ctx context.Context) io.Reader { return &slow{ctx, []time.Duration{time.Second, time.Hour}} }
	for name, c := range map[string]half{
		"cut off, declared": {100, cutOff, errs.BadGateway},
		"cut off, chunked":  {-1, cutOff, errs.BadGateway},
		"stalled, declared": {100, stalled, errs.Timeout},
		"stalled, chunked":  {-1, stalled, errs.Timeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var spy spy
				var open atomic.Int64
				calls, heal := 0, true
				settings := breaker.Classic()
				settings.Interval = time.Hour // stalls take long
				tr := httpx.Client{Target: "bank", Observe: spy.sinks(), Policy: resilience.Policy{Breaker: settings},
					Transport: wireFunc(func(r *http.Request) (*http.Response, error) {
						if calls++; heal && calls > 1 {
							return answer(200, strings.NewReader(`{"id":"c1"}`), &open), nil
						}
						resp := answer(200, c.body(r.Context()), &open)
						resp.ContentLength = c.length
						return resp, nil
					})}.New()
				client := &http.Client{Transport: tr}
				get := func(method string) (charge, error) {
					return httpx.JSON[charge](t.Context(), client, method, "http://bank/charges/17", nil)
				}
				if got, err := get("GET"); err != nil || got.ID != "c1" || calls != 2 {
					t.Errorf("%v %v after %d calls", got, err, calls)
				}
				heal = false
				for range 6 {
					if _, err := get("POST"); errs.KindOf(err) != c.kind {
						t.Errorf("%v", err)
					}
				}
				if tr.Guard().State() != breaker.Open || open.Load() != 0 {
					t.Errorf("breaker %v, %d bodies open", tr.Guard().State(), open.Load())
				}
				for i, s := range spy.ended(trace.SpanKindClient) {
					if (s.status == codes.Error) != (i != 1) || i != 1 && s.attrs["error.type"] != c.kind.ID() {
						t.Errorf("span %d: %+v", i, s)
					}
				}
			})
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestCallerLeavesInTheMiddleOfTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var open atomic.Int64
		client := httpx.Client{Observe: (&spy{}).sinks(), Transport: wireFunc(func(r *http.Request) (*http.Response, error) {
			return answer(200, &slow{r.Context(), slices.Repeat([]time.Duration{time.Second}, 5)}, &open), nil
		})}.HTTP()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(2500*time.Millisecond, cancel)
		resp, err := client.Do(request(t, ctx, "GET", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if raw, err := io.ReadAll(resp.Body); len(raw) != 2 || errs.KindOf(err) != errs.Canceled || !errors.Is(err, context.Canceled) {
			t.Errorf("%q %v", raw, err)
		}
	})
}

// A stalled target costs tries, not the caller's whole time.
func TestAttemptTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var spy spy
		started := time.Now()
		tr := httpx.Client{Target: "bank", Observe: spy.sinks(), Policy: resilience.Policy{AttemptTimeout: time.Second},
			Transport: wireFunc(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, context.Cause(r.Context())
			})}.New()
		_, err := tr.RoundTrip(request(t, t.Context(), "POST", nil))
		if took := time.Since(started); errs.KindOf(err) != errs.Timeout || took != time.Second {
			t.Errorf("%v after %v", err, took)
		}
		if chain := errs.From(err).Chain(); chain[0].Elapsed != time.Second {
			t.Errorf("chain %+v", chain)
		}
		span := spy.ended(trace.SpanKindClient)[0]
		if span.status != codes.Error || span.attrs["error.type"] != "timeout" || len(span.events) != 1 || span.events[0].name != "exception" {
			t.Errorf("%+v", span)
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	var open atomic.Int64
	tr := httpx.Client{Observe: (&spy{}).sinks(), Transport: wireFunc(func(r *http.Request) (*http.Response, error) {
		return answer(200, strings.NewReader("answer"), &open), nil
	})}.New()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				resp, err := tr.RoundTrip(request(t, t.Context(), "GET", nil))
				if err != nil {
					t.Error(err)
					return
				}
				go resp.Body.Close() // also while it is read
				_, _ = io.Copy(io.Discard, resp.Body)
			}
		})
	}
	wg.Wait()
}
