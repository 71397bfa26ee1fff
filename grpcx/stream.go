package grpcx

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/breaker"
)

// stream is the interceptor of a connection of its own.
func (s *clientSide) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, full string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	o := &opening{side: s, method: s.method(full), desc: desc, full: full, opts: opts, cc: cc, streamer: streamer}
	return o.do(ctx)
}

// opening is a stream before there is one.
type opening struct {
	side   *clientSide
	method *method
	desc   *grpc.StreamDesc
	full   string
	opts   []grpc.CallOption

	cc       *grpc.ClientConn // with streamer: of a connection of its own
	streamer grpc.Streamer
	from     *Balanced // or one of several instances
	tried    avoided
	tries    int
}

func (o *opening) do(ctx context.Context) (grpc.ClientStream, error) {
	started := time.Now()
	cs, err := resilience.Do(ctx, o.side.guard, func(try context.Context) (*clientStream, error) {
		return o.try(ctx, try)
	}, o.method.opening...)
	if err != nil {
		return nil, o.side.leave(ctx, o.method, started, err)
	}
	return cs, nil
}

// try opens one. The stream lives by the caller's ctx; the try's bounds only
// the opening.
func (o *opening) try(caller, try context.Context) (*clientStream, error) {
	ctx, cancel := context.WithCancel(caller)
	timely := context.AfterFunc(try, cancel)
	if n := flow.Attempt(try); n > 0 {
		ctx = flow.WithAttempt(ctx, n)
	}
	out := &clientStream{side: o.side, caller: caller, cancel: cancel, one: !o.desc.ServerStreams}
	out.ctx, out.story = o.side.begin(ctx, o.method, o.tries, time.Now())
	out.story.long = true
	o.tries++
	returned := false
	defer func() {
		if !returned { // what is below panicked: nothing may stay counted
			out.finished(errs.New(errs.Internal, o.side.op(o.method), "something went wrong on our side"))
		}
	}()
	inner, err := o.open(out)
	returned = true
	out.unsent = err != nil && o.tries == 1 // once
	if err == nil && !timely() {
		err = context.Cause(try)
	}
	if err != nil {
		return nil, out.finish(err)
	}
	out.ClientStream = inner
	if !out.state.CompareAndSwap(opens, opened) {
		out.report(out.story.failed) // ended already
	}
	return out, nil
}

func (o *opening) open(out *clientStream) (grpc.ClientStream, error) {
	ctx := outgoing(out.ctx)
	opts := append(o.opts[:len(o.opts):len(o.opts)], grpc.TrailerCallOption{TrailerAddr: &out.trailer}, grpc.OnFinish(out.finished))
	if o.from == nil {
		out.story.target = o.cc.Target()
		return o.streamer(ctx, o.desc, o.cc, o.full, opts...)
	}
	if err := o.from.choose(&out.story, o.side.Lane, &o.tried); err != nil {
		return nil, err
	}
	return out.story.at.conn.NewStream(ctx, o.desc, o.full, opts...)
}

// clientStream tells about a stream when it ends, and decodes its errors.
type clientStream struct {
	grpc.ClientStream
	side   *clientSide
	caller context.Context // the caller's
	ctx    context.Context // the stream's
	cancel context.CancelFunc
	one    bool // the server sends one message
	unsent bool // it could not be opened, and that may be tried again

	trailer metadata.MD  // set when grpc tells of the end
	state   atomic.Int32 // of the opening, until it ends or is handed to the caller
	heard   atomic.Bool  // the server has sent a message

	once  sync.Once
	story story
}

// The states of a stream. One that ends while it opens is the guard's to count.
const (
	opens int32 = iota
	opened
	ended
)

// finished is told by grpc, once, however the stream ends.
func (c *clientStream) finished(err error) { _ = c.finish(err) }

// finish tells about the stream once and returns err as the caller gets it.
func (c *clientStream) finish(err error) error {
	var e *errs.Error
	if err != nil && !errors.Is(err, io.EOF) {
		e = c.side.decode(c.ctx, c.story.method, err, c.unsent, c.trailer)
	}
	c.once.Do(func() {
		c.story.failed, c.story.ended = e, true
		c.story.end(c.ctx, c.side)
		if !c.state.CompareAndSwap(opens, ended) {
			c.report(e)
		}
		c.cancel()
	})
	if e == nil {
		return err
	}
	return e
}

// report tells the breaker how the stream ended. That the caller's time ran out
// on a stream that worked is no failure.
func (c *clientStream) report(e *errs.Error) {
	switch {
	case e == nil:
		c.side.guard.Report(c.caller, nil)
	case !c.heard.Load() || !errors.Is(c.caller.Err(), context.DeadlineExceeded):
		c.side.guard.Report(c.caller, e)
	}
}

// RecvMsg is grpc's, with an error of ours.
func (c *clientStream) RecvMsg(m any) error {
	err := c.ClientStream.RecvMsg(m)
	if err == nil {
		if !c.heard.Load() {
			c.hear()
		}
		if !c.one {
			return nil
		}
	}
	if err = c.finish(err); err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return c.side.leave(c.ctx, c.story.method, c.story.started, err)
}

// hear notes the first message. While the breaker tries the target out, it is
// an answer: the end may be hours away.
func (c *clientStream) hear() {
	c.heard.Store(true)
	if c.side.guard.State() != breaker.Closed {
		c.side.guard.Report(c.caller, nil)
	}
}

// SendMsg passes io.EOF on: grpc then has the reason in RecvMsg.
func (c *clientStream) SendMsg(m any) error {
	err := c.ClientStream.SendMsg(m)
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return c.side.leave(c.ctx, c.story.method, c.story.started, c.finish(err))
}
