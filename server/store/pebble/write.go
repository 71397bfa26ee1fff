package pebble

import (
	"context"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/safe"
)

// job is one caller's writes, waiting to be part of a commit.
type job struct {
	batch *pebble.Batch
	done  chan error // buffered: the writer never waits for a caller that left
}

// maxCommit is where the writer stops adding callers to one commit.
const maxCommit = 4 << 20

// spawn starts a worker that Close waits for.
func (s *Store) spawn(name string, f func(context.Context)) {
	s.workers = append(s.workers, safe.Go(s.ctx, "store/pebble "+name, func(ctx context.Context) error {
		f(ctx)
		return nil
	}))
}

// put commits b and returns when it is on disk. It refuses at once when the
// disk is full, and returns when ctx ends; then b may still be written later.
func (s *Store) put(ctx context.Context, op string, b *pebble.Batch) error {
	if err := s.ready(op); err != nil {
		return err
	}
	j := &job{batch: b, done: make(chan error, 1)}
	full := s.disk.whenFull()
	select {
	case s.jobs <- j:
	case <-full:
		return s.noRoom(op)
	case <-ctx.Done():
		return errs.Wrap(ctx.Err(), op)
	case <-s.ctx.Done():
		return errs.New(errs.Unavailable, op, "the store is closed").Because(errClosed)
	}
	select {
	case err := <-j.done:
		if err != nil {
			return errs.New(errs.Unavailable, op, "the store cannot write; restart needed").Because(err)
		}
		return nil
	case <-full:
		return s.noRoom(op)
	case <-ctx.Done():
		return errs.Wrap(ctx.Err(), op)
	case <-s.ctx.Done():
		return errs.New(errs.Unavailable, op, "the store is closed").Because(errClosed)
	}
}

// ready tells why nothing can be written now.
func (s *Store) ready(op string) error {
	if err := s.dead.Load(); err != nil {
		return errs.New(errs.Unavailable, op, "the store cannot write; restart needed").Because(*err)
	}
	if s.opts.Reserve > 0 {
		if u, err := s.disk.usage(s.dir); err == nil && int64(u) < s.opts.Reserve {
			return s.noRoom(op).With("free", u).With("reserve", s.opts.Reserve)
		}
	}
	return nil
}

func (s *Store) noRoom(op string) *errs.Error {
	return errs.New(errs.Unavailable, op, "the disk of the store is full; it accepts again when there is room").
		With("dir", s.dir).RetryAfter(5 * time.Second)
}

// write is the one goroutine that commits: what queued up while the last
// fsync ran becomes one batch and one fsync.
func (s *Store) write(ctx context.Context) {
	var taken []*job
	var err error = errClosed
	defer func() { // also when pebble gave up: see logger.Fatalf
		if dead := s.dead.Load(); dead != nil {
			err = *dead
		}
		for _, j := range taken {
			j.done <- err
		}
		s.refuseAll(ctx, err)
	}()
	for {
		taken = taken[:0]
		select {
		case <-ctx.Done():
			return
		case j := <-s.jobs:
			taken = append(taken, j)
		}
		b := taken[0].batch
		for more := true; more && b.Len() < maxCommit; {
			select {
			case j := <-s.jobs:
				taken = append(taken, j)
				if err := b.Apply(j.batch, nil); err != nil {
					s.fail(fmt.Errorf("merge batches: %w", err))
					return
				}
			default:
				more = false
			}
		}
		if err := s.db.Apply(b, pebble.Sync); err != nil {
			s.fail(err)
			return
		}
		for _, j := range taken {
			j.done <- nil
		}
	}
}

// fail marks the store as unable to write.
func (s *Store) fail(err error) {
	if s.dead.CompareAndSwap(nil, &err) {
		s.opts.Log.Error("store cannot write any more; restart needed", "err", err)
	}
}

// refuseAll answers those who wait, until Close.
func (s *Store) refuseAll(ctx context.Context, err error) {
	for {
		select {
		case j := <-s.jobs:
			j.done <- err
			continue
		default:
		}
		select {
		case j := <-s.jobs:
			j.done <- err
		case <-ctx.Done():
			return
		}
	}
}

// Close ends the background work, flushes and closes the files. It waits for
// running reads. When the disk is full it gives up after 5 s and says so;
// nothing acknowledged is lost, it is in the log. Later calls do nothing.
func (s *Store) Close() error {
	const op = "pebble.Close"
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()

	limit := time.Minute
	if s.dead.Load() != nil {
		limit = 5 * time.Second
	}
	select {
	case <-s.disk.whenFull():
		limit = 5 * time.Second
	default:
	}
	close(s.disk.closing)
	s.stop()
	task := safe.Go(context.Background(), "store/pebble close", func(context.Context) error {
		for _, w := range s.workers {
			_ = w.Wait() // a panic has been logged; the files must close all the same
		}
		return s.db.Close()
	})
	var err error
	select {
	case <-task.Done():
		err = task.Wait()
	case <-time.After(limit):
		return errs.New(errs.Unavailable, op, "closing took too long and was given up; what was acknowledged is in the log").With("dir", s.dir)
	}
	s.zip.close()
	if lerr := s.lock.Close(); err == nil {
		err = lerr
	}
	if err != nil {
		return errs.New(errs.Unavailable, op, "closing the store failed; what was acknowledged is in the log").With("dir", s.dir).Because(err)
	}
	return nil
}

// Flush writes what is in memory to its final files and waits for that. Put
// does not need it; measurements and backups do.
func (s *Store) Flush() error {
	const op = "pebble.Flush"
	end, err := s.begin(op)
	if err != nil {
		return err
	}
	defer end()
	return readError(op, s.db.Flush())
}
