// Package e2e_test drives the real surefoot binary: it sends what senders
// send, good and bad, kills it, fills its disk, and asks it over HTTP what it
// knows.
package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/safe"
)

// exe is the binary under test, built once.
var exe string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "surefoot-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	exe = filepath.Join(dir, "surefoot")
	build := exec.Command("go", "build", "-o", exe, "github.com/surefoot-go/surefoot/cmd/surefoot")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building surefoot:", err)
		return 1
	}
	return m.Run()
}

// plane is a running control plane.
type plane struct {
	t    *testing.T
	cmd  *exec.Cmd
	exit *safe.Task
	dir  string
	url  string // console and API
	grpc string // host:port
	http string // OTLP over HTTP, as a URL
	log  string // file of its stderr
}

// ports hands out free ones. Another program may take one in between; the
// plane then says so and the test fails with its words.
func ports(t *testing.T, n int) []string {
	t.Helper()
	var out []string
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		out = append(out, ln.Addr().String())
	}
	return out
}

// start runs `surefoot up` on dir and waits until it says that it is ready.
func start(t *testing.T, dir string, flags ...string) *plane {
	t.Helper()
	addr := ports(t, 5)
	p := &plane{t: t, dir: dir, url: "http://" + addr[0], grpc: addr[1], http: "http://" + addr[2]}
	args := append([]string{
		"up", "--dir", dir, "--addr", addr[0], "--otlp-grpc", addr[1], "--otlp-http", addr[2], "--etcd", addr[3], "--etcd-peer", addr[4], "--lang", "en",
	}, flags...)
	p.cmd = exec.Command(exe, args...)
	log, err := os.CreateTemp(t.TempDir(), "stderr")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.log, p.cmd.Stderr = log.Name(), log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	p.exit = safe.Go(context.Background(), "plane", func(context.Context) error {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			select {
			case ready <- lines.Text():
			default:
			}
		}
		return p.cmd.Wait()
	})
	t.Cleanup(p.kill)
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	select {
	case line := <-ready:
		if !strings.Contains(line, "surefoot is ready") {
			t.Fatalf("it said %q", line)
		}
		t.Log(line)
	case <-p.exit.Done():
		t.Fatalf("it ended: %v\n%s", p.exit.Wait(), p.stderr())
	case <-limit.C:
		t.Fatalf("not ready within 30 s\n%s", p.stderr())
	}
	return p
}

// kill is kill -9.
func (p *plane) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.exit.Wait()
}

// stop is SIGTERM; it must end within 15 s with code 0.
func (p *plane) stop() {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	limit := time.NewTimer(15 * time.Second)
	defer limit.Stop()
	select {
	case <-p.exit.Done():
		if err := p.exit.Wait(); err != nil {
			p.t.Errorf("it ended with %v\n%s", err, p.stderr())
		}
	case <-limit.C:
		p.t.Errorf("still running 15 s after SIGTERM\n%s", p.stderr())
		p.kill()
	}
}

// alive fails the test when the process has ended or has panicked.
func (p *plane) alive() {
	p.t.Helper()
	select {
	case <-p.exit.Done():
		p.t.Fatalf("the control plane has ended: %v\n%s", p.exit.Wait(), p.stderr())
	default:
	}
	if code, body := p.get("/healthz"); code != 200 {
		p.t.Fatalf("healthz: %d %s", code, body)
	}
	if s := p.stderr(); strings.Contains(s, "panic") || strings.Contains(s, "goroutine ") {
		p.t.Fatalf("it panicked:\n%s", s)
	}
}

func (p *plane) stderr() string {
	b, _ := os.ReadFile(p.log)
	return string(b)
}

var client = &http.Client{Timeout: 30 * time.Second}

func (p *plane) get(path string) (int, []byte) {
	p.t.Helper()
	resp, err := client.Get(p.url + path)
	if err != nil {
		p.t.Fatalf("GET %s: %v\n%s", path, err, p.stderr())
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, body
}

// ask reads JSON; anything but 200 leaves v as it is and returns false.
func (p *plane) ask(path string, v any) bool {
	p.t.Helper()
	code, body := p.get(path)
	if code != 200 {
		return false
	}
	if err := json.Unmarshal(body, v); err != nil {
		p.t.Fatalf("%s: %v\n%s", path, err, body)
	}
	return true
}

// send posts body to the OTLP/HTTP side.
func (p *plane) send(path, kind string, body []byte, headers ...string) (int, []byte, http.Header) {
	p.t.Helper()
	req, err := http.NewRequest(http.MethodPost, p.http+path, bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		p.t.Fatalf("POST %s: %v\n%s", path, err, p.stderr())
	}
	defer resp.Body.Close()
	out, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, out, resp.Header
}

// within polls until ok, at most for limit: another process is on its own
// clock.
func within(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	start := time.Now()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Since(start) > limit {
			t.Fatalf("not within %s: %s", limit, what)
		}
		<-tick.C
	}
	t.Logf("%s after %.1f s", what, time.Since(start).Seconds())
}
