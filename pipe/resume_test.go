package pipe

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/pipe/seal"
)

// TestResumeIsForItsPeer: a session goes on with the peer that began it, who
// says that it goes on, and with nobody else, whatever id he names.
func TestResumeIsForItsPeer(t *testing.T) {
	keys := []seal.Key{
		{ID: "o", Secret: seal.NewSecret(), Identities: []string{"order"}},
		{ID: "p", Secret: seal.NewSecret(), Identities: []string{"payment"}},
	}
	ring := func(current string) *seal.Keyring {
		r, err := seal.NewKeyring(seal.Keys{Current: current, Keys: keys})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	y := newTally()
	l := ringing(t, Security{Keys: ring("")}, y)
	k := &Link{Addr: l.Bound().String(), Security: Security{Keys: ring("o")}, Observe: y.sinks()}
	defer k.Close()
	ch, err := k.Open(t.Context(), "t", Options{Ack: true})
	if err != nil {
		t.Fatal(err)
	}
	echo := func(word string) {
		t.Helper()
		if err := ch.Send(t.Context(), []byte(word)); err != nil {
			t.Fatal(err)
		}
		if m := <-ch.C(); string(m.Data) != word || m.Duplicate || m.Missed != 0 {
			t.Fatalf("got %q, duplicate %v, missed %d; want %q", m.Data, m.Duplicate, m.Missed, word)
		}
	}
	echo("before")
	for _, c := range []struct {
		name, key string
		resume    bool
	}{
		{"somebody else goes on with it", "p", true},
		{"somebody else begins it", "p", false},
		{"its peer begins it twice", "o", false},
	} {
		raw, err := net.Dial("tcp", k.Addr)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := seal.Client(t.Context(), raw, seal.Config{Keys: ring(c.key)})
		if err != nil {
			t.Fatal(c.name, err)
		}
		if err := hello(conn, k.s.id, c.resume, time.Second); err != nil {
			t.Fatal(c.name, err)
		}
		if _, resumed, _, err := greeted(conn, 5*time.Second); err == nil {
			t.Errorf("%s: greeted, resumed %v", c.name, resumed)
		}
		conn.Close()
	}
	if got := y.counted(); got["resume"] != 3 {
		t.Errorf("counted %v, want resume 3 times", got)
	}
	echo("after")
}

// TestSilenceEndsAConnection: a peer that says nothing for three of the longer
// side's heartbeats is dead to us; until then it hears ours.
func TestSilenceEndsAConnection(t *testing.T) {
	ring, err := seal.NewKeyring(seal.Keys{Keys: []seal.Key{{ID: "k", Secret: seal.NewSecret()}}})
	if err != nil {
		t.Fatal(err)
	}
	l := ringing(t, Security{Keys: ring}, newTally()) // its heartbeat is 100 ms
	raw, err := net.Dial("tcp", l.Bound().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := seal.Client(t.Context(), raw, seal.Config{Keys: ring})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	begun := time.Now()
	if err := hello(conn, [16]byte{1}, false, 200*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := greeted(conn, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	beats := 0
	for {
		if _, err = conn.ReadRecord(); err != nil {
			break
		}
		beats++
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("a silent peer is waited for without end")
	}
	if took := time.Since(begun); took < 600*time.Millisecond || beats < 2 {
		t.Errorf("given up after %v and %d heartbeats; want 3 of its 200 ms, and ours all the while", took, beats)
	}
}
