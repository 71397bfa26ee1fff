package grpcx

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
)

// Client describes calls to one target. It is plain data; the zero value works
// but reports its target as "".
type Client struct {
	Service string            // service.name of the caller, written into error chains
	Target  string            // service.name of the callee
	Lane    string            // version behind this connection, when there are several; see Lanes
	Policy  resilience.Policy // the zero value is resilience.Default; its Methods are by "package.Service/Method"
	Board   *resilience.Board // where the guard is shown; nil means nowhere
	Observe observe.Sinks     // where spans and metrics go

	// Idempotent names methods that may be repeated, as "package.Service/Method"
	// or "package.Service/*". Methods whose .proto says idempotency_level =
	// NO_SIDE_EFFECTS or IDEMPOTENT need not be named, nor calls made with the
	// option Idempotent; Policy.Idempotent means all.
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
// not sent. Both are paid from the retry budget. A server that says
// grpc-retry-pushback-ms is obeyed; a negative one means no further try. What
// the options Header, Trailer and Peer ask for is that of the last try, or,
// with hedging, of the one whose answer counts.
//
// A stream is under the breaker and is tried once more if it could not be
// opened; after that nothing is repeated and no limit of the Policy ends it,
// only its context. One that breaks off is a failure of the target; one that
// its caller ends is not. For what one stream may take, grpc has
// MaxCallRecvMsgSize (4 MiB a message) and WithInitialWindowSize.
//
// Each call of DialOptions makes its own breaker and budget: call it once for
// each connection, or see Balanced for several instances behind one guard.
func (c Client) DialOptions() []grpc.DialOption {
	s := newClientSide(c)
	return append(c.connect(), grpc.WithChainUnaryInterceptor(s.unary), grpc.WithChainStreamInterceptor(s.stream))
}

// connect is how connections are made.
func (c Client) connect() []grpc.DialOption {
	limit := c.ConnectTimeout
	if limit == 0 {
		limit = time.Second
	}
	return []grpc.DialOption{
		grpc.WithDisableRetry(), // one layer retries; grpc still repeats what the server never saw
		grpc.WithConnectParams(grpc.ConnectParams{
			// grpc's own limit of 120s would outlast most outages.
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
			MinConnectTimeout: limit,
		}),
	}
}

// Idempotent marks one call as one that may be repeated.
func Idempotent() grpc.CallOption { return idempotent{} }

type idempotent struct{ grpc.EmptyCallOption }

// clientSide is what the calls of a Client share.
type clientSide struct {
	Client
	guard   *resilience.Guard
	tell    *outward
	named   map[string]bool
	methods atomic.Pointer[map[string]*method] // by full name; replaced, never changed
}

func newClientSide(c Client) *clientSide {
	name := c.Target
	if c.Lane != "" {
		name += "@" + c.Lane
	}
	s := &clientSide{Client: c, guard: resilience.NewOn(c.Board, name, c.Policy, c.Observe), tell: newOutward(c), named: map[string]bool{}}
	for _, m := range c.Idempotent {
		s.named[strings.TrimPrefix(m, "/")] = true
	}
	return s
}

// method is what is worked out once about a method.
type method struct {
	name string // "package.Service/Method"
	told
	plain, again []resilience.Option[*answer] // of a call that may be repeated if the Policy says so, and of one that may
	opening      []resilience.Option[*clientStream]
}

// maxMethods bounds what is remembered: a proxy may be asked for anything.
const maxMethods = 1024

// method looks up full, "/package.Service/Method".
func (s *clientSide) method(full string) *method {
	known := s.methods.Load()
	if known != nil {
		if m := (*known)[full]; m != nil {
			return m
		}
	}
	m := s.newMethod(strings.TrimPrefix(full, "/"))
	for known == nil || len(*known) < maxMethods {
		next := make(map[string]*method, 8)
		if known != nil {
			for k, v := range *known {
				next[k] = v
			}
		}
		next[full] = m
		if s.methods.CompareAndSwap(known, &next) {
			break
		}
		known = s.methods.Load()
	}
	return m
}

func (s *clientSide) newMethod(name string) *method {
	m := &method{name: name, told: s.tell.about(name)}
	m.plain = []resilience.Option[*answer]{resilience.Named[*answer](name), resilience.RepeatIf[*answer](repeat)}
	m.again = append(m.plain[:2:2], resilience.Idempotent[*answer](true))
	if service, _ := split(name); s.named[name] || s.named[service+"/*"] || declared(protoregistry.GlobalFiles, name) {
		m.plain = m.again
	}
	m.opening = []resilience.Option[*clientStream]{resilience.Named[*clientStream](name),
		resilience.Idempotent[*clientStream](false), resilience.RepeatIf[*clientStream](repeat), resilience.Later[*clientStream]()}
	return m
}

// options of the guard for one call.
func (m *method) options(opts []grpc.CallOption) []resilience.Option[*answer] {
	for _, o := range opts {
		if _, ok := o.(idempotent); ok {
			return m.again
		}
	}
	return m.plain
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

// unary is the interceptor of a connection of its own.
func (s *clientSide) unary(ctx context.Context, full string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	c := &call{side: s, method: s.method(full), full: full, req: req, reply: reply, opts: opts, cc: cc, invoke: invoke}
	return c.do(ctx)
}

// op names calls of this client in chains.
func (s *clientSide) op(m *method) string { return s.Target + " " + m.name }
