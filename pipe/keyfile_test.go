package pipe

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/pipe/seal"
)

// keyFile is a file of keys.
type keyFile struct{ path string }

// set replaces the file, as a careful writer does.
func (f keyFile) set(t testing.TB, current string, keys map[string]seal.Secret) {
	t.Helper()
	type key struct {
		ID     string `json:"id"`
		Secret string `json:"secret"`
	}
	var all struct {
		Current string `json:"current"`
		Keys    []key  `json:"keys"`
	}
	all.Current = current
	for id, s := range keys {
		all.Keys = append(all.Keys, key{id, s.Reveal()})
	}
	raw, _ := json.Marshal(all)
	write(t, f.path+".new", string(raw))
	if err := os.Rename(f.path+".new", f.path); err != nil {
		t.Fatal(err)
	}
}

// until waits for what must come.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(15 * time.Second); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("not within 15s: ", what)
		}
	}
}

// ringing returns a listener whose keys are in a file, which sends what it
// gets on topic t back, and its address.
func ringing(t testing.TB, s Security, y *tally) *Listener {
	t.Helper()
	l := &Listener{Addr: "127.0.0.1:0", Security: s, Observe: y.sinks(), Heartbeat: 100 * time.Millisecond}
	l.Handle("t", Options{Ack: true}, func(ctx context.Context, c *Channel) error {
		for m := range c.C() {
			if err := c.Send(ctx, m.Data); err != nil {
				return err
			}
			m.Ack()
		}
		return nil
	})
	Running(t, l)
	return l
}

// TestKeyRotation goes from an old key to a new one, file by file, while
// numbered messages go there and back. None is lost and no call fails; in the
// end nobody speaks under the old key, though nobody else dialled.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	old, fresh := seal.NewSecret(), seal.NewSecret()
	dir := t.TempDir()
	near, far := keyFile{filepath.Join(dir, "near")}, keyFile{filepath.Join(dir, "far")}
	first := map[string]seal.Secret{"old": old}
	near.set(t, "old", first)
	far.set(t, "old", first)
	y, z := newTally(), newTally()
	l := ringing(t, Security{KeyFile: far.path}, y)
	k := &Link{Addr: l.Bound().String(), Security: Security{KeyFile: near.path}, Observe: z.sinks(), Heartbeat: 100 * time.Millisecond, Base: 10 * time.Millisecond}
	defer k.Close()
	c, err := k.Open(ctx, "t", Options{Ack: true})
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	sent := make(chan uint64, 1)
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for n := uint64(0); ; n++ {
			select {
			case <-stop:
				c.CloseSend()
				sent <- n
				return
			case <-tick.C:
			}
			if err := c.Send(ctx, binary.BigEndian.AppendUint64(nil, n)); err != nil {
				t.Error(err)
			}
		}
	}()
	back := make(chan uint64, 1)
	go func() {
		n := uint64(0)
		for m := range c.C() {
			if got := binary.BigEndian.Uint64(m.Data); got != n || m.Missed > 0 {
				t.Errorf("%d in place of %d, missed %d", got, n, m.Missed)
			}
			n++
			m.Ack()
		}
		back <- n
	}()
	key := func() string {
		k.s.mu.Lock()
		defer k.s.mu.Unlock()
		return k.s.peer.KeyID
	}
	has := func(d *door, ids string) func() bool {
		return func() bool { return strings.Join(d.Keys.IDs(), " ") == ids }
	}
	both := map[string]seal.Secret{"old": old, "new": fresh}
	far.set(t, "old", both)
	near.set(t, "old", both)
	until(t, "both sides have both keys", func() bool { return has(l.door, "new old")() && has(k.door, "new old")() })
	near.set(t, "new", both)
	far.set(t, "new", both)
	// What is bad keeps what is there, and is told once.
	write(t, far.path, `{"keys": [{"id": "new", "secret": "`+fresh.Reveal()+`"}, "`+old.Reveal()+`"]}`)
	until(t, "the bad file is told of", func() bool { return len(y.logged(causeFiles)) > 0 })
	if !has(l.door, "new old")() || key() != "old" {
		t.Errorf("keys %v, in use %s", l.door.Keys.IDs(), key())
	}
	last := map[string]seal.Secret{"new": fresh}
	far.set(t, "new", last)
	until(t, "the connection is under the new key", func() bool { return key() == "new" })
	near.set(t, "new", last)
	until(t, "the old key is gone", has(k.door, "new"))
	close(stop)
	if a, b := <-sent, <-back; a != b || a == 0 {
		t.Errorf("%d sent, %d came back", a, b)
	}
	if n := y.counted()[string(causeFiles)]; n != 1 || len(y.logged(causeFiles)) != 1 {
		t.Errorf("told %d times of the bad file: %q", n, y.logged(causeFiles))
	}
	for _, s := range []string{y.log.String(), z.log.String()} {
		if strings.Contains(s, old.Reveal()) || strings.Contains(s, fresh.Reveal()) {
			t.Error("a secret was logged")
		}
	}
}
