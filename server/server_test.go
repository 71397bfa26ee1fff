package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/server"
)

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

func newServer(t *testing.T) *server.Server {
	t.Helper()
	a := ports(t, 5)
	return &server.Server{
		Dir: filepath.Join(t.TempDir(), "data"), Addr: a[0], OTLPGRPC: a[1], OTLPHTTP: a[2], Etcd: a[3], EtcdPeer: a[4],
		Log: slog.New(slog.DiscardHandler),
	}
}

// run starts s and waits until it is ready; the returned func stops it.
func run(t *testing.T, s *server.Server) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	task := safe.Go(ctx, "server", s.Run)
	select {
	case <-s.Ready():
	case <-task.Done():
		cancel()
		t.Fatal(task.Wait())
	}
	return func() error { cancel(); return task.Wait() }
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestServerStartsAnswersAndStops(t *testing.T) {
	s := newServer(t)
	s.Version = "v9"
	s.Catalog = t.TempDir()
	start := time.Now()
	stop := run(t, s)
	t.Logf("ready after %s", time.Since(start).Round(time.Millisecond))
	url := "http://" + s.Addrs().Addr
	for path, begins := range map[string]string{
		"/readyz": "ready", "/": "<!doctype html>", "/api/v1/overview": `{"at"`, "/api/v1/openapi.yaml": "openapi:",
		"/api/v1/routes": `{"routes":[]}`, "/api/v1/incidents": `{"incidents":[]}`, "/api/v1/audit": "[]",
		"/api/v1/topology?format=mermaid": "flowchart", "/services/some.service": "<!doctype html>",
	} {
		code, body := get(t, url+path)
		if code != 200 || !strings.HasPrefix(strings.ToLower(body), begins) {
			t.Errorf("%s: %d %.80s", path, code, body)
		}
	}
	if code, body := get(t, url+"/api/v1/query?query=sum("); code != 400 || !strings.Contains(body, "bad_data") {
		t.Errorf("%d %s", code, body)
	}
	var o struct{ Version string }
	if _, body := get(t, url+"/api/v1/overview"); json.Unmarshal([]byte(body), &o) != nil || o.Version != "v9" {
		t.Error(body)
	}
	if err := stop(); err != nil {
		t.Errorf("stopped with %v", err)
	}
	for _, addr := range []string{s.Addr, s.OTLPGRPC, s.OTLPHTTP, s.Etcd, s.EtcdPeer} {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Errorf("still taken: %v", err)
			continue
		}
		_ = ln.Close()
	}
	again := newServer(t)
	again.Dir = s.Dir
	if err := run(t, again)(); err != nil {
		t.Errorf("the second time: %v", err)
	}
}

func TestProblemsSayWhichFieldToChange(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	first := newServer(t)
	defer run(t, first)() //nolint:errcheck // its own test says how it stops
	tests := []struct {
		name   string
		change func(*server.Server)
		field  string
		reason server.Reason
	}{
		{"api port", func(s *server.Server) { s.Addr = taken.Addr().String() }, "Addr", server.Taken},
		{"grpc port", func(s *server.Server) { s.OTLPGRPC = taken.Addr().String() }, "OTLPGRPC", server.Taken},
		{"http port", func(s *server.Server) { s.OTLPHTTP = taken.Addr().String() }, "OTLPHTTP", server.Taken},
		{"etcd port", func(s *server.Server) { s.Etcd = taken.Addr().String() }, "Etcd", server.Taken},
		{"peer port", func(s *server.Server) { s.EtcdPeer = taken.Addr().String() }, "EtcdPeer", server.Taken},
		{"same port twice", func(s *server.Server) { s.OTLPHTTP = s.Addr }, "OTLPHTTP", server.Taken},
		{"no address", func(s *server.Server) { s.Addr = "7600" }, "Addr", server.BadAddress},
		{"no port", func(s *server.Server) { s.Addr = "127.0.0.1:seven" }, "Addr", server.BadAddress},
		{"a name for etcd", func(s *server.Server) { s.Etcd = "localhost:0" }, "Etcd", server.BadAddress},
		{"every interface", func(s *server.Server) { s.Addr = "0.0.0.0:0" }, "Addr", server.Reachable},
		{"no host", func(s *server.Server) { s.OTLPGRPC = ":0" }, "OTLPGRPC", server.Reachable},
		{"dir is a file", func(s *server.Server) { s.Dir = file }, "Dir", server.Unwritable},
		{"dir below a file", func(s *server.Server) { s.Dir = filepath.Join(file, "data") }, "Dir", server.Unwritable},
		{"dir in use", func(s *server.Server) { s.Dir = first.Dir }, "Dir", server.InUse},
		{"no catalog", func(s *server.Server) { s.Catalog = filepath.Join(file, "none") }, "Catalog", server.Unreadable},
		{"catalog is a file", func(s *server.Server) { s.Catalog = file }, "Catalog", server.Unreadable},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t)
			c.change(s)
			err := s.Run(t.Context())
			var p *server.Problem
			if !errors.As(err, &p) || p.Field != c.field || p.Reason != c.reason {
				t.Fatalf("%v, want %s: %s", err, c.field, c.reason)
			}
			t.Log(p)
			// What was opened before the problem is closed again.
			for _, addr := range []string{s.Addr, s.OTLPGRPC, s.OTLPHTTP} {
				if ln, err := net.Listen("tcp", addr); err == nil {
					_ = ln.Close()
				} else if addr != taken.Addr().String() && p.Reason == server.Taken {
					t.Errorf("%s is still bound", addr)
				}
			}
		})
	}
}
