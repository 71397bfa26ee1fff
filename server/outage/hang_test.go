//go:build unix

package outage

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/contrib/etcd"
	"github.com/surefoot-go/surefoot/discovery/driver"
	"github.com/surefoot-go/surefoot/server/coord"
)

// heard follows a service and remembers when it was told and what.
type heard struct {
	mu   sync.Mutex
	at   []time.Time
	sets []int
}

func (h *heard) follow(t *testing.T, kv *etcd.KV, service string) {
	t.Helper()
	background(t, "hear "+service, func(ctx context.Context) error {
		return (&etcd.Registry{KV: kv}).Watch(ctx, service, func(set []driver.Instance) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.at, h.sets = append(h.at, time.Now()), append(h.sets, len(set))
		})
	})
	until(t, "it is told", func() bool { n, _ := h.last(); return n > 0 })
}

// last is how often it was told, and with how many the last time.
func (h *heard) last() (times, instances int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.sets) == 0 {
		return 0, 0
	}
	return len(h.sets), h.sets[len(h.sets)-1]
}

// TestHang lets the store hang: connections stay open and nothing comes through,
// for 15 s. Before, nothing changes for 12 s.
//
// Outcome: while nothing changes the watcher is told the same set at least every
// 10 s, so that an idle registry is not taken for one that is away. While the
// store hangs it is told nothing. It has what changed meanwhile within 5 s of the
// store's going on. Measured: told after 6.1 s at the latest, and 0.05 to 0.9 s
// after the store went on.
func TestHang(t *testing.T) {
	slow(t, "28s")
	s := store(t, coord.Settings{Dir: t.TempDir()})
	kv := s.Client()
	way := through(t, s.Addr())
	put(t, kv, etcd.InstancePrefix+"order/1", `{"addr":"h:1"}`)
	var h, other heard
	one := view(t, way.addr)
	h.follow(t, one, "order")
	put(t, kv, "elsewhere", "1")
	other.follow(t, one, "elsewhere") // and waits for its first change: etcd tells no progress then

	<-time.After(12 * time.Second)
	h.mu.Lock()
	at := append(slices.Clone(h.at), time.Now())
	h.mu.Unlock()
	longest := time.Duration(0)
	for i := 1; i < len(at); i++ {
		longest = max(longest, at[i].Sub(at[i-1]))
	}
	if len(at) < 3 || longest > 10*time.Second {
		t.Errorf("told %d times, the longest silence was %v", len(at)-1, longest)
	}

	thaw := way.freeze()
	put(t, kv, etcd.InstancePrefix+"order/2", `{"addr":"h:2"}`)
	<-time.After(time.Second) // what was under way
	before, _ := h.last()
	<-time.After(14 * time.Second)
	if n, of := h.last(); n != before || of != 1 {
		t.Errorf("told %d times more while the store hung, of %d", n-before, of)
	}
	thaw()
	took := until(t, "it is told what changed", func() bool { _, n := h.last(); return n == 2 })
	if took > 5*time.Second {
		t.Errorf("told only after %v", took)
	}
	t.Logf("idle: told %d times in 12s, at most %v apart; told of a change %v after the store went on", len(at)-1, longest.Round(time.Millisecond), took)
}
