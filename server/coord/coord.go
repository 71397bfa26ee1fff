// Package coord runs the control plane's own etcd inside its process: one
// member, on loopback, with its data in one folder. Routes, settings, marks and
// registrations live there.
//
//	s, err := coord.Start(ctx, coord.Settings{Dir: "data/etcd"})
//	...
//	defer s.Close()
//	_, err = s.Client().PutIf(ctx, "surefoot/config/order/limit", []byte("20"), 0)
//
// It is not a cluster: for more than one control plane, run an etcd of your own
// and give its addresses to package contrib/etcd. Any etcd client may connect
// to it and it asks for no password: it listens on loopback unless told
// otherwise, and another address is for a network you trust.
package coord

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"google.golang.org/grpc"

	"github.com/surefoot-go/surefoot/contrib/etcd"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/safe"
)

// Settings say where the embedded etcd lives. Only Dir is required.
type Settings struct {
	Dir    string        // holds the data; made when missing
	Client string        // host:port for clients; "" means 127.0.0.1:7602, port 0 any free one; the host must be an IP
	Peer   string        // host:port etcd insists on for other members; "" means 127.0.0.1:7603
	Quota  int64         // bytes of data before writes are refused; 0 means 256 MiB
	Ready  time.Duration // longest wait for readiness; 0 means 10s
	Log    *slog.Logger  // nil means slog.Default(); see Start
}

const (
	defaultClient = "127.0.0.1:7602"
	defaultPeer   = "127.0.0.1:7603"
	defaultQuota  = 256 << 20
	defaultReady  = 10 * time.Second
	closeLimit    = 10 * time.Second
	failedLimit   = time.Second
	lockFile      = "surefoot.lock"
)

// The ids of the errors Start returns for what the person at the keyboard can
// mend; all are of kind errs.FailedPrecondition, with a message that says how.
const (
	AddressInUse   = "address_in_use"
	DataInUse      = "data_in_use"
	DirNotWritable = "dir_not_writable"
	DataDamaged    = "data_damaged"
)

// Server is a running etcd. It is safe for concurrent use.
type Server struct {
	log    *slog.Logger
	etcd   *embed.Etcd
	lock   *fileutil.LockedFile
	fatal  *fatal
	addr   string
	client *etcd.KV
	once   sync.Once
	err    error

	hangUp context.CancelFunc // ends the streams of clients; see untilClose
	task   *safe.Task         // of StartEtcd
	result chan started
}

type started struct {
	e   *embed.Etcd
	err error
}

// walSegment replaces etcd's 64 MB, of which it keeps two reserved on disk:
// our values are small and a demo must fit on a small disk. It is a variable
// of etcd's package, the only way there is; set once and only before the first
// server starts.
var walSegment = sync.OnceFunc(func() { wal.SegmentSizeBytes = 8 << 20 })

// Start runs an etcd and returns when it answers, ctx ends, or the wait
// Settings.Ready is over. Of etcd's own log, errors become warnings in
// Settings.Log and warnings debug records; the rest is dropped. A failure from
// which etcd would end the process ends only the Server: see Failed.
func Start(ctx context.Context, s Settings) (*Server, error) {
	const op = "coord.Start"
	if s.Dir == "" {
		return nil, errs.New(errs.Invalid, op, "the coordination store needs a folder")
	}
	walSegment()
	srv := &Server{log: s.Log, fatal: newFatal(), result: make(chan started, 1)}
	if srv.log == nil {
		srv.log = slog.Default()
	}
	cfg, err := config(s, srv)
	if err != nil {
		return nil, err
	}
	over, hangUp := context.WithCancel(context.Background())
	srv.hangUp = hangUp
	cfg.GRPCAdditionalServerOptions = []grpc.ServerOption{untilClose(over)}
	if srv.lock, err = lock(s.Dir); err != nil {
		hangUp()
		return nil, err
	}
	limit := s.Ready
	if limit == 0 {
		limit = defaultReady
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := srv.start(ctx, cfg); err != nil {
		return nil, errors.Join(errs.Wrap(err, op), srv.Close())
	}
	return srv, nil
}

func (s *Server) start(ctx context.Context, cfg *embed.Config) error {
	const op = "coord.Start"
	if err := ctx.Err(); err != nil {
		return err
	}
	// In a goroutine of its own: where etcd would end the process, fatal ends
	// the goroutine instead; and where it would wait for ever, ctx ends our wait.
	s.task = safe.Go(ctx, op, func(context.Context) error {
		var panicked *safe.Panic // on damaged data; explained below, not logged with a stack
		err := safe.Call(func() error {
			e, err := embed.StartEtcd(cfg)
			s.result <- started{e, err}
			return nil
		})
		if errors.As(err, &panicked) {
			return errors.New(panicked.Error())
		}
		return err
	})
	select {
	case <-s.task.Done():
	case <-s.fatal.done: // in a goroutine of etcd's own, for which its start would wait for ever
		return damaged(cfg.Dir, s.fatal.err())
	case <-ctx.Done():
		return errs.New(errs.Timeout, op, "the coordination store was not ready in time; is the disk very slow, or its data in use?").Because(ctx.Err())
	}
	select {
	case r := <-s.result:
		s.etcd = r.e
		if r.err != nil {
			return explain(r.err)
		}
	default: // fatal, or a panic on what it read; its listeners stay open until the process ends
		return damaged(cfg.Dir, errors.Join(s.fatal.err(), s.task.Wait()))
	}
	s.addr = s.etcd.Clients[0].Addr().String()
	s.client = &etcd.KV{Endpoints: []string{s.addr}, Log: s.log}
	select {
	case <-s.etcd.Server.ReadyNotify():
	case <-s.etcd.Server.StopNotify():
		return errs.New(errs.Unavailable, op, "the coordination store stopped while starting").Because(s.fatal.err())
	case <-s.fatal.done:
		return errs.New(errs.Unavailable, op, "the coordination store failed while starting").Because(s.fatal.err())
	case <-ctx.Done():
		return errs.New(errs.Timeout, op, "the coordination store was not ready in time; is the disk very slow?").Because(ctx.Err())
	}
	_, _, err := s.client.List(ctx, "surefoot/ready") // answered by the leader, over the wire
	return err
}

// damaged is the answer to data that etcd refuses to start on.
func damaged(dir string, cause error) error {
	return errs.New(errs.FailedPrecondition, "coord.Start", fmt.Sprintf(
		"the coordination data in %s can not be used: move the folder away to start empty, or restore a copy", dir)).
		ID(DataDamaged).Because(cause)
}

// Addr is the host:port clients connect to.
func (s *Server) Addr() string { return s.addr }

// Client returns a view of the store for this process. The Server owns it and
// closes it.
func (s *Server) Client() *etcd.KV { return s.client }

// Failed is closed when etcd can not go on, for instance on a full disk; Err
// then says why. The Server must still be closed.
func (s *Server) Failed() <-chan struct{} { return s.fatal.done }

// Err says why the server failed, and is nil while it has not.
func (s *Server) Err() error {
	if err := s.fatal.err(); err != nil {
		return errs.New(errs.Unavailable, "coord.Err", "the coordination store has stopped; is the disk full?").Because(err)
	}
	return nil
}

// Close ends the client, then etcd, then gives the folder free. It waits for
// at most 10 s, and 1 s when the server has failed: etcd is made to end with its
// process then, and seldom stops otherwise. When that was not enough the error
// says so and the folder stays locked until the process ends. Further calls
// return the same.
func (s *Server) Close() error {
	s.once.Do(func() {
		s.fatal.closing.Store(true)
		s.hangUp()
		if s.client != nil {
			s.err = s.client.Close()
		}
		if s.task != nil && !s.stop() {
			s.err = errs.New(errs.Timeout, "coord.Close", "the coordination store did not stop in time; end the process").Because(s.fatal.err())
			return
		}
		if s.lock != nil {
			s.err = errors.Join(s.err, s.lock.Close())
		}
	})
	return s.err
}

// stop ends etcd and tells whether it was in time.
func (s *Server) stop() bool {
	task := safe.Go(context.Background(), "coord.Close", func(context.Context) error {
		_ = s.task.Wait() // a start that was given up
		select {
		case r := <-s.result:
			s.etcd = r.e
		default:
		}
		if s.etcd != nil {
			s.etcd.Close()
		}
		return nil
	})
	wait := closeLimit
	if s.fatal.err() != nil {
		wait = failedLimit
	}
	limit := time.NewTimer(wait)
	defer limit.Stop()
	select {
	case <-task.Done():
		if err := task.Wait(); err != nil {
			s.log.Warn("closing the coordination store", slog.Any("error", err))
		}
		return true
	case <-limit.C:
		return false
	}
}

func config(s Settings, srv *Server) (*embed.Config, error) {
	client, err := address(s.Client, defaultClient)
	if err != nil {
		return nil, err
	}
	peer, err := address(s.Peer, defaultPeer)
	if err != nil {
		return nil, err
	}
	cfg := embed.NewConfig()
	cfg.Name = "surefoot"
	cfg.Dir = s.Dir
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = client, client
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = peer, peer
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.InitialClusterToken = rand.Text() // a new store is a new cluster: its watchers notice
	cfg.EnableGRPCGateway = false
	cfg.HostWhitelist = map[string]struct{}{"127.0.0.1": {}, "localhost": {}, "::1": {}}
	cfg.CORS = nil
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(srv.fatal.logger(srv.log))

	// One member elects itself; the times only say how soon.
	cfg.TickMs, cfg.ElectionMs = 50, 250
	// Our store is some thousand small values; etcd's numbers are for a cluster
	// that serves others.
	cfg.QuotaBackendBytes = s.Quota
	if s.Quota == 0 {
		cfg.QuotaBackendBytes = defaultQuota
	}
	cfg.SnapshotCount = 2000
	cfg.SnapshotCatchUpEntries = 500
	cfg.MaxSnapFiles, cfg.MaxWalFiles = 2, 2
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = "revision", "10000"
	cfg.BackendFreelistType = "map"
	cfg.WarningApplyDuration, cfg.WarningUnaryRequestDuration = time.Second, time.Second
	return cfg, nil
}

// address makes etcd's form of host:port.
func address(addr, otherwise string) ([]url.URL, error) {
	if addr == "" {
		addr = otherwise
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil || net.ParseIP(host) == nil {
		return nil, errs.New(errs.Invalid, "coord.Start",
			fmt.Sprintf("%q is no address: give an IP and a port, such as 127.0.0.1:7602", addr)).Because(err)
	}
	return []url.URL{{Scheme: "http", Host: addr}}, nil
}

// lock makes dir and keeps other copies out of it. etcd's own lock would wait
// for ever.
func lock(dir string) (*fileutil.LockedFile, error) {
	const op = "coord.Start"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, notWritable(dir, err)
	}
	path := filepath.Join(dir, lockFile)
	f, err := fileutil.TryLockFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, fileutil.ErrLocked) {
		who := ""
		if pid, err := os.ReadFile(path); err == nil && len(pid) > 0 && len(pid) < 20 {
			who = " (process " + strings.TrimSpace(string(pid)) + ")"
		}
		return nil, errs.New(errs.FailedPrecondition, op, fmt.Sprintf(
			"another copy%s is using the data in %s: stop it, or use another folder", who, dir)).ID(DataInUse)
	}
	if err != nil {
		return nil, notWritable(dir, err)
	}
	err = errors.Join(f.Truncate(0), errOf(fmt.Fprintf(f, "%d\n", os.Getpid())))
	if err != nil {
		return nil, errors.Join(notWritable(dir, err), f.Close())
	}
	return f, nil
}

func errOf(_ int, err error) error { return err }

func notWritable(dir string, err error) error {
	return errs.New(errs.FailedPrecondition, "coord.Start",
		fmt.Sprintf("the folder %s can not be written: make it writable, or use another one", dir)).ID(DirNotWritable).Because(err)
}

// explain turns etcd's errors at the start into what to do about them.
func explain(err error) error {
	const op = "coord.Start"
	var at *net.OpError
	if errors.Is(err, syscall.EADDRINUSE) && errors.As(err, &at) {
		return errs.New(errs.FailedPrecondition, op,
			fmt.Sprintf("the address %s is taken: stop who uses it, or choose another one", at.Addr)).ID(AddressInUse).Because(err)
	}
	if errors.As(err, &at) {
		return errs.New(errs.FailedPrecondition, op,
			fmt.Sprintf("the address %s can not be listened on: choose another one", at.Addr)).Because(err)
	}
	return errs.New(errs.Internal, op, "the coordination store could not start").Because(err)
}
