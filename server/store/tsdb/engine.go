package tsdb

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	promdb "github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/compression"

	"github.com/surefoot-go/surefoot/errs"
)

// Prometheus' database panics when it cannot write a chunk, in its own
// goroutine, which ends the process: a full disk must not do that. So its
// background loop is kept asleep, the store does that work itself (keep), only
// when there is room, and recovers what panics all the same (guard).

// room is what the database must have free before it is opened or tidied: a
// new log segment, a chunk file and some chunks.
const room = 16 << 20

// States of the database under the store.
const (
	sound int32 = iota
	torn        // a write to the log failed: it may end in half a record
	stuck       // it is closed, or it panicked and its locks may be held for ever
)

func (s *Store) open() (*handle, error) {
	o := promdb.DefaultOptions()
	o.RetentionDuration = s.opts.Age.Milliseconds()
	o.MaxBytes = max(0, s.opts.MaxBytes)
	o.OutOfOrderTimeWindow = max(0, s.opts.OutOfOrder).Milliseconds()
	o.WALSegmentSize = 16 << 20
	o.WALCompression = compression.Snappy
	o.StripeSize = 1 << 10 // 16384 empty maps are 2 MB nobody asked for
	o.HeadChunksWriteBufferSize = 1 << 20
	o.NoLockfile = true                   // the store has its own, which outlives a database that is stuck
	o.BlockReloadInterval = math.MaxInt64 // see keep
	db, err := promdb.Open(s.dir, quiet(s.opts.Log), nil, o, nil)
	if err != nil {
		return nil, err
	}
	db.DisableCompactions() // by itself
	return &handle{db: db}, nil
}

// begin guards a use of the database against closing it.
func (s *Store) begin(op string) (h *handle, end func(), err error) {
	for {
		h := s.handle.Load()
		switch {
		case h == nil:
			return nil, nil, errs.New(errs.Unavailable, op, "the store is closed")
		case h.state.Load() == stuck:
			return nil, nil, errs.New(errs.Unavailable, op, "the store opens again after a failure").RetryAfter(5 * time.Second)
		}
		h.use.RLock()
		if s.handle.Load() == h && h.state.Load() != stuck {
			return h, h.use.RUnlock, nil
		}
		h.use.RUnlock() // closed meanwhile
	}
}

// free is how many bytes the disk has left; when that cannot be told, plenty.
func (s *Store) free() int64 {
	u, err := vfs.Default.GetDiskUsage(s.dir)
	if err != nil {
		return math.MaxInt64
	}
	return int64(min(u.AvailBytes, math.MaxInt64))
}

// guard runs f on a database; a panic in it becomes an error and that opening
// of the database is not used again.
func (s *Store) guard(h *handle, op string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			h.state.Store(stuck)
			s.opts.Log.Error("series store: the database panicked; it will be opened again", "panic", p)
			err = errs.New(errs.Unavailable, op, "the store cannot write").
				Because(fmt.Errorf("panic: %v", p)).RetryAfter(5 * time.Second)
		}
	}()
	return f()
}

// keep does the database's background work: finished chunks to disk, blocks
// every two hours, old blocks away.
func (s *Store) keep(ctx context.Context) error {
	t := time.NewTicker(s.opts.Every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			if err := s.Tidy(ctx); err != nil && ctx.Err() == nil {
				s.opts.Log.Warn("series store: tidying failed, will try again", "err", err)
			}
		}
	}
}

// Tidy writes finished chunks and blocks to disk and drops blocks that are too
// old or too many. The store calls it by itself (Options.Every). It does
// nothing while the disk is short of room.
func (s *Store) Tidy(ctx context.Context) error {
	const op = "tsdb.Tidy"
	if s.free() < max(room, s.opts.Reserve) {
		return s.noRoom(op)
	}
	if err := s.mend(op); err != nil {
		return err
	}
	h, end, err := s.begin(op)
	if err != nil {
		return err
	}
	defer end()
	err = s.guard(h, op, func() error {
		h.db.ForceHeadMMap()
		return h.db.Compact(ctx)
	})
	return errs.Wrap(err, op)
}

// mend opens the database again after a failed write: the log may end in half
// a record, and what came after one would be thrown away at the next start.
// Opening cuts the half record off and begins a new segment. Until there is
// room for that the old database stays, for reading.
func (s *Store) mend(op string) error {
	if h := s.handle.Load(); h == nil || h.state.Load() == sound {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.handle.Load()
	if h == nil || h.state.Load() == sound {
		return nil
	}
	if s.free() < room {
		return s.noRoom(op)
	}
	// One that is stuck cannot be closed: it is left behind, some memory with
	// it, and never written to again.
	if h.state.Load() == torn {
		if err := s.closeHandle(h, op); err != nil {
			s.opts.Log.Warn("series store: closing after a failed write", "err", err)
		}
	}
	fresh, err := s.open()
	if err != nil {
		return errs.New(errs.Unavailable, op, "the store cannot write; it tries to open again at the next write").Because(err)
	}
	s.handle.Store(fresh)
	s.opts.Log.Info("series store: opened again after a failed write")
	return nil
}

// closeHandle waits for those who use h and closes it, so that nobody uses it
// again.
func (s *Store) closeHandle(h *handle, op string) error {
	h.use.Lock()
	defer h.use.Unlock()
	h.state.Store(stuck)
	return s.guard(h, op, h.db.Close)
}

// Close waits for running queries and closes the files. Later calls do
// nothing. On a full disk it may fail to tidy up and says so; what was
// acknowledged is in the log.
func (s *Store) Close() error {
	const op = "tsdb.Close"
	s.stop()
	_ = s.keeper.Wait() // a panic has been logged
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.handle.Swap(nil)
	if h == nil {
		return nil
	}
	var err error
	if h.state.Load() != stuck {
		err = s.closeHandle(h, op)
	}
	if lerr := s.lock.Release(); err == nil {
		err = lerr
	}
	if err != nil {
		return errs.New(errs.Unavailable, op, "closing the store failed; what was acknowledged is in the log").With("dir", s.dir).Because(err)
	}
	return nil
}
