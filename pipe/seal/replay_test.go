package seal_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/pipe/seal"
)

// A whole recorded session does not pass: not within the skew, not from
// another server that never saw it, not after a day.
func TestSessionReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := key("k", 7)
		keys := ring(t, k)
		var tape []byte
		o := story{client: seal.Config{Keys: keys}, server: seal.Config{Keys: keys}, sends: []string{"pay 100"},
			up: func(_ int, b []byte) [][]byte {
				tape = append(tape, b...)
				return [][]byte{b}
			}}.run(t)
		if len(o.got) != 1 {
			t.Fatal(o)
		}
		replay := func(keys *seal.Keyring) error {
			a, b := net.Pipe()
			defer a.Close()
			go a.Write(tape)
			go io.Copy(io.Discard, a)
			_, err := seal.Server(context.Background(), b, seal.Config{Keys: keys})
			return err
		}
		if got := cause(replay(keys)); got != seal.Replayed {
			t.Errorf("at once: %q", got)
		}
		if got := cause(replay(ring(t, k))); got != seal.Forged {
			t.Errorf("elsewhere: %q", got)
		}
		time.Sleep(119 * time.Second)
		if got := cause(replay(keys)); got != seal.Replayed {
			t.Errorf("within the skew: %q", got)
		}
		time.Sleep(24 * time.Hour)
		if got := cause(replay(keys)); got != seal.Stale {
			t.Errorf("a day later: %q", got)
		}
	})
}

// Two sessions under one key share nothing: what one sent does not open in the
// other, and the same text does not look the same.
func TestSessionsDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := ring(t, key("k", 7))
		var tapes [2][][]byte
		var bindings [2][32]byte
		for i := range tapes {
			o := story{client: seal.Config{Keys: keys}, server: seal.Config{Keys: keys}, sends: []string{"the same"},
				up: func(_ int, b []byte) [][]byte {
					tapes[i] = append(tapes[i], b)
					return [][]byte{b}
				}}.run(t)
			if bindings[i] = o.c.Binding(); bindings[i] != o.s.Binding() {
				t.Error("the sides of a session differ")
			}
		}
		if bindings[0] == bindings[1] || bytes.Equal(tapes[0][2], tapes[1][2]) {
			t.Error("two sessions are the same")
		}
		o := story{client: seal.Config{Keys: keys}, server: seal.Config{Keys: keys}, sends: []string{"the same"},
			up: func(n int, b []byte) [][]byte {
				if n == 2 {
					return [][]byte{tapes[0][2]}
				}
				return [][]byte{b}
			}}.run(t)
		if len(o.got) > 0 || cause(o.end) != seal.Forged {
			t.Errorf("%q, %v", o.got, o.end)
		}
	})
}
