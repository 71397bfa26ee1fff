package service_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/canary"
	"github.com/surefoot-go/surefoot/config"
	"github.com/surefoot-go/surefoot/config/drivertest"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/balance"
	"github.com/surefoot-go/surefoot/resilience/breaker"
	"github.com/surefoot-go/surefoot/resilience/retry"
	"github.com/surefoot-go/surefoot/service"
)

// backend is a real HTTP server on loopback that answers with its name.
func backend(t *testing.T, name string, sick *atomic.Bool) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if sick != nil && sick.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
		io.WriteString(w, name)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// live runs s on loopback and waits until it is ready.
func live(t *testing.T, s *service.Service) {
	t.Helper()
	s.Name, s.Addr, s.Telemetry, s.Drain = "hello", "127.0.0.1:0", &quiet{}, -1
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	soon(t, "the service is ready", func() bool { return s.Readiness(ctx).Ready })
}

// soon waits, 10s at most, until ok.
func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not within 10s: %s", what)
		}
	}
}

func fetch(ctx context.Context, c *http.Client, url string) (int, string) {
	req, _ := http.NewRequestWithContext(ctx, "GET", url, nil)
	resp, err := c.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

func TestClientFollowsRegistryAndRoutes(t *testing.T) {
	registry := &book{}
	registry.set("payment", balance.Instance{ID: "1", Addr: backend(t, "v1", nil), Version: "v1"}, balance.Instance{ID: "2", Addr: backend(t, "v2", nil), Version: "v2"})
	outside := backend(t, "outside", nil)
	var centre drivertest.Memory
	s := &service.Service{Registry: &service.Registry{Driver: registry}, Config: &config.Config{Centre: &centre, EnvPrefix: "-"}}
	payment := s.Client("payment", resilience.Policy{})
	bank := s.Client("bank", resilience.Policy{})
	live(t, s)
	soon(t, "listed at an address of its own", func() bool {
		in := registry.get("hello")
		return len(in) == 1 && strings.HasPrefix(in[0].Addr, "127.0.0.1:") && in[0].ID != ""
	})

	premium := flow.WithLabels(t.Context(), map[string]string{"tier": "premium", flow.LabelUser: "ada"})
	always := func(ctx context.Context, want string) func() bool {
		return func() bool {
			for range 30 {
				if status, body := fetch(ctx, payment, "http://payment/charges"); status != 200 || body != want {
					return false
				}
			}
			return true
		}
	}
	route := func(weight int) {
		r := canary.Route{Service: "payment", Stable: "v1", Canary: "v2", Match: map[string]string{"tier": "premium"}, Weight: weight}
		centre.Commit(map[string][]byte{"surefoot/route/payment": encode(t, r)})
	}
	soon(t, "found", func() bool { status, _ := fetch(t.Context(), payment, "http://payment/"); return status == 200 })
	route(100)
	soon(t, "the premium user gets v2", always(premium, "v2"))
	soon(t, "everybody else gets v1", always(t.Context(), "v1"))
	route(0)
	soon(t, "the premium user is back on v1", always(premium, "v1"))

	if status, body := fetch(t.Context(), bank, "http://"+outside+"/"); status != 200 || body != "outside" {
		t.Errorf("a target outside the registry answers %d %q", status, body)
	}
	if status, _ := fetch(t.Context(), bank, "http://bank/"); status != 0 {
		t.Errorf("a target nobody knows answers %d", status)
	}
	payment.CloseIdleConnections()
	bank.CloseIdleConnections()
}

// A sick instance is ejected by what calls say, also while the registry is away
// and goes on naming it.
func TestEjectionNeedsNoRegistry(t *testing.T) {
	registry := &book{}
	var sick atomic.Bool
	registry.set("payment", balance.Instance{ID: "1", Addr: backend(t, "good", nil)}, balance.Instance{ID: "2", Addr: backend(t, "sick", &sick)})
	s := &service.Service{Registry: &service.Registry{Driver: registry, Hidden: true}}
	payment := s.Client("payment", resilience.Policy{Retry: retry.Policy{Max: -1}, Breaker: breaker.Settings{Rule: breaker.Off}})
	live(t, s)
	soon(t, "found", func() bool { status, _ := fetch(t.Context(), payment, "http://payment/"); return status == 200 })
	if in := registry.get("hello"); len(in) != 0 {
		t.Errorf("hidden, yet listed: %v", in)
	}
	registry.set("payment") // it says that there is nobody, which changes nothing
	sick.Store(true)
	soon(t, "the sick one is ejected", func() bool {
		var calls sync.WaitGroup
		for range 16 { // together, or all would go to the quicker one
			calls.Go(func() { fetch(t.Context(), payment, "http://payment/") })
		}
		calls.Wait()
		for _, in := range s.Discovery().Balancer("payment", balance.Settings{}).Snapshot() {
			if in.ID == "2" {
				return in.Ejected
			}
		}
		return false
	})
	for range 30 {
		if status, body := fetch(t.Context(), payment, "http://payment/"); status != 200 || body != "good" {
			t.Errorf("%d %q, want the good one", status, body)
		}
	}
	payment.CloseIdleConnections()
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
