package api_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/server/api"
)

// stream is a client's side of an event stream; when stuck it reads nothing.
type stream struct {
	mu    sync.Mutex
	text  bytes.Buffer
	stuck chan struct{}
	head  http.Header
}

func (s *stream) Header() http.Header { return s.head }
func (s *stream) WriteHeader(int)     {}
func (s *stream) Flush()              {}
func (s *stream) Write(b []byte) (int, error) {
	if s.stuck != nil {
		<-s.stuck
		return 0, errors.New("gone")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *stream) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func listen(ctx context.Context, h http.Handler, s *stream) *safe.Task {
	s.head = http.Header{}
	return safe.Go(ctx, "client", func(ctx context.Context) error {
		h.ServeHTTP(s, httptest.NewRequest("GET", "http://127.0.0.1/api/v1/events", nil).WithContext(ctx))
		return nil
	})
}

func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(&shop{})
		h := a.Handler()
		ctx, cancel := context.WithCancel(t.Context())
		a.Hub.Publish("incident", "before anybody listens")
		a.Hub.State("overview", map[string]int{"n": 1})
		var first, second stream
		one := listen(ctx, h, &first)
		synctest.Wait()
		if got, want := first.String(), "retry: 2000\n\nevent: overview\ndata: {\"n\":1}\n\n"; got != want {
			t.Errorf("at the start %q, want %q", got, want)
		}
		a.Hub.Publish("incident", map[string]string{"id": "inc-1"})
		a.Hub.State("overview", map[string]int{"n": 2})
		time.Sleep(15*time.Second + time.Millisecond) // fake time: one heartbeat
		if got := first.String(); !strings.HasSuffix(got, "event: incident\ndata: {\"id\":\"inc-1\"}\n\nevent: overview\ndata: {\"n\":2}\n\n: still here\n\n") {
			t.Errorf("then %q", got)
		}
		two := listen(context.Background(), h, &second)
		synctest.Wait()
		if !strings.Contains(second.String(), `{"n":2}`) || strings.Contains(second.String(), "incident") {
			t.Errorf("a later client got %q", second.String())
		}
		cancel()
		_ = one.Wait()
		a.Hub.Close()
		_ = two.Wait()
		if w := call(t, h, "GET", "/api/v1/events", ""); w.Code != 503 {
			t.Errorf("after Close: %d", w.Code)
		}
	})
}

func TestSlowClientIsDroppedAndOthersAreNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(&shop{})
		a.Hub.Buffer = 4
		h := a.Handler()
		slow := stream{stuck: make(chan struct{})}
		var quick stream
		lost, fine := listen(t.Context(), h, &slow), listen(t.Context(), h, &quick)
		synctest.Wait()
		for range 10 {
			a.Hub.Publish("route", 1)
			synctest.Wait()
		}
		if n := a.Hub.Dropped(); n != 1 {
			t.Errorf("%d dropped", n)
		}
		if n := strings.Count(quick.String(), "event: route"); n != 10 {
			t.Errorf("the quick client got %d of 10", n)
		}
		close(slow.stuck)
		_ = lost.Wait()
		a.Hub.Close()
		_ = fine.Wait()
	})
}

func TestTooManyClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(&shop{})
		a.Hub.Clients = 1
		h := a.Handler()
		var s stream
		task := listen(t.Context(), h, &s)
		synctest.Wait()
		if w := call(t, h, "GET", "/api/v1/events", ""); w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("%d", w.Code)
		}
		a.Hub.Close()
		_ = task.Wait()
	})
}

// Over a real connection: what is published arrives at once, not when a buffer
// is full.
func TestEventsOverTheWire(t *testing.T) {
	a := newAPI(&shop{})
	srv := httptest.NewServer(api.Guard(a.Handler(), api.LocalHosts(), a.Refuse))
	defer srv.Close()
	defer a.Hub.Close()
	resp, err := http.Get(srv.URL + "/api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Scan()
	a.Hub.Publish("route", "hello")
	for lines.Scan() {
		if lines.Text() == `data: "hello"` {
			return
		}
	}
	t.Fatal("the stream ended without the event")
}

func TestGuard(t *testing.T) {
	a := newAPI(&shop{})
	h := api.Guard(a.Handler(), api.LocalHosts(), a.Refuse)
	tests := []struct {
		name, method, host, origin, site string
		code                             int
	}{
		{"local", "GET", "127.0.0.1:7600", "", "", 200},
		{"name", "GET", "localhost:7600", "", "", 200},
		{"no port", "GET", "LOCALHOST", "", "", 200},
		{"v6", "GET", "[::1]:7600", "", "", 200},
		{"rebound name", "GET", "evil.example:7600", "", "", 403},
		{"read from elsewhere", "GET", "127.0.0.1:7600", "https://evil.example", "cross-site", 200},
		{"change from elsewhere", "POST", "127.0.0.1:7600", "https://evil.example", "cross-site", 403},
		{"old browser", "POST", "127.0.0.1:7600", "https://evil.example", "", 403},
		{"own page", "POST", "127.0.0.1:7600", "http://127.0.0.1:7600", "same-origin", 200},
		{"a script", "POST", "127.0.0.1:7600", "", "", 200},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			path, body := "/api/v1/topology", ""
			if c.method == "POST" {
				path, body = "/api/v1/routes/payment/clear", `{"by":"ana"}`
			}
			r := httptest.NewRequest(c.method, "http://127.0.0.1:7600"+path, strings.NewReader(body))
			r.Host = c.host
			r.Header.Set("Content-Type", "application/json")
			for name, v := range map[string]string{"Origin": c.origin, "Sec-Fetch-Site": c.site} {
				if v != "" {
					r.Header.Set(name, v)
				}
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != c.code {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
}
