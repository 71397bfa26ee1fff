package httpx_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/observe"
)

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	parent  = "00-" + traceID + "-00f067aa0ba902b7-01"
	secret  = "hunter2"
)

type handlerFunc = func(http.ResponseWriter, *http.Request) error

// serve sends one request through a mux with h behind it.
func serve(s httpx.Server, h handlerFunc, edit func(*http.Request)) *httptest.ResponseRecorder {
	mux := http.NewServeMux()
	mux.Handle("POST /orders/{id}", s.Handle("order.Place", h))
	r := httptest.NewRequest("POST", "/orders/17?token="+secret, strings.NewReader(`{"n":1}`))
	r.Header.Set("Traceparent", parent)
	if edit != nil {
		edit(r)
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w
}

type wire struct {
	Code    int      `json:"code"`
	Error   string   `json:"error"`
	Message string   `json:"message"`
	Details []string `json:"details"`
	TraceID string   `json:"traceId"`
	Chain   []struct {
		Service string `json:"service"`
		Op      string `json:"op"`
		Error   string `json:"error"`
	} `json:"chain"`
}

func parse(t *testing.T, w *httptest.ResponseRecorder) (v wire) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	return v
}

func TestHandleOutcomes(t *testing.T) {
	table := []struct {
		name   string
		h      handlerFunc
		status int
		id     string // "" means no error is answered
		kind   string // error.type; "" means none
		level  string
		red    bool // the span's status
	}{
		{"ok", func(w http.ResponseWriter, r *http.Request) error {
			return httpx.Write(w, 201, map[string]int{"n": 1})
		}, 201, "", "", "INFO", false},
		{"nothing written", func(http.ResponseWriter, *http.Request) error { return nil }, 200, "", "", "INFO", false},
		{"caller's fault", func(http.ResponseWriter, *http.Request) error {
			return errs.New(errs.NotFound, "order.Find", "no such order").ID("no_order")
		}, 404, "no_order", "no_order", "INFO", false},
		{"our fault", func(http.ResponseWriter, *http.Request) error { return errs.New(errs.Unavailable, "db.Get", "later") }, 503, "unavailable", "unavailable", "ERROR", true},
		{"plain error", func(http.ResponseWriter, *http.Request) error { return errors.New(secret) }, 500, "internal_error", "internal_error", "ERROR", true},
		{"deadline", func(http.ResponseWriter, *http.Request) error { return context.DeadlineExceeded }, 504, "timeout", "timeout", "ERROR", true},
		{"panic", func(http.ResponseWriter, *http.Request) error { panic(secret) }, 500, "internal_error", "internal_error", "ERROR", true},
		{"panic with an error", func(http.ResponseWriter, *http.Request) error { panic(errs.New(errs.Invalid, "x", secret)) }, 500, "internal_error", "internal_error", "ERROR", true},
		{"canceled inside, caller waits", func(http.ResponseWriter, *http.Request) error { return context.Canceled }, 500, "internal_error", "internal_error", "ERROR", true},
		{"own status", func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(502); return nil }, 502, "", "502", "ERROR", true},
		{"told the client itself", func(w http.ResponseWriter, _ *http.Request) error {
			http.Error(w, "no", 409)
			return errs.New(errs.Conflict, "x", "no")
		}, 409, "", "conflict", "INFO", false},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			var spy spy
			w := serve(httpx.Server{Service: "order", Observe: spy.sinks()}, c.h, nil)
			if w.Code != c.status {
				t.Fatalf("status %d: %s", w.Code, w.Body)
			}
			if strings.Contains(w.Body.String(), secret) {
				t.Errorf("leaked: %s", w.Body)
			}
			if c.id != "" {
				v := parse(t, w)
				if v.Code != c.status || v.Error != c.id || v.TraceID != traceID || v.Message == "" || len(v.Chain) == 0 || v.Chain[0].Op != "order.Place" || v.Chain[0].Service != "order" {
					t.Errorf("answer %+v", v)
				}
				if h := w.Header(); h.Get("Content-Type") != "application/json" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-store" {
					t.Errorf("headers %v", h)
				}
			}
			kind, none := c.kind, c.kind
			if kind == "" {
				kind, none = "-", "-"
			}
			if !c.red {
				none = "-"
			}
			spans := spy.ended(trace.SpanKindServer)
			if len(spans) != 1 || spans[0].ends != 1 || spans[0].name != "POST /orders/{id}" || (spans[0].status == codes.Error) != c.red {
				t.Fatalf("spans %+v", spans)
			}
			has(t, "span", spans[0].attrs, map[string]string{
				"http.request.method": "POST", "http.route": "/orders/{id}", "http.response.status_code": fmt.Sprint(c.status),
				"url.path": "/orders/17", "url.scheme": "http", "surefoot.op": "order.Place", "error.type": kind,
			})
			if strings.Contains(fmt.Sprint(spans[0].attrs, spans[0].events, spans[0].message), secret) {
				t.Errorf("the span leaks: %+v", spans[0])
			}
			if c.kind != "" && c.kind != "502" {
				if len(spans[0].events) != 1 || spans[0].events[0].name != "exception" || spans[0].events[0].attrs["exception.type"] != c.kind || spans[0].events[0].attrs["exception.message"] == "" {
					t.Errorf("events %+v", spans[0].events)
				}
				if !strings.Contains(spans[0].attrs["surefoot.chain"], "order order.Place "+c.kind) {
					t.Errorf("chain %s", spans[0].attrs["surefoot.chain"])
				}
			}
			records := spy.recorded("http.server.request.duration")
			if len(records) != 1 {
				t.Fatalf("%d records", len(records))
			}
			has(t, "metric", records[0].attrs, map[string]string{
				"http.request.method": "POST", "http.route": "/orders/{id}", "http.response.status_code": fmt.Sprint(c.status), "error.type": none, "url.path": "-",
			})
			lines := spy.lines()
			if len(lines) != 1 || !strings.Contains(lines[0], `"level":"`+c.level+`"`) || !strings.Contains(lines[0], `"trace_id":"`+traceID+`"`) || !strings.Contains(lines[0], `"op":"order.Place"`) {
				t.Errorf("log %q", lines)
			}
			if strings.HasPrefix(c.name, "panic") && (!strings.Contains(lines[0], "hunter2") || !strings.Contains(lines[0], "server_test.go")) {
				t.Errorf("the panic's value and stack belong in the log: %s", lines[0])
			}
		})
	}
}

func TestExpiredWorkIsNotDone(t *testing.T) {
	var spy spy
	w := serve(httpx.Server{Observe: spy.sinks()}, func(http.ResponseWriter, *http.Request) error { t.Error("done"); return nil },
		func(r *http.Request) { r.Header.Set("Request-Timeout-Ms", "0") })
	if v := parse(t, w); w.Code != 504 || v.Error != "timeout" {
		t.Errorf("%d %+v", w.Code, v)
	}
	if len(spy.ended(trace.SpanKindServer)) != 1 || len(spy.lines()) != 1 {
		t.Error("a refusal must be seen too")
	}
}

func TestDeadlineAndAttemptArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serve(httpx.Server{}, func(w http.ResponseWriter, r *http.Request) error {
			if left, ok := flow.Remaining(r.Context()); !ok || left != 250*time.Millisecond || flow.Attempt(r.Context()) != 1 {
				t.Errorf("left %v %v, attempt %d", left, ok, flow.Attempt(r.Context()))
			}
			<-r.Context().Done() // fake time
			return r.Context().Err()
		}, func(r *http.Request) { r.Header.Set("Request-Timeout-Ms", "250"); r.Header.Set("Retry-Attempt", "1") })
		if w.Code != 504 {
			t.Errorf("status %d", w.Code)
		}
	})
}

func TestEdge(t *testing.T) {
	edit := func(r *http.Request) { r.Header.Set("Baggage", "sf.tier=premium,other=1") }
	h := func(w http.ResponseWriter, r *http.Request) error {
		return errs.New(errs.Invalid, "x", "tier is "+flow.Label(r.Context(), "tier"))
	}
	inside := serve(httpx.Server{Service: "s"}, h, edit)
	edge := serve(httpx.Server{Service: "s", Edge: true}, h, edit)
	if v := parse(t, inside); v.Message != "tier is premium" || len(v.Chain) != 2 {
		t.Errorf("inside %+v", v)
	}
	if v := parse(t, edge); v.Message != "tier is " || len(v.Chain) != 0 || v.TraceID != traceID {
		t.Errorf("edge %+v", v)
	}
}

func TestProblemJSONWhenAsked(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "*/*": false, "application/json": false, "application/*": false,
		"application/problem+json":                                               true,
		"Application/Problem+JSON; charset=utf-8":                                true,
		"application/json, application/problem+json":                             true,
		"application/json, application/problem+json;q=0.5":                       false,
		"application/json;q=0.4, application/problem+json;q=0.5":                 true,
		"application/problem+json;q=0":                                           false,
		"application/problem+json;q=NaN":                                         false,
		"text/html, " + strings.Repeat("x", 3000) + ", application/problem+json": false, // too long to believe
	} {
		w := serve(httpx.Server{}, func(http.ResponseWriter, *http.Request) error { return errs.New(errs.Forbidden, "x", "no") },
			func(r *http.Request) { r.Header.Set("Accept", accept) })
		if got := w.Header().Get("Content-Type") == "application/problem+json"; got != want || w.Code != 403 {
			t.Errorf("Accept %q: %s", accept, w.Header().Get("Content-Type"))
		}
		if want && !strings.Contains(w.Body.String(), `"title":"Forbidden"`) {
			t.Errorf("body %s", w.Body)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	w := serve(httpx.Server{}, func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Etag", `"planned"`)
		w.Header().Set("Content-Length", "3")
		return errs.New(errs.TooMany, "x", "slow down").RetryAfter(1200 * time.Millisecond)
	}, nil)
	if w.Header().Get("Retry-After") != "2" || w.Header().Get("Etag") != "" || w.Header().Get("Content-Length") != fmt.Sprint(w.Body.Len()) {
		t.Errorf("headers %v", w.Header())
	}
}

func TestBodyLimit(t *testing.T) {
	read := func(w http.ResponseWriter, r *http.Request) error {
		v, err := httpx.Read[map[string]any](r)
		if err != nil {
			return err
		}
		return httpx.Write(w, 200, v)
	}
	big := `{"a":"` + strings.Repeat("x", 100) + `"}`
	table := []struct {
		name   string
		max    int64
		body   io.Reader
		status int
	}{
		{"fits", 200, strings.NewReader(big), 200},
		{"declared", 50, strings.NewReader(big), 413},
		{"chunked", 50, io.MultiReader(strings.NewReader(big)), 413},
		{"no limit", -1, strings.NewReader(`{"a":"` + strings.Repeat("x", 2<<20) + `"}`), 200},
		{"default", 0, io.MultiReader(strings.NewReader(`{"a":"` + strings.Repeat("x", 2<<20) + `"}`)), 413},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			srv := httptest.NewServer(httpx.Server{MaxBody: c.max, Observe: (&spy{}).sinks()}.Handle("x", read))
			defer srv.Close()
			resp, err := http.Post(srv.URL, "application/json", c.body)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			raw, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != c.status || c.status == 413 && !strings.Contains(string(raw), `"body_too_large"`) {
				t.Errorf("%d %.200s", resp.StatusCode, raw)
			}
		})
	}
}

func TestRead(t *testing.T) {
	type order struct {
		N    int `json:"n"`
		User struct {
			Name string `json:"name"`
		} `json:"user"`
	}
	table := []struct{ body, detail string }{
		{`{"n":3,"unknown":1}`, ""},
		{``, "the body is empty"},
		{`{"n":`, "the body ends too early"},
		{`{"n":}`, "syntax error at byte 6"},
		{`{"n":"three"}`, "n cannot be a string"},
		{`{"user":{"name":7}}`, "user.name cannot be a number"},
		{`[1]`, "the body cannot be a array"},
		{`{"n":1} {"n":2}`, "there is something after the first value"},
	}
	for _, c := range table {
		w := serve(httpx.Server{Observe: (&spy{}).sinks()}, func(w http.ResponseWriter, r *http.Request) error {
			r.Body = io.NopCloser(strings.NewReader(c.body))
			_, err := httpx.Read[order](r)
			return err
		}, nil)
		if c.detail == "" {
			if w.Code != 200 {
				t.Errorf("%s: %d", c.body, w.Code)
			}
			continue
		}
		if v := parse(t, w); w.Code != 400 || len(v.Details) != 1 || v.Details[0] != c.detail {
			t.Errorf("%s: %d %+v", c.body, w.Code, v)
		}
		if strings.Contains(w.Body.String(), "Go ") || strings.Contains(w.Body.String(), "httpx_test") {
			t.Errorf("Go's types leak: %s", w.Body)
		}
	}
}

func TestWriteRefusesWhatIsNoJSON(t *testing.T) {
	w := serve(httpx.Server{Observe: (&spy{}).sinks()}, func(w http.ResponseWriter, r *http.Request) error {
		return httpx.Write(w, 200, func() {})
	}, nil)
	if w.Code != 500 || parse(t, w).Error != "internal_error" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w = serve(httpx.Server{Observe: (&spy{}).sinks()}, func(w http.ResponseWriter, r *http.Request) error {
		return httpx.Write(w, 204, nil)
	}, nil)
	if w.Code != 204 || w.Body.Len() != 0 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// Half an answer must not look like a whole one.
func TestFailureAfterTheHeader(t *testing.T) {
	for name, h := range map[string]handlerFunc{
		"error":         func(w http.ResponseWriter, r *http.Request) error { half(w); return errs.New(errs.Internal, "x", "m") },
		"panic":         func(w http.ResponseWriter, r *http.Request) error { half(w); panic("boom") },
		"abort handler": func(w http.ResponseWriter, r *http.Request) error { half(w); panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			var spy spy
			srv := httptest.NewServer(httpx.Server{Observe: spy.sinks()}.Handle("x", h))
			defer srv.Close()
			resp, err := http.Get(srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if raw, err := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(raw) != "half" || err == nil {
				t.Errorf("%d %q %v", resp.StatusCode, raw, err)
			}
			srv.Close() // waits for the handler
			spans := spy.ended(trace.SpanKindServer)
			if len(spans) != 1 || spans[0].status != codes.Error || len(spy.lines()) != 1 || len(spy.recorded("http.server.request.duration")) != 1 {
				t.Errorf("%+v", spans)
			}
		})
	}
}

func half(w http.ResponseWriter) {
	io.WriteString(w, "half")
	w.(http.Flusher).Flush()
}

func TestErrAbortHandlerIsPanickedAgain(t *testing.T) {
	defer func() {
		if v := recover(); v != http.ErrAbortHandler {
			t.Errorf("recovered %v", v)
		}
	}()
	serve(httpx.Server{}, func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) }, nil)
}

func TestClientWentAway(t *testing.T) {
	var spy spy
	in := make(chan struct{})
	srv := httptest.NewServer(httpx.Server{Observe: spy.sinks()}.Handle("x", func(w http.ResponseWriter, r *http.Request) error {
		close(in)
		<-r.Context().Done()
		return r.Context().Err()
	}))
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "GET", srv.URL, nil)
	go func() { <-in; cancel() }()
	if _, err := http.DefaultClient.Do(req); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	srv.Close()
	spans := spy.ended(trace.SpanKindServer)
	if len(spans) != 1 || spans[0].status == codes.Error {
		t.Fatalf("a caller that left is no failure of ours: %+v", spans)
	}
	has(t, "span", spans[0].attrs, map[string]string{"http.response.status_code": "499", "error.type": "canceled"})
}

func TestResponseController(t *testing.T) {
	srv := httptest.NewServer(httpx.Server{Observe: (&spy{}).sinks()}.Handle("x", func(w http.ResponseWriter, r *http.Request) error {
		rc := http.NewResponseController(w)
		if err := errors.Join(rc.SetWriteDeadline(time.Now().Add(time.Minute)), rc.SetReadDeadline(time.Now().Add(time.Minute)), rc.EnableFullDuplex()); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusEarlyHints) // not the answer yet
		if r.URL.Path == "/hijack" {
			c, rw, err := rc.Hijack()
			if err != nil {
				return err
			}
			defer c.Close()
			rw.WriteString("HTTP/1.1 299 Taken\r\nContent-Length: 0\r\n\r\n")
			return rw.Flush()
		}
		if _, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader("body")); err != nil {
			t.Error(err)
		}
		return rc.Flush()
	}))
	defer srv.Close()
	for path, want := range map[string]string{"/": "200 body", "/hijack": "299 "} {
		resp, err := http.Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got := fmt.Sprint(resp.StatusCode, " ", string(raw)); got != want {
			t.Errorf("%s: %q", path, got)
		}
	}
}

// Wrap takes a whole mux; its handlers are plain.
func TestWrap(t *testing.T) {
	var spy spy
	s := httpx.Server{Service: "legacy", Observe: spy.sinks()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{id}", func(w http.ResponseWriter, r *http.Request) {
		s.WriteError(w, r, nil) // nothing to do
		s.WriteError(w, r, errs.New(errs.NotFound, "user.Get", "no such user"))
		s.WriteError(w, r, errors.New("second")) // too late for the client, not for the log
	})
	w := httptest.NewRecorder()
	s.Wrap("legacy", mux).ServeHTTP(w, httptest.NewRequest("GET", "/users/7", nil))
	if v := parse(t, w); w.Code != 404 || v.Error != "not_found" || len(v.Chain) != 2 || v.Chain[0].Op != "legacy" {
		t.Errorf("%d %+v", w.Code, v)
	}
	span := spy.ended(trace.SpanKindServer)[0]
	if span.name != "GET /users/{id}" || span.attrs["http.route"] != "/users/{id}" {
		t.Errorf("%q %v", span.name, span.attrs)
	}

	// Outside of any handler of ours it still answers.
	w = httptest.NewRecorder()
	httpx.Server{}.WriteError(w, httptest.NewRequest("GET", "/", nil), errors.New(secret))
	if w.Code != 500 || strings.Contains(w.Body.String(), secret) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestStrangeMethods(t *testing.T) {
	var spy spy
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	r.Method = "BREW"
	httpx.Server{Observe: spy.sinks()}.Handle("tea.Brew", func(http.ResponseWriter, *http.Request) error { return nil }).ServeHTTP(w, r)
	span := spy.ended(trace.SpanKindServer)[0]
	if span.name != "_OTHER tea.Brew" {
		t.Errorf("name %q", span.name)
	}
	has(t, "span", span.attrs, map[string]string{"http.request.method": "_OTHER", "http.request.method_original": "BREW"})
	has(t, "metric", spy.recorded("http.server.request.duration")[0].attrs, map[string]string{"http.request.method": "_OTHER", "http.request.method_original": "-"})
}

// Without any telemetry the answer and the log still share a trace id, and it
// travels on.
func TestTraceIDWithoutTracer(t *testing.T) {
	var spy spy
	var sent string
	w := httptest.NewRecorder()
	httpx.Server{Observe: observe.Sinks{Log: spy.sinks().Log}}.Handle("x", func(w http.ResponseWriter, r *http.Request) error {
		h := http.Header{}
		flow.Inject(r.Context(), h)
		sent = h.Get("Traceparent")
		return errs.New(errs.Internal, "x", "m")
	}).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	v := parse(t, w)
	if len(v.TraceID) != 32 || !strings.Contains(spy.lines()[0], v.TraceID) || !strings.Contains(sent, v.TraceID) {
		t.Errorf("answer %q, log %q, sent %q", v.TraceID, spy.lines(), sent)
	}
}
