package consul

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/discovery/driver"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/internal/consul"
)

// The drivers meet a real agent in server/outage; here are answers that a real
// one does not give on demand.

func TestDecode(t *testing.T) {
	got, err := decode(consul.Answer{Status: 200, Body: []byte(`[
		{"Node":{"Address":"10.0.0.2"},"Service":{"ID":"web-2","Address":"","Port":80,"Meta":{"version":"v2","team":"x"},"Weights":{"Passing":3}}},
		{"Node":{"Address":"10.0.0.1"},"Service":{"ID":"pay:a","Address":"10.0.0.9","Port":8080,"Meta":{"surefoot-id":"a","surefoot-weight":"-1","zone":"b"}}},
		{"Node":{},"Service":{"ID":"nowhere","Port":80}}, {"Service":{"ID":"portless","Address":"x"}}, {}]`)})
	if err != nil || len(got) != 2 || got[0].ID != "a" || got[0].Weight != -1 || got[0].Zone != "b" || got[1].Addr != "10.0.0.2:80" || got[1].Version != "v2" || got[1].Labels["team"] != "x" || got[1].Weight != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, a := range []consul.Answer{{Status: 404, Body: []byte("[]")}, {Status: 200, Body: []byte("<html>")}, {Status: 200}} {
		if _, err := decode(a); errs.KindOf(err) != errs.BadGateway {
			t.Errorf("%+v: %v", a, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`[{"Node":{"Address":"a"},"Service":{"ID":"b","Port":1,"Meta":{"version":"c"}}}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := decode(consul.Answer{Status: 200, Body: b})
		for _, i := range in {
			if err != nil || i.Addr == "" {
				t.Fatalf("%+v, %v", i, err)
			}
		}
	})
}

func TestRefused(t *testing.T) {
	good := driver.Instance{ID: "a", Addr: "a:1"}
	many := map[string]string{}
	for i := range 70 {
		many[fmt.Sprint("k", i)] = "v"
	}
	for _, in := range []driver.Instance{
		{Addr: "a"}, {Addr: "a:http"}, {Addr: ":80"}, {Addr: "a:0"},
		{Addr: "a:1", Labels: map[string]string{"a b": "c"}}, {Addr: "a:1", Labels: map[string]string{"version": "c"}},
		{Addr: "a:1", Labels: map[string]string{"a": strings.Repeat("x", 600)}}, {Addr: "a:1", Labels: many}, {Addr: "a:1", ID: strings.Repeat("x", 300)},
	} {
		if err := new(Driver).Register(t.Context(), "pay", in, nil); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%.80v: %v", in, err)
		}
	}
	for _, name := range []string{"", "a b", "a/b", strings.Repeat("x", 300)} {
		if err := new(Driver).Register(t.Context(), name, good, nil); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestAForgetfulAgent: one that does not know the check any more is told all
// again, and one that refuses access is not asked in a loop.
func TestAForgetfulAgent(t *testing.T) {
	var registered, updated, refused atomic.Int32
	var forbid atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case forbid.Load():
			refused.Add(1)
			w.WriteHeader(403)
		case strings.HasSuffix(r.URL.Path, "/register"):
			var reg registration
			if err := json.NewDecoder(r.Body).Decode(&reg); err != nil || reg.ID != "pay:a" || reg.Check.TTL != "300ms" || reg.Port != 1 {
				t.Errorf("%+v, %v", reg, err)
			}
			registered.Add(1)
		case strings.Contains(r.URL.Path, "/check/update/"):
			if updated.Add(1)%3 == 0 {
				w.WriteHeader(404)
			}
		case strings.Contains(r.URL.Path, "/health/"):
			io.WriteString(w, `[{"Service":{"ID":"pay:a","Address":"a","Port":1,"Meta":{"surefoot-id":"a"}}}]`)
		}
	}))
	defer srv.Close()
	d := &Driver{Addr: srv.URL, TTL: 300 * time.Millisecond, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan bool, 100)
	done := make(chan error)
	go func() {
		done <- d.Register(ctx, "pay", driver.Instance{ID: "a", Addr: "a:1"}, func(ok bool, _ error) { told <- ok })
	}()
	if !<-told {
		t.Error("told false first")
	}
	for limit := time.Now().Add(10 * time.Second); registered.Load() < 3 && time.Now().Before(limit); {
		time.Sleep(10 * time.Millisecond)
	}
	forbid.Store(true)
	if <-told || registered.Load() < 3 {
		t.Errorf("registered %d times", registered.Load())
	}
	time.Sleep(500 * time.Millisecond) // of asking an agent that refuses
	if n := refused.Load(); n == 0 || n > 40 {
		t.Errorf("asked %d times in half a second", n)
	}
	cancel()
	if err := <-done; errs.KindOf(err) != errs.Canceled {
		t.Error(err)
	}
}

func ExampleDriver() {
	d := &Driver{Addr: "127.0.0.1:8500", TTL: 10 * time.Second}
	err := d.Register(context.Background(), "payment", driver.Instance{Addr: "10.0.0.7"}, nil)
	fmt.Println(err)
	// Output: consul.Register: invalid_request: an instance's address is host:port with a number for the port
}
