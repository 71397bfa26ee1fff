package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
)

// A record on the wire is Head bytes of header, the sealed payload, and the tag
// of 16. The header is one byte of kind and marks and three bytes of length, of
// all that follows; it is authenticated as additional data.
const (
	Head = 4  // bytes that a caller leaves free before the payload
	Tail = 20 // bytes of capacity that a caller leaves free behind it: the tag, and the payload's length where it is padded

	tag       = 16
	minRecord = 1 << 10   // least setting of MaxRecord
	maxRecord = 1<<24 - 1 // most that three bytes of length can say, rounded down
)

// Kinds and marks of the first byte. Others are refused.
const (
	hello byte = 1
	data  byte = 2
	fin   byte = 3 // the authenticated close

	kinds  byte = 0x0f
	padded byte = 0x10 // the payload ends in zeros and its own length, 4 bytes
	rekey  byte = 0x20 // the last record under its key
)

// How much is sealed under one key before it is replaced. AES-GCM stays within
// a margin of 2^-57 up to 2^24.5 records of 16 KiB (RFC 8446, 5.5), that is
// 2^38.5 bytes; the counter nonce is the deterministic construction of NIST
// SP 800-38D, 8.2.1, which allows 2^64. Ours are far below: at 2^26 blocks
// under one key an attacker's advantage is about 2^(2*26-129) = 2^-77, and
// replacing a key costs a microsecond.
const (
	RekeyRecords = 1 << 20 // records under one key
	RekeyBytes   = 1 << 30 // bytes under one key
)

var (
	errLong  = errors.New("seal: payload longer than MaxPayload")
	errShort = errors.New("seal: buffer without Head")
	errSpent = errors.New("seal: counter at its end")
)

// half is one direction of a session: a key, and the counter of its records
// that is their nonce. The counter goes on when the key is replaced, so that
// neither a key nor a counter is ever used twice.
type half struct {
	key   [32]byte
	aead  cipher.AEAD
	n     uint64 // of the next record
	count uint64 // records under this key
	bytes uint64 // and their bytes
	nonce [12]byte
}

func (h *half) init(key [32]byte) {
	h.key, h.count, h.bytes = key, 0, 0
	block, err := aes.NewCipher(h.key[:])
	if err == nil {
		h.aead, err = cipher.NewGCM(block)
	}
	if err != nil {
		panic(err) // 32 bytes are always an AES key
	}
}

// ratchet replaces the key by Noise's REKEY: what the old key makes of zeros
// under the nonce that no record can have. The old one cannot be found from it.
func (h *half) ratchet() {
	var zeros [32]byte
	out := h.aead.Seal(nil, h.at(math.MaxUint64), zeros[:], nil)
	h.init([32]byte(out[:32]))
}

// at writes the nonce of record n as Noise's AESGCM does: 4 zeros, 8 bytes big endian.
func (h *half) at(n uint64) []byte {
	binary.BigEndian.PutUint64(h.nonce[4:], n)
	return h.nonce[:]
}

// limits is when one direction replaces its key.
type limits struct{ records, bytes uint64 }

// seal turns b, Head bytes and a payload, into a record of the given kind, in
// place where b has room. size is the length of the whole record; what is more
// than b needs is padding.
func (h *half) seal(b []byte, kind byte, size int, l limits) ([]byte, error) {
	if h.n >= math.MaxUint64-1 {
		return nil, errSpent
	}
	if size > len(b)+tag {
		kind |= padded
		n := len(b) - Head
		b = resize(b, size-tag)
		clear(b[Head+n : len(b)-4])
		binary.BigEndian.PutUint32(b[len(b)-4:], uint32(n))
	}
	if h.count+1 >= l.records || h.bytes+uint64(len(b)) >= l.bytes {
		kind |= rekey
	}
	length := len(b) - Head + tag
	b[0], b[1], b[2], b[3] = kind, byte(length>>16), byte(length>>8), byte(length)
	out := resize(b, len(b)+tag)
	h.aead.Seal(out[Head:Head], h.at(h.n), out[Head:len(b)], out[:Head])
	h.after(kind, len(b))
	return out, nil
}

// resize returns b with length n: in place, or copied where there is no room.
func resize(b []byte, n int) []byte {
	if n <= cap(b) {
		return b[:n]
	}
	out := make([]byte, n)
	copy(out, b)
	return out
}

// most is what a peer may set; a receiver bears twice as much under one key.
var most = limits{RekeyRecords, RekeyBytes}

// open checks and opens a whole record in place.
func (h *half) open(rec []byte, l limits) (kind byte, payload []byte, err error) {
	if h.n >= math.MaxUint64-1 || h.count >= 2*l.records || h.bytes >= 2*l.bytes {
		return 0, nil, &Error{Cause: Limit}
	}
	payload, err = h.aead.Open(rec[Head:Head], h.at(h.n), rec[Head:], rec[:Head])
	if err != nil {
		return 0, nil, &Error{Cause: Forged}
	}
	kind = rec[0]
	h.after(kind, len(rec)-tag)
	if kind&padded != 0 {
		if len(payload) < 4 {
			return 0, nil, &Error{Cause: Malformed}
		}
		end := len(payload) - 4
		n := binary.BigEndian.Uint32(payload[end:])
		if uint64(n) > uint64(end) {
			return 0, nil, &Error{Cause: Malformed}
		}
		payload = payload[:n]
	}
	return kind & kinds, payload, nil
}

func (h *half) after(kind byte, n int) {
	h.n++
	h.count++
	h.bytes += uint64(n)
	if kind&rekey != 0 {
		h.ratchet()
	}
}

// length reads a header: the length of the whole record, at most max.
func length(head []byte, max int) (int, error) {
	if k := head[0] & kinds; k < hello || k > fin || head[0]&^(kinds|padded|rekey) != 0 {
		return 0, &Error{Cause: Malformed}
	}
	n := Head + (int(head[1])<<16 | int(head[2])<<8 | int(head[3]))
	if n < Head+tag {
		return 0, &Error{Cause: Malformed}
	}
	if n > max {
		return 0, &Error{Cause: Oversized}
	}
	return n, nil
}

// PadPowers is the setting of Config.Pad that pads records to powers of two.
const PadPowers = 1

// size returns how long the record of a payload of n bytes is, padded.
func size(n, pad, max int) int {
	bare := Head + n + tag
	if pad <= 0 {
		return bare
	}
	full := bare + 4 // a padded payload carries its length
	if pad == PadPowers {
		full = 1 << bits.Len(uint(full-1))
	} else {
		full = (full + pad - 1) / pad * pad
	}
	return min(full, max)
}
