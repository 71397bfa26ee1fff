package pebble

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/surefoot-go/surefoot/server/store"
)

const (
	defaultTraces = 50  // SpanQuery.Limit 0, as the contract says
	defaultLogs   = 200 // LogQuery.Limit 0
	maxFound      = 10_000

	// maxTraces is how many traces a search puts together before it answers
	// with what it has: a search for the rare among the many ends.
	maxTraces = 5_000
	// cachedChunks is how many unpacked chunks a search keeps, about 10 MB:
	// neighbours in time share chunks.
	cachedChunks = 64
)

// chunkCache keeps the last chunks a search unpacked. nil keeps none.
type chunkCache struct {
	raw  map[string][]byte
	ring []string
}

func newChunkCache() *chunkCache { return &chunkCache{raw: make(map[string][]byte)} }

func (c *chunkCache) get(key []byte) ([]byte, bool) {
	if c == nil {
		return nil, false
	}
	raw, ok := c.raw[string(key)]
	return raw, ok
}

func (c *chunkCache) put(key, raw []byte) {
	if c == nil {
		return
	}
	if len(c.ring) >= cachedChunks {
		delete(c.raw, c.ring[0])
		c.ring = c.ring[1:]
	}
	c.raw[string(key)] = raw
	c.ring = append(c.ring, string(key))
}

// Search implements store.Spans. It looks at the newest chunks first, leaves
// alone those whose head shows nothing asked for, and stops when no older
// trace can be among the newest.
func (t *Spans) Search(ctx context.Context, q store.SpanQuery) ([]store.Summary, error) {
	const op = "pebble.Spans.Search"
	end, err := t.s.begin(op)
	if err != nil {
		return nil, err
	}
	defer end()
	out, err := t.s.search(ctx, q)
	return out, readError(op, err)
}

func (s *Store) search(ctx context.Context, q store.SpanQuery) ([]store.Summary, error) {
	limit := limitOr(q.Limit, defaultTraces)
	from, to := span(q.From, q.To)
	w := spanWanted(q)
	cache := newChunkCache()
	seen := make(map[store.TraceID]bool)
	var found []store.Summary
	err := s.heads(ctx, spanHead, from, to, func(id chunkID, h head) (bool, error) {
		// Whatever this and older chunks hold started before:
		if newest := id.start() + uint64(width); newerThan(found, newest) >= limit || len(seen) >= maxTraces {
			return false, nil
		}
		if !w.chunk(&h) {
			return true, nil
		}
		raw, err := s.chunk(id.key(spanBody), cache)
		if err != nil || raw == nil {
			return true, err
		}
		traces, err := w.traces(raw, from, to)
		if err != nil {
			return false, err
		}
		for _, tr := range traces {
			if seen[tr] {
				continue
			}
			seen[tr] = true
			spans, err := s.trace(ctx, tr, cache)
			if err != nil {
				return false, err
			}
			if sum, ok := summarize(spans, &q); ok {
				found = append(found, sum)
			}
		}
		return true, nil
	})
	slices.SortStableFunc(found, func(a, b store.Summary) int { return b.Start.Compare(a.Start) })
	return found[:min(len(found), limit)], err
}

func limitOr(n, def int) int {
	if n <= 0 {
		return def
	}
	return min(n, maxFound)
}

// span turns a query's times, where zero means open, into nanoseconds.
func span(from, to time.Time) (uint64, uint64) {
	a, b := uint64(0), uint64(1)<<63
	if !from.IsZero() {
		a = nanos(from)
	}
	if !to.IsZero() {
		b = nanos(to)
	}
	return a, b
}

func newerThan(found []store.Summary, n uint64) int {
	count := 0
	for i := range found {
		if nanos(found[i].Start) >= n {
			count++
		}
	}
	return count
}

// heads calls f with the chunks that may hold something in [from, to), newest
// first, until f returns false.
func (s *Store) heads(ctx context.Context, prefix byte, from, to uint64, f func(chunkID, head) (bool, error)) error {
	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{
		LowerBound: timeKey(prefix, back(from, width)), UpperBound: timeKey(prefix, to)})
	if err != nil {
		return err
	}
	defer it.Close()
	for ok := it.Last(); ok; ok = it.Prev() {
		if err := ctx.Err(); err != nil {
			return err
		}
		id := chunkID(it.Key()[1:])
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		h, err := readHead(v, id.start())
		if err != nil {
			return err
		}
		if h.last < from {
			continue
		}
		if more, err := f(id, h); err != nil || !more {
			return err
		}
	}
	return it.Error()
}

// wanted picks the spans that lead a search to its traces: the failed ones
// when only failures are asked for, else those of the service and operation.
type wanted struct {
	service, operation string
	failed             bool
	hash               uint32
}

func spanWanted(q store.SpanQuery) wanted {
	if q.Error {
		return wanted{failed: true}
	}
	w := wanted{service: q.Service, operation: q.Operation}
	if q.Service != "" {
		w.hash = hashOf(q.Service, q.Operation)
	}
	return w
}

func (w *wanted) chunk(h *head) bool {
	if w.failed && h.level == 0 {
		return false
	}
	return w.service == "" || h.has(w.hash)
}

// traces lists the traces of a chunk with a span that is wanted and started in
// [from, to), newest first.
func (w *wanted) traces(raw []byte, from, to uint64) ([]store.TraceID, error) {
	c, err := openSpans(raw)
	if err != nil {
		return nil, err
	}
	all := !w.failed && w.service == "" && w.operation == ""
	var out []store.TraceID
	have := make(map[store.TraceID]bool)
	for c.next() {
		if c.start < from || c.start >= to || have[c.trace] {
			continue
		}
		if !all {
			span, err := c.span()
			if err != nil {
				return nil, err
			}
			if w.failed && !span.Error || !matches(&span, w.service, w.operation) {
				continue
			}
		}
		have[c.trace] = true
		out = append(out, c.trace)
	}
	slices.Reverse(out)
	return out, c.r.err
}

func matches(s *store.Span, service, operation string) bool {
	return (service == "" || s.Service == service) && (operation == "" || s.Name == operation)
}

// summarize describes a trace whose spans are ordered by start, and says
// whether q wants it.
func summarize(spans []store.Span, q *store.SpanQuery) (store.Summary, bool) {
	if len(spans) == 0 {
		return store.Summary{}, false
	}
	root := &spans[0]
	for i := range spans {
		if spans[i].Parent.IsZero() {
			root = &spans[i]
			break
		}
	}
	sum := store.Summary{TraceID: root.TraceID, Root: strings.Clone(root.Service), Name: strings.Clone(root.Name),
		Start: spans[0].Start, Spans: len(spans)}
	end := spans[0].Start
	asked := false
	services := make(map[string]bool)
	for i := range spans {
		s := &spans[i]
		if e := s.Start.Add(s.Duration); e.After(end) {
			end = e
		}
		if s.Error {
			sum.Errors++
		}
		asked = asked || matches(s, q.Service, q.Operation)
		services[s.Service] = true
	}
	sum.Duration = end.Sub(sum.Start)
	for name := range services {
		sum.Services = append(sum.Services, strings.Clone(name))
	}
	slices.Sort(sum.Services)
	return sum, asked && sum.Duration >= q.MinLength && (!q.Error || sum.Errors > 0)
}
