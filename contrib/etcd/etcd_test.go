package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/surefoot-go/surefoot/canary"
	cdriver "github.com/surefoot-go/surefoot/config/driver"
	"github.com/surefoot-go/surefoot/contrib/etcd"
	"github.com/surefoot-go/surefoot/discovery/driver"
	"github.com/surefoot-go/surefoot/errs"
)

// fake is the little of an etcd that these tests need: values with revisions,
// and answers that go wrong. Tests against a real etcd are in server/coord.
type fake struct {
	pb.UnimplementedKVServer
	pb.UnimplementedWatchServer

	mu      sync.Mutex
	rev     int64
	items   map[string]*mvccpb.KeyValue
	fail    error // of every call
	watches atomic.Int32
}

func (f *fake) header() *pb.ResponseHeader { return &pb.ResponseHeader{ClusterId: 1, Revision: f.rev} }

func (f *fake) Range(_ context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := &pb.RangeResponse{Header: f.header()}
	for k, it := range f.items {
		if k == string(r.Key) || len(r.RangeEnd) > 0 && k >= string(r.Key) && k < string(r.RangeEnd) {
			out.Kvs = append(out.Kvs, it)
		}
	}
	return out, f.fail
}

func (f *fake) Txn(_ context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return nil, f.fail
	}
	for _, c := range r.Compare {
		var have int64
		if it := f.items[string(c.Key)]; it != nil {
			have = it.ModRevision
		}
		if have != c.GetModRevision() {
			return &pb.TxnResponse{Header: f.header()}, nil
		}
	}
	f.rev++
	for _, op := range r.Success {
		if p := op.GetRequestPut(); p != nil {
			f.items[string(p.Key)] = &mvccpb.KeyValue{Key: p.Key, Value: p.Value, ModRevision: f.rev}
		}
	}
	return &pb.TxnResponse{Header: f.header(), Succeeded: true}, nil
}

// Watch cancels every watch as soon as it is made.
func (f *fake) Watch(s pb.Watch_WatchServer) error {
	for {
		r, err := s.Recv()
		if err != nil {
			return nil
		}
		if r.GetCreateRequest() == nil {
			continue
		}
		id := int64(f.watches.Add(1))
		if err := s.Send(&pb.WatchResponse{Header: &pb.ResponseHeader{ClusterId: 1}, WatchId: id, Created: true}); err != nil {
			return err
		}
		if err := s.Send(&pb.WatchResponse{Header: &pb.ResponseHeader{ClusterId: 1}, WatchId: id, Canceled: true, CancelReason: "no reason"}); err != nil {
			return err
		}
	}
}

func serve() (f *fake, kv *etcd.KV, stop func()) {
	f = &fake{rev: 1, items: map[string]*mvccpb.KeyValue{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	srv := grpc.NewServer()
	pb.RegisterKVServer(srv, f)
	pb.RegisterWatchServer(srv, f)
	go srv.Serve(l)
	kv = &etcd.KV{Endpoints: []string{l.Addr().String()}, Timeout: time.Second, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	return f, kv, func() { kv.Close(); srv.Stop() }
}

func TestErrorsHaveKinds(t *testing.T) {
	f, kv, stop := serve()
	defer stop()
	for _, c := range []struct {
		err  error
		kind errs.Kind
	}{
		{rpctypes.ErrGRPCNoSpace, errs.Unavailable},
		{rpctypes.ErrGRPCNotLeader, errs.Unavailable},
		{rpctypes.ErrGRPCTooManyOps, errs.Invalid},
		{rpctypes.ErrGRPCCompacted, errs.FailedPrecondition},
		{rpctypes.ErrGRPCPermissionDenied, errs.Forbidden},
		{status.Error(codes.Internal, "dsn=secret"), errs.Unavailable},
		{status.Error(codes.DeadlineExceeded, "late"), errs.Timeout},
	} {
		f.mu.Lock()
		f.fail = c.err
		f.mu.Unlock()
		_, err := kv.PutIf(t.Context(), "a", nil, 0)
		if e := errs.From(err); errs.KindOf(err) != c.kind || strings.Contains(e.Message(), "secret") {
			t.Errorf("%v: %v, want %v", c.err, err, c.kind)
		}
	}
}

func TestBadInput(t *testing.T) {
	kv := &etcd.KV{Endpoints: []string{"127.0.0.1:1"}, Timeout: 100 * time.Millisecond}
	defer kv.Close()
	ctx := t.Context()
	for _, key := range []string{"", "a\x00b"} {
		_, get := kv.Get(ctx, key)
		_, put := kv.PutIf(ctx, key, nil, 0)
		_, _, list := kv.List(ctx, key)
		for _, err := range []error{get, put, list, kv.Delete(ctx, key, 0), kv.Watch(ctx, key, nil)} {
			if errs.KindOf(err) != errs.Invalid {
				t.Errorf("key %q: %v", key, err)
			}
		}
	}
	if _, err := kv.Commit(ctx); errs.KindOf(err) != errs.Invalid {
		t.Errorf("empty commit: %v", err)
	}
	if _, err := (&etcd.KV{}).Get(ctx, "a"); errs.KindOf(err) != errs.Invalid {
		t.Errorf("no endpoints: %v", err)
	}
	if _, err := kv.Get(ctx, "a"); errs.KindOf(err) != errs.Unavailable && errs.KindOf(err) != errs.Timeout {
		t.Errorf("nobody there: %v", err)
	}
	kv.Close()
	if _, err := kv.Get(ctx, "a"); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("closed: %v", err)
	}
	if etcd.Put.String() != "put" || etcd.Delete.String() != "delete" || etcd.Synced.String() != "synced" || etcd.Kind(9).String() != "synced" {
		t.Error("kinds")
	}
}

// TestClosedWatchDoesNotSpin: a server that ends every watch at once is asked
// a few times, not in a loop, and what was known is not reported again.
func TestClosedWatchDoesNotSpin(t *testing.T) {
	f, kv, stop := serve()
	defer stop()
	f.items["p/a"] = &mvccpb.KeyValue{Key: []byte("p/a"), Value: []byte("1"), ModRevision: 1}
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	puts, synced := 0, 0
	err := kv.Watch(ctx, "p/", func(e etcd.Event) {
		switch e.Kind {
		case etcd.Put:
			puts++
		case etcd.Synced:
			synced++
		}
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ended with %v", err)
	}
	if n := f.watches.Load(); n < 2 || n > 20 || puts != 1 || synced < 2 {
		t.Errorf("%d watches, %d puts, %d synced", n, puts, synced)
	}
}

func ExampleKV() {
	_, kv, stop := serve() // in a service: kv := &etcd.KV{Endpoints: []string{"127.0.0.1:7602"}}
	defer stop()

	ctx := context.Background()
	rev, err := kv.PutIf(ctx, "surefoot/config/order/limit", []byte("20"), 0)
	fmt.Println(err)
	_, err = kv.PutIf(ctx, "surefoot/config/order/limit", []byte("30"), rev)
	fmt.Println(err)
	_, err = kv.PutIf(ctx, "surefoot/config/order/limit", []byte("40"), rev) // somebody was faster
	fmt.Println(errs.KindOf(err))
	it, err := kv.Get(ctx, "surefoot/config/order/limit")
	fmt.Println(string(it.Value), err)
	// Output:
	// <nil>
	// <nil>
	// conflict
	// 30 <nil>
}

func ExampleWatchRoutes() {
	_, kv, stop := serve()
	defer stop()
	var table canary.Table
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // in a service: when it stops
	err := etcd.WatchRoutes(ctx, kv, &table)
	fmt.Println(errs.KindOf(err), table.Pick("payment", map[string]string{"tier": "premium"}, "user 7") == "")
	// Output: canceled true
}

func ExampleRegistry() {
	_, kv, stop := serve()
	defer stop()
	registry := &etcd.Registry{KV: kv} // in a service: Driver of discovery.Source and discovery.Registration
	ctx, cancel := context.WithCancel(context.Background())
	_, err := kv.PutIf(ctx, etcd.InstancePrefix+"order/1", []byte(`{"addr":"10.0.0.7:8080","version":"v2"}`), 0)
	fmt.Println(err)
	err = registry.Watch(ctx, "order", func(set []driver.Instance) {
		fmt.Println(len(set), set[0].ID, set[0].Addr, set[0].Version)
		cancel()
	})
	fmt.Println(errs.KindOf(err))
	// Output:
	// <nil>
	// 1 1 10.0.0.7:8080 v2
	// canceled
}

func ExampleSettings() {
	_, kv, stop := serve()
	defer stop()
	settings := &etcd.Settings{KV: kv} // in a service: Centre of config.Config
	ctx, cancel := context.WithCancel(context.Background())
	rev, err := settings.Put(ctx, "surefoot/config/order/limits", []byte(`{"max":20}`), 0)
	fmt.Println(err)
	err = settings.Watch(ctx, "surefoot/config/order/", func(now cdriver.Snapshot) {
		fmt.Println(len(now.Items), string(now.Items[0].Value), now.Items[0].Revision == rev)
		cancel()
	})
	fmt.Println(errs.KindOf(err))
	// Output:
	// <nil>
	// 1 {"max":20} true
	// canceled
}
