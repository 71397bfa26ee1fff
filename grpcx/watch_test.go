package grpcx_test

import (
	"context"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/grpcx"
)

type mark struct{}

// watch marks the contexts it hands on, and counts those with a trace.
type watch struct{ calls, traced atomic.Int64 }

func (w *watch) Do(ctx context.Context, fn func(context.Context)) {
	w.calls.Add(1)
	if trace.SpanContextFromContext(ctx).HasTraceID() {
		w.traced.Add(1)
	}
	fn(context.WithValue(ctx, mark{}, true))
}

// TestWatch: handlers run under the Watch, with the trace of their call, and
// what they return or panic with is what it was.
func TestWatch(t *testing.T) {
	var rec recorder
	var w watch
	bad := errs.New(errs.NotFound, "stock.Get", "no such thing")
	s := grpcx.Server{Service: "stock", Observe: rec.sinks(), Watch: &w}
	conn := serve(t, s, handlers{
		do: func(ctx context.Context, in string) (string, error) {
			switch {
			case ctx.Value(mark{}) == nil:
				t.Error("not under the watch")
			case in == "bad":
				return "", bad
			case in == "panic":
				panic(in)
			}
			return "good", nil
		},
		follow: func(_ string, ss grpc.ServerStream) error {
			if ss.Context().Value(mark{}) == nil {
				t.Error("the stream is not under the watch")
			}
			return bad
		},
	}, single())
	if got, err := call(t.Context(), conn, "x"); err != nil || got != "good" {
		t.Errorf("answer %q, %v", got, err)
	}
	if _, err := call(t.Context(), conn, "bad"); errs.KindOf(err) != errs.NotFound {
		t.Errorf("error %v, want not found", err)
	}
	if _, err := call(t.Context(), conn, "panic"); errs.KindOf(err) != errs.Internal {
		t.Errorf("error %v, want internal", err)
	}
	cs, err := open(t.Context(), conn, "x")
	if err == nil {
		err = cs.RecvMsg(new(text))
	}
	if errs.KindOf(err) != errs.NotFound {
		t.Errorf("stream's error %v, want not found", err)
	}
	if w.calls.Load() != 4 || w.traced.Load() != 4 {
		t.Errorf("%d calls, %d with a trace; want 4 and 4", w.calls.Load(), w.traced.Load())
	}
}
