//go:build unix

package outage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/config"
	"github.com/surefoot-go/surefoot/contrib/etcd"
	"github.com/surefoot-go/surefoot/discovery"
	"github.com/surefoot-go/surefoot/discovery/driver"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience/balance"
)

// service is one service with one instance on a real listener: it registers,
// follows its settings and calls all others in turn.
type service struct {
	name string
	addr string
	kv   *etcd.KV
	find *discovery.Source
	here *discovery.Registration
	to   map[string]*http.Client
	word *config.Value[word]
}

// word is what the services are told by their settings.
type word struct{ Text string }

// say gives all the services the setting, in one transaction.
func (m *mesh) say(t *testing.T, kv *etcd.KV, text string) {
	t.Helper()
	var all []etcd.Write
	for _, s := range m.services {
		all = append(all, etcd.Write{Key: config.Key(s.name, "word"), Value: []byte(`{"text":"` + text + `"}`), If: etcd.Any})
	}
	if _, err := kv.Commit(t.Context(), all...); err != nil {
		t.Fatal(err)
	}
}

// mesh is services that all call each other.
type mesh struct {
	services []*service
	calls    atomic.Int64
	failed   atomic.Int64
	err      atomic.Pointer[error] // the last call that failed
	lost     atomic.Int64          // settings that went away or back
	stops    []func()
}

var silent = observe.Sinks{Log: quiet()}

const every = 50 * time.Millisecond // between two calls of a service

// services runs n services over the store and returns when all are registered
// and know each other. They end with stop, or with the test.
func services(t *testing.T, n int, ttl time.Duration, endpoints ...string) *mesh {
	t.Helper()
	m := &mesh{}
	t.Cleanup(m.stop)
	for i := range n {
		m.services = append(m.services, m.service(t, fmt.Sprintf("s%02d", i), ttl, endpoints))
	}
	for _, s := range m.services {
		s.to = map[string]*http.Client{}
		for _, other := range m.services {
			if other == s {
				continue
			}
			transport := httpx.Client{Service: s.name, Target: other.name, Balancer: s.find.Balancer(other.name, balance.Settings{}), Observe: silent}.New()
			m.stops = append(m.stops, transport.CloseIdleConnections)
			s.to[other.name] = &http.Client{Transport: transport}
		}
	}
	for _, s := range m.services {
		m.later(t, "find", s.find.Run)
		until(t, s.name+" is registered", s.visible)
	}
	for _, s := range m.services {
		for name := range s.to {
			until(t, s.name+" knows "+name, func() bool { return len(s.find.Balancer(name, balance.Settings{}).Snapshot()) > 0 })
		}
		m.later(t, "call", func(ctx context.Context) error { return m.call(ctx, s) })
	}
	return m
}

func (m *mesh) later(t *testing.T, what string, fn func(context.Context) error) {
	t.Helper()
	stop := background(t, what, fn)
	m.stops = append(m.stops, func() {
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s ended with %v", what, err)
		}
	})
}

func (m *mesh) service(t *testing.T, name string, ttl time.Duration, endpoints []string) *service {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &service{name: name, addr: l.Addr().String(), kv: &etcd.KV{Endpoints: endpoints, Log: quiet()}}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) })}
	m.stops = append(m.stops, func() { s.kv.Close() }, func() { server.Close() })
	go server.Serve(l)
	registry := &etcd.Registry{KV: s.kv, TTL: ttl}
	s.find = &discovery.Source{Driver: registry, Observe: silent}
	s.here = &discovery.Registration{Driver: registry, Service: name, Observe: silent,
		Instance: driver.Instance{ID: name, Addr: s.addr, Version: "v1"}}
	m.later(t, "register", s.here.Run)
	settings := &config.Config{Service: name, Instance: name, Centre: &etcd.Settings{KV: s.kv}, EnvPrefix: "-", Observe: silent}
	s.word = config.Bind(settings, "word", word{})
	s.word.OnChange(func(before, after word) {
		if after.Text < before.Text {
			m.lost.Add(1)
		}
	})
	m.later(t, "settings", settings.Run)
	return s
}

func (s *service) visible() bool {
	is, _, _ := s.here.Visible()
	return is
}

// call calls the others one after the other, for ever.
func (m *mesh) call(ctx context.Context, s *service) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		for name, client := range s.to {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
			}
			err := ask(ctx, client, name)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			m.calls.Add(1)
			if err != nil {
				m.failed.Add(1)
				err = fmt.Errorf("%s to %s: %w", s.name, name, err)
				m.err.Store(&err)
			}
		}
	}
}

func ask(ctx context.Context, client *http.Client, name string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+name+"/", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && string(body) != name {
		err = fmt.Errorf("%s answered", body)
	}
	return err
}

// stop ends all of it, what was begun last first.
func (m *mesh) stop() {
	for len(m.stops) > 0 {
		last := m.stops[len(m.stops)-1]
		m.stops = m.stops[:len(m.stops)-1]
		last()
	}
}

// fine fails the test unless calls were made and all went well.
func (m *mesh) fine(t *testing.T) {
	t.Helper()
	if failed := m.failed.Load(); failed > 0 || m.calls.Load() == 0 {
		t.Errorf("%d of %d calls failed, the last with %v", failed, m.calls.Load(), *m.err.Load())
	}
	if n := m.lost.Load(); n > 0 {
		t.Errorf("settings went back %d times", n)
	}
}

// told waits until all have the setting.
func (m *mesh) told(t *testing.T, want string) time.Duration {
	t.Helper()
	return until(t, "all have "+want, func() bool {
		for _, s := range m.services {
			if s.word.Get().Text != want {
				return false
			}
		}
		return true
	})
}

func (m *mesh) allVisible() bool {
	for _, s := range m.services {
		if !s.visible() {
			return false
		}
	}
	return true
}

// registered is how many of the services the store lists.
func registered(t *testing.T, kv *etcd.KV) int {
	items, _, err := kv.List(t.Context(), etcd.InstancePrefix)
	if err != nil {
		return -1
	}
	return len(items)
}

// goroutines is how many there are once those that are ending have ended: not
// more than most, within 10 s.
func goroutines(t *testing.T, most int) int {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; <-time.After(50 * time.Millisecond) {
		n := runtime.NumGoroutine()
		if n <= most {
			return n
		}
		if time.Now().After(end) {
			stacks := make([]byte, 1<<20)
			t.Errorf("%d goroutines, not %d:\n%s", n, most, stacks[:runtime.Stack(stacks, true)])
			return n
		}
	}
}
