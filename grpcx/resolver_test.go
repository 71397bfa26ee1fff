package grpcx_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/surefoot-go/surefoot/discovery"
	"github.com/surefoot-go/surefoot/grpcx"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/balance"
)

// book is a registry in memory: a discovery/driver.Watcher.
type book struct {
	mu      sync.Mutex
	set     []balance.Instance
	changed chan struct{}
}

func (b *book) Set(in ...balance.Instance) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set = in
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

func (b *book) Watch(ctx context.Context, _ string, fn func([]balance.Instance)) error {
	for {
		b.mu.Lock()
		if b.changed == nil {
			b.changed = make(chan struct{})
		}
		set, changed := b.set, b.changed
		b.mu.Unlock()
		fn(set)
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// opened is a real gRPC server on loopback that answers with its name.
func opened(t *testing.T, name string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(grpcx.Server{Service: name, Observe: silent}.Options()...)
	srv.RegisterService(&desc, says(name))
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() { srv.Stop(); <-done })
	return l.Addr().String()
}

func follow(t *testing.T, s *discovery.Source) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

// answers calls until somebody called want answers.
func answers(t *testing.T, conn grpc.ClientConnInterface, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		var out wrapperspb.StringValue
		if err := conn.Invoke(ctx, "/test.Service/Do", wrapperspb.String("x"), &out); err == nil && out.Value == want {
			return
		}
	}
	t.Fatalf("%s never answered", want)
}

func TestResolver(t *testing.T) {
	a, b := opened(t, "a"), opened(t, "b")
	var registry book
	registry.Set(balance.Instance{ID: "1", Addr: "127.0.0.1:1", Version: "v1", Zone: "z", Labels: map[string]string{grpcx.Label: a}})
	source := &discovery.Source{Driver: &registry, Observe: silent}
	follow(t, source)
	conn, err := grpc.NewClient("surefoot:///order", grpc.WithResolvers(grpcx.Resolver(source)), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers(t, conn, "a")
	registry.Set() // the registry says that there is nobody: nothing changes
	answers(t, conn, "a")
	registry.Set(balance.Instance{ID: "2", Addr: b})
	answers(t, conn, "b")
	nameless, err := grpc.NewClient("surefoot:///", grpc.WithResolvers(grpcx.Resolver(source)), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return
	}
	defer nameless.Close()
	if err := nameless.Invoke(t.Context(), "/test.Service/Do", wrapperspb.String("x"), new(wrapperspb.StringValue)); err == nil {
		t.Error("a target without a service was taken")
	}
}

func TestInstanceOf(t *testing.T) {
	in := balance.Instance{ID: "1", Addr: "10.0.0.1:80", Version: "v2", Zone: "b", Weight: 3}
	got := grpcx.Addresses([]balance.Instance{in, {Addr: "10.0.0.2:80", Weight: -1}})
	if len(got) != 1 {
		t.Fatalf("%d addresses, want 1: a negative weight means no calls", len(got))
	}
	if of, ok := grpcx.InstanceOf(got[0]); !ok || of.ID != "1" || of.Addr != in.Addr || of.Version != "v2" || of.Zone != "b" || of.Weight != 3 {
		t.Errorf("%+v, %v", of, ok)
	}
	if _, ok := grpcx.InstanceOf(resolver.Address{Addr: "x"}); ok {
		t.Error("an address of another resolver has an instance")
	}
}

func TestBalancedFollows(t *testing.T) {
	var w town
	w.t = t
	w.open("one", says("one"))
	w.open("two", says("two"))
	var registry book
	registry.Set(balance.Instance{ID: "1", Addr: "http", Labels: map[string]string{grpcx.Label: "one"}})
	source := &discovery.Source{Driver: &registry, Observe: silent, Grace: -1}
	follow(t, source)
	b := &grpcx.Balanced{Client: grpcx.Client{Service: "test", Target: "order", Observe: silent, Policy: resilience.Policy{Idempotent: true}}, Dial: w.dial}
	defer b.Close()
	stop := b.Follow(source, "")
	defer stop()
	answers(t, b, "one")
	registry.Set() // empty never replaces good
	answers(t, b, "one")
	registry.Set(balance.Instance{ID: "2", Addr: "two"}, balance.Instance{ID: "3", Addr: "bad"})
	answers(t, b, "two")
	b.Tune(balance.Settings{Failures: 9})
	if b.Settings().Failures != 9 {
		t.Error("Tune did not arrive")
	}
}
