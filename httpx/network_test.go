package httpx_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/resilience"
)

// These use real connections: what http.Transport does cannot be faked.

func TestConnectionsAreKept(t *testing.T) {
	var conns atomic.Int64
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "answer") }))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	client := httpx.Client{Target: "x", Observe: (&spy{}).sinks()}.HTTP()
	defer client.CloseIdleConnections()
	const workers = 20
	for range 10 { // bursts: http.Transport's own 2 idle connections would not do
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				resp, err := client.Get(srv.URL)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			})
		}
		wg.Wait()
	}
	// A transport may dial once too often when a connection is freed meanwhile.
	if n := conns.Load(); n > 2*workers {
		t.Errorf("%d connections for %d workers", n, workers)
	}
}

// An answer that a retry replaces gives its connection back.
func TestRetriesKeepTheirConnection(t *testing.T) {
	var conns, calls atomic.Int64
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1)%2 == 1 {
			http.Error(w, "later", 503)
		}
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	p := resilience.Policy{}
	p.Retry.Base = -1 // no wait
	client := httpx.Client{Target: "x", Policy: p, Observe: (&spy{}).sinks()}.HTTP()
	defer client.CloseIdleConnections()
	for range 5 {
		resp, err := client.Get(srv.URL)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%v %v", resp, err)
		}
		resp.Body.Close()
	}
	if conns.Load() != 1 || calls.Load() != 10 {
		t.Errorf("%d connections for %d calls", conns.Load(), calls.Load())
	}
}

func TestSilentServer(t *testing.T) {
	free := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			io.WriteString(w, "first")
			w.(http.Flusher).Flush()
		}
		<-free
	}))
	defer srv.Close()
	defer close(free)
	client := httpx.Client{Target: "x", ReadTimeout: 50 * time.Millisecond, Observe: (&spy{}).sinks()}.HTTP()

	if _, err := client.Post(srv.URL, "", nil); errs.KindOf(err) != errs.Timeout {
		t.Errorf("no header: %v", err)
	}
	resp, err := client.Get(srv.URL + "/body")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if raw, err := io.ReadAll(resp.Body); string(raw) != "first" || errs.KindOf(err) != errs.Timeout {
		t.Errorf("no body: %q %v", raw, err)
	}
}

func TestDeadServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, err = httpx.Client{Target: "x", Observe: (&spy{}).sinks()}.HTTP().Post("http://"+addr, "", nil)
	e, ok := errors.AsType[*errs.Error](err)
	if !ok || e.Kind() != errs.Unavailable || strings.Contains(e.Message(), addr) {
		t.Errorf("%v", err)
	}
}

// A server that dies in the middle of its answer.
func TestBrokenAnswer(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, `{"id":`)
	}))
	defer srv.Close()
	client := httpx.Client{Target: "x", Observe: (&spy{}).sinks()}.HTTP()
	defer client.CloseIdleConnections()
	if _, err := httpx.JSON[charge](t.Context(), client, "GET", srv.URL, nil); errs.KindOf(err) != errs.BadGateway {
		t.Errorf("%v", err)
	}
}

// A connection that changes its protocol is handed over as it is.
func TestUpgrade(t *testing.T) {
	srv := httptest.NewServer(httpx.Server{Observe: (&spy{}).sinks()}.Handle("x", func(w http.ResponseWriter, r *http.Request) error {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return err
		}
		defer c.Close()
		rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		rw.Flush()
		line, err := rw.ReadString('\n')
		rw.WriteString(line)
		return errors.Join(err, rw.Flush())
	}))
	defer srv.Close()
	req, _ := http.NewRequest("GET", srv.URL, nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	resp, err := httpx.Client{Target: "x", Observe: (&spy{}).sinks()}.New().RoundTrip(req)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v %v", resp, err)
	}
	defer resp.Body.Close()
	rw := resp.Body.(io.ReadWriter)
	io.WriteString(rw, "hello\n")
	got := make([]byte, 6)
	if _, err := io.ReadFull(rw, got); err != nil || string(got) != "hello\n" {
		t.Errorf("%q %v", got, err)
	}
}
