package seal_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/surefoot-go/surefoot/pipe/seal"
)

var sizes = []int{64, 1 << 10, 16 << 10, 64 << 10, 256<<10 - seal.Head - seal.Tail}

// The physical limit: AES-256-GCM as crypto/cipher does it, in place.
func BenchmarkRaw(b *testing.B) {
	block, _ := aes.NewCipher(make([]byte, 32))
	gcm, _ := cipher.NewGCM(block)
	nonce, ad := make([]byte, 12), make([]byte, 4)
	for _, n := range sizes {
		b.Run(fmt.Sprintf("seal/%d", n), func(b *testing.B) {
			buf := make([]byte, n, n+16)
			b.SetBytes(int64(n))
			for b.Loop() {
				gcm.Seal(buf[:0], nonce, buf[:n], ad)
			}
		})
		b.Run(fmt.Sprintf("open/%d", n), func(b *testing.B) {
			sealed := gcm.Seal(nil, nonce, make([]byte, n), ad)
			buf := make([]byte, n+16)
			b.SetBytes(int64(n))
			for b.Loop() {
				copy(buf, sealed)
				if _, err := gcm.Open(buf[:0], nonce, buf, ad); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSeal(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := seal.NewHalf()
			buf := seal.NewBuffer(n)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Seal(buf[:seal.Head+n], 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Opening needs a fresh record each time: what is measured is sealing and
// opening, to be compared with the sum of Raw's two.
func BenchmarkSealOpen(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, o := seal.NewHalf(), seal.NewHalf()
			buf := seal.NewBuffer(n)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				rec, err := s.Seal(buf[:seal.Head+n], 0)
				if err != nil {
					b.Fatal(err)
				}
				if _, _, err := o.Open(rec); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// loopback returns both ends of a TCP connection on loopback.
func loopback(tb testing.TB) (here, there net.Conn) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	if here, err = net.Dial("tcp", l.Addr().String()); err != nil {
		tb.Fatal(err)
	}
	if there, err = l.Accept(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { here.Close(); there.Close() })
	return here, there
}

// Plain bytes over loopback, to see what the kernel takes.
func BenchmarkLoopbackPlain(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			here, there := loopback(b)
			done := make(chan struct{})
			go func() {
				defer close(done)
				buf := make([]byte, 256<<10)
				for {
					if _, err := there.Read(buf); err != nil {
						return
					}
				}
			}()
			buf := make([]byte, n)
			b.SetBytes(int64(n))
			for b.Loop() {
				here.Write(buf)
			}
			here.Close()
			<-done
		})
	}
}

// Sealed records over loopback, received and opened.
func BenchmarkLoopbackSealed(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			here, there := loopback(b)
			ring, _ := seal.NewKeyring(seal.Keys{Keys: []seal.Key{{ID: "k", Secret: seal.NewSecret()}}})
			done := make(chan error, 1)
			go func() {
				c, err := seal.Server(context.Background(), there, seal.Config{Keys: ring})
				for err == nil {
					_, err = c.ReadRecord()
				}
				done <- err
			}()
			c, err := seal.Client(context.Background(), here, seal.Config{Keys: ring})
			if err != nil {
				b.Fatal(err)
			}
			buf := seal.NewBuffer(n)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if err := c.WriteRecord(buf[:seal.Head+n]); err != nil {
					b.Fatal(err)
				}
			}
			c.Close()
			if err := <-done; !errors.Is(err, io.EOF) {
				b.Fatal(err)
			}
		})
	}
}
