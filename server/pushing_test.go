package server_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/server"
	"github.com/surefoot-go/surefoot/server/coord"
)

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in time: " + what)
		}
	}
}

// A push of a value that validates and makes calls fail is taken back by itself
// and every instance is where it was; a good one reaches all of them; one that
// a process refuses, that is aborted, or that comes beside another goes nowhere.
func TestPushesThroughTheWholePlane(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: pushing settings through a whole plane takes about 20 s")
	}
	t.Parallel() // it mostly waits
	s := newServer(t)
	stop := run(t, s)
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	var all []*process
	for _, id := range []string{"a", "b", "c", "d"} {
		all = append(all, startProcess(t, s, id))
	}
	pushThrough(t, s, all)
}

func pushThrough(t *testing.T, s *server.Server, all []*process) {
	base := "http://" + s.Addrs().Addr + "/api/v1/services/order/config"
	key := base + "/limits"
	request(t, "POST", key, `{"value":"{\"max\":20}","by":"li","now":true}`, 200, nil)
	everybody := func(want limits) func() bool {
		return func() bool {
			for _, p := range all {
				if p.limits.Get() != want {
					return false
				}
			}
			return true
		}
	}
	eventually(t, "all run the first value", everybody(limits{Max: 20}))
	eventually(t, "all report, and the schema is known", func() bool {
		var c configSeen
		request(t, "GET", base, "", 200, &c)
		n := 0
		for _, a := range c.Applied {
			if a.Revision == c.Keys[0].Revision {
				n++
			}
		}
		return n == len(all) && c.Keys[0].Schema && c.Keys[0].By == "li"
	})

	// What the schema refuses is not even pushed; what Validate refuses goes no
	// further than the check.
	request(t, "POST", key, `{"value":"{\"maxx\":1}","by":"li"}`, 400, nil)
	var p pushSeen
	request(t, "POST", key, `{"value":"{\"max\":-1}","by":"li","forSeconds":1}`, 202, &p)
	if p := follow(t, base, p.ID); p.State != "rolled_back" || p.Stage != "check" {
		t.Errorf("refused by Validate: %+v", p)
	}

	begin := time.Now()
	request(t, "POST", key, `{"value":"{\"max\":30,\"fail\":6}","by":"li","forSeconds":3}`, 202, &p)
	request(t, "POST", key, `{"value":"{\"max\":40}","by":"wu","forSeconds":1}`, 409, nil)
	request(t, "POST", key, `{"value":"{\"max\":40}","by":"wu","now":true}`, 409, nil)
	if p := follow(t, base, p.ID); p.State != "rolled_back" || p.Stage != "one" {
		t.Errorf("a value that makes calls fail: %+v", p)
	}
	t.Logf("taken back %s after it was asked for", time.Since(begin).Round(time.Millisecond))
	eventually(t, "all are back", everybody(limits{Max: 20}))
	hurt := 0
	for _, p := range all {
		if p.most.Load() > 0 {
			hurt++
		}
	}
	if hurt != 1 {
		t.Errorf("%d of %d instances have run the bad value, want one", hurt, len(all))
	}

	request(t, "POST", key, `{"value":"{\"max\":25}","by":"li","forSeconds":60}`, 202, &p)
	request(t, "DELETE", key, `{"by":"wu","why":"not today"}`, 200, &p)
	if p.State != "aborted" {
		t.Errorf("%+v", p)
	}
	request(t, "DELETE", key, `{"by":"wu"}`, 404, nil)

	begin = time.Now()
	request(t, "POST", key, `{"value":"{\"max\":50}","by":"li","share":50,"forSeconds":1}`, 202, &p)
	if p := follow(t, base, p.ID); p.State != "committed" {
		t.Errorf("a good value: %+v", p)
	}
	t.Logf("a good one was committed after %s", time.Since(begin).Round(time.Millisecond))
	eventually(t, "all run the good value", everybody(limits{Max: 50}))

	request(t, "POST", key+"?rollback=previous", `{"by":"li"}`, 200, nil)
	eventually(t, "all run the value before", everybody(limits{Max: 20}))
}

// A plane that is stopped in the middle of a push goes on with it when it
// starts again; the processes meanwhile run what they were told.
func TestAPushOutlivesThePlane(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: restarting a plane in the middle of a push takes about 15 s")
	}
	t.Parallel() // it mostly waits
	s := newServer(t)
	stop := run(t, s)
	var all []*process
	for _, id := range []string{"a", "b"} {
		all = append(all, startProcess(t, s, id))
	}
	base := "http://" + s.Addrs().Addr + "/api/v1/services/order/config"
	eventually(t, "all report", func() bool {
		var c configSeen
		request(t, "GET", base, "", 200, &c)
		return len(c.Applied) == 2
	})
	var p pushSeen
	request(t, "POST", base+"/limits", `{"value":"{\"max\":50}","by":"li","forSeconds":3}`, 202, &p)
	on := func() (n int) {
		for _, p := range all {
			if p.limits.Get().Max == 50 {
				n++
			}
		}
		return n
	}
	eventually(t, "one runs it", func() bool { return on() == 1 })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if on() != 1 {
		t.Error("the end of the plane moved the push")
	}
	again := newServer(t)
	again.Dir, again.Addr, again.OTLPGRPC, again.OTLPHTTP, again.Etcd, again.EtcdPeer = s.Dir, s.Addr, s.OTLPGRPC, s.OTLPHTTP, s.Etcd, s.EtcdPeer
	stop = run(t, again)
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	if p := follow(t, base, p.ID); p.State != "committed" {
		t.Errorf("%+v", p)
	}
	eventually(t, "both run it", func() bool { return on() == 2 })
}

// Routes, settings and instances live in a cluster of one's own, and nothing of
// the embedded one is there.
func TestAClusterOfOnesOwn(t *testing.T) {
	own, err := coord.Start(t.Context(), coord.Settings{Dir: t.TempDir(), Client: "127.0.0.1:0", Peer: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	}()
	s := newServer(t)
	s.EtcdCluster = []string{own.Addr()}
	stop := run(t, s)
	url := "http://" + s.Addrs().Addr
	request(t, "POST", url+"/api/v1/services/order/config/limits", `{"value":"7","by":"li","now":true}`, 200, nil)
	it, err := own.Client().Get(t.Context(), "surefoot/config/order/limits")
	if err != nil || string(it.Value) != "7" {
		t.Errorf("%s, %v", it.Value, err)
	}
	if _, err := own.Client().PutIf(t.Context(), "surefoot/instances/order/a", []byte(`{"id":"a","addr":"127.0.0.1:1"}`), 0); err != nil {
		t.Fatal(err)
	}
	if _, body := get(t, url+"/api/v1/instances?service=order"); !strings.Contains(body, `"addr":"127.0.0.1:1"`) {
		t.Error(body)
	}
	request(t, "GET", url+"/api/v1/services/nobody/config", "", 200, nil)
	request(t, "GET", url+"/api/v1/services/nobody/config/x", "", 404, nil)
	request(t, "GET", url+"/api/v1/instances?service=a/b", "", 200, nil) // telemetry may name it so
	if entries, err := os.ReadDir(filepath.Join(s.Dir, "etcd")); err == nil {
		t.Errorf("an etcd of its own: %v", entries)
	}
	if s.Addrs().Etcd != own.Addr() {
		t.Error(s.Addrs().Etcd)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	bad := newServer(t)
	bad.EtcdCluster = []string{"http://127.0.0.1:2379"}
	problem, ok := errors.AsType[*server.Problem](bad.Run(t.Context()))
	if !ok || problem.Field != "EtcdCluster" {
		t.Errorf("%v", problem)
	}

	// One that is away holds nothing up; what it keeps is not answered.
	away := newServer(t)
	away.EtcdCluster = ports(t, 1)
	stop = run(t, away)
	request(t, "GET", "http://"+away.Addrs().Addr+"/api/v1/services/order/config", "", 504, nil)
	request(t, "GET", "http://"+away.Addrs().Addr+"/api/v1/topology", "", 200, nil)
	if err := stop(); err != nil {
		t.Error(err)
	}
}
