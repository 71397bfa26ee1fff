package grpcx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/resilience/balance"
	"github.com/surefoot-go/surefoot/safe"
)

// Balanced is a connection over several instances of one target. Each try of a
// call goes to the instance that is quick and idle, a further try to another
// one, and one that keeps failing gets none for a while: see package balance.
// Give it to generated code; set its fields before its first use.
//
//	orders := &grpcx.Balanced{Client: grpcx.Client{Service: "gateway", Target: "order"},
//		Dial: func(in balance.Instance, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
//			return grpc.NewClient("passthrough:///"+in.Addr, append(opts, grpc.WithTransportCredentials(creds))...)
//		}}
//	defer orders.Close()
//	err := orders.Set(instances) // now, and whenever discovery says so
//	client := orderpb.NewOrdersClient(orders)
//
// The Policy's guard stands outside the choice, so the breaker counts what the
// target as a whole does, and hears of a dead instance only as long as further
// tries meet it too. A stream chooses once.
//
// Why it is no grpc balancer: those are found by name in a global registry that
// init functions fill, see neither the try's number nor its outcome as errs
// understands it, and a retry above grpc could not ask them to go elsewhere.
//
// A Balanced is safe for concurrent use and must not be copied.
type Balanced struct {
	Client Client // Lane is left empty: instances know their version
	// Dial makes the connection to an instance, with opts, which are not to
	// hold options of Client. It must not block; it is required.
	Dial    func(in balance.Instance, opts ...grpc.DialOption) (*grpc.ClientConn, error)
	Balance balance.Settings
	// Version names the version that serves a call, such as a canary for some
	// users; nil means any, as does a version nobody serves. Each version that
	// it can name has a guard of its own.
	Version func(ctx context.Context) string
	// DrainLimit is how long the calls of an instance that was taken out may go
	// on before its connection is closed; 0 means 30s, negative means no time.
	DrainLimit time.Duration

	once     sync.Once
	balancer *balance.Balancer
	whole    *clientSide   // for calls of any version
	stop     chan struct{} // closed by Close
	drains   sync.WaitGroup

	mu     sync.Mutex // for Set and Close
	closed bool
	now    atomic.Pointer[fleet]
}

// fleet is what Set made of the instances. It does not change.
type fleet struct {
	places map[placeKey]*place
	sides  map[string]*clientSide // by version; nil if nobody asks for one
}

type placeKey struct{ id, addr, version string }

func keyOf(in *balance.Instance) placeKey {
	return placeKey{cmp.Or(in.ID, in.Addr), in.Addr, in.Version}
}

// place is an instance with its connection.
type place struct {
	conn  *grpc.ClientConn
	where *located

	calls atomic.Int64  // under way; far below 0 once it is taken out
	idle  chan struct{} // closed when the last call of a place taken out ends
}

// gone is added to calls when a place is taken out.
const gone = -1 << 40

// enter begins a call; false means that the place was taken out.
func (p *place) enter() bool {
	for {
		n := p.calls.Load()
		if n < 0 {
			return false
		}
		if p.calls.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (p *place) leave() {
	if p.calls.Add(-1) == gone {
		close(p.idle)
	}
}

func (b *Balanced) init() {
	b.once.Do(func() {
		c := b.Client
		c.Lane = ""
		b.balancer, b.whole, b.stop = balance.New(b.Balance), newClientSide(c), make(chan struct{})
		b.now.Store(&fleet{})
	})
}

const opSet = "grpcx.Balanced.Set"

// Set replaces the instances while calls run. New ones are dialed; calls under
// way on those that are gone go on until they end, at most DrainLimit. One whose
// ID, Addr and Version stay keeps its connection.
//
// An empty set never replaces a good one: the error is then of Kind
// errs.Unavailable and nothing changes. Instances that cannot be dialed are left
// out and named in the error, while the others are used.
func (b *Balanced) Set(instances []balance.Instance) error {
	b.init()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errs.New(errs.Unavailable, opSet, "the connection is closed")
	}
	old := b.now.Load()
	next := &fleet{places: map[placeKey]*place{}, sides: map[string]*clientSide{}}
	known := map[string]bool{}
	var good []balance.Instance
	var failed []error
	for _, in := range instances {
		in.ID = cmp.Or(in.ID, in.Addr)
		if known[in.ID] || in.ID == "" || in.Weight < 0 {
			continue
		}
		p := old.places[keyOf(&in)]
		if p == nil {
			var err error
			if p, err = b.dial(in); err != nil {
				failed = append(failed, fmt.Errorf("instance %s: %w", in.ID, err))
				continue
			}
		}
		known[in.ID] = true
		good = append(good, in)
		next.places[keyOf(&in)] = p
		if b.Version != nil && next.sides[in.Version] == nil {
			next.sides[in.Version] = b.side(old, in.Version)
		}
	}
	if len(good) == 0 {
		return errs.New(errs.Unavailable, opSet, "no instance could be used").With("target", b.Client.Target).Because(errors.Join(failed...))
	}
	// Whoever chooses by the old or the new set must find the place.
	both := &fleet{places: maps.Clone(next.places), sides: next.sides}
	maps.Copy(both.places, old.places)
	b.now.Store(both)
	b.balancer.Set(good)
	b.now.Store(next)
	for k, p := range old.places {
		if next.places[k] == nil {
			b.drain(p)
		}
	}
	if failed != nil {
		return errs.New(errs.Unavailable, opSet, "some instances could not be used").With("target", b.Client.Target).Because(errors.Join(failed...))
	}
	return nil
}

func (b *Balanced) dial(in balance.Instance) (*place, error) {
	if b.Dial == nil {
		return nil, errors.New("grpcx: Balanced without Dial")
	}
	conn, err := b.Dial(in, b.Client.connect()...)
	if err != nil {
		return nil, err
	}
	conn.Connect() // now, and not when the first call waits for it
	attrs := address(in.Addr)
	if in.Version != "" {
		attrs = append(attrs, keyPeerVersion.String(in.Version))
	}
	return &place{conn: conn, where: locate(nil, attrs...), idle: make(chan struct{})}, nil
}

// side is what calls of one version share.
func (b *Balanced) side(old *fleet, version string) *clientSide {
	if s := old.sides[version]; s != nil {
		return s
	}
	if version == "" {
		return b.whole
	}
	c := b.Client
	c.Lane = version
	return newClientSide(c)
}

// drain takes p out and closes it when its calls have ended, or when it is time.
func (b *Balanced) drain(p *place) {
	if p.calls.Add(gone) == gone {
		close(p.idle)
	}
	b.drains.Add(1)
	safe.Go(context.Background(), "grpcx drain", func(context.Context) error {
		limit := time.NewTimer(max(cmp.Or(b.DrainLimit, 30*time.Second), 0))
		defer limit.Stop()
		select {
		case <-p.idle:
		case <-limit.C:
		case <-b.stop:
		}
		err := p.conn.Close()
		<-p.idle // closing has ended the calls
		return err
	}, func(error) { b.drains.Done() })
}

// Close ends the calls under way, closes all connections and waits for both,
// also for what Set is still draining. Calls after it fail with Kind
// errs.Unavailable. Closing again does nothing.
func (b *Balanced) Close() error {
	b.init()
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		for _, p := range b.now.Load().places {
			b.drain(p)
		}
		close(b.stop)
	}
	b.mu.Unlock()
	b.drains.Wait()
	return nil
}

// Snapshot is every instance at this moment, nil before the first Set.
func (b *Balanced) Snapshot() []balance.Status {
	b.init()
	return b.balancer.Snapshot()
}

// Invoke makes a unary call. It is for generated code.
func (b *Balanced) Invoke(ctx context.Context, full string, args, reply any, opts ...grpc.CallOption) error {
	s := b.serving(ctx)
	c := &call{side: s, method: s.method(full), full: full, req: args, reply: reply, opts: opts, from: b}
	return c.do(ctx)
}

// NewStream opens a stream. It is for generated code.
func (b *Balanced) NewStream(ctx context.Context, desc *grpc.StreamDesc, full string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s := b.serving(ctx)
	o := &opening{side: s, method: s.method(full), desc: desc, full: full, opts: opts, from: b}
	return o.do(ctx)
}

// serving is the side for the version of this call.
func (b *Balanced) serving(ctx context.Context) *clientSide {
	b.init()
	if b.Version != nil {
		if s := b.now.Load().sides[b.Version(ctx)]; s != nil {
			return s
		}
	}
	return b.whole
}

// choose picks an instance for one try and begins a call on it.
func (b *Balanced) choose(s *story, version string, tried *avoided) error {
	for range 3 {
		pick, err := b.pick(version, tried)
		if err != nil {
			return errs.New(errs.Unavailable, "grpcx.Balanced", "a service behind this one is not available right now").
				With("target", b.Client.Target).Because(err)
		}
		in := pick.Instance()
		if p := b.now.Load().places[keyOf(&in)]; p != nil && p.enter() {
			tried.add(in.ID)
			s.at, s.pick = p, pick
			return nil
		}
		pick.Done(balance.Ignored, 0) // taken out just now
	}
	return errs.New(errs.Unavailable, "grpcx.Balanced", "the connection is closed").With("target", b.Client.Target)
}

func (b *Balanced) pick(version string, tried *avoided) (balance.Pick, error) {
	if version != "" {
		return b.balancer.PickVersion(version, tried.list()...)
	}
	return b.balancer.Pick(tried.list()...)
}

// avoided are the instances that a call has tried.
type avoided struct {
	mu   sync.Mutex
	ids  []string
	room [4]string
}

func (a *avoided) add(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ids == nil {
		a.ids = a.room[:0]
	}
	a.ids = append(a.ids, id)
}

// list is a view: what is in it does not change any more.
func (a *avoided) list() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ids[:len(a.ids):len(a.ids)]
}
