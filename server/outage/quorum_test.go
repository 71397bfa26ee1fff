//go:build unix

package outage

import (
	"syscall"
	"testing"
	"time"
)

// processor is the time this process has computed.
func processor(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestNoQuorum kills two of the three members of a cluster under six services,
// for three leases of 2 s: the third is there, answers that it knows no leader,
// and can do nothing. Then they are started again.
//
// Outcome: no call fails; nobody is seen to leave the registry; the services
// compute no more than before, so nobody asks without a pause; once two members
// are there again all are registered within one lease, and a change of a setting
// comes through within the pauses of watches, 5 s.
//
// Measured: 8 % of a processor without, 4 % with a quorum, for the six, their
// callers and the test (22 % with the retries etcd's client makes of itself);
// registered again at once and known so 0.2 s later, a setting after 0.3 to 4.4 s.
func TestNoQuorum(t *testing.T) {
	slow(t, "15s")
	const ttl, n = 2 * time.Second, 6
	members := cluster(t)
	m := services(t, n, ttl, endpoints(members)...)
	kv := view(t, endpoints(members)...)
	gone := absences(t, kv, "s03")
	m.say(t, kv, "a")
	m.told(t, "a")

	const span = 3 * ttl
	share := func() float64 {
		begin := processor(t)
		<-time.After(span)
		return 100 * (processor(t) - begin).Seconds() / span.Seconds()
	}
	normal := share()
	members[0].kill()
	members[1].kill()
	without := share()
	if without > 2*normal+10 {
		t.Errorf("%.1f%% of a processor without a quorum, %.1f%% with", without, normal)
	}
	m.fine(t)
	members[0].start(t)
	members[0].says(t, "ready")
	again := until(t, "all are registered", func() bool { return registered(t, kv) == n })
	visible := until(t, "all know it", m.allVisible)
	if again+visible > ttl+load {
		t.Errorf("registered again only after %v", again+visible)
	}
	m.say(t, kv, "b")
	follow := m.told(t, "b")
	m.fine(t)
	if len(gone) > 0 {
		t.Errorf("seen without s03 %d times", len(gone))
	}
	t.Logf("no quorum: %.1f%% of a processor, %.1f%% before; %d calls, none failed; a quorum again: all registered after %v, and know it %v later, a setting follows after %v", without, normal, m.calls.Load(), again, visible, follow)
}
