package server

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/contrib/etcd"
	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/server/coord"
)

const (
	coordAgain = 3 * time.Second // between tries to start the coordination store again
	coordRoom  = 24 << 20        // bytes that must be free first: etcd reserves two log segments of 8 MB
)

// keeper keeps the coordination store running: one that failed, on a full disk
// mostly, is closed and started again on the same addresses once there is room,
// and the routes are followed from there. Meanwhile routes are what they were
// and changes are refused.
//
// With a cluster of somebody else's there is nothing to start again: its client
// finds back by itself.
type keeper struct {
	settings coord.Settings
	cluster  *etcd.KV // instead of a store of ours; nil mostly
	routes   *routes
	pushes   *pushes
	log      *slog.Logger

	mu     sync.Mutex
	now    *coord.Server // nil while it is away
	closed bool
}

// run follows routes and watches over the store until ctx ends. It does not
// close the last store: close does.
func (k *keeper) run(ctx context.Context) error {
	if k.cluster != nil {
		k.follow(ctx, nil)
		return nil
	}
	for {
		k.mu.Lock()
		srv := k.now
		k.mu.Unlock()
		k.follow(ctx, srv)
		if ctx.Err() != nil {
			return nil
		}
		k.log.Error("the coordination store has stopped: routes and config cannot be changed until it is back", "err", srv.Err())
		k.mu.Lock()
		k.now = nil
		k.mu.Unlock()
		if err := srv.Close(); err != nil {
			// What is left of it holds the folder; only the end of the process
			// gives it free.
			k.log.Error("routes and config cannot be changed until surefoot is started again", "err", err)
			<-ctx.Done()
			return nil
		}
		if !k.again(ctx) {
			return nil
		}
		k.log.Info("the coordination store is back")
	}
}

// client is how the store is reached first.
func (k *keeper) client() *etcd.KV {
	if k.cluster != nil {
		return k.cluster
	}
	return k.now.Client()
}

// follow keeps what is known true until srv, if there is one, fails or ctx
// ends.
func (k *keeper) follow(ctx context.Context, srv *coord.Server) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g := safe.Group{Name: "server.routes", All: true}
	g.Go(ctx, k.routes.run)
	g.Go(ctx, k.routes.runRules)
	g.Go(ctx, k.pushes.follow)
	var failed <-chan struct{}
	if srv != nil {
		failed = srv.Failed()
	}
	select {
	case <-ctx.Done():
	case <-failed:
	}
	cancel()
	_ = g.Wait() // they end with ctx, and what went wrong is in srv.Err
}

// again starts the store when there is room; false when ctx ended first.
func (k *keeper) again(ctx context.Context) bool {
	tick := time.NewTicker(coordAgain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		if !room(k.settings.Dir, coordRoom) {
			continue
		}
		srv, err := coord.Start(ctx, k.settings)
		if err != nil {
			k.log.Debug("the coordination store does not start yet", "err", err)
			continue
		}
		k.mu.Lock()
		k.now = srv
		k.mu.Unlock()
		k.routes.use(srv.Client())
		if err := k.routes.load(ctx); err != nil {
			k.log.Warn("routes could not be read yet; the watch will", "err", err)
		}
		return true
	}
}

// close closes the store that runs, after run has ended.
func (k *keeper) close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.now == nil && k.cluster == nil {
		return nil
	}
	k.closed = true
	if k.cluster != nil {
		return k.cluster.Close()
	}
	return k.now.Close()
}

// room tells whether n bytes can be written to dir, by writing them: what a
// file system says of its free space differs from one to the next.
func room(dir string, n int) bool {
	f, err := os.CreateTemp(dir, ".room-*")
	if err != nil {
		return false
	}
	block := make([]byte, 1<<20)
	for written := 0; written < n && err == nil; written += len(block) {
		_, err = f.Write(block)
	}
	return errors.Join(err, f.Close(), os.Remove(f.Name())) == nil
}
