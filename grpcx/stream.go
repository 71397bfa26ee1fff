package grpcx

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/resilience"
)

func (s *clientSide) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, full string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	method := strings.TrimPrefix(full, "/")
	started := time.Now()
	cs, err := resilience.Do(ctx, s.guard, func(try context.Context) (grpc.ClientStream, error) {
		// The stream lives by the caller's context; the try's bounds only the opening.
		ctx, cancel := context.WithCancel(ctx)
		opened := context.AfterFunc(try, cancel)
		sctx, span := s.open(ctx, method, 0)
		out := &clientStream{side: s, ctx: sctx, cancel: cancel, span: span, method: method, target: cc.Target(), started: started, one: !desc.ServerStreams}
		inner, err := streamer(outgoing(sctx), desc, cc, full, opts...)
		if err == nil && !opened() {
			err = context.Cause(try)
		}
		if err != nil {
			return nil, out.finish(err)
		}
		out.ClientStream = inner
		context.AfterFunc(sctx, func() { _ = out.finish(sctx.Err()) }) // finish itself ends sctx
		return out, nil
	}, resilience.Idempotent[grpc.ClientStream](false))
	if err != nil {
		return nil, s.leave(ctx, method, started, err)
	}
	return cs, nil
}

// clientStream ends its span when the stream does, and decodes its errors.
type clientStream struct {
	grpc.ClientStream
	side    *clientSide
	ctx     context.Context
	cancel  context.CancelFunc
	span    trace.Span
	method  string
	target  string
	started time.Time
	one     bool // the server sends one message
	once    sync.Once
}

// finish tells about the stream once and returns err as the caller gets it.
func (c *clientStream) finish(err error) error {
	var e *errs.Error
	if err != nil && !errors.Is(err, io.EOF) {
		e = c.side.decode(c.ctx, c.method, err)
	}
	c.once.Do(func() {
		c.span.SetAttributes(addressOf(nil, c.target)...)
		c.side.tell.finish(c.ctx, c.span, c.method, time.Since(c.started), e)
		c.cancel()
	})
	if e == nil {
		return err
	}
	return e
}

func (c *clientStream) RecvMsg(m any) error {
	err := c.ClientStream.RecvMsg(m)
	if err == nil && !c.one {
		return nil
	}
	if err = c.finish(err); err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return c.side.leave(c.ctx, c.method, c.started, err)
}

// SendMsg passes io.EOF on: grpc then has the reason in RecvMsg.
func (c *clientStream) SendMsg(m any) error {
	err := c.ClientStream.SendMsg(m)
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return c.side.leave(c.ctx, c.method, c.started, c.finish(err))
}
