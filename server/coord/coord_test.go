package coord_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/contrib/etcd"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/coord"
)

// TestMain lets the test binary be a second process: one that holds a store
// until it is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("COORD_TEST_HOLD"); dir != "" {
		hold(dir)
	}
	os.Exit(m.Run())
}

func hold(dir string) {
	s, err := coord.Start(context.Background(), coord.Settings{Dir: dir, Client: "127.0.0.1:0", Peer: "127.0.0.1:0"})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	key, size := func(int) string { return "k" }, 0
	if ballast := os.Getenv("COORD_TEST_FILL"); ballast != "" { // until the disk is full
		err := os.WriteFile(ballast, make([]byte, 64<<20), 0o600)
		fmt.Fprintln(os.Stderr, "the disk:", err)
		key, size = func(i int) string { return fmt.Sprintf("k/%04d", i) }, 64<<10
	}
	for i := 0; ; i++ {
		value := fmt.Appendf(nil, "%-*d", size, i)
		if _, err := s.Client().PutIf(context.Background(), key(i), value, etcd.Any); err != nil {
			fmt.Println("error", err)
			<-s.Failed()
			fmt.Fprintln(os.Stderr, "the server:", s.Err())
			begin := time.Now()
			fmt.Fprintln(os.Stderr, "close:", s.Close(), "in time:", time.Since(begin) < 5*time.Second)
			os.Exit(3)
		}
		fmt.Println(i) // acknowledged
	}
}

func start(t *testing.T, dir string) *coord.Server {
	t.Helper()
	s, err := coord.Start(t.Context(), settings(dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func settings(dir string) coord.Settings {
	return coord.Settings{Dir: dir, Client: "127.0.0.1:0", Peer: "127.0.0.1:0", Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

func TestRestartKeepsData(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "etcd")
	begin := time.Now()
	s := start(t, dir)
	t.Logf("first start: %v", time.Since(begin))
	rev, err := s.Client().PutIf(t.Context(), "a", []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	begin = time.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("close: %v", time.Since(begin))
	begin = time.Now()
	s = start(t, dir)
	t.Logf("restart: %v", time.Since(begin))
	got, err := s.Client().Get(t.Context(), "a")
	if err != nil || string(got.Value) != "1" || got.Revision != rev {
		t.Errorf("after a restart: %+v, %v", got, err)
	}
	if s.Err() != nil {
		t.Error(s.Err())
	}
}

func TestKilledProcessLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "COORD_TEST_HOLD="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last := -1
	for last < 50 {
		if _, err := fmt.Fscanln(out, &last); err != nil {
			rest, _ := io.ReadAll(out)
			t.Fatalf("child: %v, %s", err, rest)
		}
	}

	// A second copy on the same data, while the first one runs.
	_, err = coord.Start(t.Context(), settings(dir))
	if id := code(err); id != coord.DataInUse {
		t.Errorf("second copy: %v", err)
	} else if msg := errs.From(err).Message(); !strings.Contains(msg, fmt.Sprint(cmd.Process.Pid)) || !strings.Contains(msg, dir) {
		t.Errorf("second copy: %q names neither process nor folder", msg)
	}

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for { // what it printed before it died was acknowledged
		var n int
		if _, err := fmt.Fscanln(out, &n); err != nil {
			break
		}
		last = n
	}
	_ = cmd.Wait()
	got, err := start(t, dir).Client().Get(t.Context(), "k")
	var n int
	if _, serr := fmt.Sscan(string(got.Value), &n); err != nil || serr != nil || n < last {
		t.Errorf("acknowledged %d, found %q, %v", last, got.Value, err)
	}
}

func code(err error) string {
	if err == nil {
		return ""
	}
	return errs.From(err).Code()
}

func TestWhatAPersonCanMend(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := t.TempDir()
	if err := os.MkdirAll(filepath.Join(damaged, "member", "wal"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(damaged, "member", "wal", "0000000000000000-0000000000000000.wal"), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*coord.Settings)
		id     string
		says   string
	}{
		{"client port taken", func(s *coord.Settings) { s.Client = taken.Addr().String() }, coord.AddressInUse, taken.Addr().String()},
		{"peer port taken", func(s *coord.Settings) { s.Peer = taken.Addr().String() }, coord.AddressInUse, taken.Addr().String()},
		{"no folder", func(s *coord.Settings) { s.Dir = "" }, "invalid_request", "folder"},
		{"a file where the folder should be", func(s *coord.Settings) { s.Dir = file }, coord.DirNotWritable, file},
		{"below a file", func(s *coord.Settings) { s.Dir = filepath.Join(file, "x") }, coord.DirNotWritable, file},
		{"a name instead of an IP", func(s *coord.Settings) { s.Client = "localhost:7602" }, "invalid_request", "localhost"},
		{"no port", func(s *coord.Settings) { s.Peer = "127.0.0.1" }, "invalid_request", "127.0.0.1"},
		{"damaged data", func(s *coord.Settings) { s.Dir = damaged }, coord.DataDamaged, damaged},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := settings(t.TempDir())
			c.change(&s)
			srv, err := coord.Start(t.Context(), s)
			if err == nil {
				srv.Close()
				t.Fatal("started")
			}
			if msg := errs.From(err).Message(); code(err) != c.id || !strings.Contains(msg, c.says) {
				t.Errorf("%s: %q (%v), want %s about %s", code(err), msg, err, c.id, c.says)
			}
			if !strings.HasPrefix(c.name, "damaged") && s.Dir != "" && c.id != coord.DirNotWritable {
				start(t, s.Dir) // the failed start left nothing locked
			}
		})
	}
}

func TestStartEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := coord.Start(ctx, settings(t.TempDir())); err == nil {
		s.Close()
		t.Error("started under a cancelled context")
	}
}

func TestCloseDoesNotWaitForWatchers(t *testing.T) {
	s := start(t, t.TempDir())
	kv := &etcd.KV{Endpoints: []string{s.Addr()}, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	ctx, cancel := context.WithCancel(t.Context())
	synced, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- kv.Watch(ctx, "p/", func(etcd.Event) { close(synced) })
	}()
	<-synced
	begin := time.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	t.Logf("close with a watch open: %v", took)
	if took > 3*time.Second {
		t.Errorf("close took %v", took)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	if _, err := s.Client().Get(t.Context(), "x"); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("client after close: %v", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("watch ended with %v", err)
	}
	kv.Close()
}

func ExampleStart() {
	dir, err := os.MkdirTemp("", "coord")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	s, err := coord.Start(ctx, coord.Settings{Dir: dir, Client: "127.0.0.1:0", Peer: "127.0.0.1:0"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	_, err = s.Client().PutIf(ctx, "surefoot/config/order/limit", []byte("20"), 0)
	_, again := s.Client().PutIf(ctx, "surefoot/config/order/limit", []byte("30"), 0)
	fmt.Println(err, errs.KindOf(again))
	// Output: <nil> conflict
}
