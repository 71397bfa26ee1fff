package server_test

import (
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/server"
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
