//go:build unix

package outage

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	consulconfig "github.com/surefoot-go/surefoot/config/consul"
	"github.com/surefoot-go/surefoot/config/drivertest"
	"github.com/surefoot-go/surefoot/discovery/consul"
	"github.com/surefoot-go/surefoot/discovery/driver"
	registrytest "github.com/surefoot-go/surefoot/discovery/drivertest"
)

// consulBinary is a real Consul: CONSUL_BIN, or one built from its module, which
// takes a minute or two once and is kept in the user's cache folder.
func consulBinary(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("CONSUL_BIN"); path != "" {
		return path
	}
	if testing.Short() {
		t.Skip("SKIPPED: Consul, whose agent takes a minute to build")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("SKIPPED: Consul: nowhere to keep its agent: %v", err)
	}
	path := filepath.Join(cache, "surefoot-test", "consul-1.9.17")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Skipf("SKIPPED: Consul: nowhere to keep its agent: %v", err)
	}
	tmp := path + ".building"
	build := exec.CommandContext(ctx, "go", "build", "-o", tmp, "github.com/hashicorp/consul")
	build.Dir = filepath.Join("..", "..", "tools", "consul")
	build.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: Consul's agent can not be built: %v\n%s", err, out)
	}
	if err := os.Rename(tmp, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// agent is a Consul agent in development mode, which keeps nothing on disk.
type agent struct {
	bin  string
	dir  string
	addr string
	args []string
	cmd  *exec.Cmd
}

func startAgent(t *testing.T) *agent {
	t.Helper()
	a := &agent{bin: consulBinary(t), dir: t.TempDir()}
	ports := map[string]int{"dns": -1, "https": -1, "grpc": -1}
	for _, name := range []string{"http", "server", "serf_lan", "serf_wan"} {
		ports[name] = freePort(t)
	}
	a.addr = fmt.Sprintf("127.0.0.1:%d", ports["http"])
	file := filepath.Join(a.dir, "agent.json")
	b, err := json.Marshal(map[string]any{"ports": ports, "bind_addr": "127.0.0.1", "client_addr": "127.0.0.1", "data_dir": a.dir, "disable_update_check": true, "log_level": "err"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	a.args = []string{"agent", "-dev", "-config-file", file}
	t.Cleanup(func() { a.kill(t) })
	a.start(t)
	return a
}

// freePort is one that nobody listens on now, for TCP.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (a *agent) start(t *testing.T) {
	t.Helper()
	a.cmd = exec.Command(a.bin, a.args...)
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	limit := time.Now().Add(30 * time.Second)
	for time.Now().Before(limit) {
		resp, err := http.Get("http://" + a.addr + "/v1/status/leader")
		if err == nil {
			var leader string
			_ = json.NewDecoder(resp.Body).Decode(&leader)
			resp.Body.Close()
			if leader != "" {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("Consul did not elect itself within 30 s")
}

func (a *agent) kill(t *testing.T) {
	if a.cmd.ProcessState == nil {
		_ = a.cmd.Process.Kill()
		_ = a.cmd.Wait() // it was killed
	}
}

func (a *agent) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := a.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// put makes one request that must succeed.
func (a *agent) put(t *testing.T, path string, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+a.addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", path, resp.Status)
	}
}

// pause stops the agent with SIGSTOP until mend is called.
func (a *agent) pause(t *testing.T) (mend func()) {
	a.signal(t, syscall.SIGSTOP)
	return func() { a.signal(t, syscall.SIGCONT) }
}

// TestConsulSettings is the contract of config/driver on a real Consul agent.
//
// Outcome: it is kept, transactions seen as one included.
func TestConsulSettings(t *testing.T) {
	a := startAgent(t)
	drivertest.Run(t, func(t *testing.T) drivertest.Lab {
		d := &consulconfig.Driver{Addr: a.addr}
		a.put(t, "/v1/txn", `[{"KV":{"Verb":"delete-tree","Key":"surefoot/config/drivertest/"}}]`)
		return drivertest.Lab{
			Driver: d, Atomic: true, Break: a.pause,
			Commit: func(t *testing.T, values map[string][]byte) {
				t.Helper()
				var ops []map[string]any
				for _, key := range drivertest.Keys(values) {
					kv := map[string]any{"Verb": "set", "Key": key, "Value": values[key]}
					if values[key] == nil {
						kv = map[string]any{"Verb": "delete", "Key": key}
					}
					ops = append(ops, map[string]any{"KV": kv})
				}
				b, err := json.Marshal(ops)
				if err != nil {
					t.Fatal(err)
				}
				a.put(t, "/v1/txn", string(b))
			},
		}
	})
}

// TestConsulRegistry is the contract of discovery/driver on a real Consul agent.
//
// Outcome: it is kept; an instance that somebody took off is back within a
// third of its TTL.
func TestConsulRegistry(t *testing.T) {
	a := startAgent(t)
	n := 0
	registrytest.Run(t, func(t *testing.T) registrytest.Lab {
		n++
		d := &consul.Driver{Addr: a.addr, TTL: 2 * time.Second}
		return registrytest.Lab{
			Watcher: d, Registrar: d, Break: a.pause, Service: fmt.Sprint("drivertest-", n),
			Remove: func(t *testing.T, service, id string) {
				a.put(t, "/v1/agent/service/deregister/"+service+":"+id, "")
			},
		}
	})
}

// TestConsulForgets kills the agent and starts one that knows nothing: all
// instances are there again within one TTL, without anybody doing anything.
// Stopped for longer than the TTL, the same.
//
// Outcome: with a TTL of 2 s all 20 were back 0.5 s after the new agent had
// elected itself, and 0.1 s after a pause of three TTLs.
func TestConsulForgets(t *testing.T) {
	a := startAgent(t)
	const instances, ttl = 20, 2 * time.Second
	d := &consul.Driver{Addr: a.addr, TTL: ttl}
	sets := make(chan int, 10000)
	background(t, "watch", func(ctx context.Context) error {
		return d.Watch(ctx, "pay", func(in []driver.Instance) { sets <- len(in) })
	})
	for i := range instances {
		background(t, "register", func(ctx context.Context) error {
			return d.Register(ctx, "pay", driver.Instance{ID: fmt.Sprint("i-", i), Addr: fmt.Sprintf("127.0.0.1:%d", 9000+i)}, nil)
		})
	}
	all := func(limit time.Duration) {
		t.Helper()
		over := time.After(limit)
		for last := -1; ; {
			select {
			case last = <-sets:
				if last == instances {
					return
				}
			case <-over:
				t.Fatalf("%d of %d are there", last, instances)
			}
		}
	}
	all(20 * time.Second)
	a.kill(t)
	a.start(t)
	back := time.Now()
	for len(sets) > 0 {
		<-sets
	}
	all(20 * time.Second)
	t.Logf("after kill -9: all %d back after %s; the TTL is %s", instances, time.Since(back).Round(time.Millisecond), ttl)
	mend := a.pause(t)
	time.Sleep(3 * ttl) // of a real outage
	mend()
	back = time.Now()
	for len(sets) > 0 {
		<-sets
	}
	all(20 * time.Second)
	t.Logf("after a pause of %s: all back after %s", 3*ttl, time.Since(back).Round(time.Millisecond))
}
