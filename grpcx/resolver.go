package grpcx

import (
	"cmp"
	"sync"

	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/resolver"

	"github.com/surefoot-go/surefoot/discovery"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/resilience/balance"
)

// Scheme is that of the targets which Resolver resolves.
const Scheme = "surefoot"

// Label is the label of an instance that holds its gRPC address, for services with
// two ports (see discovery.Via); without it the instance's Addr is the one.
const Label = "grpc"

// Resolver finds the instances of "surefoot:///payment" in source, for a plain
// grpc.NewClient.
//
//	conn, err := grpc.NewClient("surefoot:///payment", grpc.WithResolvers(grpcx.Resolver(found)),
//		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`), ...)
//
// Each address knows its instance: see InstanceOf. A set of instances stays while
// the registry is away or says that there is nobody. What is chosen among them is
// grpc's own balancer's matter, which ejects nobody by outcome: see Balanced for
// one that does. It is registered nowhere; safe for concurrent use.
func Resolver(source *discovery.Source) resolver.Builder { return builder{source} }

type builder struct{ source *discovery.Source }

func (builder) Scheme() string { return Scheme }

func (b builder) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	service := target.Endpoint()
	if service == "" {
		return nil, errs.New(errs.Invalid, "grpcx.Resolver", "the target names no service; want surefoot:///service")
	}
	r := &following{}
	r.stop = b.source.Follow(service, func(in []balance.Instance) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.closed {
			return
		}
		// An error says that grpc's balancer does not like the set; it has said so
		// to its connections too, and the next set comes by itself.
		_ = cc.UpdateState(resolver.State{Addresses: addresses(discovery.Via(Label, in))})
	})
	return r, nil
}

type following struct {
	mu     sync.Mutex
	closed bool
	stop   func()
}

// ResolveNow does nothing: changes come by themselves.
func (*following) ResolveNow(resolver.ResolveNowOptions) {}

func (r *following) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.stop()
}

type instanceKey struct{}

// described makes instances comparable for grpc: labels are not, and steer
// nothing here.
type described struct {
	id, addr, version, zone string
	weight                  int
}

// InstanceOf is the instance behind an address that Resolver found, without its
// labels; false for any other address.
func InstanceOf(a resolver.Address) (balance.Instance, bool) {
	d, ok := a.BalancerAttributes.Value(instanceKey{}).(described)
	return balance.Instance{ID: d.id, Addr: d.addr, Version: d.version, Zone: d.zone, Weight: d.weight}, ok
}

func addresses(in []balance.Instance) []resolver.Address {
	out := make([]resolver.Address, 0, len(in))
	for _, i := range in {
		if i.Weight < 0 {
			continue
		}
		d := described{cmp.Or(i.ID, i.Addr), i.Addr, i.Version, i.Zone, cmp.Or(i.Weight, 1)}
		out = append(out, resolver.Address{Addr: i.Addr, BalancerAttributes: attributes.New(instanceKey{}, d)})
	}
	return out
}

// Follow keeps the instances as source knows them, until stop is called or b is
// closed, at their gRPC addresses (see Label). target is the name in the registry,
// "" meaning Client.Target. Instances that cannot be dialed are logged and left
// out.
func (b *Balanced) Follow(source *discovery.Source, target string) (stop func()) {
	b.init()
	target = cmp.Or(target, b.Client.Target)
	log := b.Client.Observe.OrDefault().Log
	return source.Follow(target, func(in []balance.Instance) {
		if err := b.Set(discovery.Via(Label, in)); err != nil && !b.isClosed() {
			log.Warn("grpcx: not all instances are used", "surefoot.target", target, "err", err)
		}
	})
}

func (b *Balanced) isClosed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closed
}

// Tune replaces Balance while calls run.
func (b *Balanced) Tune(s balance.Settings) {
	b.init()
	b.balancer.Tune(s)
}
