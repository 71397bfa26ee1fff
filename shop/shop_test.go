package shop_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/shop"
	"github.com/surefoot-go/surefoot/shop/invariant"
	"github.com/surefoot-go/surefoot/shop/load"
)

// system is the whole shop in this process, each program on ports of its own.
type system struct {
	t     *testing.T
	dir   string
	addr  map[string]string
	logs  map[string]*lockedBuffer
	stops map[string]func() int
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newSystem(t *testing.T) *system {
	s := &system{t: t, dir: t.TempDir(), addr: map[string]string{}, logs: map[string]*lockedBuffer{}, stops: map[string]func() int{}}
	var open []net.Listener
	for _, name := range append(shop.Names(), "admin", "payment-v2", "etcd") {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, ln)
		s.addr[name] = ln.Addr().String()
	}
	for _, ln := range open {
		ln.Close()
	}
	t.Cleanup(func() {
		for _, name := range []string{"gateway", "order", "payment", "payment-v2", "inventory", "user", "bank", "warehouse"} {
			s.stop(name)
		}
		if t.Failed() {
			for name, log := range s.logs {
				if text := log.String(); len(text) > 6000 {
					t.Logf("%s ends with:\n%s", name, text[len(text)-6000:])
				} else {
					t.Logf("%s said:\n%s", name, text)
				}
			}
		}
	})
	return s
}

func (s *system) path(name string) string { return filepath.Join(s.dir, name+".db") }

// args returns the command line of a program; "payment-v2" is payment again.
func (s *system) args(name string) []string {
	ours := []string{"--otlp", "none", "--etcd", "none"}
	grpc := append(ours, "--addr", s.addr[name], "--dsn", s.path(name))
	switch name {
	case "gateway":
		return append(ours, "--addr", s.addr[name], "--user", "http://"+s.addr["user"], "--order", s.addr["order"])
	case "user":
		return grpc
	case "order":
		return append(grpc, "--payment", s.addr["payment"], "--payment-v2", s.addr["payment-v2"], "--inventory", s.addr["inventory"])
	case "payment":
		return append(grpc, "--bank", "http://"+s.addr["bank"])
	case "payment-v2":
		return append(ours, "--addr", s.addr[name], "--dsn", s.path("payment"), "--bank", "http://"+s.addr["bank"], "--version", "v2")
	case "inventory":
		return append(grpc, "--warehouse", "http://"+s.addr["warehouse"])
	case "bank":
		return []string{"--addr", s.addr[name], "--admin", s.addr["admin"], "--dsn", s.path(name)}
	}
	return []string{"--addr", s.addr[name], "--dsn", s.path(name)}
}

// start runs a program until stop, and returns when its port answers.
func (s *system) start(name string, more ...string) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	if s.logs[name] == nil {
		s.logs[name] = &lockedBuffer{}
	}
	log, done, code := s.logs[name], make(chan struct{}), 0
	var run sync.WaitGroup
	run.Go(func() {
		defer close(done)
		code = shop.Main(ctx, strings.TrimSuffix(name, "-v2"), append(s.args(name), more...), log)
	})
	s.stops[name] = func() int { cancel(); <-done; return code }
	s.until("answer of "+name, func() bool {
		select {
		case <-done:
			s.t.Fatalf("%s ended with %d: %s", name, code, log)
		default:
		}
		c, err := net.DialTimeout("tcp", s.addr[name], time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// stop ends a program and returns its exit code.
func (s *system) stop(name string) int {
	end := s.stops[name]
	if end == nil {
		return 0
	}
	delete(s.stops, name)
	return end()
}

// until polls, because the other side is a whole program; it fails after 20s.
func (s *system) until(what string, ok func() bool) {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			s.t.Fatalf("waited 20s for: %s", what)
		}
	}
}

type answer struct {
	Code    int
	OrderID string   `json:"orderId"`
	Status  string   `json:"status"`
	Paid    int64    `json:"paidMinor"`
	Error   string   `json:"error"`
	Details []string `json:"details"`
	Chain   []any    `json:"chain"`
	TraceID string   `json:"traceId"`
}

func (s *system) call(method, url, body string) (a answer) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, _ := io.ReadAll(res.Body)
	json.Unmarshal(raw, &a)
	a.Code = res.StatusCode
	return a
}

func (s *system) place(user, sku string, quantity int, key string) answer {
	s.t.Helper()
	return s.call("POST", "http://"+s.addr["gateway"]+"/orders", fmt.Sprintf(`{"userId":%q,"sku":%q,"quantity":%d,"idempotencyKey":%q}`, user, sku, quantity, key))
}

func (s *system) get(id string) answer {
	s.t.Helper()
	return s.call("GET", "http://"+s.addr["gateway"]+"/orders/"+id, "")
}

func (s *system) bank(mode string) {
	s.t.Helper()
	if a := s.call("PUT", "http://"+s.addr["admin"]+"/admin/mode", mode); a.Code != 200 {
		s.t.Fatalf("bank mode %s: %d", mode, a.Code)
	}
}

func (s *system) check(accepted []load.Order) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	ids := make([]string, len(accepted))
	for i, o := range accepted {
		ids[i] = o.ID
	}
	report, err := invariant.Checker{
		Bank: "http://" + s.addr["admin"], Warehouse: "http://" + s.addr["warehouse"],
		Orders: s.path("order"), Payments: s.path("payment"), Stock: s.path("inventory"), Accepted: ids,
	}.Check(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := report.Err(); err != nil {
		s.t.Error(err)
	}
	s.t.Logf("settled after %v\n%s", report.Took.Round(time.Millisecond), report)
}

func (s *system) startAll() {
	for _, name := range []string{"bank", "warehouse", "user", "inventory", "payment", "order", "gateway"} {
		s.start(name)
	}
}

func TestAnOrderGoesThrough(t *testing.T) {
	s := newSystem(t)
	s.startAll()
	first := s.place("u-0001", "sku-01", 2, "k-1")
	if first.Code != 201 || first.Status != "paid" || first.Paid != 2*600 {
		t.Fatalf("first order: %+v", first)
	}
	if again := s.place("u-0001", "sku-01", 2, "k-1"); again.OrderID != first.OrderID || again.Code != 201 {
		t.Errorf("the same key again: %+v", again)
	}
	if got := s.get(first.OrderID); got.Code != 200 || got.Status != "paid" {
		t.Errorf("read back: %+v", got)
	}
	for _, c := range []struct {
		name  string
		a     answer
		code  int
		error string
	}{
		{"same key, other order", s.place("u-0001", "sku-01", 3, "k-1"), 409, "idempotency_key_reused"},
		{"no such user", s.place("u-9999", "sku-01", 1, "k-2"), 404, "unknown_user"},
		{"no such SKU", s.place("u-0001", "sku-99", 1, "k-3"), 404, "unknown_sku"},
		{"nothing", s.place("u-0001", "", 0, ""), 400, "invalid_request"},
		{"no such order", s.get("o-none"), 404, "not_found"},
		{"no such path", s.call("GET", "http://"+s.addr["gateway"]+"/admin", ""), 404, "not_found"},
	} {
		if c.a.Code != c.code || c.a.Error != c.error || c.a.Chain != nil || c.a.TraceID == "" {
			t.Errorf("%s: %+v, want %d %s with a trace id and without a chain", c.name, c.a, c.code, c.error)
		}
	}
	if a := s.place("u-0001", "", 0, ""); len(a.Details) != 3 {
		t.Errorf("details %q: want one for each wrong field", a.Details)
	}
	// Over the card limit: the bank declines and the stock goes back.
	if a := s.place("u-0001", "sku-50", 1000, "k-4"); a.Code != 201 || a.Status != "declined" {
		t.Errorf("over the limit: %+v", a)
	}
	s.check([]load.Order{{ID: first.OrderID}})
	for name := range s.stops {
		if code := s.stop(name); code != 0 {
			t.Errorf("%s exits with %d", name, code)
		}
	}
}
