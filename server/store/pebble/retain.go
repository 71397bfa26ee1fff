package pebble

import (
	"context"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// retain drops what is too old or too much, now and then.
func (s *Store) retain(ctx context.Context) {
	t := time.NewTicker(s.opts.Every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if err := s.Retain(ctx); err != nil && ctx.Err() == nil {
				s.opts.Log.Warn("store: retention failed, will try again", "err", err)
			}
		}
	}
}

// kind of chunks, by their three prefixes.
type chunkKind struct{ body, head, trace byte }

var spanChunks, logChunks = chunkKind{spanBody, spanHead, spanTrace}, chunkKind{logBody, logHead, logTrace}

// Retain drops spans and log records that are too old, then the oldest while
// they take more than MaxBytes. The store calls it by itself (Options.Every).
// What it drops is gone for readers at once and from the disk some seconds
// later. It refuses like Put when the disk is full.
func (s *Store) Retain(ctx context.Context) error {
	const op = "pebble.Retain"
	end, err := s.begin(op)
	if err != nil {
		return err
	}
	defer end()
	now := s.opts.Now()
	b := s.db.NewBatch()
	for _, p := range []struct {
		kind chunkKind
		age  time.Duration
	}{{spanChunks, s.opts.SpanAge}, {logChunks, s.opts.LogAge}} {
		if p.age <= 0 {
			continue
		}
		oldest, ok, err := s.oldest(ctx, p.kind)
		if err != nil {
			return readError(op, err)
		}
		// Not every minute a minute's worth: each drop costs a flush.
		if ok && oldest < nanos(now.Add(-p.age-p.age/64)) {
			dropBefore(b, p.kind, nanos(now.Add(-p.age)))
		}
	}
	if s.opts.MaxBytes > 0 {
		for _, k := range []chunkKind{spanChunks, logChunks} {
			if cutoff, over, err := s.tooMuch(ctx, k); err != nil {
				return readError(op, err)
			} else if over {
				dropBefore(b, k, cutoff)
				s.opts.Log.Warn("store: over its size, dropping the oldest", "before", fromNanos(cutoff), "kind", string(k.body))
			}
		}
	}
	if b.Empty() {
		return nil
	}
	return s.put(ctx, op, b)
}

// dropBefore deletes the chunks that start before n. The trace index is
// dropped by whole buckets; an entry without its chunk is skipped by readers.
// Errors of a batch are programming mistakes and show at the commit.
func dropBefore(b *pebble.Batch, k chunkKind, n uint64) {
	_ = b.DeleteRange(timeKey(k.body, 0), timeKey(k.body, n), nil)
	_ = b.DeleteRange(timeKey(k.head, 0), timeKey(k.head, n), nil)
	if old := bucketOf(n); old > 0 {
		_ = b.DeleteRange(bucketKey(k.trace, 0), bucketKey(k.trace, old), nil)
	}
}

// tooMuch finds the time before which chunks must go so that spans and logs
// fit MaxBytes again with a tenth to spare. Both kinds shrink by the same
// share. What is not flushed yet is not counted.
func (s *Store) tooMuch(ctx context.Context, k chunkKind) (cutoff uint64, over bool, err error) {
	size := func(from, to []byte) uint64 {
		if err != nil {
			return 0
		}
		var n uint64
		n, err = s.db.EstimateDiskUsage(from, to)
		return n
	}
	all := size([]byte{spanHead}, []byte{logTrace + 1}) + size([]byte{spanBody}, []byte{spanTrace + 1})
	if err != nil || int64(all) <= s.opts.MaxBytes {
		return 0, false, err
	}
	keep := float64(s.opts.MaxBytes) * 0.9 / float64(all)
	lo, ok, err := s.oldest(ctx, k)
	if err != nil || !ok {
		return 0, false, err
	}
	hi := nanos(s.opts.Now().Add(time.Hour))
	end := timeKey(k.body, hi+1)
	want := uint64(keep * float64(size(timeKey(k.body, lo), end)))
	for hi > lo && hi-lo > uint64(time.Second) && err == nil {
		mid := lo + (hi-lo)/2
		if size(timeKey(k.body, mid), end) > want {
			lo = mid
		} else {
			hi = mid
		}
	}
	return hi, true, err
}

// oldest is when the first chunk starts.
func (s *Store) oldest(ctx context.Context, k chunkKind) (start uint64, ok bool, err error) {
	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: []byte{k.body}, UpperBound: []byte{k.body + 1}})
	if err != nil {
		return 0, false, err
	}
	defer it.Close()
	if !it.First() {
		return 0, false, it.Error()
	}
	return chunkID(it.Key()[1:]).start(), true, nil
}
