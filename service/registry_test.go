package service_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/discovery/driver"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/resilience/balance"
	"github.com/surefoot-go/surefoot/service"
)

// book is a registry in memory that says what it does.
type book struct {
	mu      sync.Mutex
	sets    map[string][]balance.Instance
	changed chan struct{}
	hides   bool          // takes registrations and shows them to nobody
	takes   time.Duration // of leaving; in fake time
	say     func(string)
}

func (b *book) set(service string, in ...balance.Instance) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sets == nil {
		b.sets = map[string][]balance.Instance{}
	}
	b.sets[service] = in
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

func (b *book) get(service string) []balance.Instance {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sets[service]
}

func (b *book) Watch(ctx context.Context, service string, fn func([]driver.Instance)) error {
	for {
		b.mu.Lock()
		if b.changed == nil {
			b.changed = make(chan struct{})
		}
		set, changed := b.sets[service], b.changed
		b.mu.Unlock()
		fn(set)
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *book) Register(ctx context.Context, service string, in driver.Instance, told func(bool, error)) error {
	if b.hides {
		told(false, errs.New(errs.Unavailable, "book", "the registry is away"))
	} else {
		b.set(service, in)
		told(true, nil)
	}
	<-ctx.Done()
	if b.takes > 0 {
		time.Sleep(b.takes)
	}
	b.set(service)
	if b.say != nil {
		b.say("deregistered")
	}
	return ctx.Err()
}

// recorder is what happened, with the time since it was made.
type recorder struct {
	mu    sync.Mutex
	begun time.Time
	said  []string
}

func (r *recorder) say(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, what+" "+time.Since(r.begun).String())
}

// closing says when the listener was closed.
type closing struct {
	*pipes
	say  func(string)
	once sync.Once
}

func (c *closing) Close() error {
	c.once.Do(func() { c.say("listener closed") })
	return c.pipes.Close()
}

// Deregistered, then the drain, then nobody new, then who is there finishes,
// then the end: in this order, whatever takes how long.
func TestStopOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{begun: time.Now()}
		registry := &book{say: r.say, takes: time.Second}
		net := &closing{pipes: network(), say: r.say}
		s := &service.Service{Name: "hello", Listener: net, Drain: 3 * time.Second, Registry: &service.Registry{Driver: registry, Addr: "10.0.0.1:80"}}
		s.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) error {
			time.Sleep(10 * time.Second)
			return httpx.Write(w, 200, "done")
		})
		s.Workers = []service.Worker{{Name: "w", Run: func(ctx context.Context) error {
			<-ctx.Done()
			r.say("worker stopped")
			return nil
		}}}
		stop, ended := start(t, s)
		time.Sleep(time.Second)
		if got := registry.get("hello"); len(got) != 1 || got[0].Addr != "10.0.0.1:80" {
			t.Fatalf("listed are %v", got)
		}
		r.begun = time.Now()
		answered := make(chan string, 1)
		go func() {
			_, body := get(t, net.client(), "/slow")
			r.say("request finished")
			answered <- body
		}()
		synctest.Wait()
		stop()
		time.Sleep(2 * time.Second) // in the drain
		if status, _ := get(t, net.client(), "/readyz"); status != 503 {
			t.Errorf("/readyz says %d in the drain, want 503", status)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		r.say("returned")
		if body := <-answered; body != `"done"` {
			t.Errorf("the request under way got %s", body)
		}
		synctest.Wait()
		want := []string{"deregistered 1s", "listener closed 4s", "request finished 10s", "worker stopped", "returned"}
		if len(r.said) != len(want) {
			t.Fatalf("%q, want %q", r.said, want)
		}
		for i, w := range want {
			if !strings.HasPrefix(r.said[i], w) {
				t.Errorf("%q, want %q", r.said, want)
				break
			}
		}
	})
}

func TestReadinessFollowsDependencies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		wrong := map[string]error{}
		asked := 0
		check := func(name string) func(context.Context) error {
			return func(context.Context) error {
				mu.Lock()
				defer mu.Unlock()
				asked++
				return wrong[name]
			}
		}
		set := func(name string, err error) {
			mu.Lock()
			wrong[name] = err
			mu.Unlock()
			time.Sleep(7 * time.Second)
		}
		registry := &book{hides: true}
		s := &service.Service{Name: "hello", Listener: network(), Drain: -1, Registry: &service.Registry{Driver: registry, Addr: "10.0.0.1:80"},
			Depends: []service.Dependency{{Name: "database", Check: check("database")}, {Name: "cache", Check: check("cache"), Optional: true}}}
		set("database", errs.New(errs.Unavailable, "db", "no connection").Because(errors.New("secret")))
		stop, ended := start(t, s)
		time.Sleep(time.Second)
		ask := func(want string) {
			t.Helper()
			if _, got := get(t, s.Listener.(*pipes).client(), "/readyz"); got != want {
				t.Errorf("%s\nwant %s", got, want)
			}
		}
		ask(`{"ready":false,"reasons":["database: no connection"],"degraded":["not visible in the registry"]}`)
		set("database", nil)
		ask(`{"ready":true,"reasons":[],"degraded":["not visible in the registry: the registry is away"]}`)
		set("cache", errors.New("secret"))
		got := s.Readiness(t.Context())
		if !got.Ready || !slices.ContainsFunc(got.Degraded, func(s string) bool { return strings.HasPrefix(s, "cache: ") && !strings.Contains(s, "secret") }) {
			t.Errorf("%+v", got)
		}
		set("database", errs.New(errs.Timeout, "db", "too slow"))
		if err := s.Check(t.Context()); errs.From(err).Message() != "not ready: database: too slow" { // what gRPC health asks
			t.Error(err)
		}
		count := func() int {
			mu.Lock()
			defer mu.Unlock()
			return asked
		}
		before := count()
		for range 100 {
			get(t, s.Listener.(*pipes).client(), "/readyz")
		}
		if n := count() - before; n != 0 {
			t.Errorf("probes asked dependencies %d times", n)
		}
		if status, _ := get(t, s.Listener.(*pipes).client(), "/healthz"); status != 200 {
			t.Errorf("/healthz says %d", status)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
