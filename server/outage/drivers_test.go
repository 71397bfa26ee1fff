//go:build unix

package outage

import (
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/config/drivertest"
	"github.com/surefoot-go/surefoot/contrib/etcd"
	registrytest "github.com/surefoot-go/surefoot/discovery/drivertest"
	"github.com/surefoot-go/surefoot/server/coord"
)

// stores runs a test on the control plane's own etcd and on a cluster of three
// processes. cut takes all members away from the client at endpoints.
func stores(t *testing.T, test func(t *testing.T, admin *etcd.KV, endpoints []string, cut func(bool))) {
	gated := func(addrs []string) (endpoints []string, cut func(bool)) {
		var gates []*gate
		for _, addr := range addrs {
			g := through(t, addr)
			gates, endpoints = append(gates, g), append(endpoints, g.addr)
		}
		return endpoints, func(yes bool) {
			for _, g := range gates {
				g.set(yes)
			}
		}
	}
	t.Run("embedded", func(t *testing.T) {
		s := store(t, coord.Settings{Dir: t.TempDir()})
		endpoints, cut := gated([]string{s.Addr()})
		test(t, s.Client(), endpoints, cut)
	})
	t.Run("cluster", func(t *testing.T) {
		slow(t, "2s")
		all := endpoints(cluster(t))
		endpoints, cut := gated(all)
		test(t, view(t, all...), endpoints, cut)
	})
}

// empty removes everything under a prefix.
func empty(t *testing.T, kv *etcd.KV, prefix string) {
	t.Helper()
	items, _, err := kv.List(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range items {
		if err := kv.Delete(t.Context(), it.Key, etcd.Any); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSettings is the contract of config/driver, on both stores.
//
// Outcome: it is kept; an outage is over for the watcher within 0.6 s.
func TestSettings(t *testing.T) {
	stores(t, func(t *testing.T, admin *etcd.KV, endpoints []string, cut func(bool)) {
		drivertest.Run(t, func(t *testing.T) drivertest.Lab {
			empty(t, admin, "surefoot/config/drivertest/")
			return drivertest.Lab{
				Driver: &etcd.Settings{KV: view(t, endpoints...)}, Atomic: true,
				Commit: func(t *testing.T, values map[string][]byte) {
					t.Helper()
					var all []etcd.Write
					for _, key := range drivertest.Keys(values) {
						all = append(all, etcd.Write{Key: key, Value: values[key], Delete: values[key] == nil, If: etcd.Any})
					}
					if _, err := admin.Commit(t.Context(), all...); err != nil {
						t.Fatal(err)
					}
				},
				Break: func(t *testing.T) func() {
					cut(true)
					t.Cleanup(func() { cut(false) })
					return func() { cut(false) }
				},
			}
		})
	})
}

// TestRegistry is the contract of discovery/driver, on both stores.
//
// Outcome: it is kept; with leases of 2 s an instance that somebody removed is
// listed again after 0.7 s, after an outage after 0.5 s.
func TestRegistry(t *testing.T) {
	slow(t, "3s")
	stores(t, func(t *testing.T, admin *etcd.KV, endpoints []string, cut func(bool)) {
		registrytest.Run(t, func(t *testing.T) registrytest.Lab {
			empty(t, admin, etcd.InstancePrefix)
			r := &etcd.Registry{KV: view(t, endpoints...), TTL: 2 * time.Second}
			return registrytest.Lab{
				Watcher: r, Registrar: r,
				Remove: func(t *testing.T, service, id string) {
					t.Helper()
					if err := admin.Delete(t.Context(), etcd.InstancePrefix+service+"/"+id, etcd.Any); err != nil {
						t.Fatal(err)
					}
				},
				Break: func(t *testing.T) func() {
					cut(true)
					t.Cleanup(func() { cut(false) })
					return func() { cut(false) }
				},
			}
		})
	})
}
