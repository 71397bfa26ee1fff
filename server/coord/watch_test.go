package coord_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/surefoot-go/surefoot/canary"
	"github.com/surefoot-go/surefoot/contrib/etcd"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/coord"
)

// The tests of contrib/etcd against a real etcd are here: its module must not
// ask its users for the server.

func TestKeyValue(t *testing.T) {
	kv, ctx := start(t, t.TempDir()).Client(), t.Context()
	if _, err := kv.Get(ctx, "a"); errs.KindOf(err) != errs.NotFound {
		t.Errorf("absent: %v", err)
	}
	rev, err := kv.PutIf(ctx, "a", []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutIf(ctx, "a", []byte("2"), 0); errs.KindOf(err) != errs.Conflict {
		t.Errorf("create twice: %v", err)
	}
	if _, err := kv.PutIf(ctx, "a", []byte("2"), rev+1); errs.KindOf(err) != errs.Conflict {
		t.Errorf("wrong revision: %v", err)
	}
	next, err := kv.PutIf(ctx, "a", []byte("2"), rev)
	if err != nil || next <= rev {
		t.Errorf("right revision: %d, %v", next, err)
	}
	if _, err := kv.PutIf(ctx, "a", nil, etcd.Any); err != nil {
		t.Errorf("any revision: %v", err)
	}
	if it, err := kv.Get(ctx, "a"); err != nil || len(it.Value) != 0 {
		t.Errorf("empty value: %+v, %v", it, err)
	}
	// All or nothing.
	_, err = kv.Commit(ctx, etcd.Write{Key: "b", Value: []byte("1"), If: 0}, etcd.Write{Key: "a", Delete: true, If: 1})
	if errs.KindOf(err) != errs.Conflict {
		t.Errorf("commit: %v", err)
	}
	if _, err := kv.Get(ctx, "b"); errs.KindOf(err) != errs.NotFound {
		t.Errorf("half a commit: %v", err)
	}
	if err := kv.Delete(ctx, "a", rev); errs.KindOf(err) != errs.Conflict {
		t.Errorf("delete an old one: %v", err)
	}
	if err := kv.Delete(ctx, "a", etcd.Any); err != nil {
		t.Error(err)
	}
	if err := kv.Delete(ctx, "a", etcd.Any); err != nil {
		t.Errorf("delete nothing: %v", err)
	}
	for i := range 1203 { // more than two pages
		if _, err := kv.PutIf(ctx, fmt.Sprintf("p/%04d", i), []byte("x"), 0); err != nil {
			t.Fatal(err)
		}
	}
	items, rev, err := kv.List(ctx, "p/")
	if err != nil || len(items) != 1203 || items[0].Key != "p/0000" || items[1202].Key != "p/1202" || rev < items[1202].Revision {
		t.Errorf("%d items at %d, %v", len(items), rev, err)
	}
	if items, _, err := kv.List(ctx, "q/"); err != nil || len(items) != 0 {
		t.Errorf("empty list: %v, %v", items, err)
	}
}

func TestCallsEnd(t *testing.T) {
	s := start(t, t.TempDir())
	kv := &etcd.KV{Endpoints: []string{s.Addr()}, Timeout: 200 * time.Millisecond}
	defer kv.Close()
	if _, _, err := kv.List(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	begin := time.Now()
	if _, err := kv.PutIf(t.Context(), "a", nil, 0); errs.KindOf(err) != errs.Unavailable && errs.KindOf(err) != errs.Timeout {
		t.Errorf("nobody there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := kv.Get(ctx, "a"); errs.KindOf(err) != errs.Canceled {
		t.Errorf("canceled: %v", err)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}

// watched is a Watch in the background.
type watched struct {
	events chan etcd.Event
	ended  chan error
	stop   context.CancelFunc
}

func watch(t *testing.T, kv *etcd.KV, prefix string) *watched {
	ctx, stop := context.WithCancel(t.Context())
	w := &watched{events: make(chan etcd.Event, 1000), ended: make(chan error, 1), stop: stop}
	go func() { w.ended <- kv.Watch(ctx, prefix, func(e etcd.Event) { w.events <- e }) }()
	t.Cleanup(func() {
		stop()
		if err := <-w.ended; !errors.Is(err, context.Canceled) && errs.KindOf(err) != errs.Unavailable {
			t.Errorf("watch ended with %v", err)
		}
	})
	return w
}

// until collects events up to the next Synced, or n of them.
func (w *watched) until(t *testing.T, n int) (out []string) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case e := <-w.events:
			if e.Kind == etcd.Synced {
				return append(out, "synced")
			}
			out = append(out, e.Kind.String()+" "+e.Key+"="+string(e.Value))
			if len(out) == n {
				return out
			}
		case <-limit:
			t.Fatalf("no more events after %v", out)
		}
	}
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

func put(t *testing.T, kv *etcd.KV, key, value string) {
	t.Helper()
	if _, err := kv.PutIf(t.Context(), key, []byte(value), etcd.Any); err != nil {
		t.Fatal(err)
	}
}

func TestWatchListsThenFollows(t *testing.T) {
	kv := start(t, t.TempDir()).Client()
	put(t, kv, "p/a", "1")
	put(t, kv, "q/x", "1")
	w := watch(t, kv, "p/")
	same(t, w.until(t, 0), "put p/a=1", "synced")
	put(t, kv, "p/b", "2")
	put(t, kv, "q/x", "2")
	put(t, kv, "p/a", "3")
	if err := kv.Delete(t.Context(), "p/b", etcd.Any); err != nil {
		t.Fatal(err)
	}
	same(t, w.until(t, 3), "put p/b=2", "put p/a=3", "delete p/b=")
}

// TestWatchSurvivesRestartCompactionAndANewStore restarts the store under a
// running watch: with its data; with its data, changed and compacted while the
// watch was cut off; and with no data at all.
func TestWatchSurvivesRestartCompactionAndANewStore(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the watch to look for a store that started over")
	}
	dir := filepath.Join(t.TempDir(), "etcd")
	s := start(t, dir)
	addr := s.Addr()
	again := func(dir, addr string) *coord.Server {
		t.Helper()
		set := settings(dir)
		set.Client = addr
		next, err := coord.Start(t.Context(), set)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { next.Close() })
		return next
	}
	kv := &etcd.KV{Endpoints: []string{addr}}
	t.Cleanup(func() { kv.Close() })
	put(t, s.Client(), "p/a", "1")
	put(t, s.Client(), "p/gone", "1")
	w := watch(t, kv, "p/")
	same(t, w.until(t, 0), "put p/a=1", "put p/gone=1", "synced")

	s.Close()
	s = again(dir, addr)
	put(t, s.Client(), "p/b", "2")
	same(t, w.until(t, 1), "put p/b=2")

	// Away from the watch's eyes: change, delete and compact.
	s.Close()
	s = again(dir, "127.0.0.1:0")
	put(t, s.Client(), "p/a", "4")
	if err := s.Client().Delete(t.Context(), "p/gone", etcd.Any); err != nil {
		t.Fatal(err)
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Addr()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	_, rev, err := s.Client().List(t.Context(), "p/")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Compact(t.Context(), rev); err != nil {
		t.Fatal(err)
	}
	c.Close()
	s.Close()
	s = again(dir, addr)
	same(t, w.until(t, 0), "put p/a=4", "delete p/gone=", "synced")

	// A new store at the same address, with lower revisions.
	s.Close()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	s = again(dir, addr)
	put(t, s.Client(), "p/new", "1")
	begin := time.Now()
	same(t, w.until(t, 0), "put p/new=1", "delete p/a=", "delete p/b=", "synced")
	t.Logf("a new store was noticed after %v", time.Since(begin))
	put(t, s.Client(), "p/new", "2")
	same(t, w.until(t, 1), "put p/new=2")
}

func TestWatchEndsWithKV(t *testing.T) {
	s := start(t, t.TempDir())
	kv := &etcd.KV{Endpoints: []string{s.Addr()}}
	w := watch(t, kv, "p/")
	w.until(t, 0)
	kv.Close()
	select {
	case err := <-w.ended:
		if errs.KindOf(err) != errs.Unavailable {
			t.Errorf("ended with %v", err)
		}
		w.ended <- err
	case <-time.After(10 * time.Second):
		t.Fatal("the watch did not end")
	}
}

func TestWatchRoutes(t *testing.T) {
	kv := start(t, t.TempDir()).Client()
	said := make(told, 100)
	kv.Log = slog.New(said)
	var table canary.Table
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- etcd.WatchRoutes(ctx, kv, &table) }()
	store := func(service, value string) int64 {
		t.Helper()
		rev, err := kv.PutIf(ctx, canary.Prefix+service, []byte(value), etcd.Any)
		if err != nil {
			t.Fatal(err)
		}
		return rev
	}
	wait := func(what string, ok func() bool) {
		t.Helper()
		limit := time.After(10 * time.Second)
		for !ok() {
			select {
			case <-said: // each change of the table is a record
			case <-limit:
				t.Fatalf("%s: %+v", what, table.All())
			}
		}
	}
	good, _ := json.Marshal(canary.Route{Service: "payment", Stable: "v1", Canary: "v2", Weight: 100})
	rev := store("payment", string(good))
	wait("route applied", func() bool { return table.Pick("payment", nil, "u") == "v2" })
	if r, _ := table.Get("payment"); r.Revision != rev {
		t.Errorf("revision %d, want %d", r.Revision, rev)
	}
	for _, bad := range []string{`{`, `{"weight":700}`, `{"service":"order","stable":"v1"}`, `null`} {
		store("payment", bad)
	}
	store("order", `{"stable":"v7"}`) // after the bad ones, in order
	wait("second route", func() bool { return table.Pick("order", nil, "") == "v7" })
	if got := table.Pick("payment", nil, "u"); got != "v2" {
		t.Errorf("after bad values: %q", got)
	}
	if err := kv.Delete(ctx, canary.Prefix+"payment", etcd.Any); err != nil {
		t.Fatal(err)
	}
	wait("route removed", func() bool { _, ok := table.Get("payment"); return !ok })
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// told is a log whose records wake a test up.
type told chan struct{}

func (c told) Enabled(context.Context, slog.Level) bool { return true }
func (c told) Handle(context.Context, slog.Record) error {
	c <- struct{}{}
	return nil
}
func (c told) WithAttrs([]slog.Attr) slog.Handler { return c }
func (c told) WithGroup(string) slog.Handler      { return c }
