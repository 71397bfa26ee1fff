// Package etcd is a small view of an etcd cluster: values with revisions,
// writes that happen only when nobody was faster, a watch that does not lose
// track, and keys that stay for as long as their process lives. On it stand
// Registry, for package discovery, and Settings, for package config.
//
//	kv := &etcd.KV{Endpoints: []string{"127.0.0.1:2379"}}
//	defer kv.Close()
//	item, err := kv.Get(ctx, "surefoot/route/payment")
//	...
//	_, err = kv.PutIf(ctx, item.Key, value, item.Revision) // errs.Conflict when changed meanwhile
//
// It is not a client for everything etcd can do: locks, elections and users
// are not here.
package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/resilience/retry"
)

// KV reads, writes and watches keys of one cluster. Fill in Endpoints; it
// connects at the first call and again whenever it must. It is safe for
// concurrent use; do not copy it or change its fields after the first call.
// Whoever makes it calls Close.
//
// Every error is an *errs.Error: Unavailable when no member answers, Timeout
// when none does in time, NotFound, Conflict, or Invalid for a bad key.
type KV struct {
	Endpoints []string      // host:port of any members; required
	Timeout   time.Duration // limit of one call without an earlier deadline; 0 means 3s, negative means none
	TLS       *tls.Config   // nil means plain TCP
	Username  string        // empty means no authentication
	Password  string
	Log       *slog.Logger // nil means slog.Default()

	mu     sync.Mutex
	client *clientv3.Client
	closed bool
	pulse  pulse
}

const (
	defaultTimeout = 3 * time.Second
	keepAlive      = 10 * time.Second // gRPC takes no less
	keepAliveWait  = 3 * time.Second  // a dead peer is noticed within both
	maxReconnect   = time.Second / 2  // gRPC's own 120s would leave watchers deaf, and leases to end, long after an outage
)

// Item is one value. Revision is the cluster's revision at which it was last
// written, the number to give PutIf.
type Item struct {
	Key      string
	Value    []byte
	Revision int64
}

// Full is the id of the error a write gets when the cluster's quota is used up
// (etcd's alarm NOSPACE); reads, deletions, watches and what is registered
// already go on.
const Full = "store_full"

// Any as a revision means "whatever is there".
const Any int64 = -1

// Write is one change in a Commit: Key becomes Value, or goes away with Delete,
// provided that its revision is still If. If 0 means the key must not exist,
// Any means whatever is there.
type Write struct {
	Key    string
	Value  []byte
	Delete bool
	If     int64
}

// Get returns the value of key, read through the cluster's leader. A key that
// is not there is errs.NotFound.
func (kv *KV) Get(ctx context.Context, key string) (Item, error) {
	const op = "etcd.Get"
	c, ctx, cancel, err := kv.begin(ctx, op, key)
	if err != nil {
		return Item{}, err
	}
	defer cancel()
	resp, err := c.Get(ctx, key)
	if err != nil {
		return Item{}, wrap(err, op)
	}
	if len(resp.Kvs) == 0 {
		return Item{}, errs.New(errs.NotFound, op, "no such key").With("key", key)
	}
	return Item{Key: key, Value: resp.Kvs[0].Value, Revision: resp.Kvs[0].ModRevision}, nil
}

// List returns all items under prefix in order of key, and the revision of the
// cluster they were read at. It reads in pages of 500 at one revision.
func (kv *KV) List(ctx context.Context, prefix string) ([]Item, int64, error) {
	const op = "etcd.List"
	c, ctx, cancel, err := kv.begin(ctx, op, prefix)
	if err != nil {
		return nil, 0, err
	}
	defer cancel()
	l, err := list(ctx, c, prefix, op)
	return l.items, l.revision, err
}

type listing struct {
	items    []Item
	revision int64
	cluster  uint64
}

func list(ctx context.Context, c *clientv3.Client, prefix, op string) (listing, error) {
	const page = 500
	var out listing
	from, end := prefix, clientv3.GetPrefixRangeEnd(prefix)
	for {
		resp, err := c.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(page), clientv3.WithRev(out.revision))
		if err != nil {
			return listing{}, wrap(err, op)
		}
		if out.revision == 0 { // every later page is read at the first one's revision
			out.revision, out.cluster = resp.Header.Revision, resp.Header.ClusterId
		}
		for _, e := range resp.Kvs {
			out.items = append(out.items, Item{Key: string(e.Key), Value: e.Value, Revision: e.ModRevision})
		}
		if !resp.More || len(resp.Kvs) == 0 {
			return out, nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// PutIf writes value when key's revision is still rev and returns the new one:
// rev 0 means the key must not exist yet, Any means whatever is there. When
// somebody else was faster the error is of kind errs.Conflict and nothing
// changed.
func (kv *KV) PutIf(ctx context.Context, key string, value []byte, rev int64) (int64, error) {
	n, err := kv.commit(ctx, "etcd.PutIf", []Write{{Key: key, Value: value, If: rev}})
	return n, err
}

// Delete removes key when its revision is still rev; Any means whatever is
// there, even nothing.
func (kv *KV) Delete(ctx context.Context, key string, rev int64) error {
	_, err := kv.commit(ctx, "etcd.Delete", []Write{{Key: key, Delete: true, If: rev}})
	return err
}

// Commit makes all the changes or none and returns the revision they got. A
// key may appear once. When one of the conditions does not hold, the error is
// of kind errs.Conflict and nothing changed.
func (kv *KV) Commit(ctx context.Context, writes ...Write) (int64, error) {
	return kv.commit(ctx, "etcd.Commit", writes)
}

func (kv *KV) commit(ctx context.Context, op string, writes []Write) (int64, error) {
	if len(writes) == 0 {
		return 0, errs.New(errs.Invalid, op, "nothing to write")
	}
	var conds []clientv3.Cmp
	var ops []clientv3.Op
	for _, w := range writes {
		if err := checkKey(op, w.Key); err != nil {
			return 0, err
		}
		if w.If >= 0 {
			conds = append(conds, clientv3.Compare(clientv3.ModRevision(w.Key), "=", w.If))
		}
		if w.Delete {
			ops = append(ops, clientv3.OpDelete(w.Key))
		} else {
			ops = append(ops, clientv3.OpPut(w.Key, string(w.Value)))
		}
	}
	c, ctx, cancel, err := kv.begin(ctx, op, writes[0].Key)
	if err != nil {
		return 0, err
	}
	defer cancel()
	var resp *clientv3.TxnResponse
	err = elsewhere(ctx, func() error {
		resp, err = c.Txn(ctx).If(conds...).Then(ops...).Commit()
		return err
	})
	if err != nil {
		return 0, wrap(err, op)
	}
	if !resp.Succeeded {
		return 0, errs.New(errs.Conflict, op, "the value was changed by somebody else; read it again").
			With("key", writes[0].Key).With("revision", strconv.FormatInt(writes[0].If, 10))
	}
	return resp.Header.Revision, nil
}

// Close ends the connections; running watches end with an error. It is safe to
// call more than once. A closed KV refuses every call.
func (kv *KV) Close() error {
	kv.mu.Lock()
	defer kv.mu.Unlock()
	kv.closed = true
	if kv.client == nil {
		return nil
	}
	err := kv.client.Close()
	kv.client = nil
	if errors.Is(err, context.Canceled) {
		err = nil // etcd's client reports its own closing
	}
	return err
}

// elsewhere asks other members, twice, when one answers that it knows no
// leader: it is cut off and has done nothing, and the client takes the members in
// turn.
func elsewhere(ctx context.Context, ask func() error) error {
	for tries := 0; ; tries++ {
		err := ask()
		if tries == 2 || !errors.Is(err, rpctypes.ErrNoLeader) || retry.Wait(ctx, wait(0, backoffBase)) != nil {
			return err
		}
	}
}

// begin checks the key, connects and puts a limit on the call. A member that is
// cut off from the others shall say so at once.
func (kv *KV) begin(ctx context.Context, op, key string) (*clientv3.Client, context.Context, context.CancelFunc, error) {
	if err := checkKey(op, key); err != nil {
		return nil, nil, nil, err
	}
	c, err := kv.connect(op)
	if err != nil {
		return nil, nil, nil, err
	}
	ctx = clientv3.WithRequireLeader(ctx)
	limit := kv.Timeout
	if limit == 0 {
		limit = defaultTimeout
	}
	if limit < 0 {
		ctx, cancel := context.WithCancel(ctx)
		return c, ctx, cancel, nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	return c, ctx, cancel, nil
}

func (kv *KV) connect(op string) (*clientv3.Client, error) {
	kv.mu.Lock()
	defer kv.mu.Unlock()
	if kv.closed {
		return nil, errs.New(errs.Unavailable, op, "the connection to the coordination store is closed")
	}
	if kv.client != nil {
		return kv.client, nil
	}
	c, err := clientv3.New(clientv3.Config{
		Endpoints:            kv.Endpoints,
		TLS:                  kv.TLS,
		Username:             kv.Username,
		Password:             kv.Password,
		DialKeepAliveTime:    keepAlive,
		DialKeepAliveTimeout: keepAliveWait,
		Logger:               zap.NewNop(), // what matters comes back as an error
		// A read goes to other members, a few times: etcd's own 100 times with pauses
		// of 25 ms are a storm of all watchers upon a cluster that has no leader.
		MaxUnaryRetries:       4,
		BackoffWaitBetween:    100 * time.Millisecond,
		BackoffJitterFraction: 0.5,
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxReconnect},
			MinConnectTimeout: time.Second,
		})},
	})
	if err != nil {
		return nil, errs.New(errs.Invalid, op, "the coordination store's settings are not usable").Because(err)
	}
	kv.client = c
	return c, nil
}

func (kv *KV) log() *slog.Logger {
	if kv.Log == nil {
		return slog.Default()
	}
	return kv.Log
}

func checkKey(op, key string) error {
	if key == "" || strings.ContainsRune(key, 0) {
		return errs.New(errs.Invalid, op, "a key must be text and not empty")
	}
	return nil
}

// wrap gives an error of etcd's client our kind. Its text stays a cause: it
// names addresses.
func wrap(err error, op string) error {
	if err == nil {
		return nil
	}
	kind, msg := errs.Unavailable, "the coordination store does not answer"
	code := status.Code(err)
	var e rpctypes.EtcdError
	if errors.As(err, &e) {
		code = e.Code()
	}
	switch {
	case errors.Is(err, context.Canceled) || code == codes.Canceled:
		kind, msg = errs.Canceled, "the call was canceled"
	case errors.Is(err, context.DeadlineExceeded) || code == codes.DeadlineExceeded:
		kind, msg = errs.Timeout, "the coordination store did not answer in time"
	case code == codes.InvalidArgument:
		kind, msg = errs.Invalid, "the coordination store refused the request"
	case code == codes.OutOfRange:
		kind, msg = errs.FailedPrecondition, "the revision asked for is no longer kept"
	case code == codes.ResourceExhausted:
		return errs.New(errs.Unavailable, op, "the coordination store is full: it refuses writes until space is made; reading goes on").
			ID(Full).Because(err)
	case code == codes.PermissionDenied || code == codes.Unauthenticated:
		kind, msg = errs.Forbidden, "the coordination store refused access"
	}
	return errs.New(kind, op, msg).Because(err)
}
