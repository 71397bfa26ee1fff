package seal_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"github.com/surefoot-go/surefoot/pipe/seal"
)

// The counter never comes round, and a peer that does not replace its key is
// not believed for ever.
func TestLimits(t *testing.T) {
	s, o := seal.NewHalf(), seal.NewHalf()
	s.At(math.MaxUint64 - 2)
	o.At(math.MaxUint64 - 2)
	rec, err := s.Seal(append(seal.NewBuffer(1), 'x'), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, p, err := o.Open(rec); err != nil || string(p) != "x" {
		t.Fatal(err)
	}
	if _, err := s.Seal(append(seal.NewBuffer(1), 'x'), 0); err == nil {
		t.Error("sealed under the last counter, which is the rekey's")
	}
	if _, _, err := o.Open(rec); cause(err) != seal.Limit {
		t.Error(err)
	}

	s, o = seal.NewHalf(), seal.NewHalf()
	o.Limits(10, 1<<30)
	for i := range 30 {
		rec, err := s.Seal(append(seal.NewBuffer(1), 'x'), 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := o.Open(rec); (err == nil) != (i < 20) {
			t.Fatalf("record %d: %v", i, err)
		}
	}
}

// A key is replaced by records and by bytes, many times over, and no key comes
// twice.
func TestRekey(t *testing.T) {
	for _, c := range []struct {
		records, bytes uint64
		each           int
	}{{1, 1 << 30, 1}, {2, 1 << 30, 3}, {1 << 20, 1000, 100}, {1 << 20, 1, 70000}} {
		s, o := seal.NewHalf(), seal.NewHalf()
		s.Limits(c.records, c.bytes)
		keys := map[[32]byte]bool{s.Key(): true}
		text := bytes.Repeat([]byte{'x'}, c.each)
		for i := range 1000 {
			rec, err := s.Seal(append(seal.NewBuffer(len(text)), text...), i%3*50)
			if err != nil {
				t.Fatal(err)
			}
			if _, p, err := o.Open(rec); err != nil || !bytes.Equal(p, text) {
				t.Fatalf("record %d: %v", i, err)
			}
			if s.Key() != o.Key() {
				t.Fatal("the sides have different keys")
			}
			keys[s.Key()] = true
		}
		if want := 1 + 1000/int(c.records); c.records < 10 && len(keys) != want {
			t.Errorf("%d keys, want %d", len(keys), want)
		}
		if len(keys) < 100 {
			t.Errorf("%d keys", len(keys))
		}
	}
}

// Padded sizes tell the size of the payload no closer than asked for, and
// never pass what was agreed.
func TestPadding(t *testing.T) {
	for _, pad := range []int{seal.PadPowers, 2, 64, 1000, 4096, 1 << 20} {
		for _, n := range []int{1, 35, 40, 41, 43, 44, 45, 1000, 65536, seal.DefaultMaxRecord - seal.Head - seal.Tail} {
			s, o := seal.NewHalf(), seal.NewHalf()
			text := bytes.Repeat([]byte{0, 'x'}, n)[:n]
			rec, err := s.Seal(append(seal.NewBuffer(n), text...), pad)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case len(rec) > seal.DefaultMaxRecord, len(rec) < n+seal.Head+seal.Tail,
				len(rec) < seal.DefaultMaxRecord && pad != seal.PadPowers && len(rec)%pad != 0,
				pad == seal.PadPowers && len(rec)&(len(rec)-1) != 0:
				t.Errorf("pad %d: a payload of %d makes a record of %d", pad, n, len(rec))
			}
			if _, p, err := o.Open(rec); err != nil || !bytes.Equal(p, text) {
				t.Errorf("pad %d, %d bytes: %v", pad, n, err)
			}
		}
	}
}

// A padded payload whose length is a lie, by a peer that has the key.
func TestPaddingLies(t *testing.T) {
	for _, lie := range []uint32{13, 14, 1 << 31, math.MaxUint32} {
		o := seal.NewHalf()
		head := []byte{0x12, 0, 0, 16 + 16}
		plain := binary.BigEndian.AppendUint32(make([]byte, 12), lie)
		rec := gcm(make([]byte, 32)).Seal(head, nonce(0), plain, head)
		if _, _, err := o.Open(rec); cause(err) != seal.Malformed {
			t.Errorf("%d: %v", lie, err)
		}
	}
}
