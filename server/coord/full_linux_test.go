package coord_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestFullDisk fills a small tmpfs under a running store, in a process of its
// own: writes are refused, the server says that it failed and why, the process
// lives and Close ends. With room again nothing acknowledged is missing.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("SKIPPED: needs the right to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	ballast := filepath.Join(dir, "ballast")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), "COORD_TEST_HOLD="+filepath.Join(dir, "etcd"), "COORD_TEST_FILL="+ballast)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	// The last line is the error. How many writes fit before it, if any, depends on
	// when etcd writes its own files.
	acknowledged := strings.Count(out.String(), "\n") - 1
	if cmd.ProcessState.ExitCode() != 3 || acknowledged < 0 || strings.Contains(said.String(), "goroutine ") {
		t.Fatalf("%v after %d writes: %s", err, acknowledged, said.String())
	}
	for _, want := range []string{"the disk: ", "the server: coord.Err: unavailable: the coordination store has stopped; is the disk full?", "no space left", "in time: true"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("%q is not in %s", want, said.String())
		}
	}
	t.Logf("%d writes of 64 KiB, then %s", acknowledged, said.String())
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	items, _, err := start(t, filepath.Join(dir, "etcd")).Client().List(t.Context(), "k/")
	if err != nil || len(items) < acknowledged {
		t.Errorf("%d of %d acknowledged are there: %v", len(items), acknowledged, err)
	}
}
