package etcd

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/resilience/retry"
)

// Keeping says how Keep keeps a key. The zero value is the documented defaults.
type Keeping struct {
	// TTL is how long the key outlives a process that died, in whole seconds,
	// rounded up; 0 or negative means 10s. etcd takes no less than about 2s.
	TTL time.Duration
	// Told, if not nil, hears when the key is there, as read back, and when it may
	// not be, with the reason, from Keep's goroutine and without repetition. The
	// first call is false only if the first try failed.
	Told func(there bool, err error)
}

// Keep puts key there, with value, for as long as ctx lasts and keeps it there:
// the way an instance stays in a registry. It blocks until ctx ends, removes the
// key and returns ctx's error; or errs.Unavailable once kv is closed, errs.Invalid
// for a bad key. Nothing else ends it.
//
// The key hangs on a lease, so that it goes away by itself when the process
// dies. Whatever breaks that — an outage longer than TTL, a cluster that started
// over, a lease or a key that somebody removed, a process that was stopped for a
// while — it takes a new lease and writes the key anew, with pauses of full
// jitter, 100 ms doubling to a third of TTL or 5 s, for ever: once the cluster
// answers again, the key is there within one TTL. Every third of TTL it looks
// whether the key is really there. Of two that keep the same key each wins for
// a while, and says so in its log: give every instance a key of its own.
func (kv *KV) Keep(ctx context.Context, key string, value []byte, how Keeping) error {
	const op = "etcd.Keep"
	if err := checkKey(op, key); err != nil {
		return err
	}
	ttl := how.TTL
	if ttl <= 0 {
		ttl = 10 * time.Second
	}
	ttl = max((ttl+time.Second-1)/time.Second, 1) * time.Second
	k := keeper{kv: kv, key: key, value: value, ttl: ttl, most: min(ttl/3, backoffCap), told: how.Told}
	defer k.leave(context.WithoutCancel(ctx))
	for tries := 0; ; tries = min(tries+1, 30) {
		began := time.Now()
		err := k.hold(ctx)
		if ctx.Err() != nil {
			return errs.Wrap(ctx.Err(), op)
		}
		kv.mu.Lock()
		closed := kv.closed
		kv.mu.Unlock()
		if closed {
			return errs.New(errs.Unavailable, op, "the connection to the coordination store is closed")
		}
		k.tell(away, err)
		if time.Since(began) > k.ttl {
			tries = 0
		}
		if retry.Wait(ctx, wait(tries, k.most)) != nil {
			return errs.Wrap(ctx.Err(), op)
		}
	}
}

// keeper keeps one key.
type keeper struct {
	kv    *KV
	key   string
	value []byte
	ttl   time.Duration
	most  time.Duration // longest pause between tries
	told  func(bool, error)
	state state            // as it was told last
	lease clientv3.LeaseID // 0 means none
}

type state uint8

const (
	unsaid state = iota // nothing was told yet
	there
	away
)

func (k *keeper) tell(now state, err error) {
	before := k.state
	if now == before {
		return
	}
	k.state = now
	level, text := slog.LevelInfo, "registered"
	switch {
	case now == away && before == unsaid:
		level, text = slog.LevelWarn, "not registered yet; trying until it is"
	case now == away:
		level, text = slog.LevelWarn, "perhaps no longer registered; trying until it is"
	}
	attrs := []slog.Attr{slog.String("key", k.key)}
	if err != nil {
		attrs = append(attrs, slog.Any("error", err))
	}
	k.kv.log().LogAttrs(context.Background(), level, text, attrs...)
	if k.told != nil {
		k.told(now == there, err)
	}
}

// hold takes a lease, writes the key, reads it back and refreshes the lease
// until any of these fails.
func (k *keeper) hold(ctx context.Context) error {
	if err := k.write(ctx); err != nil {
		return err
	}
	if _, err := k.look(ctx); err != nil {
		return err
	}
	k.tell(there, nil)
	refreshed := time.Now()
	for tries := 0; ; {
		next := k.ttl/3 - rand.N(k.ttl/12)
		if tries > 0 {
			next = min(next, wait(tries, k.most))
		}
		if err := retry.Wait(ctx, next); err != nil {
			return err
		}
		asked := time.Now()
		err := k.refresh(ctx)
		switch {
		case err == nil:
			tries, refreshed = 0, asked
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			k.lease = 0
			return err
		case time.Since(refreshed) > k.ttl:
			return err // it has expired, or is about to
		default:
			tries++
			continue
		}
		if answers, err := k.look(ctx); answers && err != nil {
			return err
		} // no answer: the next refresh finds out
	}
}

// begin puts a limit on a call that leaves room for others within the lease: a
// member that hangs must not cost it.
func (k *keeper) begin(ctx context.Context) (*clientv3.Client, context.Context, context.CancelFunc, error) {
	ctx, stop := context.WithTimeout(ctx, max(k.ttl/4, time.Second))
	c, ctx, cancel, err := k.kv.begin(ctx, "etcd.Keep", k.key)
	if err != nil {
		stop()
		return nil, nil, nil, err
	}
	return c, ctx, func() { cancel(); stop() }, nil
}

func (k *keeper) write(ctx context.Context) error {
	c, ctx, cancel, err := k.begin(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	return wrap(elsewhere(ctx, func() error {
		if k.lease != 0 { // perhaps it is still good; if not, the put says so
			_, err := c.Put(ctx, k.key, string(k.value), clientv3.WithLease(k.lease))
			if !errors.Is(err, rpctypes.ErrLeaseNotFound) {
				return err
			}
			k.lease = 0
		}
		granted, err := c.Grant(ctx, int64(k.ttl/time.Second))
		if err != nil {
			return err
		}
		k.lease = granted.ID
		_, err = c.Put(ctx, k.key, string(k.value), clientv3.WithLease(k.lease))
		return err
	}), "etcd.Keep")
}

// refresh asks for each renewal by itself: a stream of them has ended for good
// in clients that were cut off for long enough. It is not KeepAliveOnce of
// etcd's client, which asks on and on without a pause while a member answers
// that it can not.
func (k *keeper) refresh(ctx context.Context) error {
	c, ctx, cancel, err := k.begin(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	return wrap(elsewhere(ctx, func() error {
		ctx, cancel := context.WithCancel(ctx) // ends the stream
		defer cancel()
		s, err := clientv3.RetryLeaseClient(c).LeaseKeepAlive(ctx, grpc.WaitForReady(true))
		if err == nil {
			err = s.Send(&pb.LeaseKeepAliveRequest{ID: int64(k.lease)})
		}
		if err != nil && !errors.Is(err, io.EOF) { // then Recv says why
			return rpctypes.Error(err)
		}
		resp, err := s.Recv()
		if err != nil {
			return rpctypes.Error(err)
		}
		if resp.TTL <= 0 {
			return rpctypes.ErrLeaseNotFound
		}
		return nil
	}), "etcd.Keep")
}

// look reads the key back, as anybody would see it: whether the cluster
// answers, and what is wrong with the key.
func (k *keeper) look(ctx context.Context) (bool, error) {
	const op = "etcd.Keep"
	c, ctx, cancel, err := k.begin(ctx)
	if err != nil {
		return false, err
	}
	defer cancel()
	resp, err := c.Get(ctx, k.key)
	switch {
	case err != nil:
		return false, wrap(err, op)
	case len(resp.Kvs) == 0:
		return true, errs.New(errs.NotFound, op, "somebody removed the key")
	case resp.Kvs[0].Lease != int64(k.lease):
		return true, errs.New(errs.Conflict, op, "somebody else keeps the same key").With("lease", strconv.FormatInt(resp.Kvs[0].Lease, 16))
	}
	return true, nil
}

// leave gives the lease back, and the key with it. If that fails the key goes
// when the lease ends.
func (k *keeper) leave(ctx context.Context) {
	if k.lease == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if c, err := k.kv.connect("etcd.Keep"); err == nil {
		_, _ = c.Revoke(ctx, k.lease)
	}
}
