package pebble

import (
	"bytes"
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/surefoot-go/surefoot/errs"
)

// Blobs keeps small values under names, such as incidents. They do not age.
type Blobs struct{ s *Store }

// Blobs returns the part that keeps small values.
func (s *Store) Blobs() *Blobs { return &Blobs{s} }

// maxBlob bounds a value: this is for records a person reads, not for files.
const maxBlob = 4 << 20

func blobKey(name string) []byte { return append([]byte{blob}, name...) }

// Put sets a value and returns when it is on disk. A value over 4 MiB gives an
// error of kind Invalid.
func (b *Blobs) Put(ctx context.Context, name string, value []byte) error {
	const op = "pebble.Blobs.Put"
	if len(value) > maxBlob {
		return errs.New(errs.Invalid, op, "the value is over 4 MiB").With("name", name)
	}
	return b.change(ctx, op, func(batch *pebble.Batch) error { return batch.Set(blobKey(name), value, nil) })
}

// Delete removes a value; one that is not there is no error.
func (b *Blobs) Delete(ctx context.Context, name string) error {
	return b.change(ctx, "pebble.Blobs.Delete", func(batch *pebble.Batch) error { return batch.Delete(blobKey(name), nil) })
}

func (b *Blobs) change(ctx context.Context, op string, f func(*pebble.Batch) error) error {
	end, err := b.s.begin(op)
	if err != nil {
		return err
	}
	defer end()
	batch := b.s.db.NewBatch()
	if err := f(batch); err != nil {
		return errs.New(errs.Internal, op, "cannot prepare the value").Because(err)
	}
	return b.s.put(ctx, op, batch)
}

// Get returns a value, or an error of kind NotFound.
func (b *Blobs) Get(_ context.Context, name string) ([]byte, error) {
	const op = "pebble.Blobs.Get"
	end, err := b.s.begin(op)
	if err != nil {
		return nil, err
	}
	defer end()
	v, closer, err := b.s.db.Get(blobKey(name))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, errs.New(errs.NotFound, op, "there is no value of this name").With("name", name)
	}
	if err != nil {
		return nil, readError(op, err)
	}
	defer closer.Close()
	return bytes.Clone(v), nil
}

// List calls yield with the names that begin with prefix and their values, in
// order of name, until yield returns false. The value is yield's to keep.
func (b *Blobs) List(ctx context.Context, prefix string, yield func(name string, value []byte) bool) error {
	const op = "pebble.Blobs.List"
	end, err := b.s.begin(op)
	if err != nil {
		return err
	}
	defer end()
	k := blobKey(prefix)
	it, err := b.s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: k, UpperBound: next(k)})
	if err != nil {
		return readError(op, err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return readError(op, err)
		}
		if !yield(string(it.Key()[1:]), bytes.Clone(v)) {
			return nil
		}
	}
	return readError(op, it.Error())
}
