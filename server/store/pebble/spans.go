package pebble

import (
	"container/heap"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/store"
)

// Spans is the store's store.Spans.
type Spans struct{ s *Store }

var _ store.Spans = (*Spans)(nil)

// Spans returns the part that keeps spans.
func (s *Store) Spans() *Spans { return &Spans{s} }

// Put keeps spans until they age out. A span kept twice, as after a resend, is
// found once.
func (t *Spans) Put(ctx context.Context, spans []store.Span) error {
	const op = "pebble.Spans.Put"
	if len(spans) == 0 {
		return nil
	}
	end, err := t.s.begin(op)
	if err != nil {
		return err
	}
	defer end()
	sorted := make([]*store.Span, len(spans))
	for i := range spans {
		sorted[i] = &spans[i]
	}
	slices.SortFunc(sorted, compareSpans)
	b := t.s.db.NewBatch()
	for len(sorted) > 0 {
		n := cut(len(sorted), func(i int) (uint64, int) { return nanos(sorted[i].Start), spanSize(sorted[i]) })
		if err := t.s.addSpans(b, sorted[:n]); err != nil {
			return errs.New(errs.Internal, op, "cannot prepare the spans").Because(err)
		}
		sorted = sorted[n:]
	}
	return t.s.put(ctx, op, b)
}

// spanSize guesses what a span takes before compression.
func spanSize(s *store.Span) int {
	n := 64 + len(s.Name) + len(s.Message) + attrSize(s.Attrs)
	for i := range s.Events {
		n += 16 + len(s.Events[i].Name) + attrSize(s.Events[i].Attrs)
	}
	return n
}

func attrSize(m map[string]string) int {
	n := 0
	for k, v := range m {
		n += 4 + len(k) + len(v)
	}
	return n
}

// cut says how many of n sorted entries make the next chunk.
func cut(n int, entry func(i int) (start uint64, size int)) int {
	first, size := entry(0)
	for i := 1; i < min(n, maxChunkCount); i++ {
		start, more := entry(i)
		if size += more; size > maxChunkBytes || start-first > uint64(width) || bucketOf(start) != bucketOf(first) {
			return i
		}
	}
	return min(n, maxChunkCount)
}

// addSpans writes one chunk and its index entries.
func (s *Store) addSpans(b *pebble.Batch, spans []*store.Span) error {
	start := nanos(spans[0].Start)
	id := newChunkID(start, s.seq.Add(1))
	h := head{last: nanos(spans[len(spans)-1].Start), count: uint64(len(spans))}
	seen := make(map[[2]string]bool)
	traces := make(map[store.TraceID]bool)
	for _, sp := range spans {
		if sp.Error {
			h.level = 1
		}
		for _, k := range [][2]string{{sp.Service}, {sp.Service, sp.Name}} {
			if !seen[k] {
				seen[k] = true
				h.hashes = append(h.hashes, hashOf(k[0], k[1]))
			}
		}
		if !traces[sp.TraceID] {
			traces[sp.TraceID] = true
			if err := b.Set(append(traceKey(spanTrace, bucketOf(start), sp.TraceID), id[:]...), nil, nil); err != nil {
				return err
			}
		}
	}
	if err := b.Set(id.key(spanBody), s.zip.pack(encodeSpans(spans)), nil); err != nil {
		return err
	}
	return b.Set(id.key(spanHead), h.append(nil, start), nil)
}

// Trace implements store.Spans.
func (t *Spans) Trace(ctx context.Context, id store.TraceID) ([]store.Span, error) {
	const op = "pebble.Spans.Trace"
	end, err := t.s.begin(op)
	if err != nil {
		return nil, err
	}
	defer end()
	spans, err := t.s.trace(ctx, id, nil)
	return spans, readError(op, err)
}

// readError gives what went wrong while reading its kind.
func readError(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return errs.Wrap(err, op)
	}
	return errs.New(errs.Unavailable, op, "the store cannot be read").Because(err)
}

// trace gathers a trace from its chunks; cache, if any, keeps them unpacked.
func (s *Store) trace(ctx context.Context, id store.TraceID, cache *chunkCache) ([]store.Span, error) {
	chunks, err := s.chunksOf(ctx, spanTrace, spanBody, id)
	if err != nil {
		return nil, err
	}
	var out []store.Span
	for _, c := range chunks {
		raw, err := s.chunk(c.key(spanBody), cache)
		if err != nil {
			return nil, err
		}
		if raw == nil {
			continue // the index outlives the chunk by up to a bucket
		}
		spans, err := decodeSpans(raw, &id)
		if err != nil {
			return nil, err
		}
		out = append(out, spans...)
	}
	slices.SortFunc(out, func(a, b store.Span) int { return compareSpans(&a, &b) })
	return slices.CompactFunc(out, func(a, b store.Span) bool { return a.ID == b.ID && a.Start.Equal(b.Start) }), nil
}

// chunksOf finds the chunks of a trace in the index with one seek a bucket.
func (s *Store) chunksOf(ctx context.Context, index, body byte, id store.TraceID) ([]chunkID, error) {
	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: []byte{index}, UpperBound: []byte{index + 1}})
	if err != nil {
		return nil, err
	}
	defer it.Close()
	if !it.First() {
		return nil, it.Error()
	}
	first := keyBucket(it.Key())
	it.Last()
	last := keyBucket(it.Key())
	var out []chunkID
	for b := first; b <= last; {
		k := traceKey(index, b, id)
		for ok := it.SeekGE(k); ok && len(it.Key()) == traceKeyLen && string(it.Key()[:len(k)]) == string(k); ok = it.Next() {
			out = append(out, chunkID(it.Key()[len(k):]))
		}
		if !it.Valid() {
			break
		}
		// A bucket without any entry costs nothing: go where the next entry is.
		b = max(b+1, keyBucket(it.Key()))
	}
	return out, it.Error()
}

// chunk reads and unpacks one chunk; nil if it has aged out.
func (s *Store) chunk(key []byte, cache *chunkCache) ([]byte, error) {
	if raw, ok := cache.get(key); ok {
		return raw, nil
	}
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	raw, err := s.zip.unpack(v)
	if err == nil {
		cache.put(key, raw)
	}
	return raw, err
}

// Window implements store.Spans. It holds the chunks of about two seconds at
// once.
func (t *Spans) Window(ctx context.Context, from, to time.Time, yield func(store.Span) bool) error {
	const op = "pebble.Spans.Window"
	end, err := t.s.begin(op)
	if err != nil {
		return err
	}
	defer end()
	return readError(op, t.s.window(ctx, nanos(from), nanos(to), yield))
}

func (s *Store) window(ctx context.Context, from, to uint64, yield func(store.Span) bool) error {
	if from >= to {
		return nil
	}
	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{
		LowerBound: timeKey(spanBody, back(from, width)), UpperBound: timeKey(spanBody, to)})
	if err != nil {
		return err
	}
	defer it.Close()
	var open cursors
	var last store.Span
	more := it.First()
	for more || len(open) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		for more && (len(open) == 0 || chunkID(it.Key()[1:]).start() <= open[0].start) {
			v, err := it.ValueAndErr()
			if err != nil {
				return err
			}
			raw, err := s.zip.unpack(v)
			if err != nil {
				return err
			}
			c, err := openSpans(raw)
			if err != nil {
				return err
			}
			if c.next() {
				heap.Push(&open, c)
			}
			more = it.Next()
		}
		if len(open) == 0 {
			break
		}
		c := open[0]
		if c.start >= to {
			return nil
		}
		if c.start >= from {
			span, err := c.span()
			if err != nil {
				return err
			}
			again := span.ID == last.ID && span.TraceID == last.TraceID && span.Start.Equal(last.Start)
			if !again && !yield(span) {
				return nil
			}
			last = span
		}
		if c.next() {
			heap.Fix(&open, 0)
		} else {
			heap.Pop(&open)
			if c.r.err != nil {
				return c.r.err
			}
		}
	}
	return it.Error()
}

// cursors is a heap of open chunks, the one with the earliest span on top.
type cursors []*spanChunk

func (c cursors) Len() int { return len(c) }
func (c cursors) Less(i, j int) bool {
	a, b := c[i], c[j]
	if a.start != b.start {
		return a.start < b.start
	}
	if a.trace != b.trace {
		return string(a.trace[:]) < string(b.trace[:])
	}
	ai, bi := a.id(), b.id()
	return string(ai[:]) < string(bi[:])
}
func (c cursors) Swap(i, j int) { c[i], c[j] = c[j], c[i] }
func (c *cursors) Push(x any)   { *c = append(*c, x.(*spanChunk)) }
func (c *cursors) Pop() any {
	old := *c
	x := old[len(old)-1]
	*c = old[:len(old)-1]
	return x
}
