// Package pebble keeps spans, log records and small values in one embedded
// Pebble database, a log-structured merge tree in a folder of its own.
//
//	db, err := pebble.Open(dir, pebble.Options{})
//	if err != nil {
//		return err
//	}
//	defer db.Close()
//	err = db.Spans().Put(ctx, spans)
//
// What a Put acknowledged is on disk: callers that arrive together share one
// fsync. A full disk makes Put refuse, it does not end the process, and the
// store goes on when there is room again. It does not keep series (see tsdb).
//
// Spans are kept in chunks, as they came: a chunk holds spans of one Put that
// start within two seconds of each other, compressed together, and indexes
// name chunks, not spans. That is what makes both a span and an index entry
// cheap; the price is that reading one span unpacks its neighbours.
package pebble

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/safe"
)

// Options of a Store. The zero value is a store for one machine's demo or a
// small fleet: about 50 MB of memory, three days, four gigabytes.
type Options struct {
	SpanAge  time.Duration    // spans that started longer ago are dropped; 0 means 72h, negative means kept
	LogAge   time.Duration    // the same for log records; 0 means 72h, negative means kept
	MaxBytes int64            // spans and logs on disk; the oldest go first; 0 means 4 GiB, negative means no limit
	Reserve  int64            // Put refuses when the disk has less than this free; 0 means 256 MiB or an eighth of the disk, whichever is less, but at least 4 Memtables, so that what is running can end and Open can write what the log holds; negative means off
	Cache    int64            // block cache; 0 means 16 MiB
	Memtable int64            // size of a table in memory before it is written; 0 means 8 MiB
	Every    time.Duration    // how often retention looks; 0 means 1m, negative means never
	Log      *slog.Logger     // nil means slog.Default()
	Now      func() time.Time // for tests of retention; nil means time.Now
}

func (o Options) orDefault() Options {
	def := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	def(&o.SpanAge, 72*time.Hour)
	def(&o.LogAge, 72*time.Hour)
	def(&o.Every, time.Minute)
	if o.MaxBytes == 0 {
		o.MaxBytes = 4 << 30
	}
	if o.Cache <= 0 {
		o.Cache = 16 << 20
	}
	if o.Memtable <= 0 {
		o.Memtable = 8 << 20
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// queue is how many Puts may wait for the writer; more wait in Put for a
// place, until their context ends.
const queue = 64

// Store is an open database. It is safe for concurrent use; its owner calls
// Close.
type Store struct {
	opts Options
	dir  string
	db   *pebble.DB
	lock *pebble.Lock
	disk *disk
	zip  *zipper
	seq  atomic.Uint64 // distinguishes chunks that start at the same time

	jobs    chan *job
	ctx     context.Context // ends when Close begins; not a request's
	stop    context.CancelFunc
	workers []*safe.Task
	dead    atomic.Pointer[error] // why the store cannot write any more

	mu     sync.RWMutex // held for reading by every use of db, for writing by Close
	closed bool
}

// Open opens or creates the store in dir and reads its log back. A folder that
// another process has open gives an error of kind FailedPrecondition; one that
// cannot be written, does not hold a store, or lies on a full disk gives
// Unavailable.
func Open(dir string, opts Options) (*Store, error) {
	const op = "pebble.Open"
	opts = opts.orDefault()
	z, err := newZipper()
	if err != nil {
		return nil, errs.New(errs.Internal, op, "cannot set up compression").Because(err)
	}
	s := &Store{opts: opts, disk: newDisk(opts.Log), zip: z, jobs: make(chan *job, queue)}
	var boot [8]byte
	_, _ = rand.Read(boot[:]) // never fails (crypto/rand)
	s.seq.Store(binary.BigEndian.Uint64(boot[:]))
	fs := &waitFS{FS: vfs.Default, disk: s.disk}
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return nil, errs.New(errs.Unavailable, op, "cannot create the data folder").With("dir", dir).Because(err)
	}
	if s.lock, err = pebble.LockDirectory(dir, fs); err != nil {
		return nil, errs.New(errs.FailedPrecondition, op, "the data folder is in use by another process, or cannot be locked").With("dir", dir).Because(err)
	}
	s.dir = dir
	if err := s.open(op, fs); err != nil {
		return nil, err
	}
	if s.opts.Reserve == 0 {
		s.opts.Reserve = 256 << 20
		if u, err := vfs.Default.GetDiskUsage(dir); err == nil {
			s.opts.Reserve = max(min(s.opts.Reserve, int64(u.TotalBytes/8)), 4*s.opts.Memtable)
		}
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.spawn("writer", s.write)
	if s.opts.Every > 0 {
		s.spawn("retention", s.retain)
	}
	return s, nil
}

// open opens the database unless the disk is full: reading the log back writes
// tables, and would wait for room for ever. An attempt that meets a full disk
// halfway is left behind; it closes itself when there is room, until when the
// folder stays locked.
func (s *Store) open(op string, fs vfs.FS) error {
	full := errs.New(errs.Unavailable, op, "the disk of the store is full: it needs some room to start").
		With("dir", s.dir).Because(syscall.ENOSPC) // so that nobody takes the data for damaged
	if free, err := s.disk.usage(s.dir); err == nil && int64(free) < s.opts.Memtable {
		_ = s.lock.Close()
		return full.With("free", free)
	}
	var mu sync.Mutex
	left := false
	task := safe.Go(context.Background(), "store/pebble open", func(context.Context) error {
		keep := false
		defer func() { // also when pebble gave up: see logger.Fatalf
			if !keep {
				_ = s.lock.Close()
			}
		}()
		db, err := pebble.Open(s.dir, s.pebbleOptions(fs))
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if left {
			return db.Close()
		}
		s.db, keep = db, true
		return nil
	})
	select {
	case <-task.Done():
	case <-s.disk.whenFull():
		mu.Lock()
		defer mu.Unlock()
		if s.db == nil {
			left = true
			return full
		}
	}
	if err := task.Wait(); err != nil {
		return errs.New(errs.Unavailable, op, "cannot open the data folder").With("dir", s.dir).Because(err)
	}
	return nil
}

func (s *Store) pebbleOptions(fs vfs.FS) *pebble.Options {
	o := &pebble.Options{
		FS:                          fs,
		Lock:                        s.lock,
		Logger:                      &logger{s: s},
		FormatMajorVersion:          pebble.FormatTableFormatV6,
		CacheSize:                   s.opts.Cache,
		MemTableSize:                uint64(s.opts.Memtable),
		MemTableStopWritesThreshold: 3,
		MaxOpenFiles:                256,
		L0CompactionThreshold:       4,
		LBaseMaxBytes:               64 << 20,
		FlushDelayDeleteRange:       10 * time.Second,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
	}
	o.Experimental.FileCacheShards = 2
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionFastest })
	o.EventListener = &pebble.EventListener{
		BackgroundError: func(err error) { s.opts.Log.Error("store: background work failed, will try again", "err", err) },
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			s.opts.Log.Error("store: damaged file", "path", i.Path, "err", i.Details)
		},
	}
	return o
}

// logger hears pebble. Only errors are passed on: its Infof is one line a
// flush.
type logger struct{ s *Store }

func (l *logger) Infof(string, ...any) {}
func (l *logger) Errorf(f string, args ...any) {
	l.s.opts.Log.Error("store: " + fmt.Sprintf(f, args...))
}

// Fatalf is pebble's "I cannot go on". The process can: the store refuses
// writes from now on, and the goroutine that asked ends here, because pebble
// counts on Fatalf not returning. What was acknowledged is in the log and
// comes back at the next Open.
func (l *logger) Fatalf(f string, args ...any) {
	err := fmt.Errorf(f, args...)
	if l.s.dead.CompareAndSwap(nil, &err) {
		l.s.opts.Log.Error("store cannot write any more; restart needed", "err", err)
	}
	runtime.Goexit()
}

// errClosed is for the log; the caller learns Unavailable.
var errClosed = errors.New("store is closed")

// begin guards a use of db against Close.
func (s *Store) begin(op string) (end func(), err error) {
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return nil, errs.New(errs.Unavailable, op, "the store is closed").Because(errClosed)
	}
	return s.mu.RUnlock, nil
}
