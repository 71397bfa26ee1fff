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
	// More says that further changes of the same moment follow at once: the rest
	// of one Commit, or of one listing, which ends with Synced.
	More bool
}

const (
	backoffBase = 100 * time.Millisecond
	backoffCap  = 5 * time.Second
	checkEvery  = 5 * time.Second // see followed
	deaf        = 2 * checkEvery  // a watch that does not say for so long what the cluster holds is broken
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
//
// Changes made by one Commit come together: all but the last have More.
func (kv *KV) Watch(ctx context.Context, prefix string, fn func(Event)) error {
	return kv.watch(ctx, prefix, func(batch []Event) {
		for _, e := range batch {
			fn(e)
		}
	})
}

// watch is Watch by what came together. About every checkEvery, when nothing
// came, it calls fn with nothing: what fn knows is still what the cluster holds.
func (kv *KV) watch(ctx context.Context, prefix string, fn func([]Event)) error {
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
		if err := retry.Wait(ctx, wait(tries, backoffCap)); err != nil {
			return errs.Wrap(err, op)
		}
		tries = min(tries+1, 30)
	}
}

// wait is the pause before try n+1: full jitter up to most, but never nothing,
// so that a watch the server closes at once can not spin.
func wait(n int, most time.Duration) time.Duration {
	limit := min(backoffBase<<min(n, 10), most)
	return limit/10 + rand.N(limit-limit/10)
}

type watcher struct {
	kv       *KV
	prefix   string
	fn       func([]Event)
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
	heard := time.Now()
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
			heard = time.Now()
			rev = max(rev, resp.Header.Revision)
			if batch := w.changes(resp.Events); len(batch) > 0 || resp.IsProgressNotify() {
				w.fn(batch)
			}
		case <-check.C:
			w.progress = true
			reached, err := w.followed(wctx, c, rev)
			if err != nil {
				return err
			}
			if reached == 0 || reached > rev && time.Since(heard) < checkEvery/2 {
				continue
			}
			if reached == rev || w.unchanged(wctx, c, rev) {
				heard = time.Now()
				w.fn(nil)
			} else if time.Since(heard) > deaf {
				return errs.New(errs.Unavailable, op, "the watch does not say what has changed")
			}
		}
	}
}

// pulse is what a cluster answered last, for all watches of a KV: one that
// follows 500 services must not ask 500 times.
type pulse struct {
	at       time.Time
	revision int64
	cluster  uint64
}

const fresh = checkEvery * 2 / 3 // so young a pulse does for others too

// followed tells how far the cluster is, 0 if it does not answer, and with an
// error that it is no longer the one being watched: etcd's client resumes a
// watch at the revision it had reached, and on a cluster that started over it
// would wait there, deaf, for the revisions to catch up. It also has the watches
// of the KV told how far they have come, so that they resume there, even if that
// has been compacted away.
func (w *watcher) followed(ctx context.Context, c *clientv3.Client, rev int64) (int64, error) {
	const op = "etcd.Watch"
	ours := func(p pulse) bool { return p.revision >= rev && p.cluster == w.cluster }
	w.kv.mu.Lock()
	last := w.kv.pulse
	w.kv.mu.Unlock()
	if time.Since(last.at) < fresh && ours(last) {
		return last.revision, nil
	}
	cctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	now := pulse{at: time.Now()}
	resp, err := c.Get(cctx, w.prefix, clientv3.WithCountOnly())
	if err != nil {
		return 0, nil // away: the client resumes by itself, and the next check looks again
	}
	now.revision, now.cluster = resp.Header.Revision, resp.Header.ClusterId
	w.kv.mu.Lock()
	first := now.at.Sub(w.kv.pulse.at) > fresh
	w.kv.pulse = now
	w.kv.mu.Unlock()
	if !ours(now) {
		w.kv.log().WarnContext(ctx, "the coordination store has started over; listing again",
			slog.String("prefix", w.prefix), slog.Int64("watched", rev), slog.Int64("revision", now.revision))
		return 0, errs.New(errs.Unavailable, op, "the coordination store has started over")
	}
	if first {
		// For the stream that all watches share. etcd tells none of them if one
		// waits for the first change since its start.
		_ = c.RequestProgress(cctx)
	}
	return now.revision, nil
}

// unchanged tells whether what was reported up to rev is what the cluster holds
// now: nothing was written since, and as many keys are there.
func (w *watcher) unchanged(ctx context.Context, c *clientv3.Client, rev int64) bool {
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	resp, err := c.Get(ctx, w.prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(1),
		clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortDescend))
	return err == nil && resp.Header.ClusterId == w.cluster && resp.Count == int64(len(w.known)) &&
		(len(resp.Kvs) == 0 || resp.Kvs[0].ModRevision <= rev)
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
	batch := make([]Event, 0, len(now.items)+1)
	for _, it := range now.items {
		here[it.Key] = true
		if w.known[it.Key] != it.Revision {
			w.known[it.Key] = it.Revision
			batch = append(batch, Event{Kind: Put, Key: it.Key, Value: it.Value, Revision: it.Revision, More: true})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(w.known)) {
		if !here[key] {
			delete(w.known, key)
			batch = append(batch, Event{Kind: Delete, Key: key, Revision: now.revision, More: true})
		}
	}
	w.fn(append(batch, Event{Kind: Synced, Revision: now.revision}))
}

// changes are those of a watch's answer that say something new. etcd never
// spreads one revision over two answers.
func (w *watcher) changes(of []*clientv3.Event) []Event {
	var batch []Event
	for _, e := range of {
		w.progress = true
		key, rev := string(e.Kv.Key), e.Kv.ModRevision
		next := Event{Kind: Put, Key: key, Value: e.Kv.Value, Revision: rev}
		if e.Type == clientv3.EventTypeDelete {
			if _, ok := w.known[key]; !ok {
				continue
			}
			delete(w.known, key)
			next = Event{Kind: Delete, Key: key, Revision: rev}
		} else if w.known[key] >= rev {
			continue
		} else {
			w.known[key] = rev
		}
		if n := len(batch); n > 0 {
			batch[n-1].More = batch[n-1].Revision == rev
		}
		batch = append(batch, next)
	}
	return batch
}
