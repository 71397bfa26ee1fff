//go:build unix

package outage

import (
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/server/coord"
)

// TestOutage takes the registry and the settings away from twenty services for
// twenty leases of 1 s: 10 minutes with leases of 30 s. (With
// OUTAGE_TEST_FOR=60s it is 10 minutes with the default lease of 10 s.) The
// store itself lives on and lets all leases end, so that it lists nobody.
//
// Outcome: the services call each other throughout and no call fails; nobody
// restarts; all are registered again within one lease of the store's return;
// the settings are what they were, and follow a change made right after; when
// all have ended no goroutine is left over.
//
// Measured over 60 s, two cores: 25,860 calls, none failed; the leases ended
// 1.2 s into the outage, all were registered again 0.6 s after it, and a change of
// a setting had come through 0.07 s later; 2,458 goroutines before the outage and
// after it, 38 before the services began and after they ended.
func TestOutage(t *testing.T) {
	slow(t, "25s")
	away := 20 * time.Second
	if d, err := time.ParseDuration(os.Getenv("OUTAGE_TEST_FOR")); err == nil {
		away = d
	}
	const ttl, n = time.Second, 20
	s := store(t, coord.Settings{Dir: t.TempDir()})
	way := through(t, s.Addr())
	before := runtime.NumGoroutine()

	m := services(t, n, ttl, way.addr)
	m.say(t, s.Client(), "a")
	m.told(t, "a")
	if got := registered(t, s.Client()); got != n {
		t.Fatalf("%d are registered", got)
	}
	<-time.After(2 * ttl)
	running := runtime.NumGoroutine()

	way.set(true)
	expired := until(t, "the store lists nobody", func() bool { return registered(t, s.Client()) == 0 })
	<-time.After(away - expired)
	m.fine(t)
	during := m.calls.Load()
	m.say(t, s.Client(), "b")

	way.set(false)
	again := until(t, "all are registered again", func() bool { return registered(t, s.Client()) == n })
	follow := m.told(t, "b")
	if again > ttl+load {
		t.Errorf("registered again only after %v", again)
	}
	until(t, "all know it", m.allVisible)
	<-time.After(2 * ttl)
	m.fine(t)
	after := goroutines(t, running+n) // connections come and go
	m.stop()
	end := goroutines(t, before)
	t.Logf("away for %v; all leases ended after %v; %d calls, none failed, %d of them before the return; all registered again after %v; a change of a setting followed %v later; goroutines %d, %d after the outage, %d at the end, %d at the start",
		away, expired, m.calls.Load(), during, again, follow, running, after, end, before)
	if got := registered(t, s.Client()); got != 0 {
		t.Errorf("%d are still registered", got)
	}
}

// TestStoreEnds stops the store itself under twenty services, for longer than
// their leases, and starts it again: once with its data, once without.
//
// Outcome: no call fails; after each return all are registered again within
// one lease. With its data the store tells the settings as they were. Without,
// it tells that there are none, and package config takes that for a store that
// started over, not for a deletion: no service loses a setting.
//
// Measured: registered again at once with the data (etcd begins all leases anew)
// and after 0.3 to 0.7 s without; a change of a setting comes through in 0.1 s.
func TestStoreEnds(t *testing.T) {
	slow(t, "15s")
	const ttl, n = time.Second, 20
	set := coord.Settings{Dir: t.TempDir() + "/etcd"}
	s := store(t, set)
	set.Client = s.Addr()
	m := services(t, n, ttl, s.Addr())
	m.say(t, s.Client(), "a")
	m.told(t, "a")
	for _, with := range []string{"its data", "no data"} {
		s.Close()
		<-time.After(3 * ttl)
		if with == "no data" {
			if err := os.RemoveAll(set.Dir); err != nil {
				t.Fatal(err)
			}
		}
		s = store(t, set)
		kv := view(t, s.Addr())
		again := until(t, "all are registered again", func() bool { return registered(t, kv) == n })
		if again > ttl+load {
			t.Errorf("registered again only after %v", again)
		}
		visible := until(t, "all know it", m.allVisible)
		m.say(t, kv, with)
		follow := m.told(t, with)
		m.fine(t)
		t.Logf("back with %s: all registered again after %v, and know it %v later; a change of a setting followed after %v", with, again, visible, follow)
	}
}
