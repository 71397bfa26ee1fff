package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/surefoot-go/surefoot/safe"
)

// downstream answers every request over HTTP/2 in the clear after d. It writes
// ready-made bytes: a server with a goroutine for each request would take the
// processor from the process that is measured.
func downstream(l net.Listener, d time.Duration) server {
	ctx, cancel := context.WithCancel(context.Background())
	g := safe.Group{Name: "downstream", Max: -1, All: true}
	task := safe.Go(ctx, "downstream accept", func(context.Context) error {
		for {
			c, err := l.Accept()
			if err != nil {
				return err
			}
			g.Go(ctx, func(ctx context.Context) error {
				stop := context.AfterFunc(ctx, func() { _ = c.Close() })
				defer stop()
				defer c.Close()
				return answerLate(ctx, c, d)
			})
		}
	})
	return server{addr: l.Addr().String(), count: func() map[string]float64 { return nil }, stop: func() {
		cancel()
		_ = l.Close()
		_ = task.Wait()
		_ = g.Wait()
	}}
}

// promise is a request to be answered at a time.
type promise struct {
	stream uint32
	at     time.Time
}

// answerLate serves one connection. All answers are equally late, so they leave
// in the order the requests came.
func answerLate(ctx context.Context, c net.Conn, d time.Duration) error {
	in, out := bufio.NewReaderSize(c, 64<<10), bufio.NewWriterSize(c, 64<<10)
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(in, preface); err != nil || string(preface) != http2.ClientPreface {
		return fmt.Errorf("no HTTP/2: %q, %w", preface, err)
	}
	frames := http2.NewFramer(out, in)
	frames.SetReuseFrames()
	var mu sync.Mutex // out
	write := func(f func() error) error {
		mu.Lock()
		defer mu.Unlock()
		if err := f(); err != nil {
			return err
		}
		return out.Flush()
	}
	if err := write(func() error {
		return frames.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: streams})
	}); err != nil {
		return err
	}
	due := make(chan promise, streams) // the client may have no more under way
	answers := safe.Go(ctx, "downstream answers", func(ctx context.Context) error { return keep(ctx, due, frames, write) })
	defer answers.Wait()
	defer close(due)
	for {
		f, err := frames.ReadFrame()
		if err != nil {
			return err
		}
		switch f := f.(type) {
		case *http2.HeadersFrame:
			due <- promise{f.StreamID, time.Now().Add(d)}
		case *http2.SettingsFrame:
			if !f.IsAck() {
				err = write(frames.WriteSettingsAck)
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				err = write(func() error { return frames.WritePing(true, f.Data) })
			}
		}
		if err != nil {
			return err
		}
	}
}

// keep answers each promise when it is due, several at once where it can.
func keep(ctx context.Context, due <-chan promise, frames *http2.Framer, write func(func() error) error) error {
	body := []byte(`{"id":"17","status":"paid","amount":1299}`)
	block := new(appender)
	enc := hpack.NewEncoder(block)
	for _, f := range []hpack.HeaderField{{Name: ":status", Value: "200"}, {Name: "content-type", Value: contentType}, {Name: "content-length", Value: fmt.Sprint(len(body))}} {
		f.Sensitive = true // never indexed: the same bytes serve every answer
		if err := enc.WriteField(f); err != nil {
			return err
		}
	}
	answer := func(p promise) error {
		if err := frames.WriteHeaders(http2.HeadersFrameParam{StreamID: p.stream, BlockFragment: *block, EndHeaders: true}); err != nil {
			return err
		}
		return frames.WriteData(p.stream, true, body)
	}
	for p := range due {
		wait(ctx, time.Until(p.at))
		if err := write(func() error { return answer(p) }); err != nil {
			for range due { // nobody reads them, and the reader must not block
			}
			return err
		}
	}
	return nil
}
