package main

import (
	"math/bits"
	"time"
)

// histogram counts times in buckets that are at most 1.6 % wide.
type histogram struct {
	buckets [64 * 64]int64
	n       int64
	most    time.Duration
}

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.buckets[bucket(uint64(d))]++
	h.n++
	h.most = max(h.most, d)
}

// bucket is v itself below 64; above it has v's highest bit and the six behind.
func bucket(v uint64) int {
	if v < 64 {
		return int(v)
	}
	shift := bits.Len64(v) - 7
	return (shift+1)*64 + int(v>>shift) - 64
}

// lower is the least value of a bucket.
func lower(i int) uint64 {
	if i < 64 {
		return uint64(i)
	}
	return uint64(i%64+64) << (i/64 - 1)
}

// quantile is the upper end of the bucket that holds q of the values; 0 if
// there are none.
func (h *histogram) quantile(q float64) time.Duration {
	left := int64(q*float64(h.n)) + 1
	for i, n := range h.buckets {
		if left -= n; left <= 0 {
			return min(time.Duration(lower(i+1)), h.most)
		}
	}
	return h.most
}
