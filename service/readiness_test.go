package service_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/shed"
	"github.com/surefoot-go/surefoot/service"
	"github.com/surefoot-go/surefoot/supervise"
)

// A worker that warms up keeps requests away; one that fails later does not.
func TestReadinessFollowsWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := make(chan struct{})
		s := &service.Service{Listener: network(), Drain: -1, Workers: []service.Worker{
			{Name: "cache", Announces: true, Run: func(ctx context.Context) error {
				time.Sleep(10 * time.Second)
				supervise.Ready(ctx)
				select {
				case <-fails:
					fails = nil
					return errors.New("secret")
				case <-ctx.Done():
					return ctx.Err()
				}
			}},
			{Name: "group", Tree: &supervise.Tree{Workers: []supervise.Worker{{Name: "outbox", Run: func(context.Context) error { return errors.New("secret") }}}}},
		}}
		stop, ended := start(t, s)
		ask := func() string {
			_, body := get(t, s.Listener.(*pipes).client(), "/readyz")
			return body
		}
		if got := ask(); !strings.Contains(got, `"ready":false,"reasons":["worker cache is starting"]`) {
			t.Error(got)
		}
		if err := s.Check(t.Context()); errs.KindOf(err) != errs.Unavailable || errs.From(err).Message() != "not ready: worker cache is starting" {
			t.Error(err)
		}
		time.Sleep(11 * time.Second)
		if got := ask(); !strings.HasPrefix(got, `{"ready":true,"reasons":[],"degraded":["worker group/outbox is `) {
			t.Error(got)
		}
		fails <- struct{}{}
		synctest.Wait()
		if got := ask(); !strings.Contains(got, `"ready":true`) || !strings.Contains(got, `worker cache is waiting`) || strings.Contains(got, "secret") {
			t.Error(got)
		}
		if err := s.Check(t.Context()); err != nil {
			t.Error(err)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if r := s.Readiness(t.Context()); r.Ready || len(r.Reasons) != 1 || r.Reasons[0] != "draining" {
			t.Errorf("%+v", r)
		}
	})
}

// What an operator asks a running service, and what a web page may not.
func TestDebug(t *testing.T) {
	q := &loud{}
	s := &service.Service{Name: "hello", Listener: network(), Drain: -1, Telemetry: q, Debug: ":0"}
	_ = s.Client("bank", resilience.Policy{})
	keep := s.Client("users", resilience.Policy{})
	defer keep.CloseIdleConnections()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	addr := q.wait(t, "debug")
	if !strings.HasPrefix(addr, "127.0.0.1:") {
		t.Fatalf("listens on %s", addr)
	}
	ask := func(method, path, body string, origin string) (int, string) {
		req, _ := http.NewRequest(method, "http://"+addr+path, strings.NewReader(body))
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	for _, c := range []struct {
		method, path, body, origin string
		status                     int
		want                       string
	}{
		{"GET", "/debug/breakers", "", "", 200, `"target":"users","state":"closed","forced":"auto"`},
		{"PUT", "/debug/breakers", `{"target":"users","forced":"open"}`, "", 200, `"target":"users","state":"open","forced":"open"`},
		{"PUT", "/debug/breakers", `{"target":"users","forced":"auto"}`, "", 200, `"forced":"auto"`},
		{"PUT", "/debug/breakers", `{"target":"users","forced":"maybe"}`, "", 400, "invalid_request"},
		{"PUT", "/debug/breakers", `{"target":"nobody","forced":"open"}`, "", 404, "unknown_target"},
		{"PUT", "/debug/breakers", `{"target":"users","forced":"open"}`, "http://evil.test", 403, ""},
		{"GET", "/debug/goroutines", "", "", 200, `"debug server":`},
		{"GET", "/debug/door", "", "", 200, `"Limit":1000`},
		{"GET", "/debug/config", "", "", 404, "not_found"},
		{"GET", "/debug/discovery", "", "", 404, "not_found"},
		{"GET", "/debug/vitals", "", "", 200, `{"findings":[],"last":{"goroutines":`},
		{"GET", "/debug/vitals/trace", "", "", 404, "not_found"},
		{"GET", "/debug/locks", "", "", 200, `"contended":[`},
		{"GET", "/debug/pprof/goroutine?debug=1", "", "", 200, "goroutine profile:"},
		{"GET", "/debug/pprof/heap", "", "", 200, "\x1f\x8b"},
		{"GET", "/debug/pprof/trace?seconds=1", "", "", 200, "go 1."},
		{"GET", "/debug/pprof/nothing", "", "", 404, "not_found"},
	} {
		status, body := ask(c.method, c.path, c.body, c.origin)
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s %s: %d %.300q", c.method, c.path, c.body, status, body)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := http.Get("http://" + addr + "/debug/door"); err == nil {
		t.Error("it still answers")
	}
	if list := s.Board().List(); len(list) == 0 || list[len(list)-1].Target != "users" {
		t.Errorf("board %+v", list)
	}
}

// The handlers of a service share one door, unless it is off.
func TestDoor(t *testing.T) {
	if s := (&service.Service{Shed: shed.Settings{Max: -1}}); s.Door() != nil {
		t.Error("a door although it is off")
	}
	synctest.Test(t, func(t *testing.T) {
		s := &service.Service{Listener: network(), Drain: -1, Shed: shed.Settings{Max: 1, Queue: -1}}
		s.HandleFunc("GET /a", func(http.ResponseWriter, *http.Request) error { return nil })
		s.Handle("GET /b", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		stop, ended := start(t, s)
		c := s.Listener.(*pipes).client()
		pass, err := s.Door().Enter(t.Context(), shed.Request{Op: "gRPC beside it"})
		if err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]int{"/a": 503, "/b": 503, "/healthz": 200, "/readyz": 200, "/nowhere": 404} {
			if status, body := get(t, c, path); status != want {
				t.Errorf("%s: %d %s", path, status, body)
			}
		}
		pass.Done(shed.Success)
		for _, path := range []string{"/a", "/b"} {
			if status, body := get(t, c, path); status != 200 {
				t.Errorf("%s: %d %s", path, status, body)
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// loud is a Telemetry whose log can be waited for.
type loud struct{ lines chan slog.Record }

func (l *loud) Start(context.Context, observe.Resource) (observe.Sinks, func(context.Context) error, error) {
	l.lines = make(chan slog.Record, 100)
	return observe.Sinks{Log: slog.New(l)}, func(context.Context) error { return nil }, nil
}

func (l *loud) Enabled(context.Context, slog.Level) bool { return true }
func (l *loud) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *loud) WithGroup(string) slog.Handler            { return l }
func (l *loud) Handle(_ context.Context, r slog.Record) error {
	select {
	case l.lines <- r:
	default:
	}
	return nil
}

// wait returns the addr of the record with the given message.
func (l *loud) wait(t *testing.T, message string) (addr string) {
	for {
		select {
		case r := <-l.lines:
			if r.Message == message {
				r.Attrs(func(a slog.Attr) bool { addr = a.Value.String(); return a.Key != "addr" })
				return addr
			}
		case <-t.Context().Done():
			t.Fatal("nothing logged")
		}
	}
}
