package httpx_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/retry"
	"github.com/surefoot-go/surefoot/safe"
)

// The same failure, seen at A after it crossed C -> B -> A: id, message,
// details, status, trace and the hops in order; and what must not cross.
func TestAnErrorCrossesTwoServices(t *testing.T) {
	type failure struct {
		name    string
		c       handlerFunc
		status  int
		id      string
		details int
	}
	var table []failure
	for _, k := range []errs.Kind{errs.Internal, errs.Invalid, errs.Unauthorized, errs.Forbidden, errs.NotFound, errs.Conflict,
		errs.FailedPrecondition, errs.TooMany, errs.Canceled, errs.Unimplemented, errs.BadGateway, errs.Unavailable, errs.Timeout} {
		table = append(table, failure{k.ID(), func(http.ResponseWriter, *http.Request) error {
			return errs.New(k, "c.Work", "message of "+k.ID()).Detail("detail one", "detail two").
				With("dsn", "postgres://root:"+secret+"@db").Because(errors.New(secret))
		}, k.HTTP(), k.ID(), 2})
	}
	table = append(table,
		failure{"own id", func(http.ResponseWriter, *http.Request) error {
			return errs.New(errs.Conflict, "c.Work", "message of sold_out").ID("sold_out")
		}, 409, "sold_out", 0},
		failure{"own status", func(http.ResponseWriter, *http.Request) error {
			return errs.New(errs.Invalid, "c.Work", "message of x").Status(422)
		}, 422, "invalid_request", 0},
		failure{"plain error", func(http.ResponseWriter, *http.Request) error { return errors.New(secret) }, 500, "internal_error", 0},
		failure{"panic", func(http.ResponseWriter, *http.Request) error { panic(secret) }, 500, "internal_error", 0},
		failure{"context", func(_ http.ResponseWriter, r *http.Request) error {
			return fmt.Errorf("%s: %w", secret, errs.New(errs.Timeout, "c.Work", "message of timeout"))
		}, 504, "timeout", 0},
	)
	for _, f := range table {
		t.Run(f.name, func(t *testing.T) {
			var a, b, c spy
			srvC := httptest.NewServer(httpx.Server{Service: "c", Observe: c.sinks()}.Handle("c.Serve", f.c))
			defer srvC.Close()
			srvB := httptest.NewServer(httpx.Server{Service: "b", Observe: b.sinks()}.Handle("b.Serve", call("b", "c", srvC.URL, &b)))
			defer srvB.Close()
			srvA := httptest.NewServer(httpx.Server{Service: "a", Observe: a.sinks()}.Handle("a.Serve", call("a", "b", srvB.URL, &a)))
			defer srvA.Close()

			// As JSON, as a problem, and as an edge would answer.
			for _, accept := range []string{"application/json", "application/problem+json"} {
				req, _ := http.NewRequest("POST", srvA.URL, nil)
				req.Header.Set("Traceparent", parent)
				req.Header.Set("Accept", accept)
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				raw, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != f.status || resp.Header.Get("Content-Type") != accept {
					t.Fatalf("status %d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
				}
				if s := string(raw); strings.Contains(s, secret) || strings.Contains(s, "postgres") || strings.Contains(s, "goroutine") || strings.Contains(s, "127.0.0.1") {
					t.Errorf("private: %s", s)
				}
				e := errs.Decode(raw, resp.StatusCode, accept)
				if e.Code() != f.id || e.Trace() != traceID || len(e.Details()) != f.details {
					t.Errorf("id %q, trace %q, details %q", e.Code(), e.Trace(), e.Details())
				}
				if f.details > 0 && e.Message() != "message of "+f.id {
					t.Errorf("message %q", e.Message())
				}
				var services []string
				for _, h := range e.Chain() {
					services = append(services, h.Service+":"+h.Op)
				}
				got := strings.Join(services, " ")
				want := "a:a.Serve a:a.Call b:b.Serve b:b.Call c:c.Serve c:c.Work"
				if f.name == "plain error" || f.name == "panic" {
					want = strings.TrimSuffix(want, " c:c.Work")
				}
				if got != want {
					t.Errorf("chain\n got %s\nwant %s", got, want)
				}
			}

			// Each service's own log has the private part, under the same trace.
			if f.name != "own id" && f.name != "own status" {
				if log := strings.Join(c.lines(), "\n"); !strings.Contains(log, secret) || !strings.Contains(log, traceID) {
					t.Errorf("log of c: %s", log)
				}
			}
			for name, s := range map[string]*spy{"a": &a, "b": &b, "c": &c} {
				if log := strings.Join(s.lines(), "\n"); name != "c" && strings.Contains(log, secret) {
					t.Errorf("private in the log of %s: %s", name, log)
				}
				server := s.ended(trace.SpanKindServer)[0]
				if bad := f.status >= 500; (server.status == codes.Error) != bad || server.sc.TraceID().String() != traceID || server.attrs["error.type"] != f.id {
					t.Errorf("span of %s: %+v", name, server)
				}
				if strings.Contains(fmt.Sprint(server.attrs, server.events, server.message), secret) {
					t.Errorf("private in the span of %s", name)
				}
				for _, client := range s.ended(trace.SpanKindClient) {
					if client.parent != server.sc.SpanID() && len(s.ended(trace.SpanKindServer)) == 1 {
						t.Errorf("client span of %s is not below its server span", name)
					}
				}
			}
		})
	}
}

// call is a handler that asks the next service and wraps what comes back.
func call(service, target, url string, s *spy) handlerFunc {
	client := httpx.Client{Service: service, Target: target, Observe: s.sinks()}.HTTP()
	return func(w http.ResponseWriter, r *http.Request) error {
		v, err := httpx.JSON[map[string]any](r.Context(), client, "POST", url, nil)
		if err != nil {
			return errs.Wrap(err, service+".Call")
		}
		return httpx.Write(w, 200, v)
	}
}

// Labels, the trace and the shrinking time left arrive at the last of three.
func TestFlowCrossesTwoServices(t *testing.T) {
	var left []int64
	var s spy
	end := httptest.NewServer(httpx.Server{Service: "c", Observe: s.sinks()}.Handle("c.Serve", func(w http.ResponseWriter, r *http.Request) error {
		d, _ := flow.Remaining(r.Context())
		left = append(left, d.Milliseconds())
		return httpx.Write(w, 200, map[string]any{"tier": flow.Label(r.Context(), "tier"), "trace": flow.TraceID(r.Context())})
	}))
	defer end.Close()
	middle := httptest.NewServer(httpx.Server{Service: "b", Observe: s.sinks()}.Handle("b.Serve", call("b", "c", end.URL, &s)))
	defer middle.Close()
	ctx := flow.WithLabels(t.Context(), map[string]string{"tier": "premium"})
	client := httpx.Client{Service: "a", Target: "b", Observe: s.sinks()}.HTTP()
	defer client.CloseIdleConnections()
	got, err := httpx.JSON[map[string]string](ctx, client, "POST", middle.URL, nil)
	if err != nil || got["tier"] != "premium" || len(got["trace"]) != 32 {
		t.Errorf("%v %v", got, err)
	}
	if left[0] <= 0 || left[0] >= 2000 {
		t.Errorf("c had %d ms left of the first try's 2000", left[0])
	}
}

// A foreign service at the end tells no story; it becomes the origin by name,
// and its status stays: 502 is not turned into 500.
func TestForeignOrigin(t *testing.T) {
	var s spy
	bank := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "stack trace with "+secret, 502)
	}))
	defer bank.Close()
	payment := httptest.NewServer(httpx.Server{Service: "payment", Observe: s.sinks()}.Handle("payment.Charge", call("payment", "bank", bank.URL, &s)))
	defer payment.Close()
	_, err := httpx.JSON[any](t.Context(), httpx.Client{Service: "order", Target: "payment", Observe: s.sinks()}.HTTP(), "POST", payment.URL, nil)
	e := errs.From(err)
	if e.Code() != "bad_gateway" || e.HTTP() != 502 || strings.Contains(err.Error(), secret) {
		t.Errorf("%v", err)
	}
	chain := e.Chain()
	if last := chain[len(chain)-1]; last.Service != "bank" || last.Error != "bad_gateway" {
		t.Errorf("chain %+v", chain)
	}
	if log := strings.Join(s.lines(), ""); !strings.Contains(log, "remote_body") || !strings.Contains(log, secret) {
		t.Errorf("what the bank said belongs in the log of payment: %s", log)
	}
}

// A failure whose body breaks off is still the failure its status says, tried
// again or not as that one is; but half a body does not pass for a whole one.
func TestHalfAFailure(t *testing.T) {
	for _, c := range []struct{ status, asked int }{{404, 1}, {409, 1}, {503, 4}, {504, 4}} {
		asked := 0
		bank := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked++
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, `{"code":`)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}))
		client := httpx.Client{Service: "payment", Target: "bank", Observe: quiet,
			Policy: resilience.Policy{Retry: retry.Policy{Base: time.Millisecond, Cap: time.Millisecond}}}.HTTP()
		_, err := httpx.JSON[any](t.Context(), client, "GET", bank.URL, nil)
		if e := errs.From(err); e.HTTP() != c.status || !e.Remote() || asked != c.asked {
			t.Errorf("%d became %v after %d tries", c.status, err, asked)
		}
		resp, err := client.Get(bank.URL)
		if err != nil {
			t.Fatal(err)
		}
		if raw, err := io.ReadAll(resp.Body); resp.StatusCode != c.status || err == nil {
			t.Errorf("%d %q, and no word that it is half", resp.StatusCode, raw)
		}
		resp.Body.Close()
		client.CloseIdleConnections()
		bank.Close()
	}
}

// A handler's panic is counted by its operation, once; one that it only returns
// as its error, and http.ErrAbortHandler, are not.
func TestPanicsAreCounted(t *testing.T) {
	caught := safe.Call(func() error { panic(secret) })
	for _, c := range []struct {
		name string
		h    handlerFunc
		want int
	}{
		{"panic", func(http.ResponseWriter, *http.Request) error { panic(secret) }, 1},
		{"panic after an answer", func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(404); panic(secret) }, 1},
		{"another's panic", func(http.ResponseWriter, *http.Request) error { return caught }, 0},
		{"error", func(http.ResponseWriter, *http.Request) error { return errors.New(secret) }, 0},
		{"abort", func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) }, 0},
		{"good", func(http.ResponseWriter, *http.Request) error { return nil }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s spy
			func() {
				defer func() { _ = recover() }() // of http.ErrAbortHandler
				serve(httpx.Server{Service: "shop", Observe: s.sinks()}, c.h, nil)
			}()
			got := s.recorded("surefoot.panics")
			if len(got) != c.want || len(got) > 0 && got[0].attrs["surefoot.goroutine"] != "order.Place" {
				t.Errorf("%+v", got)
			}
		})
	}
}
