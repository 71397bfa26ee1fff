package grpcx

import (
	"context"
	"errors"
	"reflect"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/resilience"
)

// call is one unary call with all its tries.
type call struct {
	side       *clientSide
	method     *method
	full       string
	req, reply any
	opts       []grpc.CallOption

	cc     *grpc.ClientConn // with invoke: of a connection of its own
	invoke grpc.UnaryInvoker
	from   *Balanced // or one of several instances
	tried  avoided

	started time.Time
	kind    protoreflect.MessageType // of reply, nil if that is no message
	first   answer
	tries   atomic.Int32
	taken   atomic.Bool // some try decodes into reply
}

// answer is what one try brought. Only one try at a time, called direct, writes
// where the caller wants it; those beside it, of a hedge, have room of their
// own, and the one that won is copied when all have ended.
type answer struct {
	direct  bool
	reply   any
	peer    peer.Peer // without address when no stream was opened
	header  metadata.MD
	trailer metadata.MD
	room    [2]grpc.CallOption
}

func (c *call) do(ctx context.Context) error {
	c.started = time.Now()
	if m, ok := c.reply.(proto.Message); ok {
		c.kind = m.ProtoReflect().Type() // now: later a try may be writing
	}
	a, err := resilience.Do(ctx, c.side.guard, c.try, c.method.options(c.opts)...)
	if a != nil && !a.direct {
		c.hand(a, err == nil)
	}
	if err != nil {
		return c.side.leave(ctx, c.method, c.started, err)
	}
	return nil
}

// try is one exchange.
func (c *call) try(ctx context.Context) (*answer, error) {
	a, n, started := &c.first, int(c.tries.Add(1))-1, c.started
	if n > 0 {
		a, started = new(answer), time.Now()
	}
	if a.direct = c.taken.CompareAndSwap(false, true); a.direct {
		a.reply = c.reply
	} else if a.reply = c.fresh(); a.reply == nil {
		return a, errs.New(errs.Internal, c.side.op(c.method), "something went wrong on our side").
			Because(errors.New("grpcx: a reply that is no pointer cannot be hedged"))
	}
	ctx, x := c.side.begin(ctx, c.method, n, started)
	defer func() { x.end(ctx, c.side) }() // also when what is below panics
	err := c.exchange(outgoing(ctx), a, &x)
	x.peer, x.ended = a.peer.Addr, true
	if err == nil {
		return a, nil // and stays direct: a hedge that is late must not write over it
	}
	x.failed = c.side.decode(ctx, c.method, err, a.peer.Addr == nil, a.trailer)
	if a.direct {
		c.taken.Store(false)
	}
	return a, x.failed
}

func (c *call) exchange(ctx context.Context, a *answer, x *story) error {
	if c.from == nil {
		x.target = c.cc.Target()
		return c.invoke(ctx, c.full, c.req, a.reply, c.cc, a.options(c.opts)...)
	}
	if err := c.from.choose(x, c.side.Lane, &c.tried); err != nil {
		return err
	}
	return x.at.conn.Invoke(ctx, c.full, c.req, a.reply, a.options(c.opts)...)
}

// options are the caller's, and ours to learn what the error does not say.
func (a *answer) options(opts []grpc.CallOption) []grpc.CallOption {
	out := a.room[:0]
	if a.direct {
		out = append(out, opts...)
	} else {
		for _, o := range opts {
			switch o.(type) {
			case grpc.HeaderCallOption, grpc.TrailerCallOption, grpc.PeerCallOption:
			default:
				out = append(out, o)
			}
		}
		out = append(out, grpc.HeaderCallOption{HeaderAddr: &a.header})
	}
	return append(out, grpc.PeerCallOption{PeerAddr: &a.peer}, grpc.TrailerCallOption{TrailerAddr: &a.trailer})
}

// hand gives the caller what a try with room of its own brought.
func (c *call) hand(a *answer, good bool) {
	for _, o := range c.opts {
		switch o := o.(type) {
		case grpc.HeaderCallOption:
			*o.HeaderAddr = a.header
		case grpc.TrailerCallOption:
			*o.TrailerAddr = a.trailer
		case grpc.PeerCallOption:
			*o.PeerAddr = a.peer
		}
	}
	if !good {
		return
	}
	if to, ok := c.reply.(proto.Message); ok {
		proto.Reset(to)
		proto.Merge(to, a.reply.(proto.Message))
		return
	}
	reflect.ValueOf(c.reply).Elem().Set(reflect.ValueOf(a.reply).Elem()) // of another codec
}

// fresh is an empty message of reply's type, nil if there can be none.
func (c *call) fresh() any {
	if c.kind != nil {
		return c.kind.New().Interface()
	}
	if t := reflect.TypeOf(c.reply); t != nil && t.Kind() == reflect.Pointer {
		return reflect.New(t.Elem()).Interface()
	}
	return nil
}

// marked is an error of grpc with what it does not say about repeating.
type marked struct {
	error
	unsent bool // nothing has left this process
	never  bool // the server asked not to repeat
}

func (m *marked) Unwrap() error { return m.error }

// decode says in our words why a try failed that grpc gave err for.
func (s *clientSide) decode(ctx context.Context, m *method, err error, unsent bool, trailer metadata.MD) *errs.Error {
	wait, never := pushedBack(trailer)
	if unsent || never {
		err = &marked{err, unsent, never}
	}
	e := FromError(err)
	gaveUp := e.Kind() == errs.Canceled && ctx.Err() == nil // although we still wait: for reasons of its own
	switch {
	case e.Remote():
	case len(trailer) > 0:
		// A service said it, if not in our words: what grpc finds out by itself
		// has no trailer.
		p := e.Parts()
		if p.Remote = true; gaveUp {
			p = errs.Parts{Kind: errs.Unavailable, Remote: true}
		}
		e = errs.Assemble(p).Because(err)
	case gaveUp:
		e = errs.New(errs.Unavailable, s.op(m), "a service behind this one gave up").Because(e)
	}
	if wait > 0 && e.RetryDelay() == 0 {
		e = e.RetryAfter(wait)
	}
	if e.Remote() {
		return e.Behind(errs.Hop{Service: s.Target, Op: m.name, Error: e.Code()})
	}
	return e
}

// repeat says whether a failed try may be followed by another one.
func repeat(err error, idempotent bool) bool {
	e := errs.From(err)
	if m, ok := errors.AsType[*marked](err); ok {
		if m.never {
			return false
		}
		idempotent = idempotent || m.unsent && e.Kind() == errs.Unavailable
	}
	return idempotent && e.Kind().Retryable()
}

// leave is err as the caller gets it: what another service said is left as it
// is, what happened on the way gets a hop of ours.
func (s *clientSide) leave(ctx context.Context, m *method, started time.Time, err error) error {
	e := errs.From(err)
	if e.Remote() {
		return e
	}
	return e.At(errs.Border{Service: s.Service, Op: s.op(m), Started: started, Trace: flow.TraceID(ctx)})
}
