package grpcx_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/grpcx"
	"github.com/surefoot-go/surefoot/resilience/retry"
	"github.com/surefoot-go/surefoot/resilience/shed"
)

// single is a client that tries once.
func single() grpcx.Client {
	var c grpcx.Client
	c.Policy.Retry = retry.Policy{Max: -1}
	return c
}

func full(t *testing.T) *shed.Door {
	door := shed.New(shed.Settings{Max: 1, Queue: -1})
	if _, err := door.Enter(t.Context(), shed.Request{}); err != nil {
		t.Fatal(err)
	}
	return door
}

func TestRefused(t *testing.T) {
	for _, stream := range []bool{false, true} {
		t.Run(fmt.Sprint("stream ", stream), func(t *testing.T) {
			var rec recorder
			var log bytes.Buffer
			s := grpcx.Server{Service: "stock", Door: full(t), Observe: rec.sinks()}
			s.Observe.Log = slog.New(slog.NewTextHandler(&log, nil))
			conn := serve(t, s, handlers{
				do:     func(context.Context, string) (string, error) { t.Error("served"); return "", nil },
				follow: func(string, grpc.ServerStream) error { t.Error("served"); return nil },
			}, single())
			ctx := flow.WithLabels(t.Context(), map[string]string{flow.LabelPriority: "low"})
			for range 20 {
				var err error
				var trailer metadata.MD
				if stream {
					var cs grpc.ClientStream
					if cs, err = open(ctx, conn, ""); err == nil {
						err = cs.RecvMsg(new(text))
						trailer = cs.Trailer()
					}
				} else {
					_, err = call(ctx, conn, "", grpc.Trailer(&trailer))
				}
				e := grpcx.FromError(err)
				if e.Kind() != errs.Unavailable || e.Code() != "overloaded" || !e.Remote() || e.RetryDelay() != 100*time.Millisecond {
					t.Fatalf("%v", err)
				}
				if hops := e.Chain(); len(hops) == 0 || hops[len(hops)-1].Service != "stock" || time.Since(hops[len(hops)-1].At) > 3*time.Second {
					t.Errorf("chain %+v", hops)
				}
				if got := trailer.Get("grpc-retry-pushback-ms"); !stream && (len(got) != 1 || got[0] != "100") {
					t.Errorf("pushback %q", got)
				}
			}
			if n := len(rec.ended(trace.SpanKindServer)); n != 0 {
				t.Errorf("%d spans of refusals", n)
			}
			if n := strings.Count(log.String(), "\n"); n != 1 {
				t.Errorf("%d log records: %s", n, log.String())
			}
			for name, want := range map[string]map[string]string{
				"surefoot.shed.refused":    {"surefoot.reason": "full", "surefoot.priority": "low"},
				"surefoot.errors":          {"surefoot.kind": "unavailable", "error.type": "overloaded"},
				"rpc.server.call.duration": {"rpc.response.status_code": "UNAVAILABLE", "error.type": "overloaded"},
			} {
				got := rec.measured(name)
				if len(got) != 20 {
					t.Errorf("%s: %d records", name, len(got))
					continue
				}
				for k, v := range want {
					if a, _ := got[0].Value(attribute.Key(k)); a.Emit() != v {
						t.Errorf("%s: %s is %q", name, k, a.Emit())
					}
				}
			}
		})
	}
}

func TestPlacesAreGivenBack(t *testing.T) {
	for name, c := range map[string]struct {
		do      func(context.Context, string) (string, error)
		learned bool
	}{
		"ok":        {echo, true},
		"not found": {func(context.Context, string) (string, error) { return "", errs.New(errs.NotFound, "x", "m") }, true},
		"invalid":   {func(context.Context, string) (string, error) { return "", errs.New(errs.Invalid, "x", "m") }, false},
		"our fault": {func(context.Context, string) (string, error) { return "", errors.New("x") }, false},
		"panic":     {func(context.Context, string) (string, error) { panic("x") }, false},
		"late":      {func(ctx context.Context, _ string) (string, error) { <-ctx.Done(); return "", nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			door := new(shed.Door)
			left := make(chan struct{})
			conn := serve(t, grpcx.Server{Door: door}, handlers{do: func(ctx context.Context, in string) (string, error) {
				defer close(left)
				if door.Snapshot().Running != 1 {
					t.Error("served without a place")
				}
				return c.do(ctx, in)
			}}, single())
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, _ = call(ctx, conn, "")
			<-left
			for door.Snapshot().Running != 0 {
				runtime.Gosched()
			}
			if s := door.Snapshot(); s.Admitted != 1 || s.Strays != 0 || s.Latency > 0 != c.learned {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A stream waits for its client: it holds no place, however many there are.
func TestStreamsHoldNoPlace(t *testing.T) {
	door := shed.New(shed.Settings{Max: 1, Queue: -1})
	enter := make(chan struct{})
	release := make(chan struct{})
	conn := serve(t, grpcx.Server{Door: door}, handlers{do: echo, follow: func(in string, s grpc.ServerStream) error {
		if err := s.SendMsg(wrapperspb.String("first")); err != nil {
			return err
		}
		enter <- struct{}{}
		<-release
		return nil
	}}, single())
	for range 50 {
		s, err := open(t.Context(), conn, "")
		if err != nil {
			t.Fatal(err)
		}
		<-enter
		if err := s.RecvMsg(new(text)); err != nil {
			t.Fatal(err)
		}
	}
	if s := door.Snapshot(); s.Running != 0 || s.Admitted != 50 {
		t.Errorf("%+v", s)
	}
	if _, err := call(t.Context(), conn, ""); err != nil {
		t.Errorf("a call beside 50 streams: %v", err)
	}
	close(release)
}

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		name           string
		edge           bool
		classify       func(context.Context, string) shed.Request
		priority, user string
	}{
		{"believed inside", false, nil, "low", "7"},
		{"a stranger's", true, nil, "", ""},
		{"decided", true, func(_ context.Context, method string) shed.Request {
			return shed.Request{Priority: shed.Critical, User: method}
		}, "critical", "test.Service/Do"},
		{"decided to be nobody", false, func(context.Context, string) shed.Request { return shed.Request{} }, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := serve(t, grpcx.Server{Edge: c.edge, Classify: c.classify, Door: new(shed.Door)}, handlers{do: func(ctx context.Context, _ string) (string, error) {
				return flow.Label(ctx, flow.LabelPriority) + "/" + flow.Label(ctx, flow.LabelUser), nil
			}}, single())
			ctx := flow.WithLabels(t.Context(), map[string]string{flow.LabelPriority: "low", flow.LabelUser: "7"})
			if got, err := call(ctx, conn, ""); err != nil || got != c.priority+"/"+c.user {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// Each error counts, of calls and of streams; another's id does not make a label.
func TestErrorsAreCounted(t *testing.T) {
	var rec recorder
	fail := map[string]error{
		"own":   errs.New(errs.Conflict, "x", "m").ID("sold_out"),
		"other": errs.Decode([]byte(`{"code":503,"error":"bank_closed","message":"m"}`), 503, "application/json"),
		"plain": errors.New("x"),
	}
	s := grpcx.Server{Observe: rec.sinks()}
	s.Observe.Log = quiet
	conn := serve(t, s, handlers{
		do:     func(_ context.Context, in string) (string, error) { return "", fail[in] },
		follow: func(in string, _ grpc.ServerStream) error { return fail[in] },
	}, single())
	for in, want := range map[string]string{"own": "conflict sold_out", "other": "unavailable unavailable", "plain": "internal_error internal_error"} {
		for op, do := range map[string]func() error{
			"test.Service/Do": func() error { _, err := call(t.Context(), conn, in); return err },
			"test.Service/Follow": func() error {
				s, err := open(t.Context(), conn, in)
				if err == nil {
					err = s.RecvMsg(new(text))
				}
				return err
			},
		} {
			before := len(rec.measured("surefoot.errors"))
			if do() == nil {
				t.Fatal("no error")
			}
			got := rec.measured("surefoot.errors")
			if len(got) != before+1 {
				t.Errorf("%s %s: %d records", in, op, len(got)-before)
				continue
			}
			a := got[before]
			kind, _ := a.Value("surefoot.kind")
			id, _ := a.Value("error.type")
			at, _ := a.Value("surefoot.op")
			if kind.Emit()+" "+id.Emit() != want || at.Emit() != op {
				t.Errorf("%s: %s %s at %s", in, kind.Emit(), id.Emit(), at.Emit())
			}
		}
	}
}
