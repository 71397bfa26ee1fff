package pipe_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/pipe"
	"github.com/surefoot-go/surefoot/pipe/seal"
)

// The test program is also the child that gets killed: see TestMain.
const (
	childRole = "PIPE_TEST_CHILD" // listener or link
	childAddr = "PIPE_TEST_ADDR"
	childKey  = "PIPE_TEST_KEY"
	childFile = "PIPE_TEST_FILE"
)

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(childRole) {
	case "listener":
		err = killedListener()
	case "link":
		err = killedLink()
	default:
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func childSecurity(key string) (pipe.Security, error) {
	secret, err := seal.ParseSecret(key)
	if err != nil {
		return pipe.Security{}, err
	}
	ring, err := seal.NewKeyring(seal.Keys{Keys: []seal.Key{{ID: "k1", Secret: secret}}})
	return pipe.Security{Keys: ring}, err
}

// killedListener writes down what it has received, then acknowledges it.
func killedListener() error {
	s, err := childSecurity(os.Getenv(childKey))
	if err != nil {
		return err
	}
	f, err := os.OpenFile(os.Getenv(childFile), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	l := &pipe.Listener{Addr: os.Getenv(childAddr), Security: s, Observe: quiet}
	l.Handle("n", pipe.Options{Ack: true, Manual: true}, func(ctx context.Context, c *pipe.Channel) error {
		for m := range c.C() {
			if _, err := fmt.Fprintf(f, "%s %t\n", m.Data, m.Duplicate); err != nil {
				return err
			}
			m.Ack()
		}
		return nil
	})
	return l.Serve(context.Background())
}

// killedLink sends numbers from where its file says, and writes down how far
// they are acknowledged.
func killedLink() error {
	s, err := childSecurity(os.Getenv(childKey))
	if err != nil {
		return err
	}
	raw, _ := os.ReadFile(os.Getenv(childFile))
	lines := strings.Fields(string(raw))
	n := 0
	if len(lines) > 0 {
		if n, err = strconv.Atoi(lines[len(lines)-1]); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(os.Getenv(childFile), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	ctx := context.Background()
	k := &pipe.Link{Addr: os.Getenv(childAddr), Security: s, Observe: quiet}
	c, err := k.Open(ctx, "n", pipe.Options{Ack: true})
	if err != nil {
		return err
	}
	for ; ; n++ {
		if err := c.Send(ctx, strconv.AppendInt(nil, int64(n), 10)); err != nil {
			return err
		}
		if n%50 == 49 {
			if err := c.Flush(ctx); err != nil {
				return err
			}
			fmt.Fprintf(f, "%d\n", n+1)
		}
	}
}

// child starts the test program in a role and returns what kills it with
// SIGKILL.
func child(t *testing.T, role, addr, key, file string) (kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childRole+"="+role, childAddr+"="+addr, childKey+"="+key, childFile+"="+file)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed := false
	kill = func() {
		if !killed {
			killed = true
			cmd.Process.Kill()
			cmd.Wait()
		}
	}
	t.Cleanup(kill)
	return kill
}

func key(t *testing.T) string {
	t.Helper()
	return seal.NewSecret().Reveal()
}

// TestKilledReceiver kills the receiving process again and again: with Ack
// nothing is lost, and what is received twice is marked.
func TestKilledReceiver(t *testing.T) {
	const n, kills = 20_000, 6
	ctx := within(t, 60*time.Second)
	k := key(t)
	s, err := childSecurity(k)
	if err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	file := filepath.Join(t.TempDir(), "received")
	kill := child(t, "listener", addr, k, file)
	link := &pipe.Link{Addr: addr, Security: s, Observe: quiet, Base: 5 * time.Millisecond, Cap: 20 * time.Millisecond}
	defer link.Close()
	c, err := link.Open(ctx, "n", pipe.Options{Ack: true})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	next := 1000 + rng.IntN(1000)
	for i := range n {
		if i == next {
			kill() // in the midst of what it has not acknowledged yet
			kill = child(t, "listener", addr, k, file)
			next += n/kills - 500 + rng.IntN(1000)
		}
		if err := c.Send(ctx, strconv.AppendInt(nil, int64(i), 10)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	kill()

	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seen, twice, marked := map[int]bool{}, 0, 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var i int
		var dup bool
		if _, err := fmt.Sscan(lines.Text(), &i, &dup); err != nil {
			t.Fatal(err)
		}
		if seen[i] && !dup {
			t.Errorf("%d came again without a mark", i)
		}
		if seen[i] {
			twice++
		}
		if dup {
			marked++
		}
		seen[i] = true
	}
	if len(seen) != n {
		t.Errorf("%d messages of %d", len(seen), n)
	}
	t.Logf("%d messages, %d marked as duplicates, %d came twice", n, marked, twice)
	if marked == 0 {
		t.Error("no kill hit messages under way: the test shows nothing")
	}
}

// TestKilledSender kills the sending process again and again: what Flush said
// is there was received, and a sender that goes on after it loses nothing.
func TestKilledSender(t *testing.T) {
	const n, kills = 15_000, 5
	ctx := within(t, 60*time.Second)
	k := key(t)
	s, err := childSecurity(k)
	if err != nil {
		t.Fatal(err)
	}
	l := &pipe.Listener{Security: s, Resume: 100 * time.Millisecond}
	got := make(chan int, 100)
	ends := make(chan error, 2*kills)
	l.Handle("n", pipe.Options{Ack: true, Manual: true}, func(ctx context.Context, c *pipe.Channel) error {
		for m := range c.C() {
			i, err := strconv.Atoi(string(m.Data))
			if err != nil {
				return err
			}
			select {
			case got <- i:
			case <-ctx.Done():
				return nil
			}
			m.Ack()
		}
		ends <- c.Err()
		return nil
	})
	addr := serve(t, l)
	file := filepath.Join(t.TempDir(), "flushed")
	kill := child(t, "link", addr, k, file)
	seen := map[int]bool{}
	next := n / kills
	for len(seen) < n {
		select {
		case i := <-got:
			if i < n {
				seen[i] = true
			}
			if i == next {
				kill()
				next += n / kills
				kill = child(t, "link", addr, k, file)
			}
		case <-ctx.Done():
			t.Fatalf("only %d of %d", len(seen), n)
		}
	}
	kill()
	for range kills - 1 {
		select {
		case err := <-ends:
			if err == nil {
				t.Error("the channel of a dead process ended without an error")
			}
		case <-got:
		case <-ctx.Done():
			t.Fatal("channels of dead processes do not end")
		}
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l := &pipe.Listener{Addr: "127.0.0.1:0", Security: security(t), Observe: quiet}
	if err := l.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	addr := l.Bound().String()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := l.Serve(ctx); err != nil {
		t.Fatal(err)
	}
	return addr
}
