package vitals

import (
	"bytes"
	"context"
	"io"
	"runtime/pprof"
	"runtime/trace"
	"sync"
	"time"

	oteltrace "go.opentelemetry.io/otel/trace"
)

// The labels of goroutines that findings read.
const (
	labelName  = "surefoot.goroutine" // by safe.Go
	labelTrace = "trace_id"
)

// Do runs fn in this goroutine. While there is a suspicion about goroutines,
// some of those that run under Do, and those they start with the ctx of fn or
// with a plain go statement, carry the trace id of ctx as the pprof label
// trace_id, so that a finding can name a request that left a goroutine
// behind. Otherwise it costs one atomic read. Package service does it for each
// HTTP handler, grpcx.Server with its field Watch. A nil Watch only runs fn.
func (w *Watch) Do(ctx context.Context, fn func(context.Context)) {
	if w == nil || w.armed.Load() <= 0 || w.armed.Add(-1) < 0 {
		fn(ctx)
		return
	}
	sc := oteltrace.SpanContextFromContext(ctx)
	if !sc.HasTraceID() {
		fn(ctx)
		return
	}
	pprof.Do(ctx, pprof.Labels(labelTrace, sc.TraceID().String()), fn)
}

// tracer keeps the last seconds of the execution trace.
type tracer struct {
	mu   sync.Mutex
	rec  *trace.FlightRecorder
	kept []byte
}

const traceBytes = 16 << 20

func (t *tracer) begin(last time.Duration) error {
	if last <= 0 {
		return nil
	}
	rec := trace.NewFlightRecorder(trace.FlightRecorderConfig{MinAge: last, MaxBytes: traceBytes})
	if err := rec.Start(); err != nil { // somebody else has one
		return err
	}
	t.mu.Lock()
	t.rec = rec
	t.mu.Unlock()
	return nil
}

// keep sets the trace aside.
func (t *tracer) keep() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rec == nil {
		return
	}
	var b bytes.Buffer
	if _, err := t.rec.WriteTo(&b); err == nil {
		t.kept = b.Bytes()
	}
}

func (t *tracer) copy(to io.Writer) (int64, error) {
	t.mu.Lock()
	kept := t.kept
	t.mu.Unlock()
	return io.Copy(to, bytes.NewReader(kept))
}

func (t *tracer) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rec != nil {
		t.rec.Stop()
		t.rec = nil
	}
}
