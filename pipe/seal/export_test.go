package seal

import "io"

// Half is one direction of a session with a key of zeros, for tests.
type Half struct {
	h half
	l limits
}

// NewHalf returns a Half with the ordinary limits.
func NewHalf() *Half {
	h := &Half{l: limits{RekeyRecords, RekeyBytes}}
	h.h.init([32]byte{})
	return h
}

// Limits lowers the limits.
func (h *Half) Limits(records, bytes uint64) { h.l = limits{records, bytes} }

// At sets the counter.
func (h *Half) At(n uint64) { h.h.n = n }

// Key returns the key.
func (h *Half) Key() [32]byte { return h.h.key }

// Seal seals a data record, padded as Config.Pad says.
func (h *Half) Seal(b []byte, pad int) ([]byte, error) {
	return h.h.seal(b, data, size(len(b)-Head, pad, DefaultMaxRecord), h.l)
}

// Open opens a record.
func (h *Half) Open(rec []byte) (byte, []byte, error) { return h.h.open(rec, h.l) }

// Length reads a header.
func Length(head []byte, max int) (int, error) { return length(head, max) }

// ParseHello reads the payload of a hello record.
func ParseHello(b []byte) (int, string, bool) { return parseHello(b) }

// Random fixes the source of the ephemeral key.
func Random(c Config, r io.Reader) Config { c.random = r; return c }
