package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sort"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Why not JSON, one value a span: the same services, operations and attribute
// keys repeat in every span, and JSON would write them, and the hexadecimal
// digits of every id, each time. A chunk names each string once, keeps ids
// raw, stores times as differences and is then compressed as a whole, which
// costs about a tenth of the bytes and far less time to decode.

// version is the first byte of every stored value; a reader refuses others.
const version = 1

// maxRaw bounds what a chunk may unpack to, so that a damaged value cannot
// ask for all memory.
const maxRaw = 64 << 20

var errCorrupt = errors.New("pebble: damaged value")

// zipper compresses and unpacks values; safe for concurrent use.
type zipper struct {
	w *zstd.Encoder
	r *zstd.Decoder
}

func newZipper() (*zipper, error) {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(256<<10), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, err
	}
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2),
		zstd.WithDecoderMaxMemory(maxRaw), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	return &zipper{w: w, r: r}, nil
}

func (z *zipper) close() {
	z.w.Close()
	z.r.Close()
}

// pack compresses raw into a value: version, zstd frame.
func (z *zipper) pack(raw []byte) []byte {
	return z.w.EncodeAll(raw, append(make([]byte, 0, len(raw)/3+64), version))
}

// unpack undoes pack.
func (z *zipper) unpack(value []byte) ([]byte, error) {
	if len(value) == 0 || value[0] != version {
		return nil, fmt.Errorf("%w: unknown version", errCorrupt)
	}
	raw, err := z.r.DecodeAll(value[1:], nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	return raw, nil
}

// nanos turns a time into the unsigned nanoseconds that keys and chunks hold:
// before 1970 is 1970, after 2262 is 2262.
func nanos(t time.Time) uint64 {
	switch s := t.Unix(); {
	case s < 0:
		return 0
	case s > math.MaxInt64/int64(time.Second)-1:
		return math.MaxInt64
	}
	return uint64(t.UnixNano())
}

func fromNanos(n uint64) time.Time { return time.Unix(0, int64(n)).UTC() }

// table numbers the distinct strings of a chunk in order of first use.
type table struct {
	index map[string]uint64
	list  []string
}

func newTable() *table { return &table{index: make(map[string]uint64, 64)} }

func (t *table) ref(s string) uint64 {
	if i, ok := t.index[s]; ok {
		return i
	}
	i := uint64(len(t.list))
	t.index[s] = i
	t.list = append(t.list, s)
	return i
}

// append writes the table: count, lengths, bytes.
func (t *table) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(t.list)))
	for _, s := range t.list {
		b = binary.AppendUvarint(b, uint64(len(s)))
	}
	for _, s := range t.list {
		b = append(b, s...)
	}
	return b
}

// attrs writes a map as sorted pairs, so that equal input gives equal bytes.
func (t *table) attrs(b []byte, m map[string]string, scratch *[]string) []byte {
	b = binary.AppendUvarint(b, uint64(len(m)))
	keys := (*scratch)[:0]
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	*scratch = keys
	for _, k := range keys {
		b = binary.AppendUvarint(b, t.ref(k))
		b = binary.AppendUvarint(b, t.ref(m[k]))
	}
	return b
}

// reader walks a chunk; after the first mistake it returns zeros and err is
// set, so that callers check once.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail() {
	if r.err == nil {
		r.err = errCorrupt
	}
	r.b = nil
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads a number of things that take at least size bytes each.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/size) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail()
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

// texts is a decoded table. A string is made when first asked for, so that
// picking one trace out of a chunk does not pay for the others.
type texts struct {
	data []byte
	ends []int
	made []string
}

func (r *reader) texts() texts {
	n := r.count(1)
	t := texts{ends: make([]int, n), made: make([]string, n)}
	end := 0
	for i := range t.ends {
		l := r.uvarint()
		if l > maxRaw {
			r.fail()
			return texts{}
		}
		end += int(l)
		if end > maxRaw {
			r.fail()
			return texts{}
		}
		t.ends[i] = end
	}
	t.data = r.bytes(end)
	if r.err != nil {
		return texts{}
	}
	return t
}

// text reads a reference and returns its string.
func (r *reader) text(t *texts) string {
	i := r.uvarint()
	if i >= uint64(len(t.ends)) {
		r.fail()
		return ""
	}
	if s := t.made[i]; s != "" {
		return s
	}
	from := 0
	if i > 0 {
		from = t.ends[i-1]
	}
	s := string(t.data[from:t.ends[i]])
	t.made[i] = s
	return s
}

func (r *reader) attrs(t *texts) map[string]string {
	n := r.count(2)
	if n == 0 {
		return nil
	}
	m := make(map[string]string, n)
	for range n {
		k := r.text(t)
		m[k] = r.text(t)
	}
	return m
}
