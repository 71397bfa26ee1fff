package telemetry_test

import (
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// most is what the README promises for its service's binary, in bytes.
const most = 25 << 20

// TestHello builds the README's service and holds it, as a process, to what the
// README says of it.
func TestHello(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	exe := filepath.Join(t.TempDir(), "hello")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", exe, "./testdata/hello")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(exe)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the binary has %.1f MB", float64(info.Size())/1e6)
	if info.Size() > most {
		t.Errorf("the binary has %d bytes, want at most %d", info.Size(), most)
	}

	c := listen(t, "127.0.0.1:0")
	var asked atomic.Int64
	var header atomic.Pointer[http.Header]
	arrived, answer := make(chan struct{}), make(chan struct{})
	users := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := r.Header.Clone()
		header.Store(&h)
		switch asked.Add(1) {
		case 1: // a hiccup
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		case 3: // slow: the service is told to stop meanwhile
			close(arrived)
			<-answer
		}
		io.WriteString(w, `"Ada"`)
	}))
	defer users.Close()

	addr := closedPort(t)
	run := func() (*exec.Cmd, *buffer) {
		var stderr buffer
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), "ADDR="+addr, "USERS="+users.URL, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+c.addr)
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		return cmd, &stderr
	}
	cmd, stderr := run()
	url := "http://" + addr
	begin := time.Now()
	for status := 0; status != http.StatusOK; status, _ = fetch(url+"/readyz", nil) {
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("not ready:\n%s", stderr)
		}
	}
	t.Logf("ready after %v", time.Since(begin).Round(time.Millisecond))

	// A second one on the same port: one clear line, exit code 2.
	other, says := run()
	if err := other.Wait(); exitCode(err) != 2 || !strings.HasPrefix(says.String(), "service: the address "+addr+" is taken") || strings.Count(says.String(), "\n") != 1 {
		t.Errorf("on a taken port: %v\n%s", err, says)
	}

	// The hiccup is retried, within the caller's time, in the caller's trace.
	const traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	status, body := fetch(url+"/hello/1", http.Header{
		"Request-Timeout-Ms": {"1500"}, "Traceparent": {"00-" + traceID + "-00f067aa0ba902b7-01"},
	})
	if status != http.StatusOK || body != `"hello, Ada"` {
		t.Fatalf("%d %s\n%s", status, body, stderr)
	}
	h := *header.Load()
	if ms, err := strconv.Atoi(h.Get("Request-Timeout-Ms")); err != nil || ms <= 0 || ms > 1500 ||
		h.Get("Retry-Attempt") != "1" || !strings.Contains(h.Get("Traceparent"), traceID) {
		t.Errorf("users was called with %v", h)
	}
	if status, body := fetch(url+"/nowhere", nil); status != http.StatusNotFound || !strings.Contains(body, `"error":"not_found"`) {
		t.Errorf("unknown path: %d %s", status, body)
	}

	// Told to stop, it answers what it has begun.
	slow := make(chan string)
	go func() { _, body := fetch(url+"/hello/2", nil); slow <- body }()
	<-arrived
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	begin = time.Now()
	for status := 0; status != http.StatusServiceUnavailable; status, _ = fetch(url+"/readyz", nil) {
		if time.Since(begin) > 2*time.Second {
			t.Fatal("/readyz does not say that the service is stopping")
		}
	}
	close(answer)
	if body := <-slow; body != `"hello, Ada"` {
		t.Errorf("the request under way got %s", body)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("exit: %v\n%s", err, stderr)
	}
	t.Logf("stopped after %v", time.Since(begin).Round(100*time.Millisecond))

	// Told twice, it goes at once.
	cmd, _ = run()
	for status := 0; status != http.StatusOK; status, _ = fetch(url+"/readyz", nil) {
	}
	begin = time.Now()
	_ = cmd.Process.Signal(syscall.SIGTERM) // Wait below notices if it is gone
	for status := 0; status != http.StatusServiceUnavailable; status, _ = fetch(url+"/readyz", nil) {
	}
	_ = cmd.Process.Signal(syscall.SIGINT)
	if err := cmd.Wait(); exitCode(err) != 130 || time.Since(begin) > 2*time.Second {
		t.Errorf("after two signals: %v, after %v; want exit code 130 at once", err, time.Since(begin))
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	servers, clients := 0, 0
	for _, s := range c.spans {
		if hex.EncodeToString(s.TraceId) != traceID {
			continue
		}
		switch s.Kind {
		case tracepb.Span_SPAN_KIND_SERVER:
			servers++
		case tracepb.Span_SPAN_KIND_CLIENT:
			clients++
		}
	}
	if servers != 1 || clients != 2 {
		t.Errorf("the trace has %d server and %d client spans, want 1 and 2", servers, clients)
	}
	logged := false
	for _, r := range c.records {
		logged = logged || hex.EncodeToString(r.TraceId) == traceID
	}
	if !logged {
		t.Error("no log record of the trace arrived")
	}
	for _, name := range []string{"go.goroutine.count", "surefoot.breaker.state", "surefoot.retry.attempts"} {
		if len(c.points[name]) == 0 {
			t.Errorf("metric %s did not arrive", name)
		}
	}
}

func fetch(url string, h http.Header) (int, string) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0, err.Error()
	}
	req.Header = h.Clone()
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, err.Error()
	}
	return resp.StatusCode, strings.TrimSpace(string(body))
}

func exitCode(err error) int {
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode()
	}
	return 0
}
