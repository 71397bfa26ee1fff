// Package outage proves, on real coordination stores, what services do while
// their registry and their settings' store are away, cut in two, full or
// restarted: nothing that can be noticed by their callers. It holds tests only;
// each says in its comment what comes out, and the figures measured last.
//
// Real here are etcd 3.7.3, as the control plane runs it inside its process and
// as a cluster of three processes on loopback, and a Consul agent 1.9.17, built
// from its module by tools/consul.
package outage
