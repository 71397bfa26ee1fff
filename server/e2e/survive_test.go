package e2e_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/surefoot-go/surefoot/safe"
)

// What a sender was told is kept is there after a kill -9 in the middle of it.
func TestNothingAcknowledgedIsLostByKill(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir)
	var mu sync.Mutex
	var kept []uint64
	g := safe.Group{Name: "senders", All: true}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for worker := range uint64(4) {
		s := dial(t, p.grpc)
		g.Go(ctx, func(ctx context.Context) error {
			for n := worker * 1_000_000; ctx.Err() == nil; n++ {
				td := ptrace.NewTraces()
				order(td, n, time.Now(), false)
				if s.send(ctx, td) != nil {
					return nil // the kill
				}
				_, lerr := s.logs.Export(ctx, plogotlp.NewExportRequestFromLogs(record("pay", "kept", n)))
				mu.Lock()
				if lerr == nil {
					kept = append(kept, n)
				}
				mu.Unlock()
			}
			return nil
		})
	}
	_, err := dial(t, p.grpc).metrics.Export(ctx, pmetricotlp.NewExportRequestFromMetrics(gauge("pay", "lasting.thing", 42)))
	if err != nil {
		t.Fatal(err)
	}
	within(t, 20*time.Second, "300 requests are acknowledged", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(kept) >= 300
	})
	p.kill()
	_ = g.Wait()

	p = start(t, dir)
	lost := 0
	for _, n := range kept {
		var tr struct{ Spans []any }
		if !p.ask("/api/v1/traces/"+traceID(n).String(), &tr) || len(tr.Spans) != 4 {
			lost++
		}
	}
	for _, n := range []uint64{kept[0], kept[len(kept)/2], kept[len(kept)-1]} {
		var l struct{ Logs []any }
		if !p.ask("/api/v1/logs?traceId="+traceID(n).String(), &l) || len(l.Logs) != 1 {
			t.Errorf("the log record of request %d is lost", n)
		}
	}
	var a answer
	if !p.ask("/api/v1/query?query=lasting_thing", &a) || len(a.Data.Result) != 1 || a.Data.Result[0].Value[1] != "42" {
		t.Errorf("the series is lost: %+v", a)
	}
	if lost > 0 {
		t.Errorf("%d of %d acknowledged traces are lost", lost, len(kept))
	}
	t.Logf("%d acknowledged traces of 4 spans, all there", len(kept))
	p.stop()
}

// smallDisk mounts a file system of the given size, or skips loudly.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: cannot mount a small tmpfs here (needs root): %v %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	return dir
}

// On a full disk telemetry is refused with a reason, everything else answers,
// and all is well again when there is room.
func TestFullDisk(t *testing.T) {
	disk := smallDisk(t, "96m")
	p := start(t, filepath.Join(disk, "data"))
	s := dial(t, p.grpc)
	td := ptrace.NewTraces()
	order(td, 1, time.Now(), false)
	if err := s.send(t.Context(), td); err != nil {
		t.Fatalf("before: %v", err)
	}
	// Somebody else fills the disk to the last byte.
	ballast := filepath.Join(disk, "ballast")
	fill(t, ballast)
	refused := 0
	within(t, 30*time.Second, "telemetry is refused", func() bool {
		for n := range uint64(200) {
			td := ptrace.NewTraces()
			for k := range uint64(50) {
				order(td, 10_000+n*50+k, time.Now(), false)
			}
			if err := s.send(t.Context(), td); err != nil {
				if refused++; refused == 1 {
					t.Log(err)
				}
				return true
			}
		}
		return false
	})
	p.alive()
	for _, path := range []string{"/api/v1/overview", "/api/v1/topology", "/api/v1/incidents", "/api/v1/traces?limit=5", "/"} {
		if code, body := p.get(path); code != 200 {
			t.Errorf("GET %s on a full disk: %d %.200s", path, code, body)
		}
	}
	var tr struct{ Spans []any }
	if !p.ask("/api/v1/traces/"+traceID(1).String(), &tr) || len(tr.Spans) != 4 {
		t.Error("what was kept before cannot be read")
	}
	// Ten seconds of pressure: whoever writes in the background meets the wall.
	pressed := time.Now()
	for n := uint64(0); time.Since(pressed) < 10*time.Second; n++ {
		td := ptrace.NewTraces()
		order(td, 20_000+n, time.Now(), n%2 == 0)
		_ = s.send(t.Context(), td)
		if n%2000 == 0 {
			code, body := p.order("PUT", "/api/v1/routes/pay", `{"stable":"v1","by":"ana"}`)
			if code != 200 && code != 503 && code != 504 {
				t.Fatalf("a change on a full disk: %d %s", code, body)
			}
			if n == 0 {
				t.Logf("a change on a full disk: %d %s", code, body)
			}
			if code, body := p.get("/api/v1/overview"); code != 200 {
				t.Fatalf("overview on a full disk: %d %s", code, body)
			}
		}
	}
	p.alive()
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	within(t, 60*time.Second, "telemetry is taken again", func() bool {
		td := ptrace.NewTraces()
		order(td, 500_000, time.Now(), false)
		return s.send(t.Context(), td) == nil
	})
	p.alive()
	within(t, 30*time.Second, "routes can be changed again", func() bool {
		code, _ := p.order("PUT", "/api/v1/routes/pay", `{"stable":"v1","by":"ana"}`)
		return code == 200
	})
	for line := range strings.Lines(p.stderr()) {
		if !strings.Contains(line, "request api.") {
			t.Log(line)
		}
	}
	p.stop()
}

func TestAFullDiskAtTheStart(t *testing.T) {
	disk := smallDisk(t, "16m")
	fill(t, filepath.Join(disk, "ballast"))
	out, err := exec.Command(exe, append([]string{"up", "--dir", filepath.Join(disk, "data")}, free()...)...).CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	last := lines[len(lines)-1]
	if code, _ := err.(*exec.ExitError); code == nil || code.ExitCode() != 2 || !strings.Contains(last, "no space left on device") || !strings.Contains(last, "--dir") {
		t.Errorf("%v\n%s", err, out)
	}
}

// free are flags for any free port.
func free() (flags []string) {
	for _, f := range []string{"--addr", "--otlp-grpc", "--otlp-http", "--etcd", "--etcd-peer"} {
		flags = append(flags, f, "127.0.0.1:0")
	}
	return flags
}

func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := []byte(strings.Repeat("x", 64<<10))
	for len(block) > 0 {
		if n, err := f.Write(block); err != nil {
			block = block[:len(block)/2*min(1, n+1)]
		}
	}
}
