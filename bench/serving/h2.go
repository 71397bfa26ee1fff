package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// h2 is one HTTP/2 connection in the clear that sends the same request over
// and over. send and read may run beside each other; neither twice.
type h2 struct {
	header []byte // the request, ready-made
	data   []byte // its body; nil means none
	proof  hpack.HeaderField

	in     *bufio.Reader
	frames *http2.Framer
	decode *hpack.Decoder
	proven bool            // the header block being read has proof
	said   string          // what it had instead
	good   map[uint32]bool // streams under way that have shown proof
	eaten  uint32

	mu   sync.Mutex // below
	out  *bufio.Writer
	next uint32
}

func newH2(c net.Conn, request []hpack.HeaderField, data []byte, proof hpack.HeaderField) (*h2, error) {
	h := &h2{data: data, proof: proof, in: bufio.NewReaderSize(c, 64<<10), out: bufio.NewWriterSize(c, 64<<10), next: 1, good: map[uint32]bool{}}
	block := new(appender)
	enc := hpack.NewEncoder(block)
	for _, f := range request {
		f.Sensitive = true // never indexed: the same bytes serve every request
		if err := enc.WriteField(f); err != nil {
			return nil, err
		}
	}
	h.header = *block
	h.decode = hpack.NewDecoder(4096, func(f hpack.HeaderField) {
		if f.Name != h.proof.Name {
			return
		}
		if f.Value == h.proof.Value {
			h.proven = true
		} else {
			h.said = f.Value
		}
	})
	h.frames = http2.NewFramer(h.out, h.in)
	h.frames.SetReuseFrames()
	if _, err := h.out.WriteString(http2.ClientPreface); err != nil {
		return nil, err
	}
	if err := h.frames.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 0}); err != nil {
		return nil, err
	}
	if err := h.frames.WriteWindowUpdate(0, 1<<30); err != nil {
		return nil, err
	}
	return h, h.out.Flush()
}

type appender []byte

func (a *appender) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}

// send begins one more request, without a flush, and returns its stream.
func (h *h2) send() (uint32, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := h.next
	h.next += 2
	err := h.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: h.header, EndHeaders: true, EndStream: h.data == nil})
	if err == nil && h.data != nil {
		err = h.frames.WriteData(id, true, h.data)
	}
	return id, err
}

func (h *h2) flush() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.out.Flush()
}

// read returns the next stream that was answered, and whether rightly. Before
// it waits it flushes.
func (h *h2) read() (stream uint32, right bool, err error) {
	for {
		if h.in.Buffered() == 0 {
			if err := h.flush(); err != nil {
				return 0, false, err
			}
		}
		f, err := h.frames.ReadFrame()
		if err != nil {
			return 0, false, err
		}
		switch f := f.(type) {
		case *http2.HeadersFrame:
			if !f.HeadersEnded() {
				return 0, false, fmt.Errorf("a header that needs CONTINUATION")
			}
			h.proven = false
			if _, err := h.decode.Write(f.HeaderBlockFragment()); err != nil {
				return 0, false, err
			}
			if err := h.decode.Close(); err != nil {
				return 0, false, err
			}
			if f.StreamEnded() {
				return f.StreamID, h.proven || h.was(f.StreamID), nil
			}
			if h.proven {
				h.good[f.StreamID] = true
			}
		case *http2.DataFrame:
			if err := h.eat(f.Length); err != nil {
				return 0, false, err
			}
			if f.StreamEnded() {
				return f.StreamID, h.was(f.StreamID), nil
			}
		case *http2.SettingsFrame:
			err = h.control(!f.IsAck(), func() error { return h.frames.WriteSettingsAck() })
		case *http2.PingFrame:
			err = h.control(!f.IsAck(), func() error { return h.frames.WritePing(true, f.Data) })
		case *http2.RSTStreamFrame:
			return f.StreamID, false, nil
		case *http2.GoAwayFrame:
			return 0, false, fmt.Errorf("the server goes away: %v", f.ErrCode)
		}
		if err != nil {
			return 0, false, err
		}
	}
}

// was says whether a stream has shown proof before its end.
func (h *h2) was(stream uint32) bool {
	ok := h.good[stream]
	delete(h.good, stream)
	return ok
}

func (h *h2) control(do bool, write func() error) error {
	if !do {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return write()
}

// eat gives the connection's window back, in large pieces.
func (h *h2) eat(n uint32) error {
	h.eaten += n
	if h.eaten < 1<<24 {
		return nil
	}
	n, h.eaten = h.eaten, 0
	return h.control(true, func() error { return h.frames.WriteWindowUpdate(0, n) })
}

// askGRPC is one connection with 16 calls under way.
func askGRPC(ctx context.Context, addr string, n *tally) error {
	c, end, err := connect(ctx, addr)
	if err != nil {
		return err
	}
	defer end()
	body, err := proto.Marshal(wrapperspb.String("17"))
	if err != nil {
		return err
	}
	data := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))), body...)
	h, err := newH2(c, []hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: grpcMethod}, {Name: ":authority", Value: addr},
		{Name: "content-type", Value: "application/grpc"}, {Name: "user-agent", Value: "bench"}, {Name: "te", Value: "trailers"},
	}, data, hpack.HeaderField{Name: "grpc-status", Value: "0"})
	if err != nil {
		return over(ctx, err)
	}
	for range 16 {
		if _, err := h.send(); err != nil {
			return over(ctx, err)
		}
	}
	for {
		_, right, err := h.read()
		if err == nil {
			if right {
				n.answered.Add(1)
			} else {
				n.refused.Add(1) // or failed: told apart by nobody here
			}
			_, err = h.send()
		}
		if err != nil {
			return over(ctx, err)
		}
	}
}
