package main

import (
	"context"
	"net"
	"sync"
	"sync/atomic"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	gstatus "google.golang.org/grpc/status"
)

// registry is the little of an etcd that the lines about registries need: keys
// that a process registers under a lease of one second, and watches that end as
// soon as they begin.
type registry struct {
	pb.UnimplementedKVServer
	pb.UnimplementedWatchServer
	pb.UnimplementedLeaseServer
	pb.UnimplementedMaintenanceServer

	watches atomic.Int64

	mu     sync.Mutex
	rev    int64
	keys   map[string]*mvccpb.KeyValue
	leases map[int64]bool
}

// etcd serves a registry without memory on addr and returns it with its address
// and what shuts it down.
func (l *lab) etcd(addr string, holdWatches bool) (*registry, string, func()) {
	r := &registry{rev: 1, keys: map[string]*mvccpb.KeyValue{}, leases: map[int64]bool{}}
	var lis net.Listener
	var err error
	l.wait(longest/10, func() bool { lis, err = net.Listen("tcp", addr); return err == nil })
	l.must(err)
	s := grpc.NewServer()
	pb.RegisterKVServer(s, r)
	pb.RegisterLeaseServer(s, r)
	pb.RegisterMaintenanceServer(s, r)
	if holdWatches {
		pb.RegisterWatchServer(s, quiet{})
	} else {
		pb.RegisterWatchServer(s, r)
	}
	l.serve(func() error { return s.Serve(lis) }, s.Stop)
	return r, lis.Addr().String(), s.Stop
}

func (r *registry) header() *pb.ResponseHeader {
	return &pb.ResponseHeader{ClusterId: 1, Revision: r.rev}
}

func (r *registry) registered() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.keys)
}

func (r *registry) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	return &pb.StatusResponse{Header: r.header(), Version: "3.6.0"}, nil
}

func (r *registry) Range(context.Context, *pb.RangeRequest) (*pb.RangeResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := &pb.RangeResponse{Header: r.header(), Count: int64(len(r.keys))}
	for _, kv := range r.keys {
		out.Kvs = append(out.Kvs, kv)
	}
	return out, nil
}

func (r *registry) Put(_ context.Context, in *pb.PutRequest) (*pb.PutResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if in.Lease != 0 && !r.leases[in.Lease] {
		return nil, gstatus.Error(codes.NotFound, "etcdserver: requested lease not found")
	}
	r.rev++
	r.keys[string(in.Key)] = &mvccpb.KeyValue{Key: in.Key, Value: in.Value, ModRevision: r.rev, CreateRevision: r.rev, Version: 1}
	return &pb.PutResponse{Header: r.header()}, nil
}

func (r *registry) LeaseGrant(context.Context, *pb.LeaseGrantRequest) (*pb.LeaseGrantResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := serial.Add(1) + 1000
	r.leases[id] = true
	return &pb.LeaseGrantResponse{Header: r.header(), ID: id, TTL: 1}, nil
}

func (r *registry) LeaseRevoke(_ context.Context, in *pb.LeaseRevokeRequest) (*pb.LeaseRevokeResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.leases[in.ID] {
		return nil, gstatus.Error(codes.NotFound, "etcdserver: requested lease not found")
	}
	delete(r.leases, in.ID)
	return &pb.LeaseRevokeResponse{Header: r.header()}, nil
}

func (r *registry) LeaseKeepAlive(s pb.Lease_LeaseKeepAliveServer) error {
	for {
		in, err := s.Recv()
		if err != nil {
			return err
		}
		out := &pb.LeaseKeepAliveResponse{ID: in.ID}
		r.mu.Lock()
		out.Header = r.header()
		if r.leases[in.ID] {
			out.TTL = 1
		}
		r.mu.Unlock()
		if err := s.Send(out); err != nil {
			return err
		}
	}
}

// Watch ends every watch as soon as it is made.
func (r *registry) Watch(s pb.Watch_WatchServer) error {
	for {
		in, err := s.Recv()
		if err != nil {
			return err
		}
		if in.GetCreateRequest() == nil {
			continue
		}
		id := r.watches.Add(1)
		if err := s.Send(&pb.WatchResponse{Header: &pb.ResponseHeader{ClusterId: 1, Revision: 1}, WatchId: id, Created: true}); err != nil {
			return err
		}
		if err := s.Send(&pb.WatchResponse{Header: &pb.ResponseHeader{ClusterId: 1, Revision: 1}, WatchId: id, Canceled: true, CancelReason: "closed"}); err != nil {
			return err
		}
	}
}

// quiet holds watches on which nothing ever happens.
type quiet struct{ pb.UnimplementedWatchServer }

func (quiet) Watch(s pb.Watch_WatchServer) error {
	for id := int64(0); ; id++ {
		in, err := s.Recv()
		if err != nil {
			return err
		}
		if in.GetCreateRequest() == nil {
			continue
		}
		if err := s.Send(&pb.WatchResponse{Header: &pb.ResponseHeader{ClusterId: 1, Revision: 1}, WatchId: id, Created: true}); err != nil {
			return err
		}
	}
}
