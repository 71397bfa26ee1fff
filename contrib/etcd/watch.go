package etcd

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/resilience/retry"
)

// Kind is what an Event says.
type Kind uint8

// What a watch reports.
const (
	Put    Kind = iota // the key has this value
	Delete             // the key is gone
	Synced             // everything the cluster held at Revision has been reported; Key is empty
)

// String returns "put", "delete" or "synced".
func (k Kind) String() string { return [...]string{"put", "delete", "synced"}[min(k, Synced)] }

// Event is one change a watch reports.
type Event struct {
	Kind     Kind
	Key      string
	Value    []byte // nil unless Put
	Revision int64  // of the change; for a Delete found by listing, of the list
}

const (
	backoffBase = 100 * time.Millisecond
	backoffCap  = 5 * time.Second
	checkEvery  = 5 * time.Second // see followed; one count of keys each time
)

// Watch calls fn with every item under prefix, then Synced, then every change
// as it comes, in order and from this goroutine, until ctx ends or kv is
// closed; it returns ctx's error or errs.Unavailable then, and never nil.
//
// Whatever breaks the watch — an outage, a compaction, a cluster restored from
// an older copy — it waits (full jitter, 100 ms doubling to 5 s), lists again
// and reports only the difference, deletions included, and Synced again. While
// the cluster is away nothing is reported: what fn knows stays true as far as
// anybody can tell.
func (kv *KV) Watch(ctx context.Context, prefix string, fn func(Event)) error {
	const op = "etcd.Watch"
	if err := checkKey(op, prefix); err != nil {
		return err
	}
	w := watcher{kv: kv, prefix: prefix, fn: fn, known: map[string]int64{}}
	for tries := 0; ; {
		err := w.follow(ctx)
		if ctx.Err() != nil {
			return errs.Wrap(ctx.Err(), op)
		}
		if w.progress {
			tries, w.progress = 0, false
		}
		kv.mu.Lock()
		closed := kv.closed
		kv.mu.Unlock()
		if closed {
			return errs.New(errs.Unavailable, op, "the connection to the coordination store is closed")
		}
		level := slog.LevelDebug
		if tries == 3 {
			level = slog.LevelWarn // said once an outage, not at every try
		}
		kv.log().LogAttrs(ctx, level, "watch broken, listing again", slog.String("prefix", prefix), slog.Any("error", err))
		if err := retry.Wait(ctx, wait(tries)); err != nil {
			return errs.Wrap(err, op)
		}
		tries = min(tries+1, 30)
	}
}

// wait is the pause before try n+1: full jitter, but never nothing, so that a
// watch the server closes at once can not spin.
func wait(n int) time.Duration {
	limit := min(backoffBase<<min(n, 10), backoffCap)
	return limit/10 + rand.N(limit-limit/10)
}

type watcher struct {
	kv       *KV
	prefix   string
	fn       func(Event)
	known    map[string]int64 // key to the revision reported
	cluster  uint64           // the cluster listed last
	progress bool             // a change was reported, or the watch lived a while
}

// follow lists, reports the difference and watches until something breaks.
func (w *watcher) follow(ctx context.Context) error {
	const op = "etcd.Watch"
	c, lctx, cancel, err := w.kv.begin(ctx, op, w.prefix)
	if err != nil {
		return err
	}
	now, err := list(lctx, c, w.prefix, op)
	cancel()
	if err != nil {
		return err
	}
	w.reconcile(now)
	rev := now.revision

	wctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	changes := c.Watch(wctx, w.prefix, clientv3.WithPrefix(), clientv3.WithRev(rev+1))
	check := time.NewTicker(checkEvery + rand.N(checkEvery/3))
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case resp, ok := <-changes:
			if !ok {
				return errs.New(errs.Unavailable, op, "the watch was closed")
			}
			if err := resp.Err(); err != nil {
				return wrap(err, op) // a compaction too: listing again is the cure
			}
			for _, e := range resp.Events {
				w.report(e)
				rev = e.Kv.ModRevision
			}
			if resp.Header != nil {
				rev = max(rev, resp.Header.Revision)
			}
		case <-check.C:
			w.progress = true
			if err := w.followed(ctx, c, rev); err != nil {
				return err
			}
		}
	}
}

// followed tells whether the cluster is still the one being watched. etcd's
// client resumes a watch at the revision it had reached; on a cluster that
// started over it would wait there, deaf, for the revisions to catch up.
func (w *watcher) followed(ctx context.Context, c *clientv3.Client, rev int64) error {
	const op = "etcd.Watch"
	cctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	resp, err := c.Get(cctx, w.prefix, clientv3.WithCountOnly())
	if err != nil {
		return nil // away: the client resumes by itself, and the next check looks again
	}
	if resp.Header.Revision < rev || resp.Header.ClusterId != w.cluster {
		w.kv.log().WarnContext(ctx, "the coordination store has started over; listing again",
			slog.String("prefix", w.prefix), slog.Int64("watched", rev), slog.Int64("revision", resp.Header.Revision))
		return errs.New(errs.Unavailable, op, "the coordination store has started over")
	}
	return nil
}

// reconcile reports what a listing changes against what was reported before.
func (w *watcher) reconcile(now listing) {
	if now.cluster != w.cluster { // its revisions say nothing about those reported
		w.cluster = now.cluster
		for key := range w.known {
			w.known[key] = -1
		}
	}
	here := make(map[string]bool, len(now.items))
	for _, it := range now.items {
		here[it.Key] = true
		if w.known[it.Key] != it.Revision {
			w.known[it.Key] = it.Revision
			w.fn(Event{Kind: Put, Key: it.Key, Value: it.Value, Revision: it.Revision})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(w.known)) {
		if !here[key] {
			delete(w.known, key)
			w.fn(Event{Kind: Delete, Key: key, Revision: now.revision})
		}
	}
	w.fn(Event{Kind: Synced, Revision: now.revision})
}

func (w *watcher) report(e *clientv3.Event) {
	w.progress = true
	key, rev := string(e.Kv.Key), e.Kv.ModRevision
	if e.Type == clientv3.EventTypeDelete {
		if _, ok := w.known[key]; ok {
			delete(w.known, key)
			w.fn(Event{Kind: Delete, Key: key, Revision: rev})
		}
		return
	}
	if w.known[key] >= rev {
		return
	}
	w.known[key] = rev
	w.fn(Event{Kind: Put, Key: key, Value: e.Kv.Value, Revision: rev})
}
