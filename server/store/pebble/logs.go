package pebble

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/store"
)

// Logs is the store's store.Logs.
type Logs struct{ s *Store }

var _ store.Logs = (*Logs)(nil)

// Logs returns the part that keeps log records.
func (s *Store) Logs() *Logs { return &Logs{s} }

// Put keeps records until they age out. Records have no identity: one that is
// sent twice is kept twice.
func (l *Logs) Put(ctx context.Context, logs []store.Log) error {
	const op = "pebble.Logs.Put"
	if len(logs) == 0 {
		return nil
	}
	end, err := l.s.begin(op)
	if err != nil {
		return err
	}
	defer end()
	sorted := make([]*store.Log, len(logs))
	for i := range logs {
		sorted[i] = &logs[i]
	}
	slices.SortStableFunc(sorted, func(a, b *store.Log) int { return cmp.Compare(nanos(a.At), nanos(b.At)) })
	b := l.s.db.NewBatch()
	for len(sorted) > 0 {
		n := cut(len(sorted), func(i int) (uint64, int) {
			return nanos(sorted[i].At), 48 + len(sorted[i].Body) + attrSize(sorted[i].Attrs)
		})
		if err := l.s.addLogs(b, sorted[:n]); err != nil {
			return errs.New(errs.Internal, op, "cannot prepare the log records").Because(err)
		}
		sorted = sorted[n:]
	}
	return l.s.put(ctx, op, b)
}

func (s *Store) addLogs(b *pebble.Batch, logs []*store.Log) error {
	start := nanos(logs[0].At)
	id := newChunkID(start, s.seq.Add(1))
	h := head{last: nanos(logs[len(logs)-1].At), count: uint64(len(logs))}
	services := make(map[string]bool)
	traces := make(map[store.TraceID]bool)
	for _, l := range logs {
		h.level = max(h.level, uint64(max(0, l.Severity)))
		if !services[l.Service] {
			services[l.Service] = true
			h.hashes = append(h.hashes, hashOf(l.Service, ""))
		}
		if !l.TraceID.IsZero() && !traces[l.TraceID] {
			traces[l.TraceID] = true
			if err := b.Set(append(traceKey(logTrace, bucketOf(start), l.TraceID), id[:]...), nil, nil); err != nil {
				return err
			}
		}
	}
	if err := b.Set(id.key(logBody), s.zip.pack(encodeLogs(logs)), nil); err != nil {
		return err
	}
	return b.Set(id.key(logHead), h.append(nil, start), nil)
}

// Search implements store.Logs.
func (l *Logs) Search(ctx context.Context, q store.LogQuery) ([]store.Log, error) {
	const op = "pebble.Logs.Search"
	end, err := l.s.begin(op)
	if err != nil {
		return nil, err
	}
	defer end()
	out, err := l.s.searchLogs(ctx, q)
	return out, readError(op, err)
}

func (s *Store) searchLogs(ctx context.Context, q store.LogQuery) ([]store.Log, error) {
	limit := limitOr(q.Limit, defaultLogs)
	from, to := span(q.From, q.To)
	q.Contains = strings.ToLower(q.Contains)
	var found []store.Log
	look := func(id chunkID) error {
		raw, err := s.chunk(id.key(logBody), nil)
		if err != nil || raw == nil {
			return err
		}
		logs, err := decodeLogs(raw)
		if err != nil {
			return err
		}
		for i := range logs {
			if at := nanos(logs[i].At); at >= from && at < to && logMatches(&logs[i], &q) {
				found = append(found, logs[i])
			}
		}
		if len(found) > 4*limit+maxChunkCount { // keep memory to a few limits
			found = newestLogs(found, limit)
		}
		return nil
	}
	var err error
	if !q.TraceID.IsZero() {
		var chunks []chunkID
		chunks, err = s.chunksOf(ctx, logTrace, logBody, q.TraceID)
		for i := len(chunks) - 1; i >= 0 && err == nil; i-- {
			err = look(chunks[i])
		}
	} else {
		service := hashOf(q.Service, "")
		err = s.heads(ctx, logHead, from, to, func(id chunkID, h head) (bool, error) {
			if len(found) >= limit {
				found = newestLogs(found, limit)
				if nanos(found[limit-1].At) >= id.start()+uint64(width) {
					return false, nil // all that is left is older
				}
			}
			if int(h.level) < q.MinSeverity || q.Service != "" && !h.has(service) {
				return true, nil
			}
			return true, look(id)
		})
	}
	return newestLogs(found, limit), err
}

func newestLogs(logs []store.Log, limit int) []store.Log {
	slices.SortStableFunc(logs, func(a, b store.Log) int { return b.At.Compare(a.At) })
	return logs[:min(len(logs), limit)]
}

// logMatches expects q.Contains in lower case.
func logMatches(l *store.Log, q *store.LogQuery) bool {
	return (q.Service == "" || l.Service == q.Service) &&
		l.Severity >= q.MinSeverity &&
		(q.TraceID.IsZero() || l.TraceID == q.TraceID) &&
		(q.Contains == "" || strings.Contains(strings.ToLower(l.Body), q.Contains))
}
