package pebble

import (
	"encoding/binary"
	"hash/fnv"
	"time"
)

// The database, by the first byte of the key. A chunk is named by when its
// first entry started and a number, 16 bytes.
//
//	s chunk              spans, see spancodec.go
//	h chunk              what a search must know of the chunk: see head
//	t bucket trace chunk the chunk has spans of the trace
//	l, i, m              the same three for log records
//	b name               small values, see Blobs
//
// All but b begin with a time, so that retention is a deleted range.
const (
	spanBody  = 's'
	spanHead  = 'h'
	spanTrace = 't'
	logBody   = 'l'
	logHead   = 'i'
	logTrace  = 'm'
	blob      = 'b'
)

// width is how far apart the first and the last start in a chunk may be. It
// bounds how many chunks Window must hold at once and how far back it must
// look, and lets a second of an exporter's batch stay together.
const width = 2 * time.Second

// bucket is how much time shares one stretch of the trace index: finding a
// trace costs one seek for each bucket kept, 19 for 72 h.
const bucket = 4 * time.Hour

// Limits of a chunk: a search unpacks whole chunks, a commit holds them.
const (
	maxChunkCount = 1024
	maxChunkBytes = 1 << 20 // before compression, roughly
)

type chunkID [16]byte

func newChunkID(start, seq uint64) (id chunkID) {
	binary.BigEndian.PutUint64(id[:8], start)
	binary.BigEndian.PutUint64(id[8:], seq)
	return id
}

func (c chunkID) start() uint64 { return binary.BigEndian.Uint64(c[:8]) }

func (c chunkID) key(prefix byte) []byte { return append([]byte{prefix}, c[:]...) }

// timeKey is where chunks that start at n begin.
func timeKey(prefix byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefix}, n)
}

func bucketOf(n uint64) uint32 { return uint32(n / uint64(bucket)) }

func bucketKey(prefix byte, b uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefix}, b)
}

// traceKey is where the index entries of a trace in a bucket begin.
func traceKey(prefix byte, b uint32, trace [16]byte) []byte {
	return append(bucketKey(prefix, b), trace[:]...)
}

const traceKeyLen = 1 + 4 + 16 + 16

// back is n less d, not below zero.
func back(n uint64, d time.Duration) uint64 {
	if n < uint64(d) {
		return 0
	}
	return n - uint64(d)
}

// next is the first key after all that begin with k.
func next(k []byte) []byte {
	n := append([]byte(nil), k...)
	for i := len(n) - 1; i >= 0; i-- {
		if n[i]++; n[i] != 0 {
			return n[:i+1]
		}
	}
	return nil
}

// head is what a search must know of a chunk to leave it alone: last start,
// count, whether something failed (or the highest severity of log records),
// and a hash of each service and each service with operation. A hash that
// matches by chance only costs a look.
type head struct {
	last   uint64
	count  uint64
	level  uint64 // spans: 1 if one failed; logs: highest severity
	hashes []uint32
}

func (h *head) append(b []byte, start uint64) []byte {
	b = append(b, version)
	b = binary.AppendUvarint(b, h.last-start)
	b = binary.AppendUvarint(b, h.count)
	b = binary.AppendUvarint(b, h.level)
	for _, v := range h.hashes {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

func readHead(b []byte, start uint64) (head, error) {
	if len(b) == 0 || b[0] != version {
		return head{}, errCorrupt
	}
	r := reader{b: b[1:]}
	h := head{last: start + r.uvarint(), count: r.uvarint(), level: r.uvarint()}
	for r.err == nil && len(r.b) >= 4 {
		h.hashes = append(h.hashes, binary.BigEndian.Uint32(r.bytes(4)))
	}
	return h, r.err
}

func (h *head) has(v uint32) bool {
	for _, x := range h.hashes {
		if x == v {
			return true
		}
	}
	return false
}

func hashOf(service, operation string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(service))
	if operation != "" {
		_, _ = h.Write([]byte{0})
		_, _ = h.Write([]byte(operation))
	}
	return h.Sum32()
}

// keyBucket reads the bucket of a trace index key.
func keyBucket(k []byte) uint32 {
	if len(k) < 5 {
		return 0
	}
	return binary.BigEndian.Uint32(k[1:])
}
