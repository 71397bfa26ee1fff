package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/surefoot-go/surefoot/discovery/driver"
	"github.com/surefoot-go/surefoot/errs"
)

func changed(key, value string, rev int64) *clientv3.Event {
	e := &clientv3.Event{Type: clientv3.EventTypePut, Kv: &mvccpb.KeyValue{Key: []byte(key), Value: []byte(value), ModRevision: rev}}
	if value == "" {
		e.Type = clientv3.EventTypeDelete
	}
	return e
}

func told(batch []Event) string {
	var out []string
	for _, e := range batch {
		s := fmt.Sprintf("%v %s=%s@%d", e.Kind, e.Key, e.Value, e.Revision)
		if e.More {
			s += "+"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

// What was written together comes together, whatever of it was known before.
func TestTogether(t *testing.T) {
	for _, c := range []struct {
		of   []*clientv3.Event
		want string
	}{
		{nil, ""},
		{[]*clientv3.Event{changed("a", "2", 6)}, "put a=2@6"},
		{[]*clientv3.Event{changed("a", "2", 6), changed("b", "2", 7)}, "put a=2@6 put b=2@7"},
		{[]*clientv3.Event{changed("a", "2", 6), changed("b", "2", 6), changed("c", "", 6)}, "put a=2@6+ put b=2@6+ delete c=@6"},
		{[]*clientv3.Event{changed("a", "2", 6), changed("nobody", "", 6)}, "put a=2@6"},
		{[]*clientv3.Event{changed("nobody", "", 6), changed("a", "2", 6), changed("c", "", 7)}, "put a=2@6 delete c=@7"},
		{[]*clientv3.Event{changed("a", "1", 5), changed("c", "1", 5)}, ""}, // known
	} {
		w := watcher{known: map[string]int64{"a": 5, "c": 5}}
		if got := told(w.changes(c.of)); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// A listing is one batch that ends with Synced; from another cluster everything
// is new.
func TestReconcile(t *testing.T) {
	got := ""
	w := watcher{known: map[string]int64{}, fn: func(b []Event) { got = told(b) }}
	for _, c := range []struct {
		now  listing
		want string
	}{
		{listing{[]Item{{"a", []byte("1"), 2}, {"b", []byte("1"), 3}}, 3, 1}, "put a=1@2+ put b=1@3+ synced =@3"},
		{listing{[]Item{{"a", []byte("1"), 2}, {"c", []byte("1"), 5}}, 9, 1}, "put c=1@5+ delete b=@9+ synced =@9"},
		{listing{[]Item{{"a", []byte("1"), 2}, {"c", []byte("1"), 5}}, 9, 1}, "synced =@9"},
		{listing{[]Item{{"a", []byte("7"), 2}}, 2, 8}, "put a=7@2+ delete c=@2+ synced =@2"},
	} {
		if w.reconcile(c.now); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// Only a member that says it knows no leader, and so has done nothing, makes a
// call go to another one; three in all.
func TestElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		for _, c := range []struct {
			answers []error
			want    error
			asked   int
		}{
			{[]error{nil}, nil, 1},
			{[]error{broken}, broken, 1},
			{[]error{rpctypes.ErrNoLeader, nil}, nil, 2},
			{[]error{rpctypes.ErrNoLeader, broken}, broken, 2},
			{[]error{rpctypes.ErrNoLeader, rpctypes.ErrNoLeader, rpctypes.ErrNoLeader, nil}, rpctypes.ErrNoLeader, 3},
			{[]error{rpctypes.ErrTimeout, nil}, rpctypes.ErrTimeout, 1}, // perhaps it was done
		} {
			n := 0
			err := elsewhere(t.Context(), func() error { n++; return c.answers[n-1] })
			if !errors.Is(err, c.want) || n != c.asked {
				t.Errorf("%v after %d calls, want %v after %d", err, n, c.want, c.asked)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		n := 0
		if err := elsewhere(ctx, func() error { n++; return rpctypes.ErrNoLeader }); !errors.Is(err, rpctypes.ErrNoLeader) || n != 1 {
			t.Errorf("canceled: %v after %d", err, n)
		}
	})
}

// A key is told of once there, once away, and never twice the same.
func TestTellsWithoutRepetition(t *testing.T) {
	var heard []string
	k := keeper{kv: &KV{Log: slog.New(slog.DiscardHandler)}, told: func(there bool, err error) { heard = append(heard, fmt.Sprint(there, err)) }}
	no := errors.New("no")
	for _, s := range []state{away, away, there, there, away, there} {
		k.tell(s, map[state]error{away: no}[s])
	}
	if got := fmt.Sprint(heard); got != "[false no true <nil> false no true <nil>]" {
		t.Error(got)
	}
}

func TestDecodeInstance(t *testing.T) {
	for value, want := range map[string]string{
		`{"id":"a","addr":"h:1","version":"v1","labels":{"grpc":"h:2"}}`: "",
		`{"addr":"h:1"}`:          "", // the id is the key's
		`{"id":"b","addr":"h:1"}`: "another id",
		`{"id":"a"}`:              "no address",
		`null`:                    "no address",
		`[]`:                      "no JSON object",
		`h:1`:                     "no JSON object",
		`{"addr":"h:1","zone":"` + strings.Repeat("z", 1<<16) + `"}`: "64 KiB",
	} {
		in, err := decodeInstance("order", InstancePrefix+"order/a", []byte(value))
		switch {
		case want == "" && (err != nil || in.ID != "a" || in.Addr != "h:1"):
			t.Errorf("%s: %+v, %v", value, in, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%.60s: %v, want %q", value, err, want)
		}
	}
	for _, key := range []string{"surefoot/instances/order/", "surefoot/instances/order/a/b", "surefoot/instances/order/.a", "surefoot/instances/other/a"} {
		if _, err := decodeInstance("order", key, []byte(`{"addr":"h:1"}`)); err == nil {
			t.Errorf("%s is an instance", key)
		}
	}
}

func FuzzDecodeInstance(f *testing.F) {
	f.Add("a", []byte(`{"id":"a","addr":"h:1","version":"v1","zone":"z","weight":-3,"labels":{"k":"v"}}`))
	f.Add("h:1", []byte(`{"addr":"h:1"}`))
	f.Add("x/y", []byte(`{}`))
	f.Fuzz(func(t *testing.T, id string, value []byte) {
		in, err := decodeInstance("s", InstancePrefix+"s/"+id, value)
		if err != nil {
			if errs.KindOf(err) != errs.Invalid {
				t.Fatalf("of kind %v", errs.KindOf(err))
			}
			return
		}
		if in.ID != id || in.Addr == "" {
			t.Fatalf("%+v under %q", in, id)
		}
		again, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		if len(again) > maxInstance {
			return // escapes made it longer
		}
		if _, err := decodeInstance("s", InstancePrefix+"s/"+id, again); err != nil {
			t.Fatalf("not readable again: %v: %s", err, again)
		}
	})
}

// What can never be listed is refused at once.
func TestRegistryRefuses(t *testing.T) {
	kv := &KV{Endpoints: []string{"127.0.0.1:1"}}
	defer kv.Close()
	r := Registry{KV: kv}
	good := driver.Instance{Addr: "h:1"}
	for _, service := range []string{"", "a/b", ".a", "a\x00", "a\n", "\xff", strings.Repeat("a", 256)} {
		watch, register := r.Watch(t.Context(), service, nil), r.Register(t.Context(), service, good, nil)
		if errs.KindOf(watch) != errs.Invalid || errs.KindOf(register) != errs.Invalid {
			t.Errorf("%q: %v, %v", service, watch, register)
		}
	}
	for _, in := range []driver.Instance{{}, {ID: "a"}, {ID: "a/b", Addr: "h:1"}, {ID: ".a", Addr: "h:1"}, {Addr: "h:1", Zone: strings.Repeat("z", 1<<16)}} {
		if err := r.Register(t.Context(), "order", in, nil); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%.60v: %v", in, err)
		}
	}
}

// Of many watches one asks the cluster whether it is still the same; the others
// ask only if what it heard does not satisfy them.
func TestOneAsksForAll(t *testing.T) {
	kv := &KV{Endpoints: []string{"127.0.0.1:1"}}
	defer kv.Close()
	kv.pulse = pulse{time.Now(), 10, 1}
	w := watcher{kv: kv, cluster: 1, prefix: "p/"}
	for range 500 {
		if reached, err := w.followed(t.Context(), nil, 10); reached != 10 || err != nil { // a nil client can not be asked
			t.Fatal(reached, err)
		}
	}
	c, err := kv.connect("test")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for _, at := range []time.Time{time.Now(), time.Now().Add(-time.Minute)} { // behind what is watched; old
		kv.pulse = pulse{at, 9, 1}
		if reached, err := w.followed(ctx, c, 10); reached != 0 || err != nil {
			t.Errorf("nobody is there, and yet: %v, %v", reached, err)
		}
	}
}
