// Package discovery finds the instances of services in a registry, and keeps
// this one listed there.
//
//	found := &discovery.Source{Driver: &etcd.Registry{KV: kv}}
//	client := httpx.Client{Target: "payment", Balancer: found.Balancer("payment", balance.Settings{})}.HTTP()
//	go found.Run(ctx) // package service does
//
//	here := &discovery.Registration{Driver: &etcd.Registry{KV: kv}, Service: "order", Instance: balance.Instance{Addr: "10.0.0.7:8080"}}
//	err := here.Run(ctx) // listed until ctx ends, whatever happens to the registry
//
// A good set of instances is never lost: an answer that is empty changes
// nothing, while the registry is away the set stays and grows old, with a metric
// and an alarm, and of a set of which more than half vanishes at once the
// vanished are kept for a while. Whoever is really gone is found out by calls:
// see package resilience/balance.
//
// A registration is never over: an expired lease, a registry that forgot, a
// process that was paused are answered by registering anew, for ever.
//
// Drivers are discovery/static, discovery/dns, discovery/consul and, in a module
// of its own, contrib/etcd.
package discovery

// scope names what reports here.
const scope = "github.com/surefoot-go/surefoot/discovery"
