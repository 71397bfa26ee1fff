// Package server is the control plane: one struct whose zero value runs all of
// it inside this process, telemetry in, answers out.
//
//	s := &server.Server{Dir: "data"}
//	err := s.Run(ctx) // blocks; a *server.Problem says which field to change
//
// Server alone knows every room: it opens the stores, binds the addresses,
// hands each room what it needs, and stops them in the reverse order. It does
// not handle signals, does not log in anybody, and is one process: what it
// keeps lies in one folder that only one copy may use at a time.
package server

import (
	"context"
	"log/slog"
	"sync"
)

// Defaults of Server's fields.
const (
	DefaultDir      = "surefoot-data"
	DefaultAddr     = "127.0.0.1:7600"
	DefaultOTLPGRPC = "127.0.0.1:4317" // OpenTelemetry's own port for OTLP/gRPC
	DefaultOTLPHTTP = "127.0.0.1:4318" // OpenTelemetry's own port for OTLP/HTTP
	DefaultEtcd     = "127.0.0.1:7602"
	DefaultEtcdPeer = "127.0.0.1:7603"
)

// Server is a control plane. The zero value is the whole of it on the default
// addresses. Set the fields before Run; run it once.
//
// Addresses are host:port; port 0 takes any free one, which Addrs then tells.
type Server struct {
	Dir      string // all data; made when missing; "" means surefoot-data in the working directory
	Addr     string // console and HTTP API; "" means 127.0.0.1:7600
	OTLPGRPC string // telemetry over OTLP/gRPC; "" means 127.0.0.1:4317
	OTLPHTTP string // telemetry over OTLP/HTTP; "" means 127.0.0.1:4318
	Etcd     string // embedded etcd, for clients that watch routes and config; the host is an IP; "" means 127.0.0.1:7602
	EtcdPeer string // embedded etcd's own port; "" means 127.0.0.1:7603
	// EtcdCluster are members (host:port) of a cluster of one's own that holds
	// routes, settings and instances instead of the embedded etcd: Etcd and
	// EtcdPeer then mean nothing. While it is away, what is known stays and changes
	// are refused. nil means the embedded one.
	EtcdCluster []string
	Catalog     string // folder of catalog-info.yaml and runbook.md files, read again when it changes; "" means none

	// Remote allows addresses that other machines can reach. Nothing here
	// authenticates callers, so without it only loopback is accepted.
	Remote bool

	Version string       // of the program, shown by the API; "" means unknown
	Log     *slog.Logger // nil means slog.Default()

	once  sync.Once
	ready chan struct{}
	addrs Addrs // set before ready is closed
}

// Addrs is where a running Server listens and keeps its data.
type Addrs struct {
	Addr, OTLPGRPC, OTLPHTTP, Etcd, Dir string
}

// Ready returns a channel that is closed once telemetry is taken and questions
// are answered. It is never closed when Run fails before that.
func (s *Server) Ready() <-chan struct{} {
	s.once.Do(func() { s.ready = make(chan struct{}) })
	return s.ready
}

// Addrs says where the Server listens. Call it after Ready is closed.
func (s *Server) Addrs() Addrs { return s.addrs }

// Run runs the control plane until ctx ends, which is no error, or until a
// part of it fails for good. It returns when everything it started has ended:
// requests in flight get 5 s, stores are closed last. What the caller can mend
// comes back as a *Problem before anything was started.
func (s *Server) Run(ctx context.Context) error {
	p, err := s.open(ctx)
	if err != nil {
		return err
	}
	return p.run(ctx, func() {
		s.addrs = p.addrs
		s.Ready()
		close(s.ready)
	})
}

func (s *Server) orDefault() *Server {
	out := &Server{
		Dir: s.Dir, Addr: s.Addr, OTLPGRPC: s.OTLPGRPC, OTLPHTTP: s.OTLPHTTP, Etcd: s.Etcd, EtcdPeer: s.EtcdPeer,
		EtcdCluster: s.EtcdCluster, Catalog: s.Catalog, Remote: s.Remote, Version: s.Version, Log: s.Log,
	}
	for _, f := range []struct {
		v   *string
		def string
	}{
		{&out.Dir, DefaultDir}, {&out.Addr, DefaultAddr}, {&out.OTLPGRPC, DefaultOTLPGRPC}, {&out.OTLPHTTP, DefaultOTLPHTTP},
		{&out.Etcd, DefaultEtcd}, {&out.EtcdPeer, DefaultEtcdPeer}, {&out.Version, "unknown"},
	} {
		if *f.v == "" {
			*f.v = f.def
		}
	}
	if out.Log == nil {
		out.Log = slog.Default()
	}
	return out
}
