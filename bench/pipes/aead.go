package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"github.com/surefoot-go/surefoot/safe"
)

// aead is AES-256-GCM with a counter for a nonce.
type aead struct {
	cipher.AEAD
	nonce [12]byte
	n     uint64
}

func newAEAD(secret []byte) (*aead, error) {
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	return &aead{AEAD: gcm}, err
}

func (a *aead) next() []byte {
	binary.LittleEndian.PutUint64(a.nonce[4:], a.n)
	a.n++
	return a.nonce[:]
}

const tag = 16

// byHand fills a record with messages and seals it in place.
//
//	4 length of what follows | sealed: (4 length, bytes) ... | 16 tag
type byHand struct {
	to  net.Conn
	key *aead
	rec []byte
}

func dialByHand(ctx context.Context, s setup) (sender, error) {
	key, err := newAEAD(s.Secret)
	if err != nil {
		return nil, err
	}
	c, err := dialConn(ctx, s)
	if err != nil {
		return nil, err
	}
	return &byHand{c, key, make([]byte, 4, 4+bufferSize+4+tag)}, nil
}

func (h *byHand) Send(_ context.Context, b []byte) error {
	if len(h.rec)+4+len(b)+tag > cap(h.rec) {
		if err := h.Flush(); err != nil {
			return err
		}
	}
	h.rec = append(binary.LittleEndian.AppendUint32(h.rec, uint32(len(b))), b...)
	return nil
}

func (h *byHand) Flush() error {
	if len(h.rec) == 4 {
		return nil
	}
	binary.LittleEndian.PutUint32(h.rec, uint32(len(h.rec)-4+tag))
	sealed := h.key.Seal(h.rec[:4], h.key.next(), h.rec[4:], h.rec[:4])
	h.rec = h.rec[:4]
	_, err := h.to.Write(sealed)
	return err
}

func (h *byHand) Close() error { return h.to.Close() }

func serveByHand(ctx context.Context, s setup, take func([]byte)) (string, func(), error) {
	key, err := newAEAD(s.Secret)
	if err != nil {
		return "", nil, err
	}
	return serveConn(ctx, nil, func(c net.Conn) error {
		// Room for a whole record behind a part of one: most reads bring many small ones or most of a large one.
		b, from, to := make([]byte, 4*bufferSize), 0, 0
		fill := func(n int) error {
			if from+n > len(b) {
				from, to = 0, copy(b, b[from:to])
			}
			m, err := io.ReadAtLeast(c, b[to:], max(0, n-(to-from)))
			to += m
			return err
		}
		for {
			if to-from < 4 {
				if err := fill(4); err != nil {
					return err
				}
			}
			n := int(binary.LittleEndian.Uint32(b[from:]))
			if n > 4+bufferSize+tag {
				return errors.New("a record that is too long")
			}
			if to-from < 4+n {
				if err := fill(4 + n); err != nil {
					return err
				}
			}
			rec := b[from : from+4+n]
			from += 4 + n
			open, err := key.Open(rec[4:4], key.next(), rec[4:], rec[:4])
			if err != nil {
				return err
			}
			for len(open) > 4 {
				n := binary.LittleEndian.Uint32(open)
				take(open[4 : 4+n])
				open = open[4+n:]
			}
		}
	})
}

// limit is how fast AES-256-GCM is in memory, in bytes a second.
type limit struct{ seal, open, both float64 }

// measure seals and opens messages of size for each, alone and then one core
// sealing what the other opens.
func measureLimit(ctx context.Context, size int, each time.Duration) (l limit, err error) {
	key, err := newAEAD(make([]byte, 32))
	if err != nil {
		return l, err
	}
	b := make([]byte, size, size+tag)
	l.seal = perSecond(size, each, func() { key.Seal(b[:0], key.next(), b, nil) })
	nonce := append([]byte(nil), key.next()...)
	sealed, into := key.Seal(nil, nonce, b, nil), make([]byte, 0, size)
	l.open = perSecond(size, each, func() {
		if _, e := key.Open(into, nonce, sealed, nil); e != nil {
			err = e
		}
	})
	if err != nil {
		return l, err
	}
	l.both, err = bothCores(ctx, size, each)
	return l, err
}

// perSecond is how many bytes a second do handles, size a call.
func perSecond(size int, each time.Duration, do func()) float64 {
	began, n := time.Now(), 0
	for time.Since(began) < each {
		for range max(1, 64<<10/size) {
			do()
			n++
		}
	}
	return float64(n) * float64(size) / time.Since(began).Seconds()
}

// bothCores seals in one goroutine what it opens in another. They pass each
// other batches of 256 KiB at least, so that the passing costs next to nothing.
func bothCores(ctx context.Context, size int, each time.Duration) (float64, error) {
	key1, err1 := newAEAD(make([]byte, 32))
	key2, err2 := newAEAD(make([]byte, 32))
	if err := errors.Join(err1, err2); err != nil {
		return 0, err
	}
	many := max(1, 256<<10/size)
	free, full := make(chan [][]byte, 4), make(chan [][]byte, 4)
	for range 4 {
		batch := make([][]byte, many)
		for i := range batch {
			batch[i] = make([]byte, size, size+tag)
		}
		free <- batch
	}
	began := time.Now()
	task := safe.Go(ctx, "seal", func(context.Context) error {
		defer close(full)
		for time.Since(began) < each {
			batch := <-free
			for i, b := range batch {
				batch[i] = key1.Seal(b[:0], key1.next(), b, nil)
			}
			full <- batch
		}
		return nil
	})
	n, failed := 0, error(nil)
	for batch := range full {
		for i, b := range batch {
			open, err := key2.Open(b[:0], key2.next(), b, nil)
			if err != nil {
				failed = err
				open = b[:size]
			}
			batch[i] = open
			n++
		}
		free <- batch
	}
	took := time.Since(began)
	return float64(n) * float64(size) / took.Seconds(), errors.Join(failed, task.Wait())
}

var opensslLine = regexp.MustCompile(`(?m)^AES-256-GCM +([0-9.]+)k`)

// openssl is what `openssl speed` says of sealing in bytes a second, 0 if it is
// not there.
func openssl(ctx context.Context, size int) float64 {
	out, err := exec.CommandContext(ctx, "openssl", "speed", "-seconds", "1", "-bytes", strconv.Itoa(size), "-evp", "aes-256-gcm").Output()
	if err != nil {
		return 0
	}
	m := opensslLine.FindSubmatch(out)
	if m == nil {
		return 0
	}
	k, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		return 0
	}
	return 1000 * k
}
