// Package ingest receives telemetry: OTLP over gRPC and HTTP, in protobuf and
// JSON, and hands it to the stores.
//
//	r := &ingest.Receiver{Spans: spans, Logs: logs, Series: series, Out: make(chan ingest.Batch, 256)}
//	r.RegisterGRPC(grpcServer)
//	httpServer := r.HTTPServer()
//
// A sender hears success only after the store has said that the data survives
// a kill -9. What is too much now is refused with a time to come back, never
// dropped in silence; what is wrong is refused for good, with a reason; what
// is right beside something wrong is kept, and the rest counted in the answer.
// No input ends the process.
//
// It does not decide anything about what it receives: see red, topology and
// detect.
package ingest

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/store"
)

// Batch is what one request brought, for those who watch telemetry go by. It
// is shared: read it, do not change it.
type Batch struct {
	At    time.Time // when it was kept
	Spans []store.Span
	Logs  []store.Log // those that Receiver.Pick chose
}

// Counter is told of every span that was kept, in the order of no matter what;
// *red.Fold is one. Add must be quick and safe for concurrent use.
type Counter interface{ Add(spans []store.Span) }

// Receiver receives. Set Spans, Logs and Series; a signal without a store is
// refused as unimplemented. The other fields may stay zero. It is safe for
// concurrent use; do not change fields after the first request. It starts no
// goroutine.
type Receiver struct {
	Spans  store.Spans
	Logs   store.Logs
	Series store.Series

	// Count sees every kept span before its sender is answered; nil for none.
	Count Counter
	// Out gets one Batch for each request with spans or picked log records.
	// When it is full the oldest Batch in it is dropped and counted: what
	// watchers derive can be derived from the store again. nil for none.
	// Receiver never closes it.
	Out chan Batch
	// Pick chooses the log records that go to Out; nil for none. It must be
	// quick and safe for concurrent use.
	Pick func(store.Log) bool

	MaxBody int64         // a request, unpacked, in bytes; 0 means 8 MiB
	Memory  int64         // what all requests being worked on may take, roughly; 0 means 256 MiB
	Queue   int           // requests being worked on at once, waiting for the store included; 0 means 64
	Behind  time.Duration // spans and records older than this are refused: no store would keep them; 0 means 72h, negative means none are
	Ahead   time.Duration // and those further ahead of the clock; 0 means 10m, negative means none are

	MaxAttrs int // attributes of a span, an event, a record or a resource; 0 means 128, OpenTelemetry's own default limit
	MaxValue int // bytes of an attribute's value; 0 means 16 KiB, which holds a stack
	MaxText  int // bytes of a log record's body; 0 means 64 KiB

	Log *slog.Logger     // nil means slog.Default()
	Now func() time.Time // for tests; nil means time.Now

	once   sync.Once
	cpu    chan struct{} // decoding at once: as many as there are processors
	used   atomic.Int64  // of Memory
	active atomic.Int64  // of Queue
	deltas deltas
	n      counters
}

// counters are Stats while they move.
type counters struct {
	spans, logs, points                      atomic.Uint64
	refusedSpans, refusedLogs, refusedPoints atomic.Uint64
	requests, bytes                          atomic.Uint64
	full, bad, failed, panics                atomic.Uint64
	droppedBatches, droppedSamples           atomic.Uint64
	truncated, repaired                      atomic.Uint64
}

// Stats is what a Receiver has done since it was made.
type Stats struct {
	Spans, Logs, Points                      uint64 // kept
	RefusedSpans, RefusedLogs, RefusedPoints uint64 // refused inside a request that was otherwise kept
	Requests, Bytes                          uint64 // received, unpacked
	Full                                     uint64 // requests refused because there were too many
	Bad                                      uint64 // requests refused for good
	Failed                                   uint64 // requests the store could not keep
	Panics                                   uint64 // requests that made a decoder panic; they count as Bad too
	DroppedBatches                           uint64 // taken back from Out
	DroppedSamples                           uint64 // too late for the series store
	Truncated                                uint64 // attributes, events and texts cut to their limit
	Repaired                                 uint64 // texts that were not UTF-8
}

// Stats returns the counters now.
func (r *Receiver) Stats() Stats {
	n := &r.n
	return Stats{
		Spans: n.spans.Load(), Logs: n.logs.Load(), Points: n.points.Load(),
		RefusedSpans: n.refusedSpans.Load(), RefusedLogs: n.refusedLogs.Load(), RefusedPoints: n.refusedPoints.Load(),
		Requests: n.requests.Load(), Bytes: n.bytes.Load(),
		Full: n.full.Load(), Bad: n.bad.Load(), Failed: n.failed.Load(), Panics: n.panics.Load(),
		DroppedBatches: n.droppedBatches.Load(), DroppedSamples: n.droppedSamples.Load(),
		Truncated: n.truncated.Load(), Repaired: n.repaired.Load(),
	}
}

// setup fills what the fields leave open, once.
func (r *Receiver) setup() {
	r.once.Do(func() {
		r.cpu = make(chan struct{}, runtime.GOMAXPROCS(0))
	})
}

func or[T int | int64 | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

func (r *Receiver) maxBody() int64 { return or(r.MaxBody, 8<<20) }

func (r *Receiver) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

func (r *Receiver) log() *slog.Logger {
	if r.Log != nil {
		return r.Log
	}
	return slog.Default()
}

// comeBack is when a refused sender should try again: a commit takes
// milliseconds, so a second is enough for many of them.
const comeBack = time.Second

func (r *Receiver) tooMany(op, what string) error {
	r.n.full.Add(1)
	return errs.New(errs.TooMany, op, what).RetryAfter(comeBack)
}

// enter takes a place in the queue, or refuses at once.
func (r *Receiver) enter(op string) (leave func(), err error) {
	if r.active.Add(1) > int64(or(r.Queue, 64)) {
		r.active.Add(-1)
		return nil, r.tooMany(op, "too many requests at once; please try again later")
	}
	return func() { r.active.Add(-1) }, nil
}

// hold takes memory from the budget, or refuses at once. One request alone may
// not have all of it.
func (r *Receiver) hold(op string, n int64) (free func(), err error) {
	limit := or(r.Memory, 256<<20)
	if n > limit {
		r.n.bad.Add(1)
		return nil, errs.New(errs.Invalid, op, "the request takes too much memory when decoded; send smaller batches").Status(413)
	}
	if r.used.Add(n) > limit {
		r.used.Add(-n)
		return nil, r.tooMany(op, "too much data at once; please try again later")
	}
	return func() { r.used.Add(-n) }, nil
}

// publish hands spans to the watchers without waiting for them.
func (r *Receiver) publish(b Batch) {
	if r.Out == nil {
		return
	}
	for {
		select {
		case r.Out <- b:
			return
		default:
		}
		select {
		case <-r.Out:
			r.n.droppedBatches.Add(1)
		default:
			if cap(r.Out) == 0 { // nobody is listening and nothing can be kept
				r.n.droppedBatches.Add(1)
				return
			}
		}
	}
}

// signal is one of the three things OTLP carries.
type signal struct {
	name  string
	shape *message
	// take decodes, keeps and answers: what was refused and why, and the
	// encoded answer.
	take func(r *Receiver, ctx context.Context, body []byte, enc encoding) ([]byte, error)
}

// encoding is how a request, and so its answer, is written.
type encoding uint8

const (
	protobuf encoding = iota
	jsonText
)

// export is what gRPC and HTTP share: a place, a look at the shape, then the
// work.
func (r *Receiver) export(ctx context.Context, s *signal, body []byte, enc encoding) (answer []byte, err error) {
	op := "ingest." + s.name
	r.setup()
	r.n.requests.Add(1)
	r.n.bytes.Add(uint64(len(body)))
	if int64(len(body)) > r.maxBody() {
		r.n.bad.Add(1)
		return nil, errs.New(errs.Invalid, op, "the request is too large; send smaller batches").Status(413)
	}
	leave, err := r.enter(op)
	if err != nil {
		return nil, err
	}
	defer leave()
	var weight int64
	if enc == protobuf {
		weight, err = walkProto(body, s.shape)
	} else {
		weight, err = walkJSON(body)
	}
	if err != nil {
		r.n.bad.Add(1)
		return nil, errs.New(errs.Invalid, op, "the request is not valid OTLP: "+err.Error())
	}
	free, err := r.hold(op, weight)
	if err != nil {
		return nil, err
	}
	defer free()
	return s.take(r, ctx, body, enc)
}

// decode runs a decoder on one processor; a panic in it is the sender's
// mistake, as far as anyone can tell.
func (r *Receiver) decode(ctx context.Context, op string, f func() error) (err error) {
	select {
	case r.cpu <- struct{}{}:
		defer func() { <-r.cpu }()
	case <-ctx.Done():
		return errs.Wrap(ctx.Err(), op)
	}
	defer func() {
		if p := recover(); p != nil {
			r.n.panics.Add(1)
			r.n.bad.Add(1)
			r.log().Error("decoding a request panicked", "op", op, "panic", p)
			err = errs.New(errs.Invalid, op, "the request cannot be decoded")
		}
	}()
	if err := f(); err != nil {
		r.n.bad.Add(1)
		// A decoder's text names fields and positions of the sender's own body.
		return errs.New(errs.Invalid, op, "the request is not valid OTLP").Because(err)
	}
	return nil
}

// kept counts a store's refusal and gives it one more hop.
func (r *Receiver) kept(op string, err error) error {
	if err == nil {
		return nil
	}
	r.n.failed.Add(1)
	e := errs.From(err)
	if e.Kind().Retryable() && e.RetryDelay() == 0 {
		e = e.RetryAfter(comeBack)
	}
	return errs.Wrap(e, op)
}
