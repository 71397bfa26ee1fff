package httpx_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/balance"
	"github.com/surefoot-go/surefoot/resilience/hedge"
)

// fleet is several real servers that stand for the instances of one target.
type fleet struct {
	balance.Balancer
	servers map[string]*fleetServer
}

type fleetServer struct {
	*httptest.Server
	hits, gone, open atomic.Int64 // requests, those whose client left, connections
}

func newFleet(t *testing.T, handlers map[string]http.HandlerFunc) *fleet {
	t.Helper()
	f := &fleet{servers: map[string]*fleetServer{}}
	var list []balance.Instance
	for id, h := range handlers {
		s := &fleetServer{}
		s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.hits.Add(1)
			h(w, r)
			if r.Context().Err() != nil {
				s.gone.Add(1)
			}
		}))
		s.Config.ConnState = func(_ net.Conn, c http.ConnState) {
			switch c {
			case http.StateNew:
				s.open.Add(1)
			case http.StateClosed, http.StateHijacked:
				s.open.Add(-1)
			}
		}
		s.Start()
		t.Cleanup(s.Close)
		f.servers[id] = s
		version, _, _ := strings.Cut(id, "-")
		list = append(list, balance.Instance{ID: id, Addr: s.Listener.Addr().String(), Version: version})
	}
	f.Set(list)
	return f
}

// eventually waits for what the other end of a connection brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.After(5 * time.Second)
	for tick := time.NewTicker(5 * time.Millisecond); !ok(); {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s: not within 5s", what)
		}
	}
}

func says(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, text)
	}
}

func stuck(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func get(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

var atOnce = func() (p resilience.Policy) { p.Retry.Base = -1; return p }()

func TestRetriesGoElsewhere(t *testing.T) {
	host := make(chan string, 100)
	f := newFleet(t, map[string]http.HandlerFunc{
		"v1-a": says(503, "no"),
		"v2-b": func(w http.ResponseWriter, r *http.Request) { host <- r.Host; says(200, "yes")(w, r) },
	})
	var spy spy
	client := httpx.Client{Target: "bank", Policy: atOnce, Balancer: &f.Balancer, Observe: spy.sinks(),
		Lane: func(context.Context) string { return "v1" }}.HTTP()
	defer client.CloseIdleConnections()
	for range 4 {
		if status, text := get(t, client, "http://bank/charges/17"); status != 200 || text != "yes" {
			t.Fatalf("%d %s", status, text)
		}
		if h := <-host; h != "bank" {
			t.Errorf("Host %q", h)
		}
	}
	if a, b := f.servers["v1-a"].hits.Load(), f.servers["v2-b"].hits.Load(); a != 4 || b != 4 {
		t.Errorf("%d and %d requests", a, b)
	}
	for i, s := range spy.ended(trace.SpanKindClient) {
		id, version := "v1-a", "v1"
		if i%2 == 1 {
			id, version = "v2-b", "v2"
		}
		addr, port, _ := net.SplitHostPort(f.servers[id].Listener.Addr().String())
		has(t, fmt.Sprint("span ", i), s.attrs, map[string]string{"server.address": addr, "server.port": port, "url.full": "http://bank/charges/17",
			"surefoot.lane": "v1", "surefoot.peer.version": version, "surefoot.peer.instance.id": id})
	}
	for _, r := range spy.recorded("http.client.request.duration") {
		if r.attrs["server.address"] != "bank" || r.attrs["surefoot.peer.version"] == "" {
			t.Errorf("record %v", r.attrs)
		}
	}
}

// An instance that does not answer costs a try or two and no call.
func TestDeadInstanceIsEjected(t *testing.T) {
	f := newFleet(t, map[string]http.HandlerFunc{"a": says(200, "yes"), "b": says(200, "yes"), "c": says(200, "yes")})
	f.servers["c"].Close()
	f.Tune(balance.Settings{Failures: 1})
	var spy spy
	client := httpx.Client{Target: "bank", Policy: atOnce, Balancer: &f.Balancer, Observe: spy.sinks()}.HTTP()
	defer client.CloseIdleConnections()
	for range 300 {
		if status, _ := get(t, client, "http://bank/"); status != 200 {
			t.Fatal(status)
		}
	}
	for _, s := range f.Snapshot() {
		if s.Ejected != (s.ID == "c") || s.InFlight != 0 || s.ID == "c" && s.Counts.Failures != 1 {
			t.Errorf("%+v", s)
		}
	}
	if log := strings.Join(spy.lines(), ""); !strings.Contains(log, "instance ejected") {
		t.Errorf("log %s", log)
	}
}

func TestSlowInstanceIsAvoided(t *testing.T) {
	f := newFleet(t, map[string]http.HandlerFunc{"a": says(200, "yes"), "b": says(200, "yes"), "c": func(w http.ResponseWriter, r *http.Request) {
		<-time.After(20 * time.Millisecond)
	}})
	f.Rand = seeded(3)
	client := httpx.Client{Target: "bank", Balancer: &f.Balancer, Observe: (&spy{}).sinks()}.HTTP()
	defer client.CloseIdleConnections()
	const calls = 400
	for range calls {
		get(t, client, "http://bank/")
	}
	share := float64(f.servers["c"].hits.Load()) / calls
	t.Logf("an instance 20 ms slower got %.3f of the calls", share)
	if share > .05 {
		t.Errorf("%.3f", share)
	}
}

func seeded(seed uint64) func() uint64 {
	var mu sync.Mutex
	return func() uint64 { // splitmix64
		mu.Lock()
		defer mu.Unlock()
		seed += 0x9e3779b97f4a7c15
		z := seed
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		return z ^ z>>31
	}
}

// The loser of a hedge is canceled at its server, and its instance is known to
// be slow although nobody waited for it.
func TestHedgeWins(t *testing.T) {
	f := newFleet(t, map[string]http.HandlerFunc{"a": stuck, "b": says(200, "yes")})
	var spy spy
	p := atOnce
	p.Hedge = hedge.Settings{Max: 1, Delay: 10 * time.Millisecond}
	client := httpx.Client{Target: "bank", Policy: p, Balancer: &f.Balancer, Observe: spy.sinks()}.HTTP()
	for range 20 {
		if status, text := get(t, client, "http://bank/"); status != 200 || text != "yes" {
			t.Fatalf("%d %s", status, text)
		}
	}
	a := f.servers["a"]
	hits := a.hits.Load()
	t.Logf("the stuck instance was asked %d times in 20 calls", hits)
	if hits == 0 || hits > 10 {
		t.Errorf("the stuck instance was asked %d times", hits)
	}
	eventually(t, "the losers are canceled", func() bool { return a.gone.Load() == hits })
	for _, s := range f.Snapshot() {
		if s.InFlight != 0 || s.Ejected || s.ID == "a" && s.Counts.Failures != 0 {
			t.Errorf("%+v", s)
		}
	}
	for _, s := range spy.ended(trace.SpanKindClient) {
		if typ, failed := s.attrs["error.type"]; failed && typ != "canceled" {
			t.Errorf("span %+v", s)
		}
	}
	client.CloseIdleConnections()
	eventually(t, "no connection is left", func() bool { return a.open.Load() == 0 && f.servers["b"].open.Load() == 0 })
}

// Whatever happens to calls, nothing of them is left.
func TestNothingIsLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	long := strings.Repeat("x", 200_000)
	f := newFleet(t, map[string]http.HandlerFunc{"a": says(200, long), "b": says(200, "short"), "c": says(503, "no"), "d": func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("begun"))
		w.(http.Flusher).Flush()
		stuck(w, r)
	}})
	servers := runtime.NumGoroutine() - before
	p := atOnce
	p.Hedge = hedge.Settings{Max: 1, Delay: time.Millisecond}
	p.Bulkhead.Max = 100
	p.Breaker.Rule = -1
	tr := httpx.Client{Target: "bank", Policy: p, Balancer: &f.Balancer, Observe: (&spy{}).sinks()}.New()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 40 {
				ctx, cancel := context.WithCancel(t.Context())
				req, _ := http.NewRequestWithContext(ctx, "GET", "http://bank/", nil)
				switch i % 4 {
				case 0:
					time.AfterFunc(time.Duration(w)*200*time.Microsecond, cancel)
				case 1: // the caller leaves at once
					cancel()
				}
				resp, err := tr.RoundTrip(req)
				if err == nil {
					if i%3 == 0 {
						io.CopyN(io.Discard, resp.Body, 5)
					}
					resp.Body.Close()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	tr.CloseIdleConnections()
	eventually(t, "connections are closed", func() bool {
		n := int64(0)
		for _, s := range f.servers {
			n += s.open.Load()
		}
		return n == 0
	})
	eventually(t, "goroutines have ended", func() bool { return runtime.NumGoroutine() <= before+servers })
	for _, s := range f.Snapshot() {
		if s.InFlight != 0 {
			t.Errorf("%+v", s)
		}
	}
	if s := tr.Guard().Snapshot(); s.Bulkhead.Running != 0 {
		t.Errorf("%+v", s.Bulkhead)
	}
}

// A redirect to another host goes there and not to an instance.
func TestRedirectElsewhere(t *testing.T) {
	other := httptest.NewServer(says(200, "elsewhere"))
	defer other.Close()
	f := newFleet(t, map[string]http.HandlerFunc{"a": func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/there":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/here":
			http.Redirect(w, r, "/", http.StatusFound)
		default:
			io.WriteString(w, "here")
		}
	}})
	client := httpx.Client{Target: "bank", Balancer: &f.Balancer, Observe: (&spy{}).sinks()}.HTTP()
	defer client.CloseIdleConnections()
	for path, want := range map[string]string{"/there": "elsewhere", "/here": "here"} {
		if status, text := get(t, client, "http://bank"+path); status != 200 || text != want {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
}

func TestNoInstance(t *testing.T) {
	client := httpx.Client{Target: "bank", Balancer: new(balance.Balancer), Policy: atOnce, Observe: (&spy{}).sinks()}.HTTP()
	if _, err := client.Get("http://bank/"); errs.KindOf(err) != errs.Unavailable {
		t.Error(err)
	}
}

// An instance may ask for a Host header of its own.
func TestHostLabel(t *testing.T) {
	f := newFleet(t, map[string]http.HandlerFunc{"a": func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) }})
	list := []balance.Instance{f.Snapshot()[0].Instance}
	list[0].Labels = map[string]string{"host": "bank.internal"}
	f.Set(list)
	client := httpx.Client{Target: "bank", Balancer: &f.Balancer, Observe: (&spy{}).sinks()}.HTTP()
	defer client.CloseIdleConnections()
	if _, text := get(t, client, "http://bank/"); text != "bank.internal" {
		t.Error(text)
	}
}
