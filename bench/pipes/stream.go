package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/surefoot-go/surefoot/safe"
)

const bufferSize = 64 << 10

// frames sends length and bytes; with batch they go through a bufio.Writer.
type frames struct {
	to    io.WriteCloser
	batch *bufio.Writer
	one   []byte // length and bytes of one message, without batch
}

func (f *frames) Send(_ context.Context, b []byte) error {
	if f.batch == nil {
		f.one = append(binary.LittleEndian.AppendUint32(f.one[:0], uint32(len(b))), b...)
		_, err := f.to.Write(f.one)
		return err
	}
	var length [4]byte
	binary.LittleEndian.PutUint32(length[:], uint32(len(b)))
	_, err1 := f.batch.Write(length[:])
	_, err2 := f.batch.Write(b)
	return errors.Join(err1, err2)
}

func (f *frames) Flush() error {
	if f.batch == nil {
		return nil
	}
	return f.batch.Flush()
}

func (f *frames) Close() error { return f.to.Close() }

func batched(to io.WriteCloser) *frames {
	return &frames{to: to, batch: bufio.NewWriterSize(to, bufferSize)}
}

// readFrames reads what frames sends, until from ends.
func readFrames(from io.Reader, take func([]byte)) error {
	r, b := bufio.NewReaderSize(from, bufferSize), make([]byte, largest)
	for {
		length, err := r.Peek(4)
		if err != nil {
			return err
		}
		n := binary.LittleEndian.Uint32(length)
		if n > largest {
			return errors.New("a message that is too long")
		}
		_, _ = r.Discard(4)
		if _, err := io.ReadFull(r, b[:n]); err != nil {
			return err
		}
		take(b[:n])
	}
}

// serveConn accepts one connection and hands it to read.
func serveConn(ctx context.Context, wrap func(net.Listener) net.Listener, read func(net.Conn) error) (string, func(), error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	addr := l.Addr().String()
	if wrap != nil {
		l = wrap(l)
	}
	task := safe.Go(ctx, "receiver", func(context.Context) error {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		defer c.Close()
		return read(c)
	})
	return addr, func() {
		_ = l.Close()
		select { // the sender has gone already
		case <-task.Done():
		case <-time.After(time.Second):
		}
	}, nil
}

func dialConn(ctx context.Context, s setup) (net.Conn, error) {
	return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", s.Addr)
}

func serveTCP(ctx context.Context, s setup, take func([]byte)) (string, func(), error) {
	return serveConn(ctx, nil, func(c net.Conn) error { return readFrames(c, take) })
}

func dialTCP(ctx context.Context, s setup) (sender, error) {
	c, err := dialConn(ctx, s)
	if err != nil {
		return nil, err
	}
	return batched(c), nil
}

func serveTLS(ctx context.Context, s setup, take func([]byte)) (string, func(), error) {
	t, err := s.tls()
	if err != nil {
		return "", nil, err
	}
	wrap := func(l net.Listener) net.Listener { return tls.NewListener(l, t) }
	return serveConn(ctx, wrap, func(c net.Conn) error { return readFrames(c, take) })
}

func dialTLS(batch bool) func(context.Context, setup) (sender, error) {
	return func(ctx context.Context, s setup) (sender, error) {
		c, err := tlsConn(ctx, s)
		if err != nil {
			return nil, err
		}
		if batch {
			return batched(c), nil
		}
		return &frames{to: c}, nil
	}
}

func tlsConn(ctx context.Context, s setup) (net.Conn, error) {
	t, err := s.tls()
	if err != nil {
		return nil, err
	}
	c, err := dialConn(ctx, s)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(c, t)
	return secure, secure.HandshakeContext(ctx)
}

func yamuxSettings() *yamux.Config {
	c := yamux.DefaultConfig()
	c.LogOutput, c.MaxStreamWindowSize = io.Discard, 4<<20
	return c
}

func serveYamux(ctx context.Context, s setup, take func([]byte)) (string, func(), error) {
	t, err := s.tls()
	if err != nil {
		return "", nil, err
	}
	wrap := func(l net.Listener) net.Listener { return tls.NewListener(l, t) }
	return serveConn(ctx, wrap, func(c net.Conn) error {
		session, err := yamux.Server(c, yamuxSettings())
		if err != nil {
			return err
		}
		defer session.Close()
		stream, err := session.Accept()
		if err != nil {
			return err
		}
		return readFrames(stream, take)
	})
}

// yamuxStream closes its session, too.
type yamuxStream struct {
	*yamux.Stream
	session *yamux.Session
}

func (s yamuxStream) Close() error { return errors.Join(s.Stream.Close(), s.session.Close()) }

func dialYamux(ctx context.Context, s setup) (sender, error) {
	c, err := tlsConn(ctx, s)
	if err != nil {
		return nil, err
	}
	session, err := yamux.Client(c, yamuxSettings())
	if err != nil {
		return nil, err
	}
	stream, err := session.OpenStream()
	if err != nil {
		return nil, err
	}
	return batched(yamuxStream{stream, session}), nil
}
