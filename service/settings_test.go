package service_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/config"
	"github.com/surefoot-go/surefoot/config/drivertest"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/balance"
	"github.com/surefoot-go/surefoot/service"
)

// dialed keeps the dials that a service turns.
type dialed struct{ dials *observe.Dials }

func (d *dialed) Start(_ context.Context, r observe.Resource) (observe.Sinks, func(context.Context) error, error) {
	d.dials = r.Dials
	return observe.Sinks{Log: slog.New(slog.DiscardHandler)}, func(context.Context) error { return nil }, nil
}

func put(m *drivertest.Memory, key, value string) {
	v := []byte(value)
	if value == "" {
		v = nil
	}
	m.Commit(map[string][]byte{config.Key("hello", key): v})
	synctest.Wait()
}

func TestSettingsChangeWhileServing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var centre drivertest.Memory
		put(&centre, "client/bank", `{"timeout": "3s"}`)
		var telemetry dialed
		s := &service.Service{Listener: network(), Drain: -1, Telemetry: &telemetry, Config: &config.Config{Centre: &centre, EnvPrefix: "-"}}
		before := resilience.NewOn(s.Board(), "bank@v2", resilience.Policy{}, observe.Sinks{}) // as grpcx makes them
		var tuned []int
		s.OnBalance("bank", func(b balance.Settings) { tuned = append(tuned, b.Failures) })
		client := s.Client("users", resilience.Policy{Timeout: time.Second})
		stop, ended := start(t, s)
		guards := func() map[string]time.Duration {
			got := map[string]time.Duration{}
			for _, g := range []*resilience.Guard{before, client.Transport.(interface{ Guard() *resilience.Guard }).Guard()} {
				got[g.Name()] = g.Policy().Timeout
			}
			return got
		}
		expect := func(step string, bank, users time.Duration) {
			t.Helper()
			if got := guards(); got["bank@v2"] != bank || got["users"] != users {
				t.Errorf("%s: %v, want bank@v2 %v, users %v", step, got, bank, users)
			}
		}
		expect("at the start", 3*time.Second, time.Second)
		put(&centre, "client/bank", `{"timeout": "4s"}`)
		put(&centre, "client/users", `{"attemptTimeout": "1.5s"}`)
		expect("changed", 4*time.Second, time.Second)
		put(&centre, "client/bank", `{"timeout": 4}`)
		expect("a bad one", 4*time.Second, time.Second)
		put(&centre, "client/bank", "")
		expect("removed", 10*time.Second, time.Second)

		put(&centre, "client/late", `{"timeout": "7s"}`)
		if g := resilience.NewOn(s.Board(), "late", resilience.Policy{}, observe.Sinks{}); g.Policy().Timeout != 7*time.Second {
			t.Errorf("a guard made later has %v, want 7s", g.Policy().Timeout)
		}

		put(&centre, "log", `{"level": "debug"}`)
		put(&centre, "sampling", `{"ratio": 0.25}`)
		put(&centre, "door", `{"max": 77}`)
		put(&centre, "balance/bank", `{"failures": 9}`)
		if l, r := telemetry.dials.Level(nil), telemetry.dials.Ratio(1); l != slog.LevelDebug || r != 0.25 {
			t.Errorf("level %v, ratio %v; want DEBUG, 0.25", l, r)
		}
		if got := s.Door().Settings().Max; got != 77 {
			t.Errorf("the door's Max is %d, want 77", got)
		}
		if len(tuned) != 1 || tuned[0] != 9 {
			t.Errorf("balancers were tuned to %v, want once to 9", tuned)
		}
		put(&centre, "log", `{"level": "loud"}`)
		put(&centre, "sampling", "")
		if l, r := telemetry.dials.Level(nil), telemetry.dials.Ratio(1); l != slog.LevelDebug || r != 1 {
			t.Errorf("after a bad level and no ratio: level %v, ratio %v; want DEBUG, 1", l, r)
		}
		put(&centre, "sampling", `{"ratio": 0}`)
		if r := telemetry.dials.Ratio(1); r != 0 {
			t.Errorf("ratio %v, want 0", r)
		}
		put(&centre, "sampling", `{"ratio": 1.5}`)
		if r := telemetry.dials.Ratio(1); r != 0 {
			t.Errorf("ratio %v after a bad one, want 0", r)
		}
		put(&centre, "log", "")
		if l := telemetry.dials.Level(slog.LevelWarn); l != slog.LevelWarn {
			t.Errorf("level %v, want WARN as configured", l)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A centre that is away keeps nobody from starting, and is heard once it is back.
func TestStartsWithoutTheCentre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var centre drivertest.Memory
		put(&centre, "door", `{"max": 77}`)
		centre.Away(true)
		s := &service.Service{Listener: network(), Drain: -1, Config: &config.Config{Centre: &centre, EnvPrefix: "-"}}
		stop, ended := start(t, s)
		time.Sleep(3 * time.Second)
		if !s.Readiness(t.Context()).Ready || s.Door().Settings().Max != 10000 {
			t.Errorf("%+v, door %d; want ready, 10000", s.Readiness(t.Context()), s.Door().Settings().Max)
		}
		centre.Away(false)
		time.Sleep(time.Minute)
		if got := s.Door().Settings().Max; got != 77 {
			t.Errorf("the door's Max is %d a minute after the centre is back, want 77", got)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// The mistakes of a file are told before anything is served, with their lines.
func TestAWrongFileStopsTheStart(t *testing.T) {
	var files drivertest.Memory
	files.Commit(map[string][]byte{
		config.Key("hello", "door"):        []byte("{\n  \"max\": 20,\n  \"wiat\": \"1s\"\n}"),
		config.Key("hello", "client/bank"): []byte("{\"timeout\": 5}"),
	})
	s := &service.Service{Name: "hello", Listener: network(), Drain: -1, Telemetry: &quiet{}, Config: &config.Config{Files: &files, EnvPrefix: "-"}}
	s.Client("bank", resilience.Policy{})
	s.HandleFunc("GET /x", func(http.ResponseWriter, *http.Request) error { return nil })
	keep := s.Client("bank", resilience.Policy{})
	err := s.Run(t.Context())
	if err == nil {
		t.Fatal("it started")
	}
	for _, want := range []string{"door", "line 3", "wiat", "client/bank", "line 1", "timeout"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	keep.CloseIdleConnections()

	again := &service.Service{Name: "hello", Listener: network(), Drain: -1, Telemetry: &quiet{}, Config: &config.Config{Files: &files, EnvPrefix: "-"}}
	if code := again.Main(); code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
}
