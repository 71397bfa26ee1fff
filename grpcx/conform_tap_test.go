package grpcx_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A tap is a listener that keeps every byte of its connections, so that a test
// can say what was on the wire and not only what came out of it.
type tap struct {
	net.Listener
	mu    sync.Mutex
	conns []*tapped
}

type tapped struct {
	net.Conn
	mu      sync.Mutex
	in, out bytes.Buffer // from the client, to the client
}

func listenTapped(t *testing.T) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &tap{Listener: l}
}

func (l *tap) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tc := &tapped{Conn: c}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, tc)
	return tc, nil
}

func (c *tapped) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in.Write(p[:n])
	return n, err
}

func (c *tapped) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.out.Write(p) // first: the other side may be done before Write has returned
	c.mu.Unlock()
	return c.Conn.Write(p)
}

// heard is all that the connections of l carried, as the bytes they were and,
// for HTTP/2, with its headers unpacked (they are Huffman-coded on the wire) and
// binary ones taken out of their base64.
func (l *tap) heard() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all strings.Builder
	for _, c := range l.conns {
		c.mu.Lock()
		in, out := bytes.Clone(c.in.Bytes()), bytes.Clone(c.out.Bytes())
		c.mu.Unlock()
		all.Write(in)
		all.WriteString("\n")
		all.Write(out)
		all.WriteString("\n")
		if rest, ok := bytes.CutPrefix(in, []byte(http2.ClientPreface)); ok {
			unpack(&all, rest)
			unpack(&all, out)
		}
	}
	return all.String()
}

func unpack(to io.Writer, wire []byte) {
	f := http2.NewFramer(io.Discard, bytes.NewReader(wire))
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return // the connection was closed there
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			for _, h := range frame.Fields {
				fmt.Fprintf(to, "%s: %s\n", h.Name, h.Value)
				if strings.HasSuffix(h.Name, "-bin") {
					raw, _ := base64.RawStdEncoding.DecodeString(strings.TrimRight(h.Value, "="))
					fmt.Fprintf(to, "%s\n", raw)
				}
			}
		case *http2.DataFrame:
			fmt.Fprintf(to, "%s\n", frame.Data())
		case *http2.GoAwayFrame:
			fmt.Fprintf(to, "%s\n", frame.DebugData())
		}
	}
}
