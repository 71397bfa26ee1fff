package discovery_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/discovery"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience/balance"
)

// book is a registry in memory that says what a test wants it to say.
type book struct {
	mu       sync.Mutex
	watchers map[string]func([]balance.Instance)
	watches  int
	give     chan struct{} // closed when Watch is to give up, once
	fail     error
}

func (b *book) Watch(ctx context.Context, service string, fn func([]balance.Instance)) error {
	b.mu.Lock()
	if b.watchers == nil {
		b.watchers = map[string]func([]balance.Instance){}
	}
	b.watchers[service] = fn
	b.watches++
	if b.give == nil || b.fail != nil {
		b.give, b.fail = make(chan struct{}), nil
	}
	give := b.give
	b.mu.Unlock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-give:
		return errors.New("the driver gave up")
	}
}

// say answers with instances by the names of ids.
func (b *book) say(service, ids string) {
	synctest.Wait()
	var in []balance.Instance
	for _, id := range strings.Fields(ids) {
		in = append(in, balance.Instance{ID: id, Addr: id + ":1"})
	}
	b.mu.Lock()
	fn := b.watchers[service]
	b.mu.Unlock()
	fn(in)
}

func running(t *testing.T, s *discovery.Source) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	}
}

func ids(in []balance.Instance) string {
	var out []string
	for _, i := range in {
		out = append(out, i.ID)
	}
	return strings.Join(out, " ")
}

func TestSourceFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		s := &discovery.Source{Driver: b}
		var heard []string
		stop := s.Follow("pay", func(in []balance.Instance) { heard = append(heard, ids(in)) })
		end := running(t, s)
		defer end()
		b.say("pay", "a b")
		b.say("pay", "a b") // nothing new
		b.say("pay", "")    // never believed
		later := ""
		s.Follow("pay", func(in []balance.Instance) { later = ids(in) })
		b.say("pay", "b c d")
		if got := strings.Join(heard, "|"); got != "a b|b c d" || later != "b c d" {
			t.Errorf("heard %q, later %q", got, later)
		}
		stop()
		b.say("pay", "b c")
		if len(heard) != 2 || later != "b c" {
			t.Errorf("after stop: %q, %q", heard, later)
		}
		bal := s.Balancer("pay", balance.Settings{})
		if bal != s.Balancer("pay", balance.Settings{}) || len(bal.Snapshot()) != 2 {
			t.Errorf("balancer %v", bal.Snapshot())
		}
		s.Balancer("late", balance.Settings{}) // asked for while Run runs
		b.say("late", "x")
		if p, err := s.Balancer("late", balance.Settings{}).Pick(); err != nil || p.Instance().ID != "x" || b.watches != 2 {
			t.Errorf("late: %v, %d watches", err, b.watches)
		}
	})
}

func TestSourceKeepsAndForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		var log bytes.Buffer
		s := &discovery.Source{Driver: b, Observe: observe.Sinks{Log: slog.New(slog.NewTextHandler(&log, nil))}}
		s.Balancer("pay", balance.Settings{})
		end := running(t, s)
		b.say("pay", "a b c d e")
		b.say("pay", "e")
		if st := s.Status()[0]; ids(st.Instances) != "a b c d e" || st.Kept != 4 {
			t.Errorf("a mass vanished: %+v", st)
		}
		time.Sleep(62 * time.Second)
		synctest.Wait()
		if st := s.Status()[0]; ids(st.Instances) != "e" || st.Kept != 0 || st.Age < 60*time.Second {
			t.Errorf("after the grace: %+v", st)
		}
		b.say("pay", "")
		time.Sleep(2*time.Minute - 5*time.Second)
		synctest.Wait()
		if st := s.Status()[0]; !st.Empty || ids(st.Instances) != "e" {
			t.Errorf("%+v", st)
		}
		end()
		text := log.String()
		if n := strings.Count(text, "set is old"); n != 2 || strings.Count(text, "does not answer") != 1 || strings.Count(text, "there is nobody") != 1 {
			t.Errorf("%d alarms: %s", n, text)
		}
	})
}

// away is a registrar that is told what to tell.
type away struct{ told chan func(bool, error) }

func (a away) Register(ctx context.Context, _ string, _ balance.Instance, told func(bool, error)) error {
	a.told <- told
	<-ctx.Done()
	return ctx.Err()
}

func TestRegistrationAlarms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		a := away{make(chan func(bool, error), 1)}
		r := &discovery.Registration{Driver: a, Service: "order", Instance: balance.Instance{ID: "o-1", Addr: "x:1"},
			Observe: observe.Sinks{Log: slog.New(slog.NewTextHandler(&log, nil))}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		told := <-a.told
		if ok, since, why := r.Visible(); ok || since.IsZero() || why == nil {
			t.Error(ok, since, why)
		}
		told(true, nil)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if ok, _, why := r.Visible(); !ok || why != nil {
			t.Error(ok, why)
		}
		told(false, errors.New("the lease is over"))
		time.Sleep(151 * time.Second)
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if n := strings.Count(log.String(), "nobody can see this instance"); n != 3 || !strings.Contains(log.String(), "the lease is over") {
			t.Errorf("%d alarms in 151 s: %s", n, log.String())
		}
	})
}

// TestNothingEndsTheFollowing: a follower that panics, a driver that gives up
// and a Run that was started anew leave the service followed.
func TestNothingEndsTheFollowing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		s := &discovery.Source{Driver: b, Observe: observe.Sinks{Log: slog.New(slog.DiscardHandler)}}
		s.Follow("pay", func([]balance.Instance) { panic("of the follower") })
		calls := 0
		s.Follow("pay", func([]balance.Instance) { calls++ })
		end := running(t, s)
		b.say("pay", "a")
		b.say("pay", "a b")
		b.mu.Lock()
		b.fail = errors.New("tired")
		close(b.give)
		b.mu.Unlock()
		time.Sleep(10 * time.Second)
		b.say("pay", "c d")
		end()
		end = running(t, s)
		b.say("pay", "c d e")
		end()
		if calls != 4 || ids(s.Status()[0].Instances) != "c d e" {
			t.Errorf("%d calls, %+v", calls, s.Status())
		}
	})
}

func TestVia(t *testing.T) {
	in := []balance.Instance{{ID: "a", Addr: "a:1", Labels: map[string]string{"grpc": "a:2"}}, {ID: "b", Addr: "b:1"}}
	out := discovery.Via("grpc", in)
	if out[0].Addr != "a:2" || out[1].Addr != "b:1" || in[0].Addr != "a:1" {
		t.Error(out, in)
	}
}

// BenchmarkOneOfMany: 500 services of 20 instances each, one of which changes.
func BenchmarkOneOfMany(b *testing.B) {
	bk := &book{}
	s := &discovery.Source{Driver: bk}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	sets := map[string][]balance.Instance{}
	for i := range 500 {
		name := fmt.Sprint("s", i)
		s.Balancer(name, balance.Settings{})
		for j := range 20 {
			sets[name] = append(sets[name], balance.Instance{ID: fmt.Sprintf("%s-%02d", name, j), Addr: fmt.Sprintf("10.0.%d.%d:80", i%250, j)})
		}
	}
	go s.Run(ctx)
	for {
		bk.mu.Lock()
		n := len(bk.watchers)
		bk.mu.Unlock()
		if n == 500 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	for name, set := range sets {
		bk.watchers[name](set)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		set := append([]balance.Instance(nil), sets["s7"]...)
		set[3].Weight = 1 + i%2
		bk.watchers["s7"](set)
	}
}

func ExampleSource() {
	found := &discovery.Source{Driver: &book{}} // in a service: &etcd.Registry{KV: kv}
	payments := found.Balancer("payment", balance.Settings{})
	_, err := payments.Pick() // Run fills it
	fmt.Println(err)
	// Output: balance: no instance is known
}
