package coord_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/surefoot-go/surefoot/contrib/etcd"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/server/coord"
)

// kept keeps a key until the returned func is called, which gives Keep's error.
func kept(t *testing.T, kv *etcd.KV, key, value string, told func(bool, error)) func() error {
	ctx, stop := context.WithCancel(t.Context())
	keeping := safe.Go(ctx, "keep "+key, func(ctx context.Context) error {
		return kv.Keep(ctx, key, []byte(value), etcd.Keeping{TTL: 2 * time.Second, Told: told})
	})
	end := func() error { stop(); return keeping.Wait() }
	t.Cleanup(func() { _ = end() })
	return end
}

func seen(t *testing.T, kv *etcd.KV, key, value string) time.Duration {
	t.Helper()
	return until(t, key+" is "+value, func() bool {
		item, err := kv.Get(t.Context(), key)
		return value == "" && errs.KindOf(err) == errs.NotFound || err == nil && string(item.Value) == value
	})
}

func until(t *testing.T, what string, is func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		if <-tick.C; time.Since(begin) > 20*time.Second {
			t.Fatalf("not within 20s: %s", what)
		}
	}
	return time.Since(begin)
}

// A key that is kept is there again whatever happens to it: it is deleted, its
// lease is revoked, the store is away for longer than the lease and comes back
// with its data, or with none. It goes when its keeper does.
func TestKeep(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for leases to end")
	}
	dir := filepath.Join(t.TempDir(), "etcd")
	s := start(t, dir)
	addr := s.Addr()
	again := func() {
		t.Helper()
		set := settings(dir)
		set.Client = addr
		var err error
		if s, err = coord.Start(t.Context(), set); err != nil {
			t.Fatal(err)
		}
		next := s
		t.Cleanup(func() { next.Close() })
	}
	kv := &etcd.KV{Endpoints: []string{addr}, Timeout: 500 * time.Millisecond, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	t.Cleanup(func() { kv.Close() })
	const key = "surefoot/instances/order/1"
	var there atomic.Bool
	var told atomic.Int32
	end := kept(t, kv, key, "here", func(now bool, err error) {
		there.Store(now)
		told.Add(1)
		if now != (err == nil) {
			t.Errorf("told %v with %v", now, err)
		}
	})
	t.Log("there after", seen(t, kv, key, "here"))

	// Longer than the lease: it is renewed.
	lease := func() clientv3.LeaseID {
		t.Helper()
		c := etcdClient(t, addr)
		resp, err := c.Get(t.Context(), key)
		if err != nil || len(resp.Kvs) != 1 {
			t.Fatalf("%v %v", resp, err)
		}
		return clientv3.LeaseID(resp.Kvs[0].Lease)
	}
	first := lease()
	<-time.After(3 * time.Second)
	if now := lease(); now != first || first == 0 {
		t.Errorf("lease %x became %x", first, now)
	}

	if err := kv.Delete(t.Context(), key, etcd.Any); err != nil {
		t.Fatal(err)
	}
	t.Log("deleted, there again after", seen(t, kv, key, "here"))
	if _, err := etcdClient(t, addr).Revoke(t.Context(), lease()); err != nil {
		t.Fatal(err)
	}
	t.Log("its lease revoked, there again after", seen(t, kv, key, "here"))

	s.Close()
	until(t, "the outage is told", func() bool { return !there.Load() })
	<-time.After(3 * time.Second)
	again()
	t.Log("the store away for longer than the lease, there again after", seen(t, kv, key, "here"))

	s.Close()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	again()
	t.Log("a store without memory, there again after", seen(t, kv, key, "here"))
	until(t, "it is told", there.Load)

	if err := end(); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	if took := seen(t, kv, key, ""); took > time.Second {
		t.Errorf("gone only after %v", took)
	}
	if n := told.Load(); n < 5 {
		t.Errorf("told %d times", n)
	}
}

func TestKeepRefusesBadKeysAndEndsWithKV(t *testing.T) {
	s := start(t, t.TempDir())
	kv := &etcd.KV{Endpoints: []string{s.Addr()}, Timeout: 500 * time.Millisecond, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if err := kv.Keep(t.Context(), "", nil, etcd.Keeping{}); errs.KindOf(err) != errs.Invalid {
		t.Errorf("no key: %v", err)
	}
	keeping := safe.Go(t.Context(), "keep", func(ctx context.Context) error { return kv.Keep(ctx, "p/a", nil, etcd.Keeping{TTL: time.Second}) })
	until(t, "it is there", func() bool { _, err := s.Client().Get(t.Context(), "p/a"); return err == nil })
	kv.Close()
	if err := keeping.Wait(); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("closed: %v", err)
	}
}

func etcdClient(t *testing.T, addr string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
