//go:build unix

package outage

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/surefoot-go/surefoot/contrib/etcd"
	"github.com/surefoot-go/surefoot/discovery/driver"
	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/server/coord"
)

// TestMain lets the test binary be another process: a member of an etcd cluster,
// or a registered instance.
func TestMain(m *testing.M) {
	if spec := os.Getenv("OUTAGE_TEST_MEMBER"); spec != "" {
		beMember(spec)
	}
	if addr := os.Getenv("OUTAGE_TEST_INSTANCE"); addr != "" {
		beInstance(addr)
	}
	os.Exit(m.Run())
}

// load is what a machine with other work may add to "within one lease"; the
// figures in the comments are without.
const load = 2 * time.Second

// die ends a child when its parent is gone, however that ended.
func die() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(4)
}

func fail(err error) {
	fmt.Println("error", err)
	os.Exit(1)
}

// spec is a member of a cluster: who it is and where.
type spec struct {
	Name, Dir, Client, Peer string // host:port; peers are listened for at Peer
	Advertise               string // and told to connect to Advertise
	Cluster                 string // name=url,...
	Again                   bool   // it was a member before
}

func beMember(raw string) {
	go die()
	var s spec
	if err := json.Unmarshal([]byte(raw), &s); err != nil {
		fail(err)
	}
	at := func(addr string) []url.URL { return []url.URL{{Scheme: "http", Host: addr}} }
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir, cfg.InitialCluster = s.Name, s.Dir, s.Cluster
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = at(s.Client), at(s.Client)
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = at(s.Peer), at(s.Advertise)
	if s.Again {
		cfg.ClusterState = embed.ClusterStateFlagExisting
	}
	cfg.TickMs, cfg.ElectionMs = 50, 500
	cfg.UnsafeNoFsync = true // the machine stays up
	cfg.EnableGRPCGateway = false
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		fail(err)
	}
	select {
	case <-e.Server.ReadyNotify():
		fmt.Println("ready")
	case <-time.After(20 * time.Second):
		fail(fmt.Errorf("not ready"))
	}
	fail(<-e.Err())
}

// beInstance is a registered process: it says what its registrar tells it.
func beInstance(addr string) {
	go die()
	kv := &etcd.KV{Endpoints: []string{addr}, Log: quiet()}
	r := etcd.Registry{KV: kv, TTL: time.Second}
	in := driver.Instance{ID: "paused", Addr: "127.0.0.1:1", Version: fmt.Sprint(os.Getpid())}
	fail(r.Register(context.Background(), "order", in, func(visible bool, err error) { fmt.Println("visible", visible) }))
}

// process is a child; it lives at most as long as its test.
type process struct {
	*exec.Cmd
	lines chan string
}

func run(t *testing.T, env ...string) *process {
	t.Helper()
	p := &process{exec.Command(os.Args[0]), make(chan string, 100)}
	p.Env = append(os.Environ(), env...)
	p.Stderr = os.Stderr
	in, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() { p.kill(); in.Close() })
	return p
}

// kill ends it as kill -9 does, stopped or not. It may be called again.
func (p *process) kill() {
	_ = p.Process.Kill()
	for range p.lines {
	}
	_ = p.Wait()
}

func (p *process) says(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-p.lines:
		if got != want {
			t.Fatalf("it says %q, not %q", got, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("it does not say %q", want)
	}
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// member is one etcd of a cluster.
type member struct {
	spec
	*process
	peers *gate
}

func (m *member) start(t *testing.T) {
	t.Helper()
	raw, err := json.Marshal(m.spec)
	if err != nil {
		t.Fatal(err)
	}
	m.process = run(t, "OUTAGE_TEST_MEMBER="+string(raw))
}

// cluster runs three members that speak to each other through gates.
func cluster(t *testing.T) []*member {
	t.Helper()
	dir := t.TempDir()
	free := ports(t, 6)
	var all []*member
	var names []string
	for i := range 3 {
		m := &member{spec: spec{Name: fmt.Sprintf("m%d", i), Client: free[2*i], Peer: free[2*i+1]}}
		m.Dir = filepath.Join(dir, m.Name)
		m.peers = through(t, m.Peer)
		m.Advertise = m.peers.addr
		all = append(all, m)
		names = append(names, m.Name+"=http://"+m.Advertise)
	}
	for _, m := range all {
		m.Cluster = strings.Join(names, ",")
		m.start(t)
	}
	for _, m := range all {
		m.says(t, "ready")
		m.Again = true
	}
	return all
}

func endpoints(members []*member) (all []string) {
	for _, m := range members {
		all = append(all, m.Client)
	}
	return all
}

// leader is the member that leads, as the others say, and the ids of all.
func leader(t *testing.T, members []*member) (found *member, ids map[*member]uint64) {
	t.Helper()
	ids = map[*member]uint64{}
	until(t, "there is a leader", func() bool {
		for _, m := range members {
			c := raw(t, m.Client)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			s, err := c.Status(ctx, m.Client)
			cancel()
			if err != nil || s.Leader == 0 {
				return false
			}
			if ids[m] = s.Header.MemberId; s.Leader == ids[m] {
				found = m
			}
		}
		return found != nil
	})
	return found, ids
}

// ports are addresses nobody listens at.
func ports(t *testing.T, n int) (free []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		free = append(free, l.Addr().String())
	}
	return free
}

// store runs the control plane's etcd in this process; it ends with the test.
func store(t *testing.T, s coord.Settings) *coord.Server {
	t.Helper()
	if s.Client == "" {
		s.Client = "127.0.0.1:0"
	}
	s.Peer, s.Log = "127.0.0.1:0", quiet()
	server, err := coord.Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// view is a client of the store with its own connection.
func view(t *testing.T, endpoints ...string) *etcd.KV {
	t.Helper()
	kv := &etcd.KV{Endpoints: endpoints, Log: quiet()}
	t.Cleanup(func() { kv.Close() })
	return kv
}

// raw is etcd's own client, for what operators do.
func raw(t *testing.T, addr string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// background runs fn until the test ends, or the returned func is called.
func background(t *testing.T, what string, fn func(context.Context) error) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	task := safe.Go(ctx, what, fn)
	stop = func() error { cancel(); return task.Wait() }
	t.Cleanup(func() { _ = stop() })
	return stop
}

func put(t *testing.T, kv *etcd.KV, key, value string) {
	t.Helper()
	if _, err := kv.PutIf(t.Context(), key, []byte(value), etcd.Any); err != nil {
		t.Fatal(err)
	}
}

// until waits for something, at most 20 s, and says how long.
func until(t *testing.T, what string, is func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		if <-tick.C; time.Since(begin) > 20*time.Second {
			t.Fatalf("not within 20s: %s", what)
		}
	}
	return time.Since(begin).Round(time.Millisecond)
}

func slow(t *testing.T, takes string) {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED: a real outage takes " + takes)
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
