package httpx_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/resilience/shed"
)

// full returns a door with one place, which is taken.
func full(t *testing.T) *shed.Door {
	door := shed.New(shed.Settings{Max: 1, Queue: -1})
	if _, err := door.Enter(t.Context(), shed.Request{Op: "order.Place"}); err != nil {
		t.Fatal(err)
	}
	return door
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name         string
		edge         bool
		header, kind string // of the request, of the answer
		language     string
	}{
		{"inside", false, "", "application/json", ""},
		{"edge", true, "", "application/json", ""},
		{"problem", false, "Accept: application/problem+json", "application/problem+json", ""},
		{"chinese", true, "Accept-Language: zh-CN", "application/json", "zh"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var spy spy
			w := serve(httpx.Server{Service: "order", Edge: c.edge, Door: full(t), Observe: spy.sinks()},
				func(http.ResponseWriter, *http.Request) error { t.Error("served"); return nil },
				func(r *http.Request) {
					r.Header.Set("Baggage", "sf.priority=low")
					if k, v, ok := strings.Cut(c.header, ": "); ok {
						r.Header.Set(k, v)
					}
				})
			e := errs.Decode(w.Body.Bytes(), w.Code, w.Header().Get("Content-Type"))
			if w.Code != 503 || e.Kind() != errs.Unavailable || e.Code() != "overloaded" || e.Parts().Trace != traceID || e.Message() == "" || e.Time().IsZero() {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if chain := e.Chain(); !c.edge && (len(chain) != 1 || chain[0].Service != "order" || chain[0].Op != "order.Place" || chain[0].Error != "overloaded" || chain[0].At.IsZero()) || c.edge && len(chain) > 0 {
				t.Errorf("chain %+v", chain)
			}
			h := w.Header()
			if h.Get("Content-Type") != c.kind || h.Get("Retry-After") != "1" || h.Get("Cache-Control") != "no-store" ||
				h.Get("Content-Length") != fmt.Sprint(w.Body.Len()) || h.Get("Vary") != "Accept, Accept-Language" {
				t.Errorf("headers %v", h)
			}
			if got := h.Get("Content-Language"); c.language != "" && !strings.HasPrefix(got, c.language) {
				t.Errorf("language %q: %s", got, w.Body)
			}
			if len(spy.ended(trace.SpanKindServer)) != 0 {
				t.Error("a refusal costs a span")
			}
			priority := "low"
			if c.edge {
				priority = "normal" // a stranger's label
			}
			for name, want := range map[string]map[string]string{
				"surefoot.shed.refused":        {"surefoot.reason": "full", "surefoot.priority": priority},
				"surefoot.errors":              {"surefoot.op": "order.Place", "surefoot.kind": "unavailable", "error.type": "overloaded"},
				"http.server.request.duration": {"http.response.status_code": "503", "error.type": "overloaded", "http.route": "/orders/{id}"},
			} {
				if r := spy.recorded(name); len(r) != 1 {
					t.Errorf("%s: %v", name, r)
				} else {
					has(t, name, r[0].attrs, want)
				}
			}
		})
	}
}

// A thousand refusals are one record of the log, and one more after a while.
func TestRefusalsAreSummedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var spy spy
		h := httpx.Server{Door: full(t), Observe: spy.sinks()}.Handle("order.Place", nil)
		for i := range 1001 {
			if i == 1000 {
				time.Sleep(10 * time.Second)
			}
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
		}
		lines := spy.lines()
		if len(lines) != 2 || !strings.Contains(lines[0], `"refused":1`) || !strings.Contains(lines[1], `"refused":1000`) || !strings.Contains(lines[1], "order.Place") {
			t.Errorf("%q", lines)
		}
	})
}

// Whatever happens, the place is given back; only work that was done teaches
// the door how long work takes.
func TestPlacesAreGivenBack(t *testing.T) {
	reply := func(status int) handlerFunc {
		return func(w http.ResponseWriter, r *http.Request) error { w.WriteHeader(status); return nil }
	}
	fail := func(err error) handlerFunc {
		return func(http.ResponseWriter, *http.Request) error { return err }
	}
	for name, c := range map[string]struct {
		h       handlerFunc
		learned bool
	}{
		"ok":          {fail(nil), true},
		"created":     {reply(201), true},
		"not found":   {fail(errs.New(errs.NotFound, "x", "m")), true},
		"conflict":    {reply(409), true},
		"bad request": {fail(errs.New(errs.Invalid, "x", "m")), false},
		"forbidden":   {reply(403), false},
		"our fault":   {fail(errors.New("x")), false},
		"panic":       {func(http.ResponseWriter, *http.Request) error { panic("x") }, false},
		"abort":       {func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) }, false},
		"goexit":      {func(http.ResponseWriter, *http.Request) error { runtime.Goexit(); return nil }, false},
		"out of time": {func(_ http.ResponseWriter, r *http.Request) error { <-r.Context().Done(); return r.Context().Err() }, false},
		"too late": {func(w http.ResponseWriter, r *http.Request) error {
			<-r.Context().Done()
			w.WriteHeader(200)
			return nil
		}, false},
		"shed behind": {fail(errs.Decode(nil, 503, "").RetryAfter(time.Second)), false},
		"shed by itself": {func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(503)
			return nil
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				door := new(shed.Door)
				var wg sync.WaitGroup
				wg.Go(func() {
					defer func() { _ = recover() }() // of abort
					serve(httpx.Server{Door: door, Observe: quiet}, func(w http.ResponseWriter, r *http.Request) error {
						if door.Snapshot().Running != 1 {
							t.Error("served without a place")
						}
						time.Sleep(10 * time.Millisecond)
						return c.h(w, r)
					}, func(r *http.Request) { r.Header.Set("Request-Timeout-Ms", "100") })
				})
				wg.Wait()
				s := door.Snapshot()
				if s.Running != 0 || s.Admitted != 1 || s.Strays != 0 {
					t.Errorf("%+v", s)
				}
				if learned := s.Latency > 0; learned != c.learned {
					t.Errorf("latency %v", s.Latency)
				}
			})
		})
	}
}

// Who watches does no work, however long.
func TestStreamsHoldNoPlace(t *testing.T) {
	for name, h := range map[string]handlerFunc{
		"events": func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
			w.WriteHeader(200)
			return nil
		},
		"flush": func(w http.ResponseWriter, r *http.Request) error {
			io.WriteString(w, "one")
			return http.NewResponseController(w).Flush()
		},
		"hijack": func(w http.ResponseWriter, r *http.Request) error {
			c, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				err = c.Close()
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			door := new(shed.Door)
			srv := httptest.NewServer(httpx.Server{Door: door, Observe: quiet}.Handle("x", func(w http.ResponseWriter, r *http.Request) error {
				before := door.Snapshot().Running
				err := h(w, r)
				if after := door.Snapshot(); err != nil || before != 1 || after.Running != 0 {
					t.Errorf("%v, before %d, after %+v", err, before, after)
				}
				return err
			}))
			if resp, err := http.Get(srv.URL); err == nil {
				resp.Body.Close()
			}
			srv.Close()
			if s := door.Snapshot(); s.Strays != 0 || s.Latency != 0 || s.Admitted != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// Twice as many watchers as the door ever lets in at once take nothing from
// those who work.
func TestIdleStreamsDoNoHarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		door := new(shed.Door)
		s := httpx.Server{Door: door, Observe: quiet}
		watch := s.Handle("watch", func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(200)
			<-r.Context().Done()
			return nil
		})
		work := s.Handle("work", func(w http.ResponseWriter, r *http.Request) error {
			time.Sleep(20 * time.Millisecond)
			return httpx.Write(w, 200, "done")
		})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 20_000 {
			wg.Go(func() {
				watch.ServeHTTP(nowhere{http.Header{}}, httptest.NewRequestWithContext(ctx, "GET", "/", nil))
			})
		}
		synctest.Wait()
		var refused atomic.Int32
		for range 5000 {
			time.Sleep(time.Millisecond)
			wg.Go(func() {
				w := httptest.NewRecorder()
				if work.ServeHTTP(w, httptest.NewRequest("GET", "/", nil)); w.Code != 200 {
					refused.Add(1)
				}
			})
		}
		time.Sleep(time.Second)
		if now := door.Snapshot(); now.Running != 0 || refused.Load() > 0 {
			t.Errorf("%d refused, %+v", refused.Load(), now)
		}
		cancel()
		wg.Wait()
	})
}

func TestProbesDoNotQueue(t *testing.T) {
	h := httpx.Server{Door: full(t), Observe: quiet}.Handle("x", func(http.ResponseWriter, *http.Request) error { return nil })
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/": 503} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
}

// What the edge decides reaches the services below; what strangers say does not.
func TestClassify(t *testing.T) {
	vip := func(r *http.Request) shed.Request {
		if r.Header.Get("Authorization") == "" {
			return shed.Request{}
		}
		return shed.Request{Priority: shed.Critical, User: "u-" + r.Header.Get("Authorization")}
	}
	for _, c := range []struct {
		name           string
		edge           bool
		classify       func(*http.Request) shed.Request
		header         http.Header
		priority, user string
	}{
		{"believed inside", false, nil, http.Header{"Baggage": {"sf.priority=critical,sf.user=7"}}, "critical", "7"},
		{"a stranger's", true, nil, http.Header{"Baggage": {"sf.priority=critical,sf.user=7"}}, "", ""},
		{"decided at the edge", true, vip, http.Header{"Baggage": {"sf.priority=low,sf.user=7"}, "Authorization": {"ada"}}, "critical", "u-ada"},
		{"decided to be nobody", false, vip, http.Header{"Baggage": {"sf.priority=critical,sf.user=7,sf.tier=gold"}}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			served := false
			serve(httpx.Server{Edge: c.edge, Classify: c.classify, Door: new(shed.Door), Observe: quiet}, func(w http.ResponseWriter, r *http.Request) error {
				served = true
				out := http.Header{}
				flow.Inject(r.Context(), out)
				ctx, cancel, _ := flow.Extract(context.Background(), out) // the service below
				defer cancel()
				if p, u := flow.Label(ctx, flow.LabelPriority), flow.Label(ctx, flow.LabelUser); p != c.priority || u != c.user {
					t.Errorf("priority %q, user %q", p, u)
				}
				return nil
			}, func(r *http.Request) {
				for k, v := range c.header {
					r.Header[k] = v
				}
			})
			if !served {
				t.Error("refused")
			}
		})
	}
}

// Twice the capacity, through real handlers: 20 workers of 20ms, callers who
// wait 250ms. A quarter of them are important.
func TestOverloadEndToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		workers := make(chan struct{}, 20)
		h := httpx.Server{Door: new(shed.Door), Observe: quiet}.Handle("x", func(w http.ResponseWriter, r *http.Request) error {
			select {
			case workers <- struct{}{}:
				time.Sleep(20 * time.Millisecond)
				<-workers
				return httpx.Write(w, 200, "done")
			case <-r.Context().Done():
				return r.Context().Err()
			}
		})
		const from, length = 3 * time.Second, 10 * time.Second
		r := rand.New(rand.NewPCG(3, 4))
		var mu sync.Mutex
		var took []time.Duration
		good, important, saved := 0, 0, 0
		begin := time.Now()
		var wg sync.WaitGroup
		for next := time.Duration(0); next < length; {
			next += time.Duration(r.ExpFloat64() / 2000 * 1e9)
			time.Sleep(next - time.Since(begin))
			came, critical := next, r.IntN(4) == 0
			wg.Go(func() {
				req := httptest.NewRequest("GET", "/", nil)
				req.Header.Set("Request-Timeout-Ms", "250")
				if critical {
					req.Header.Set("Baggage", "sf.priority=critical")
				}
				w := httptest.NewRecorder()
				h.ServeHTTP(w, req)
				ended := time.Since(begin)
				mu.Lock()
				defer mu.Unlock()
				if came < from {
					return
				}
				if critical {
					important++
				}
				if w.Code == 200 && ended-came <= 250*time.Millisecond {
					good++
					took = append(took, ended-came)
					if critical {
						saved++
					}
				}
			})
		}
		wg.Wait()
		slices.Sort(took)
		goodput, p99 := float64(good)/1000/(length-from).Seconds(), took[len(took)*99/100]
		share := float64(saved) / float64(important)
		t.Logf("goodput %.3f, p99 %v, of the important %.3f", goodput, p99, share)
		if goodput < 0.98 || p99 > 40*time.Millisecond || share < 0.99 {
			t.Errorf("goodput %.3f, p99 %v, of the important %.3f", goodput, p99, share)
		}
	})
}
