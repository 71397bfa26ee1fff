package service_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/service"
	"github.com/surefoot-go/surefoot/supervise"
)

// pipes is a network in memory, which fake time can wait for.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func network() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

// client connects anew for each request, as a prober does.
func (p *pipes) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			near, far := net.Pipe()
			select {
			case p.conns <- far:
				return near, nil
			case <-p.done:
				return nil, errors.New("connection refused")
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		},
	}}
}

func get(t *testing.T, c *http.Client, path string) (int, string) {
	t.Helper()
	resp, err := c.Get("http://hello" + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, err.Error()
	}
	return resp.StatusCode, strings.TrimSpace(string(body))
}

// quiet reports nowhere.
type quiet struct {
	err     error
	resets  []observe.Resource
	stopped time.Time
}

func (q *quiet) Start(_ context.Context, r observe.Resource) (observe.Sinks, func(context.Context) error, error) {
	q.resets = append(q.resets, r)
	return observe.Sinks{Log: slog.New(slog.DiscardHandler)}, func(ctx context.Context) error {
		q.stopped = time.Now()
		return nil
	}, q.err
}

// start runs s in the bubble of the calling test.
func start(t *testing.T, s *service.Service) (stop context.CancelFunc, ended <-chan error) {
	if s.Name == "" {
		s.Name = "hello"
	}
	if s.Telemetry == nil {
		s.Telemetry = &quiet{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	end := make(chan error, 1)
	go func() { end <- s.Run(ctx) }()
	synctest.Wait()
	return cancel, end
}

func TestServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := network()
		broken := true
		s := &service.Service{Listener: net, Drain: -1, Ready: func(context.Context) error {
			if broken {
				return errs.New(errs.Unavailable, "db.Ping", "no database")
			}
			return nil
		}}
		s.HandleFunc("GET /hello/{name}", func(w http.ResponseWriter, r *http.Request) error {
			return httpx.Write(w, http.StatusOK, r.PathValue("name"))
		})
		s.HandleFunc("GET /panic", func(http.ResponseWriter, *http.Request) error { panic("secret") })
		s.Handle("GET /plain", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "plain") }))
		stop, ended := start(t, s)
		c := net.client()
		for path, want := range map[string]struct {
			status int
			id     string // of the error, or else the body
		}{
			"/hello/ada": {200, `"ada"`},
			"/plain":     {200, "plain"},
			"/healthz":   {200, "ok"},
			"/readyz":    {503, `{"ready":false,"reasons":["no database"]}`},
			"/panic":     {500, "internal_error"},
			"/nowhere":   {404, "not_found"},
		} {
			status, body := get(t, c, path)
			var e struct{ Error string }
			if json.Unmarshal([]byte(body), &e) == nil && e.Error != "" {
				if strings.Contains(body, "secret") {
					t.Errorf("%s: the panic's value is in %s", path, body)
				}
				body = e.Error
			}
			if status != want.status || body != want.id {
				t.Errorf("%s: %d %s, want %d %s", path, status, body, want.status, want.id)
			}
		}
		broken = false
		if status, body := get(t, c, "/readyz"); status != 200 {
			t.Errorf("/readyz: %d %s", status, body)
		}
		resp, err := c.Post("http://hello/hello/ada", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var e struct{ Error, Message string }
		json.NewDecoder(resp.Body).Decode(&e)
		if resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET, HEAD" || e.Error != "invalid_request" || e.Message != "this path does not take the method POST" {
			t.Errorf("POST: %d, Allow %q, %+v", resp.StatusCode, resp.Header.Get("Allow"), e)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// The story of a rolling update: told to stop, turn away, finish, flush.
func TestDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := network()
		tell := &quiet{}
		var workerEnded time.Time
		s := &service.Service{Listener: net, Telemetry: tell, Workers: []service.Worker{{Name: "outbox", Run: func(ctx context.Context) error {
			<-ctx.Done()
			workerEnded = time.Now()
			return ctx.Err()
		}}}}
		s.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) error {
			select {
			case <-time.After(10 * time.Second):
				return httpx.Write(w, http.StatusOK, "done")
			case <-r.Context().Done():
				return r.Context().Err()
			}
		})
		stop, ended := start(t, s)
		c := net.client()
		slow := make(chan string)
		go func() { _, body := get(t, c, "/slow"); slow <- body }()
		synctest.Wait()

		told := time.Now()
		stop()
		synctest.Wait()
		if status, body := get(t, c, "/readyz"); status != 503 || body != `{"ready":false,"reasons":["draining"]}` {
			t.Errorf("/readyz: %d %s", status, body)
		}
		time.Sleep(2900 * time.Millisecond)
		if status, _ := get(t, c, "/healthz"); status != 200 {
			t.Error("does not serve while draining")
		}
		time.Sleep(200 * time.Millisecond)
		if status, body := get(t, c, "/healthz"); status != 0 {
			t.Errorf("still takes requests after Drain: %d %s", status, body)
		}
		if body := <-slow; body != `"done"` {
			t.Errorf("the request under way got %q", body)
		}
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if d := workerEnded.Sub(told); d < 10*time.Second {
			t.Errorf("the worker was ended after %v, before the request was done", d)
		}
		if tell.stopped.Before(workerEnded) {
			t.Error("telemetry was flushed before the worker ended")
		}
	})
}

func TestStopLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := network()
		s := &service.Service{Listener: net, Drain: time.Second, StopLimit: 5 * time.Second}
		s.HandleFunc("GET /stuck", func(w http.ResponseWriter, r *http.Request) error {
			<-r.Context().Done()
			return context.Cause(r.Context())
		})
		stop, ended := start(t, s)
		answer := make(chan int)
		go func() { status, _ := get(t, net.client(), "/stuck"); answer <- status }()
		synctest.Wait()
		begin := time.Now()
		stop()
		if status := <-answer; status < 500 {
			t.Errorf("the stuck request got %d", status)
		}
		err := <-ended
		if err == nil || err.Error() != "service: requests were cut off at the stop limit" {
			t.Errorf("Run: %v", err)
		}
		if d := time.Since(begin); d < 6*time.Second || d > 8*time.Second {
			t.Errorf("stopped after %v, want 1s + 5s and a moment", d)
		}
	})
}

func TestWorkersAreRunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		done := 0
		s := &service.Service{Listener: network(), Drain: -1, Workers: []service.Worker{
			{Name: "outbox", Run: func(ctx context.Context) error {
				at = append(at, time.Now())
				switch len(at) {
				case 1:
					panic("boom")
				case 20:
					<-ctx.Done()
					return ctx.Err()
				}
				return errors.New("no luck")
			}},
			{Name: "once", Run: func(context.Context) error { done++; return nil }},
		}}
		stop, ended := start(t, s)
		time.Sleep(10 * time.Minute)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if len(at) != 20 || done != 1 {
			t.Fatalf("ran %d times and %d times, want 20 and 1", len(at), done)
		}
		most := 100 * time.Millisecond
		for i := 1; i < len(at); i++ {
			if d := at[i].Sub(at[i-1]); d < most/2 || d > most {
				t.Errorf("wait %d is %v, want between %v and %v", i, d, most/2, most)
			}
			most = min(2*most, 30*time.Second)
		}
	})
}

func TestWorkersThatEndTheService(t *testing.T) {
	for want, w := range map[string]service.Worker{
		"service: supervise: gave up a after 1 restarts: no luck": {Name: "a", Restart: supervise.Restart{Max: 1},
			Run: func(context.Context) error { return errors.New("no luck") }},
		"service: supervise: a worker of tree \"\" has no name": {Run: func(context.Context) error { return nil }},
		"service: supervise: did not stop in time: a":           {Name: "a"},
	} {
		synctest.Test(t, func(t *testing.T) {
			free := make(chan struct{})
			defer close(free)
			if strings.Contains(want, "stop in time") {
				w.Run = func(context.Context) error { <-free; return nil }
			}
			stop, ended := start(t, &service.Service{Listener: network(), Drain: -1, Workers: []service.Worker{w}})
			time.Sleep(time.Second)
			stop()
			if err := <-ended; err == nil || err.Error() != want {
				t.Errorf("Run: %v, want %s", err, want)
			}
		})
	}
}

// aside is a Server.
type aside struct {
	listen, serve error
	early         bool
	log           []string
}

func (a *aside) Listen(context.Context) error { a.log = append(a.log, "listen"); return a.listen }
func (a *aside) Serve(ctx context.Context) error {
	a.log = append(a.log, "serve")
	if a.early || a.serve != nil {
		return a.serve
	}
	<-ctx.Done()
	a.log = append(a.log, "stop")
	return nil
}

func TestServers(t *testing.T) {
	for name, tt := range map[string]struct {
		a    aside
		want string
		log  string
	}{
		"serves and stops": {log: "listen serve stop"},
		"taken port":       {a: aside{listen: errors.New("taken")}, want: "taken", log: "listen"},
		"fails":            {a: aside{serve: errors.New("broken")}, want: "service: server 0 (*service_test.aside): broken", log: "listen serve"},
		"ends":             {a: aside{early: true}, want: "service: server 0 (*service_test.aside) ended by itself", log: "listen serve"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &service.Service{Listener: network(), Servers: []service.Server{&tt.a}}
				stop, ended := start(t, s)
				stop()
				if err := <-ended; err == nil && tt.want != "" || err != nil && err.Error() != tt.want {
					t.Errorf("Run: %v, want %q", err, tt.want)
				}
				if log := strings.Join(tt.a.log, " "); log != tt.log {
					t.Errorf("it did %q, want %q", log, tt.log)
				}
			})
		})
	}
}

func TestBadSettings(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	for want, s := range map[string]*service.Service{
		"service: Name is empty; callers and telemetry know the service by it":                                                 {},
		"service: telemetry: no such place":                                                                                    {Name: "hello", Telemetry: &quiet{err: errors.New("no such place")}},
		"service: the address " + addr + " is taken: stop the program that uses it or choose another Addr (listen tcp " + addr: {Name: "hello", Telemetry: &quiet{}, Addr: addr},
		"service: cannot listen on nonsense: ":                                                                                 {Name: "hello", Telemetry: &quiet{}, Addr: "nonsense"},
	} {
		if err := s.Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Run: %v, want %s", err, want)
		}
		if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "twice") {
			t.Errorf("second Run: %v", err)
		}
	}
	if code := (&service.Service{Name: "hello", Telemetry: &quiet{}, Addr: addr}).Main(); code != 2 {
		t.Errorf("Main on a taken port returns %d, want 2", code)
	}
}

func TestObserveBeforeRun(t *testing.T) {
	q := &quiet{}
	s := &service.Service{Name: "hello", Version: "v1", Namespace: "shop", Telemetry: q}
	if s.Observe().Tracer == nil || s.Observe().Meter == nil || s.Log() != s.Observe().Log {
		t.Error("Observe leaves sinks empty")
	}
	want := observe.Resource{Name: "hello", Version: "v1", Namespace: "shop"}
	if len(q.resets) == 1 {
		want.Instance, want.Dials = q.resets[0].Instance, q.resets[0].Dials
	}
	if len(q.resets) != 1 || q.resets[0] != want || want.Instance == "" || want.Dials == nil {
		t.Errorf("telemetry was started with %v, want once with %v", q.resets, want)
	}
}

// A deadline goes through: what the caller allows, the service's own client
// tells the next one.
func TestDeadlineTravels(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &service.Service{Name: "hello", Listener: l, Drain: -1, Telemetry: &quiet{}}
	next := s.Client("next", resilience.Policy{})
	s.HandleFunc("GET /first", func(w http.ResponseWriter, r *http.Request) error {
		v, err := httpx.JSON[string](r.Context(), next, "GET", "http://"+l.Addr().String()+"/second", nil)
		if err != nil {
			return errs.Wrap(err, "first")
		}
		return httpx.Write(w, 200, v)
	})
	s.HandleFunc("GET /second", func(w http.ResponseWriter, r *http.Request) error {
		return httpx.Write(w, 200, r.Header.Get("Request-Timeout-Ms"))
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	req, _ := http.NewRequest("GET", "http://"+l.Addr().String()+"/first", nil)
	req.Header.Set("Request-Timeout-Ms", "1500")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var ms json.Number
	var text string
	if err := json.NewDecoder(resp.Body).Decode(&text); err != nil {
		t.Fatal(err)
	}
	ms = json.Number(text)
	if left, err := ms.Int64(); err != nil || left <= 0 || left > 1500 {
		t.Errorf("the second hop has %q ms left, want what is left of 1500", text)
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
