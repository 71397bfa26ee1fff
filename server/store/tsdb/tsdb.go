// Package tsdb keeps numbers over time in an embedded Prometheus TSDB, in a
// folder of its own, and answers PromQL with Prometheus' own engine.
//
//	db, err := tsdb.Open(dir, tsdb.Options{})
//	if err != nil {
//		return err
//	}
//	defer db.Close()
//	res, err := db.Query(ctx, `sum by (service_name) (rate(http_server_request_duration_seconds_count[1m]))`, time.Now())
//
// What Put acknowledged is in the write-ahead log and survives a kill -9 of
// the process; unlike spans it is not fsynced, so a power cut may take the
// last seconds. It does not scrape, does not discover targets and does not
// evaluate rules.
package tsdb

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	promdb "github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/fileutil"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/server/store"
)

// Options of a Store. The zero value suits one machine's demo or a small
// fleet: ten thousand series take about 60 MB of memory.
type Options struct {
	Age        time.Duration    // older blocks are dropped; 0 means 72h
	MaxBytes   int64            // blocks on disk, the oldest go first; 0 means 1 GiB, negative means no limit
	OutOfOrder time.Duration    // how late a sample may come; 0 means 5m, negative means not at all
	Ahead      time.Duration    // how far ahead of the clock a sample may be: one from next year would make all of today's too old; 0 means 10m
	Reserve    int64            // Put refuses when the disk has less than this free; 0 means 256 MiB or an eighth of the disk, whichever is less, but at least 16 MiB, which Open needs; negative means off
	MaxSeries  int              // samples of more series than this at once are dropped, so that one sender's labels cannot take all memory; 0 means 200000, negative means no limit
	MaxSamples int              // a query that needs more at once fails; 0 means 2 million, 32 MB
	Timeout    time.Duration    // a query that takes longer fails; 0 means 30s
	Queries    int              // queries at once, others wait; 0 means 4
	Lookback   time.Duration    // how old the newest sample of a series may be to count as its value; 0 means 5m, Prometheus' own
	Every      time.Duration    // how often finished chunks and blocks are written; 0 means 1m, Prometheus' own
	Log        *slog.Logger     // nil means slog.Default()
	Now        func() time.Time // for tests; nil means time.Now
}

func (o Options) orDefault() Options {
	def := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	def(&o.Age, 72*time.Hour)
	def(&o.OutOfOrder, 5*time.Minute)
	def(&o.Ahead, 10*time.Minute)
	def(&o.Timeout, 30*time.Second)
	def(&o.Lookback, 5*time.Minute)
	def(&o.Every, time.Minute)
	if o.MaxBytes == 0 {
		o.MaxBytes = 1 << 30
	}
	if o.MaxSeries == 0 {
		o.MaxSeries = 200_000
	}
	if o.MaxSamples <= 0 {
		o.MaxSamples = 2_000_000
	}
	if o.Queries <= 0 {
		o.Queries = 4
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Store is an open database. It is safe for concurrent use; its owner calls
// Close.
type Store struct {
	opts   Options
	dir    string
	engine *promql.Engine
	turn   chan struct{} // one token a running query

	lock   fileutil.Releaser
	stop   context.CancelFunc
	keeper *safe.Task

	handle atomic.Pointer[handle] // nil when closed
	mu     sync.Mutex             // held while the handle is being replaced
}

// handle is one opening of the database.
type handle struct {
	db    *promdb.DB
	state atomic.Int32
	use   sync.RWMutex // held for reading by every use, for writing to close

	// adding is held while samples are added. Two writers that make series at
	// the same time would have the index put its postings in order in place,
	// under the eyes of a query that reads them.
	adding sync.Mutex
}

var _ store.Series = (*Store)(nil)

// Open opens or creates the store in dir and reads its log back. A folder that
// another process has open gives an error of kind FailedPrecondition; one that
// cannot be read or written gives Unavailable.
func Open(dir string, opts Options) (*Store, error) {
	const op = "tsdb.Open"
	s := &Store{opts: opts.orDefault(), dir: dir}
	s.turn = make(chan struct{}, s.opts.Queries)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, errs.New(errs.Unavailable, op, "cannot create the data folder").With("dir", dir).Because(err)
	}
	if s.opts.Reserve == 0 {
		s.opts.Reserve = 256 << 20
		if u, err := vfs.Default.GetDiskUsage(dir); err == nil {
			s.opts.Reserve = max(min(s.opts.Reserve, int64(u.TotalBytes/8)), room)
		}
	}
	lock, _, err := fileutil.Flock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, errs.New(errs.FailedPrecondition, op, "the data folder is in use by another process, or cannot be locked").With("dir", dir).Because(err)
	}
	s.lock = lock
	if s.free() < room {
		_ = lock.Release()
		return nil, errs.New(errs.Unavailable, op, "the disk of the store is full: it needs 16 MiB to start").With("dir", dir)
	}
	h, err := s.open()
	if err != nil {
		_ = lock.Release()
		return nil, errs.New(errs.Unavailable, op, "cannot open the data folder").With("dir", dir).Because(err)
	}
	s.handle.Store(h)
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.keeper = safe.Go(ctx, "store/tsdb keeper", s.keep)
	s.engine = promql.NewEngine(promql.EngineOpts{
		Logger:               quiet(s.opts.Log),
		MaxSamples:           s.opts.MaxSamples,
		Timeout:              s.opts.Timeout,
		LookbackDelta:        s.opts.Lookback,
		EnableAtModifier:     true,
		EnableNegativeOffset: true,
		Parser:               parser.NewParser(parser.Options{}),
		NoStepSubqueryIntervalFn: func(int64) int64 {
			return time.Minute.Milliseconds() // Prometheus' default evaluation interval
		},
	})
	return s, nil
}

// Put implements store.Series. Besides what the contract says, it drops
// samples further ahead of the clock than Options.Ahead.
func (s *Store) Put(ctx context.Context, samples []store.Sample) (dropped int, err error) {
	const op = "tsdb.Put"
	if len(samples) == 0 {
		return 0, nil
	}
	if err := ctx.Err(); err != nil {
		return 0, errs.Wrap(err, op)
	}
	if free := s.free(); free < s.opts.Reserve {
		return 0, s.noRoom(op).With("free", free).With("reserve", s.opts.Reserve)
	}
	if err := s.mend(op); err != nil {
		return 0, err
	}
	h, end, err := s.begin(op)
	if err != nil {
		return 0, err
	}
	defer end()
	err = s.guard(h, op, func() (err error) {
		dropped, err = s.append(ctx, h, op, samples)
		return err
	})
	return dropped, err
}

func (s *Store) append(ctx context.Context, h *handle, op string, samples []store.Sample) (dropped int, err error) {
	app := h.db.Appender(ctx)
	if dropped, err = s.add(h, app, op, samples); err != nil {
		_ = app.Rollback() // the first error says it all
		return 0, err
	}
	if err := app.Commit(); err != nil {
		h.state.CompareAndSwap(sound, torn)
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			return 0, s.noRoom(op).Because(err)
		}
		return 0, errs.New(errs.Unavailable, op, "the store cannot write").Because(err)
	}
	return dropped, nil
}

func (s *Store) add(h *handle, app storage.Appender, op string, samples []store.Sample) (dropped int, err error) {
	h.adding.Lock()
	defer h.adding.Unlock()
	latest := s.opts.Now().Add(s.opts.Ahead)
	// The count is looked at once a call: a call may exceed the limit, the next
	// one will not.
	crowded := s.opts.MaxSeries > 0 && h.db.Head().NumSeries() >= uint64(s.opts.MaxSeries)
	known, _ := app.(storage.GetRef)
	var b labels.ScratchBuilder
	for i := range samples {
		sm := &samples[i]
		if sm.At.After(latest) {
			dropped++
			continue
		}
		b.Reset()
		for _, l := range sm.Labels {
			b.Add(l.Name, l.Value)
		}
		set := b.Labels()
		if crowded && known != nil {
			if ref, _ := known.GetRef(set, set.Hash()); ref == 0 {
				dropped++
				continue
			}
		}
		_, err := app.Append(0, set, sm.At.UnixMilli(), sm.Value)
		switch {
		case err == nil:
		case isLate(err):
			dropped++
		default:
			return 0, errs.New(errs.Invalid, op, "a sample cannot be kept").With("labels", sm.Labels).Because(err)
		}
	}
	return dropped, nil
}

func (s *Store) noRoom(op string) *errs.Error {
	return errs.New(errs.Unavailable, op, "the disk of the store is full; it accepts again when there is room").
		With("dir", s.dir).RetryAfter(5 * time.Second)
}

func isLate(err error) bool {
	return errors.Is(err, storage.ErrOutOfOrderSample) || errors.Is(err, storage.ErrOutOfBounds) ||
		errors.Is(err, storage.ErrTooOldSample) || errors.Is(err, storage.ErrDuplicateSampleForTimestamp)
}

// quiet passes on warnings and errors: the engine's information is a dozen
// lines every two hours.
func quiet(l *slog.Logger) *slog.Logger { return slog.New(quietHandler{l.Handler()}) }

type quietHandler struct{ slog.Handler }

func (h quietHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}
func (h quietHandler) WithAttrs(a []slog.Attr) slog.Handler {
	return quietHandler{h.Handler.WithAttrs(a)}
}
func (h quietHandler) WithGroup(n string) slog.Handler { return quietHandler{h.Handler.WithGroup(n)} }
