package seal_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/surefoot-go/surefoot/pipe/seal"
)

var update = flag.Bool("update", false, "rewrite testdata")

// nn is Noise_NNpsk0_25519_AESGCM_SHA256 written a second time, from the Noise
// specification (revision 34) and the standard library alone, so that the
// wire does not rest on one implementation.
type nn struct {
	ck, h, k []byte
	n        uint64
	e        *ecdh.PrivateKey
	psk      []byte
}

func newNN(prologue, psk, ephemeral []byte) *nn {
	name := []byte("Noise_NNpsk0_25519_AESGCM_SHA256") // 32 bytes: no hashing
	e, err := ecdh.X25519().NewPrivateKey(ephemeral)
	if err != nil {
		panic(err)
	}
	s := &nn{ck: name, h: name, e: e, psk: psk}
	s.mixHash(prologue)
	return s
}

func (s *nn) mixHash(b []byte) {
	sum := sha256.Sum256(append(bytes.Clone(s.h), b...))
	s.h = sum[:]
}

func kdf(ck, in []byte, n int) (out [][]byte) {
	mac := func(key []byte, parts ...[]byte) []byte {
		m := hmac.New(sha256.New, key)
		for _, p := range parts {
			m.Write(p)
		}
		return m.Sum(nil)
	}
	temp, last := mac(ck, in), []byte(nil)
	for i := range n {
		last = mac(temp, last, []byte{byte(i + 1)})
		out = append(out, last)
	}
	return out
}

func (s *nn) mixKey(in []byte) {
	o := kdf(s.ck, in, 2)
	s.ck, s.k, s.n = o[0], o[1], 0
}

func (s *nn) mixPSK() {
	o := kdf(s.ck, s.psk, 3)
	s.ck, s.k, s.n = o[0], o[2], 0
	s.mixHash(o[1])
}

func gcm(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	g, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return g
}

func nonce(n uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 4), n) }

func (s *nn) encrypt(plain []byte) []byte {
	out := gcm(s.k).Seal(nil, nonce(s.n), plain, s.h)
	s.n++
	s.mixHash(out)
	return out
}

func (s *nn) decrypt(sealed []byte) ([]byte, error) {
	out, err := gcm(s.k).Open(nil, nonce(s.n), sealed, s.h)
	s.n++
	s.mixHash(sealed)
	return out, err
}

func (s *nn) mixE(pub []byte) {
	s.mixHash(pub)
	s.mixKey(pub)
}

func (s *nn) dh(pub []byte) {
	p, err := ecdh.X25519().NewPublicKey(pub)
	if err != nil {
		panic(err)
	}
	z, err := s.e.ECDH(p)
	if err != nil {
		panic(err)
	}
	s.mixKey(z)
}

// The four steps: each side's two messages.
func (s *nn) write1(payload []byte) []byte {
	s.mixPSK()
	s.mixE(s.e.PublicKey().Bytes())
	return append(s.e.PublicKey().Bytes(), s.encrypt(payload)...)
}

func (s *nn) read1(msg []byte) ([]byte, error) {
	s.mixPSK()
	s.mixE(msg[:32])
	return s.decrypt(msg[32:])
}

func (s *nn) write2(theirs, payload []byte) []byte {
	s.mixE(s.e.PublicKey().Bytes())
	s.dh(theirs)
	return append(s.e.PublicKey().Bytes(), s.encrypt(payload)...)
}

func (s *nn) read2(msg []byte) ([]byte, error) {
	s.mixE(msg[:32])
	s.dh(msg[:32])
	return s.decrypt(msg[32:])
}

func (s *nn) split() (up, down []byte) {
	o := kdf(s.ck, nil, 2)
	return o[0], o[1]
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The published vectors hold for the second implementation. That they hold for
// github.com/flynn/noise, which we use, its own tests say; the transcript
// below ties the two together.
func TestNoiseVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/noise_vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for block := range strings.SplitSeq(string(raw), "\n\n") {
		v := map[string][]byte{}
		for line := range strings.Lines(block) {
			k, val, ok := strings.Cut(strings.TrimSpace(line), "=")
			if ok && k != "handshake" && !strings.HasPrefix(k, "#") {
				v[k] = unhex(t, val)
			}
		}
		if v["preshared_key"] == nil {
			continue
		}
		tried++
		a := newNN(v["prologue"], v["preshared_key"], v["gen_init_ephemeral"])
		b := newNN(v["prologue"], v["preshared_key"], v["gen_resp_ephemeral"])
		one := a.write1(v["msg_0_payload"])
		if !bytes.Equal(one, v["msg_0_ciphertext"]) {
			t.Errorf("vector %d: first message %x", tried, one)
		}
		if p, err := b.read1(one); err != nil || !bytes.Equal(p, v["msg_0_payload"]) {
			t.Errorf("vector %d: first message read as %x, %v", tried, p, err)
		}
		two := b.write2(one[:32], v["msg_1_payload"])
		if !bytes.Equal(two, v["msg_1_ciphertext"]) {
			t.Errorf("vector %d: second message %x", tried, two)
		}
		if _, err := a.read2(two); err != nil {
			t.Errorf("vector %d: %v", tried, err)
		}
		up, down := a.split()
		if got := gcm(up).Seal(nil, nonce(0), v["msg_2_payload"], nil); !bytes.Equal(got, v["msg_2_ciphertext"]) {
			t.Errorf("vector %d: third message %x", tried, got)
		}
		if got := gcm(down).Seal(nil, nonce(0), v["msg_3_payload"], nil); !bytes.Equal(got, v["msg_3_ciphertext"]) {
			t.Errorf("vector %d: fourth message %x", tried, got)
		}
	}
	if tried != 4 {
		t.Errorf("%d vectors, want 4", tried)
	}
}

// spy keeps what is written through it.
type spy struct {
	net.Conn
	mu  *sync.Mutex
	who string
	log *[]string
}

func (s spy) Write(b []byte) (int, error) {
	s.mu.Lock()
	*s.log = append(*s.log, fmt.Sprintf("%s %x", s.who, b))
	s.mu.Unlock()
	return s.Conn.Write(b)
}

// The golden transcript of a whole session with fixed ephemerals: no byte of
// the wire may change under version 1.
func TestTranscript(t *testing.T) {
	psk := bytes.Repeat([]byte{7}, 32)
	clientE, serverE := bytes.Repeat([]byte{0x11}, 32), bytes.Repeat([]byte{0x22}, 32)
	var lines []string
	synctest.Test(t, func(t *testing.T) { // time stands at 2000-01-01 00:00:00 UTC
		secret, err := seal.ParseSecret(hex.EncodeToString(psk))
		if err != nil {
			t.Fatal(err)
		}
		keys := ring(t, seal.Key{ID: "2026-11", Secret: secret})
		var mu sync.Mutex
		a, b := net.Pipe()
		var server *seal.Conn
		done := make(chan error, 1)
		go func() {
			var err error
			server, err = seal.Server(context.Background(), spy{b, &mu, "server", &lines},
				seal.Random(seal.Config{Keys: keys, Service: "payment", Identity: "payment"}, bytes.NewReader(serverE)))
			done <- err
		}()
		client, err := seal.Client(context.Background(), spy{a, &mu, "client", &lines},
			seal.Random(seal.Config{Keys: keys, Service: "payment", Identity: "order", Pad: 64, RekeyRecords: 3}, bytes.NewReader(clientE)))
		if err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		go func() {
			client.WriteRecord(append(seal.NewBuffer(64), "one"...))
			client.WriteRecord(append(seal.NewBuffer(64), "two, the last under its key"...))
			client.WriteRecord(append(seal.NewBuffer(64), "three"...))
			client.CloseWrite()
			done <- nil
		}()
		for _, want := range []string{"one", "two, the last under its key", "three"} {
			if got, err := server.ReadRecord(); err != nil || string(got) != want {
				t.Fatalf("%q, %v", got, err)
			}
		}
		server.ReadRecord()
		<-done
		a.Close()
		b.Close()
	})
	got := "# A session: fixed ephemerals 11.. and 22.., key 07.., padded to 64, 3 records a key.\n" + strings.Join(lines, "\n") + "\n"
	const file = "testdata/transcript.txt"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the wire changed:\n%s", got)
	}
	check(t, lines, psk, clientE, serverE)
}

// check reads the transcript by the second implementation.
func check(t *testing.T, lines []string, psk, clientE, serverE []byte) {
	var out [][]byte
	for _, l := range lines {
		_, h, _ := strings.Cut(l, " ")
		out = append(out, unhex(t, h))
	}
	if len(out) != 7 {
		t.Fatalf("%d writes, want 7: one each", len(out))
	}
	const open = 5 + len("2026-11")
	prologue := append(bytes.Clone(out[0][:open]), 7)
	prologue = append(prologue, "payment"...)
	a, b := newNN(prologue, psk, clientE), newNN(prologue, psk, serverE)
	stamp, err := b.read1(out[0][open:])
	if err != nil || binary.BigEndian.Uint64(stamp) != 946684800000 {
		t.Fatalf("stamp %x, %v", stamp, err)
	}
	if !bytes.Equal(a.write1(stamp), out[0][open:]) || !bytes.Equal(b.write2(out[0][open:open+32], nil), out[1][:48]) {
		t.Fatal("handshake messages differ")
	}
	up, down := b.split()
	read := func(key []byte, n uint64, rec []byte) []byte {
		t.Helper()
		if l := int(rec[1])<<16 | int(rec[2])<<8 | int(rec[3]); l != len(rec)-4 {
			t.Fatalf("length %d of %d", l, len(rec)-4)
		}
		p, err := gcm(key).Open(nil, nonce(n), rec[4:], rec[:4])
		if err != nil {
			t.Fatalf("record %d: %v", n, err)
		}
		if rec[0]&0x10 != 0 {
			p = p[:binary.BigEndian.Uint32(p[len(p)-4:])]
		}
		return p
	}
	if p := read(down, 0, out[1][48:]); string(p) != "\x00\x04\x00\x00\x07payment" {
		t.Errorf("server's hello %q", p)
	}
	if p := read(up, 0, out[2]); string(p) != "\x00\x04\x00\x00\x05order" {
		t.Errorf("client's hello %q", p)
	}
	for i, want := range []string{"one", "two, the last under its key", "three", ""} {
		n, rec := uint64(i+1), out[i+3]
		if p := read(up, n, rec); string(p) != want {
			t.Errorf("record %d: %q", n, p)
		}
		if last := i == 1; last != (rec[0]&0x20 != 0) {
			t.Errorf("record %d: first byte %x", n, rec[0])
		} else if last {
			up = gcm(up).Seal(nil, nonce(math.MaxUint64), make([]byte, 32), nil)[:32]
		}
	}
}

// ring returns a Keyring of keys, the first current.
func ring(t testing.TB, keys ...seal.Key) *seal.Keyring {
	t.Helper()
	r, err := seal.NewKeyring(seal.Keys{Current: keys[0].ID, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return r
}
