package httpx_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/httpx"
)

type charge struct {
	ID string `json:"id"`
}

func TestJSON(t *testing.T) {
	table := []struct {
		name, contentType, body string
		status                  int
		kind                    errs.Kind
		id                      string // "" means no error
		remote                  bool
		origin                  string // service and op of the last hop
	}{
		{"ok", "application/json", `{"id":"c1"}`, 201, 0, "", false, ""},
		{"no content", "", "", 204, 0, "", false, ""},
		{"white", "application/json", " \n", 200, 0, "", false, ""},
		{"not JSON", "text/html", "<p>" + secret, 200, errs.BadGateway, "bad_gateway", true, "bank POST /charges"},
		{"wrong JSON", "application/json", `{"id":7}`, 200, errs.BadGateway, "bad_gateway", true, "bank POST /charges"},
		{"too large", "application/json", `{"id":"` + strings.Repeat("x", httpx.MaxAnswer) + `"}`, 200, errs.BadGateway, "bad_gateway", true, "bank POST /charges"},
		{"redirect to nowhere", "", "", 304, errs.BadGateway, "bad_gateway", true, "bank POST /charges"},
		{"plain 502", "text/plain", secret, 502, errs.BadGateway, "bad_gateway", true, "bank POST /charges"},
		{"problem", "application/problem+json", `{"title":"` + secret + `","status":422}`, 422, errs.Invalid, "invalid_request", true, "bank POST /charges"},
		{"ours, no chain", "application/json", `{"code":409,"error":"card_declined","message":"declined"}`, 409, errs.Conflict, "card_declined", true, "bank POST /charges"},
		{"ours", "application/json", `{"code":503,"error":"ledger_offline","message":"later","chain":[{"service":"core","op":"core.Book","error":"ledger_offline","at":"2026-11-23T04:05:06.789Z","elapsedMs":1}]}`, 503, errs.Unavailable, "ledger_offline", true, "core core.Book"},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				raw, _ := io.ReadAll(r.Body)
				if string(raw) != `{"amount":5}` || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Accept") != "application/json" || r.Header.Get("Idempotency-Key") != "k1" {
					t.Errorf("sent %s %v", raw, r.Header)
				}
				if c.contentType != "" {
					w.Header().Set("Content-Type", c.contentType)
				}
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			}))
			defer srv.Close()
			client := httpx.Client{Target: "bank", Observe: (&spy{}).sinks()}.HTTP()
			defer client.CloseIdleConnections()
			ctx := httpx.WithTemplate(t.Context(), "/charges")
			got, err := httpx.JSON[charge](ctx, client, "POST", srv.URL+"/charges", map[string]int{"amount": 5}, httpx.IdempotencyKey("k1"))
			if c.id == "" {
				if err != nil || c.status == 201 && got.ID != "c1" {
					t.Errorf("%+v %v", got, err)
				}
				return
			}
			e, ok := errors.AsType[*errs.Error](err)
			if !ok || e.Kind() != c.kind || e.Code() != c.id || e.Remote() != c.remote || got != (charge{}) {
				t.Fatalf("%+v %v", got, err)
			}
			chain := e.Chain()
			if last := chain[len(chain)-1]; last.Service+" "+last.Op != c.origin {
				t.Errorf("origin %+v", last)
			}
			if strings.Contains(e.Message(), secret) {
				t.Errorf("message %q", e.Message())
			}
			if c.status >= 400 && (e.HTTP() != c.status || e.RetryDelay() != 7*time.Second) {
				t.Errorf("status %d, delay %v", e.HTTP(), e.RetryDelay())
			}
		})
	}
}

func TestJSONWithoutAnswer(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	table := []struct {
		name string
		ctx  context.Context
		url  string
		body any
		err  error
		kind errs.Kind
	}{
		{"refused", t.Context(), "http://x/?token=" + secret, nil, errors.New("connection refused"), errs.Unavailable},
		{"caller left", canceled, "http://x/", nil, nil, errs.Canceled},
		{"bad url", t.Context(), "://", nil, nil, errs.Internal},
		{"bad body", t.Context(), "http://x/", func() {}, nil, errs.Internal},
	}
	for _, c := range table {
		for name, client := range map[string]*http.Client{
			"ours":  httpx.Client{Target: "x", Observe: (&spy{}).sinks(), Transport: wireFunc(func(*http.Request) (*http.Response, error) { return nil, c.err })}.HTTP(),
			"plain": {Transport: wireFunc(func(r *http.Request) (*http.Response, error) { return nil, errors.Join(c.err, r.Context().Err()) })},
		} {
			_, err := httpx.JSON[charge](c.ctx, client, "POST", c.url, c.body)
			if _, ok := errors.AsType[*errs.Error](err); !ok || errs.KindOf(err) != c.kind || strings.Contains(err.Error(), secret) {
				t.Errorf("%s, %s client: %v", c.name, name, err)
			}
		}
	}
}

func TestRetryAfterHeader(t *testing.T) {
	soon := time.Now().Add(10 * time.Minute).UTC().Format(http.TimeFormat)
	for v, want := range map[string][2]time.Duration{
		"": {}, "3": {3 * time.Second, 3 * time.Second}, "-3": {}, "1.5": {}, "abc": {}, "99999999": {time.Hour, time.Hour},
		"99999999999999999999": {}, "Mon, 02 Jan 2006 15:04:05 GMT": {}, soon: {9 * time.Minute, 10 * time.Minute},
	} {
		resp := &http.Response{StatusCode: 503, Header: http.Header{"Retry-After": {v}}, Body: http.NoBody}
		if got := httpx.FromResponse(resp).RetryDelay(); got < want[0] || got > want[1] {
			t.Errorf("%q: %v", v, got)
		}
	}
}
