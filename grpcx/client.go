package grpcx

import (
	"context"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/retry"
)

// Client describes calls to one target. It is plain data; the zero value works
// but reports its target as "".
type Client struct {
	Service string            // service.name of the caller, written into error chains
	Target  string            // service.name of the callee
	Lane    string            // version behind this connection, when there are several; see Lanes
	Policy  resilience.Policy // the zero value is resilience.Default
	Observe observe.Sinks     // where spans and metrics go

	// Idempotent names methods that may be repeated, as "package.Service/Method"
	// or "package.Service/*". Methods whose .proto says idempotency_level =
	// NO_SIDE_EFFECTS or IDEMPOTENT need not be named, nor calls made with the
	// option Idempotent; Policy.Idempotent means all methods.
	Idempotent []string

	// ConnectTimeout bounds one try to connect; 0 means 1s, the article's.
	ConnectTimeout time.Duration
}

// DialOptions returns what to give grpc.NewClient, besides credentials. Every
// unary call is then under the Policy; each try is a client span and a
// measurement (rpc.client.call.duration), carries flow, and its failure is an
// *errs.Error that grpc's status package understands too.
//
// A call is tried again if it is idempotent; if not, only when it provably was
// not sent. A stream is under the breaker when it opens; after that nothing is
// repeated, and no limit of the Policy ends it, only its context.
//
// Each call of DialOptions makes its own breaker and budget: call it once for
// each connection.
func (c Client) DialOptions() []grpc.DialOption {
	name := c.Target
	if c.Lane != "" {
		name += "@" + c.Lane
	}
	s := &clientSide{Client: c, guard: resilience.New(name, c.Policy, c.Observe),
		tell: newTelemetry(c.Observe, trace.SpanKindClient), named: map[string]bool{}}
	for _, m := range c.Idempotent {
		s.named[strings.TrimPrefix(m, "/")] = true
	}
	connect := c.ConnectTimeout
	if connect == 0 {
		connect = time.Second
	}
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(s.unary),
		grpc.WithChainStreamInterceptor(s.stream),
		grpc.WithDisableRetry(), // one layer retries; grpc still repeats what the server never saw
		grpc.WithConnectParams(grpc.ConnectParams{
			// grpc's own limit of 120s would outlast most outages.
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
			MinConnectTimeout: connect,
		}),
	}
}

// Idempotent marks one call as one that may be repeated.
func Idempotent() grpc.CallOption { return idempotent{} }

type idempotent struct{ grpc.EmptyCallOption }

type clientSide struct {
	Client
	guard    *resilience.Guard
	tell     *telemetry
	named    map[string]bool
	declared sync.Map // method to whether its .proto says so
}

// repeatable says whether a call may be made twice.
func (s *clientSide) repeatable(method string, opts []grpc.CallOption) bool {
	for _, o := range opts {
		if _, ok := o.(idempotent); ok {
			return true
		}
	}
	service, _ := split(method)
	if s.guard.Policy().Idempotent || s.named[method] || s.named[service+"/*"] {
		return true
	}
	known, ok := s.declared.Load(method)
	if !ok {
		known, _ = s.declared.LoadOrStore(method, declared(protoregistry.GlobalFiles, method))
	}
	return known.(bool)
}

// declared reads the method's idempotency_level, where its .proto is compiled in.
func declared(files *protoregistry.Files, method string) bool {
	d, err := files.FindDescriptorByName(protoreflect.FullName(strings.ReplaceAll(method, "/", ".")))
	if err != nil {
		return false
	}
	o, ok := d.Options().(*descriptorpb.MethodOptions)
	return ok && o.GetIdempotencyLevel() != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN
}

func (s *clientSide) unary(ctx context.Context, full string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	method := strings.TrimPrefix(full, "/")
	if limit := s.guard.Policy().Timeout; limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	again := s.repeatable(method, opts)
	for n := 0; ; n++ {
		started, sent, tries := time.Now(), false, 0
		_, err := resilience.Do(ctx, s.guard, func(ctx context.Context) (none struct{}, err error) {
			tries++
			did, err := s.try(ctx, method, tries-1+n, cc.Target(), func(ctx context.Context, a *answer) error {
				return invoke(ctx, full, req, reply, cc, append(opts[:len(opts):len(opts)], grpc.Peer(&a.peer), grpc.Trailer(&a.trailer))...)
			})
			sent = sent || did
			return none, err
		}, resilience.Idempotent[struct{}](again))
		if err == nil {
			return nil
		}
		if !again && !sent && tries > 0 && s.later(ctx, n, err) {
			continue
		}
		return s.leave(ctx, method, started, err)
	}
}

// later decides about another try of a call that must not be made twice but
// never left this process, and waits for its time. It costs the target
// nothing, so it is not paid from the retry budget.
func (s *clientSide) later(ctx context.Context, n int, err error) bool {
	e := errs.From(err)
	if e.Kind() != errs.Unavailable || flow.Attempt(ctx) > 0 {
		return false
	}
	deadline, _ := ctx.Deadline()
	v := s.guard.Policy().Retry.Next(retry.Moment{Tries: n, Now: time.Now(), Deadline: deadline, After: e.RetryDelay(), Rand: rand.Float64()})
	return v.Again && retry.Wait(ctx, v.Wait) == nil
}

// answer is what grpc says about a try besides its error.
type answer struct {
	peer    peer.Peer // without address when no stream was opened
	trailer metadata.MD
}

// try is one exchange; sent is false when nothing can have left this process.
func (s *clientSide) try(ctx context.Context, method string, n int, target string, call func(context.Context, *answer) error) (sent bool, err error) {
	started := time.Now()
	ctx, span := s.open(ctx, method, n)
	var a answer
	var e *errs.Error
	defer func() {
		span.SetAttributes(addressOf(a.peer.Addr, target)...)
		s.tell.finish(ctx, span, method, time.Since(started), e)
	}()
	e = errs.New(errs.Internal, s.op(method), "something went wrong on our side") // while call panics
	err = call(outgoing(ctx), &a)
	if e = s.decode(ctx, method, err); e == nil {
		return true, nil
	}
	if d := pushedBack(a.trailer); d > 0 && e.RetryDelay() == 0 {
		e = e.RetryAfter(d)
	}
	return a.peer.Addr != nil, e
}

func (s *clientSide) open(ctx context.Context, method string, n int) (context.Context, trace.Span) {
	more := append(make([]attribute.KeyValue, 0, 4), keyPeer.String(s.Target), keyPeerName.String(s.Target))
	if s.Lane != "" {
		more = append(more, keyLane.String(s.Lane))
	}
	if n > 0 {
		more = append(more, keyTry.Int(n))
	}
	return s.tell.start(ctx, method, more...)
}

// op names calls of this client in chains.
func (s *clientSide) op(method string) string { return s.Target + " " + method }

// decode says in our words why a call failed; nil means it did not.
func (s *clientSide) decode(ctx context.Context, method string, err error) *errs.Error {
	if err == nil {
		return nil
	}
	e := FromError(err)
	if e.Kind() == errs.Canceled && ctx.Err() == nil {
		// We still wait: the callee was stopped, or gave up for reasons of its own.
		e = errs.New(errs.Unavailable, s.op(method), "a service behind this one gave up").Because(e)
	}
	if e.Remote() {
		return e.Behind(errs.Hop{Service: s.Target, Op: method, Error: e.Code()})
	}
	return e
}

// leave is err as the caller gets it: what another service said is left as it
// is, what happened on the way gets a hop of ours.
func (s *clientSide) leave(ctx context.Context, method string, started time.Time, err error) error {
	e := errs.From(err)
	if e.Remote() {
		return e
	}
	return e.At(errs.Border{Service: s.Service, Op: s.op(method), Started: started, Trace: flow.TraceID(ctx)})
}

// outgoing puts flow into the metadata; grpc-timeout is grpc's own.
func outgoing(ctx context.Context) context.Context {
	md, ok := metadata.FromOutgoingContext(ctx)
	if !ok {
		md = metadata.MD{}
	}
	flow.InjectCarrier(ctx, carrier(md)) // a copy already
	return metadata.NewOutgoingContext(ctx, md)
}

// addressOf names the other end: the one connected to, or else the target.
func addressOf(peer net.Addr, target string) []attribute.KeyValue {
	if peer != nil {
		return address(peer.String())
	}
	if i := strings.LastIndexByte(target, '/'); i >= 0 { // "dns:///host:port"
		target = target[i+1:]
	}
	return address(target)
}
