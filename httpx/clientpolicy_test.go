package httpx_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/breaker"
	"github.com/surefoot-go/surefoot/resilience/hedge"
	"github.com/surefoot-go/surefoot/resilience/limit"
	"github.com/surefoot-go/surefoot/resilience/retry"
)

// A request that cannot be sent is our mistake: one try, and nothing about the
// target.
func TestMistakes(t *testing.T) {
	var hits atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer srv.Close()
	for name, spoil := range map[string]func(*http.Request){
		"scheme":      func(r *http.Request) { r.URL.Scheme = "ftp" },
		"no scheme":   func(r *http.Request) { r.URL.Scheme = "" },
		"no host":     func(r *http.Request) { r.URL.Host = "" },
		"no URL":      func(r *http.Request) { r.URL = nil },
		"header name": func(r *http.Request) { r.Header["bad name"] = []string{"x"} },
		"header":      func(r *http.Request) { r.Header.Set("X", "a\nb") },
		"method":      func(r *http.Request) { r.Method = "GE T" },
		"body length": func(r *http.Request) { r.ContentLength = 99 },
	} {
		p := atOnce
		p.Idempotent, p.Breaker = true, breaker.Classic()
		tr := httpx.Client{Target: "bank", Policy: p, Observe: (&spy{}).sinks()}.New()
		for range 10 {
			req, _ := http.NewRequestWithContext(t.Context(), "POST", srv.URL, strings.NewReader("body"))
			spoil(req)
			resp, err := tr.RoundTrip(req)
			e, ok := errors.AsType[*errs.Error](err)
			if resp != nil || !ok || e.Kind() != errs.Internal || strings.Contains(e.Message(), "http") {
				t.Fatalf("%s: %v %v", name, resp, err)
			}
		}
		most := uint64(0)
		if name == "body length" {
			most = 3 // net/http now and then names the connection it has closed for this reason, and not the reason
		}
		if s := tr.Guard().Snapshot(); s.State != breaker.Closed || s.Counts.Failures > most || s.Counts.Answered+s.Counts.Successes > 0 {
			t.Errorf("%s: the breaker counted %+v", name, s.Counts)
		}
		tr.CloseIdleConnections()
	}
}

// What a limit of the policy refuses is too_many_requests, with a hint when to
// come back, and no request.
func TestOverLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		p := resilience.Policy{Rate: limit.RateSettings{PerSecond: 1, Burst: 2, MaxWait: -1}}
		tr := httpx.Client{Target: "bank", Policy: p, Observe: (&spy{}).sinks(), Transport: wireFunc(func(*http.Request) (*http.Response, error) {
			sent++
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		})}.New()
		var refused int
		for range 10 {
			if _, err := tr.RoundTrip(request(t, t.Context(), "GET", nil)); err != nil {
				e := errs.From(err)
				if e.Kind() != errs.TooMany || e.Code() != "over_limit" || e.RetryDelay() <= 0 {
					t.Errorf("%v", err)
				}
				refused++
			}
		}
		if sent == 0 || refused == 0 || sent+refused != 10 || tr.Guard().State() != breaker.Closed {
			t.Errorf("%d sent, %d refused", sent, refused)
		}
	})
}

// Methods of a policy match the template if there is one, else the path.
func TestMethods(t *testing.T) {
	none, yes := retry.Policy{Max: -1}, true
	p := atOnce
	p.Methods = []resilience.Method{
		{Pattern: "GET /charges/{id}", Retry: &none},
		{Pattern: "GET /slow/*", Timeout: time.Minute, AttemptTimeout: time.Minute},
		{Pattern: "POST /search*", Idempotent: &yes},
	}
	for _, c := range []struct {
		method, path, template string
		tries                  int
		left                   time.Duration // of a try, at most
	}{
		{"GET", "/charges/17", "/charges/{id}", 1, 2 * time.Second},
		{"GET", "/charges/17", "", 4, 2 * time.Second},
		{"GET", "/slow/report", "", 4, time.Minute},
		{"POST", "/search/all", "", 4, 2 * time.Second},
		{"POST", "/charges", "", 1, 2 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			var left time.Duration
			tr := httpx.Client{Target: "bank", Policy: p, Observe: (&spy{}).sinks(), Transport: wireFunc(func(r *http.Request) (*http.Response, error) {
				tries++
				if at, ok := r.Context().Deadline(); ok {
					left = time.Until(at)
				}
				return &http.Response{StatusCode: 503, Body: http.NoBody}, nil
			})}.New()
			ctx := t.Context()
			if c.template != "" {
				ctx = httpx.WithTemplate(ctx, c.template)
			}
			req, _ := http.NewRequestWithContext(ctx, c.method, "http://bank"+c.path, nil)
			if _, err := tr.RoundTrip(req); err != nil || tries != c.tries || left != c.left {
				t.Errorf("%s %s: %d tries of %v, %v", c.method, c.path, tries, left, err)
			}
		})
	}
}

// A body may take as long as its method may.
func TestMethodLimitsItsBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := resilience.Policy{Methods: []resilience.Method{{Pattern: "GET /report", Timeout: time.Minute}}}
		tr := httpx.Client{Target: "bank", Policy: p, Observe: (&spy{}).sinks(), Transport: wireFunc(func(r *http.Request) (*http.Response, error) {
			var open atomic.Int64
			return answer(200, &slow{r.Context(), slices.Repeat([]time.Duration{time.Second}, 100)}, &open), nil
		})}.New()
		for path, want := range map[string]int{"/report": 59, "/other": 9} {
			req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://bank"+path, nil)
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if raw, err := io.ReadAll(resp.Body); len(raw) < want || len(raw) > want+1 || errs.KindOf(err) != errs.Timeout {
				t.Errorf("%s: %d bytes, %v", path, len(raw), err)
			}
		}
	})
}

// The next call follows the policy that was set meanwhile.
func TestPolicyIsReplacedWhileCallsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries atomic.Int64
		tr := httpx.Client{Target: "bank", Observe: (&spy{}).sinks(), Transport: wireFunc(func(r *http.Request) (*http.Response, error) {
			tries.Add(1)
			<-time.After(10 * time.Millisecond)
			return &http.Response{StatusCode: 503, Body: http.NoBody}, nil
		})}.New()
		ended := make(chan int64)
		call := func() {
			_, _ = tr.RoundTrip(request(t, t.Context(), "GET", nil))
			ended <- tries.Load()
		}
		go call()
		synctest.Wait() // the first try is under way
		p := tr.Guard().Policy()
		p.Retry.Max = -1
		tr.Guard().Set(p)
		if n := <-ended; n != 4 {
			t.Errorf("the running call made %d tries", n)
		}
		go call()
		if n := <-ended; n != 5 {
			t.Errorf("the next one %d", n-4)
		}
	})
}

func TestMaxBody(t *testing.T) {
	big := strings.Repeat("x", 1000)
	for name, c := range map[string]struct {
		max    int64
		length bool // declared
		size   int
		ok     bool
	}{
		"declared, too large":    {999, true, 1000, false},
		"declared, just":         {1000, true, 1000, true},
		"streamed, too large":    {999, false, 1000, false},
		"streamed, just":         {1000, false, 1000, true},
		"no limit":               {0, false, 1000, true},
		"none by a negative one": {-1, true, 1000, true},
	} {
		tries := 0
		client := httpx.Client{Target: "bank", MaxBody: c.max, Observe: (&spy{}).sinks(), Transport: wireFunc(func(r *http.Request) (*http.Response, error) {
			tries++
			var open atomic.Int64
			resp := answer(200, strings.NewReader(big[:c.size]), &open)
			if !c.length {
				resp.ContentLength = -1
			}
			return resp, nil
		})}.HTTP()
		resp, err := client.Get("http://bank/")
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(resp.Body)
		if (err == nil) != c.ok || err != nil && errs.KindOf(err) != errs.BadGateway || c.max > 0 && int64(len(raw)) > c.max {
			t.Errorf("%s: %d bytes, %v", name, len(raw), err)
		}
		resp.Body.Close()
		_, err = httpx.JSON[string](t.Context(), client, "GET", "http://bank/", nil)
		if !c.ok && errs.KindOf(err) != errs.BadGateway || tries != 2 {
			t.Errorf("%s: JSON: %v after %d tries", name, err, tries)
		}
	}
}

// A loser that answers all the same has its body closed.
func TestHedgeClosesTheLosersBody(t *testing.T) {
	for name, length := range map[string]int64{"small": 6, "long": -1} {
		synctest.Test(t, func(t *testing.T) {
			var open, calls atomic.Int64
			var ctxs [2]context.Context
			p := resilience.Policy{Hedge: hedge.Settings{Max: 1, Delay: 50 * time.Millisecond}}
			var spy spy
			tr := httpx.Client{Target: "bank", Policy: p, Observe: spy.sinks(), Transport: wireFunc(func(r *http.Request) (*http.Response, error) {
				n := calls.Add(1) - 1
				ctxs[n] = r.Context()
				if n == 0 {
					<-r.Context().Done() // and answers nevertheless
				}
				resp := answer(200, strings.NewReader("answer"), &open)
				resp.ContentLength = length
				return resp, nil
			})}.New()
			resp, err := tr.RoundTrip(request(t, t.Context(), "GET", nil))
			if err != nil {
				t.Fatal(err)
			}
			if raw, err := io.ReadAll(resp.Body); string(raw) != "answer" || err != nil {
				t.Errorf("%s: %q %v", name, raw, err)
			}
			resp.Body.Close()
			if open.Load() != 0 || calls.Load() != 2 {
				t.Errorf("%s: %d bodies open after %d calls", name, open.Load(), calls.Load())
			}
			for n, ctx := range ctxs {
				if ctx.Err() == nil {
					t.Errorf("%s: the context of try %d has not ended", name, n)
				}
			}
			if spans := spy.ended(trace.SpanKindClient); len(spans) != 2 {
				t.Errorf("%s: %d spans", name, len(spans))
			}
		})
	}
}

func TestBoardListsTheClient(t *testing.T) {
	var board resilience.Board
	tr := httpx.Client{Target: "bank", Board: &board, Observe: (&spy{}).sinks(), Transport: wireFunc(noWire)}.New()
	if err := board.Force("bank", resilience.ForcedOpen); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.RoundTrip(request(t, t.Context(), "GET", nil)); errs.KindOf(err) != errs.Unavailable {
		t.Error(err)
	}
	if l := board.List(); len(l) != 1 || l[0].Target != "bank" {
		t.Errorf("%+v", l)
	}
}
