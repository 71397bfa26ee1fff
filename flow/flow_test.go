package flow_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/surefoot-go/surefoot/flow"
)

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	parent  = "00-" + traceID + "-00f067aa0ba902b7-01"
)

func TestThereAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := http.Header{"Traceparent": {parent}, "Tracestate": {"a=b"}}
		ctx, cancel, err := flow.Extract(t.Context(), in)
		defer cancel()
		if err != nil || flow.TraceID(ctx) != traceID {
			t.Fatalf("%v %q", err, flow.TraceID(ctx))
		}
		if _, ok := flow.Remaining(ctx); ok {
			t.Error("there is no deadline yet")
		}
		ctx = flow.WithLabels(ctx, map[string]string{"tier": "premium", "city": "上海, 1;x=y"})
		ctx = flow.WithAttempt(ctx, 2)
		ctx, stop := context.WithTimeout(ctx, 1500*time.Millisecond)
		defer stop()
		time.Sleep(100*time.Millisecond + time.Microsecond) // fake time

		h := http.Header{"Request-Timeout-Ms": {"99999"}, "Retry-Attempt": {"7"}} // stale, of another hop
		flow.Inject(ctx, h)
		if got := h.Get("Request-Timeout-Ms"); got != "1399" {
			t.Errorf("time left %q, want it rounded down", got)
		}
		out, cancel2, err := flow.Extract(t.Context(), h)
		defer cancel2()
		if err != nil || flow.TraceID(out) != traceID || flow.Attempt(out) != 2 {
			t.Errorf("%v %q %d", err, flow.TraceID(out), flow.Attempt(out))
		}
		if got, want := flow.Labels(out), map[string]string{"tier": "premium", "city": "上海, 1;x=y"}; !maps.Equal(got, want) {
			t.Errorf("labels %v", got)
		}
		if flow.Label(out, "tier") != "premium" || flow.Label(out, "none") != "" {
			t.Error("Label")
		}
		if left, ok := flow.Remaining(out); !ok || left != 1399*time.Millisecond {
			t.Errorf("left %v", left)
		}
		if got := trace.SpanContextFromContext(out).TraceState().String(); got != "a=b" {
			t.Errorf("tracestate %q", got)
		}
	})
}

func TestInjectRemovesWhatIsNotSo(t *testing.T) {
	h := http.Header{"Request-Timeout-Ms": {"5"}, "Retry-Attempt": {"7"}}
	flow.Inject(t.Context(), h)
	if h.Get("Request-Timeout-Ms") != "" {
		t.Error("a stale time left was forwarded")
	}
	if ctx := flow.ExtractCarrier(t.Context(), propagation.HeaderCarrier(h)); flow.Attempt(ctx) != 0 {
		t.Error("a stale attempt was forwarded")
	}
}

func TestTimeouts(t *testing.T) {
	table := []struct {
		header  string
		left    time.Duration
		ok      bool
		expired bool
	}{
		{"250", 250 * time.Millisecond, true, false},
		{"0", 0, true, true},
		{"000", 0, true, true},
		{"99999999999", 24 * time.Hour, true, false},
		{"999999999999999999", 24 * time.Hour, true, false},
		{"9999999999999999999999", 0, false, false},
		{"-1", 0, false, false},
		{"+1", 0, false, false},
		{"1.5", 0, false, false},
		{" 5", 0, false, false},
		{"5s", 0, false, false},
		{"0x10", 0, false, false},
		{"1_000", 0, false, false},
		{"", 0, false, false},
		{"٣", 0, false, false},
	}
	for _, c := range table {
		t.Run(c.header, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel, err := flow.Extract(t.Context(), http.Header{flow.HeaderTimeout: {c.header}})
				defer cancel()
				left, ok := flow.Remaining(ctx)
				if left != c.left || ok != c.ok || errors.Is(err, flow.ErrExpired) != c.expired {
					t.Errorf("%v %v %v", left, ok, err)
				}
				if c.expired && ctx.Err() == nil {
					t.Error("the context must be over")
				}
			})
		})
	}
}

func TestAnExistingDeadlineWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		ctx, cancel, _ := flow.Extract(ctx, http.Header{flow.HeaderTimeout: {"5000"}})
		defer cancel()
		if left, _ := flow.Remaining(ctx); left != time.Second {
			t.Errorf("left %v", left)
		}
	})
}

func TestLabels(t *testing.T) {
	ctx := flow.WithLabels(t.Context(), map[string]string{
		"tier": "premium", "": "x", "bad key": "x", "bad=key": "x", "ключ": "x", strings.Repeat("k", 65): "x",
		"long": strings.Repeat("v", 257), "raw": "\xff", "A-z_0.9": "ok",
	})
	if got := flow.Labels(ctx); !maps.Equal(got, map[string]string{"tier": "premium", "A-z_0.9": "ok"}) {
		t.Errorf("labels %v", got)
	}
	ctx = flow.WithLabels(ctx, map[string]string{"tier": "", "none": ""})
	if got := flow.Labels(ctx); !maps.Equal(got, map[string]string{"A-z_0.9": "ok"}) {
		t.Errorf("after removal %v", got)
	}
	for i := range 100 {
		ctx = flow.WithLabels(ctx, map[string]string{fmt.Sprint("k", i): "v"})
	}
	if got := len(flow.Labels(ctx)); got != 32 {
		t.Errorf("%d labels, want the bound of 32", got)
	}
	if got := flow.Labels(flow.WithLabels(ctx, map[string]string{"k3": "changed"})); got["k3"] != "changed" {
		t.Error("a label that is there may change when the table is full")
	}
	if flow.Labels(flow.WithoutLabels(ctx)) != nil || flow.Labels(t.Context()) != nil {
		t.Error("WithoutLabels must leave none")
	}
}

// Members of others share the baggage header and must survive.
func TestBaggageOfOthers(t *testing.T) {
	in := http.Header{"Baggage": {"theirs=1, sf.tier=gold", "more=2"}}
	ctx, cancel, _ := flow.Extract(t.Context(), in)
	defer cancel()
	if got := flow.Labels(ctx); !maps.Equal(got, map[string]string{"tier": "gold"}) {
		t.Errorf("labels %v", got)
	}
	h := http.Header{}
	flow.Inject(flow.WithoutLabels(ctx), h)
	if got := h.Get("Baggage"); !strings.Contains(got, "theirs=1") || !strings.Contains(got, "more=2") || strings.Contains(got, "sf.") {
		t.Errorf("baggage %q", got)
	}
}

func TestCarrierHasNoDeadline(t *testing.T) {
	ctx, stop := context.WithTimeout(flow.WithAttempt(t.Context(), 1), time.Minute)
	defer stop()
	c := propagation.MapCarrier{}
	flow.InjectCarrier(ctx, c)
	if len(c) != 1 || c[flow.HeaderAttempt] != "1" {
		t.Errorf("%v", c)
	}
}

func TestTraceIDOutsideATrace(t *testing.T) {
	if got := flow.TraceID(t.Context()); got != "" {
		t.Errorf("%q", got)
	}
}

// The short way reads what the long way does.
func TestPeeking(t *testing.T) {
	for _, bag := range [][]string{nil, {""}, {"sf.user=7"}, {"a=b, sf.user = 7 ;p=1,c=d"}, {"sf.user=%E4%B8%8A", "x=y"}, {"sf.user=1", "sf.user=2"},
		{"sf.user=1,sf.user=2"}, {"sf.username=7"}, {"xsf.user=7"}, {"sf.user=" + strings.Repeat("x", 300)}, {"sf.user="}} {
		for _, tp := range []string{"", parent, "00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01", strings.ToUpper(parent), "00-x", parent[:54]} {
			h := http.Header{"Baggage": bag, "Traceparent": {tp}}
			ctx := flow.ExtractCarrier(t.Context(), propagation.HeaderCarrier(h))
			if got, want := flow.PeekLabel(bag, "user"), flow.Label(ctx, "user"); got != want {
				t.Errorf("%q: user %q, want %q", bag, got, want)
			}
			if got, want := flow.PeekTraceID([]string{tp}), flow.TraceID(ctx); got != want {
				t.Errorf("%q: trace %q, want %q", tp, got, want)
			}
		}
	}
	if left, ok := flow.Timeout(http.Header{flow.HeaderTimeout: {"1500"}}); !ok || left != 1500*time.Millisecond {
		t.Errorf("left %v %v", left, ok)
	}
	if _, ok := flow.Timeout(http.Header{}); ok {
		t.Error("a time left that nobody sent")
	}
}

func FuzzExtract(f *testing.F) {
	f.Add("1500", "1", parent, "a=b", "sf.tier=gold,x=y;p=1")
	f.Add("-1", "99999999999999999999", "00-0-0-0", "=,=", "sf.=;;;,%zz=%00")
	f.Add("\x00", "٣", strings.Repeat("0", 200), ",,,,", strings.Repeat("sf.a=b,", 20))
	f.Fuzz(func(t *testing.T, timeout, attempt, tp, ts, bag string) {
		h := http.Header{"Request-Timeout-Ms": {timeout}, "Retry-Attempt": {attempt}, "Traceparent": {tp}, "Tracestate": {ts}, "Baggage": {bag}}
		ctx, cancel, err := flow.Extract(context.Background(), h)
		defer cancel()
		if err != nil && !errors.Is(err, flow.ErrExpired) {
			t.Fatal(err)
		}
		if n := flow.Attempt(ctx); n < 0 || n > 100 {
			t.Fatalf("attempt %d", n)
		}
		if left, ok := flow.Remaining(ctx); ok && left > 24*time.Hour {
			t.Fatalf("left %v", left)
		}
		labels := flow.Labels(ctx)
		for k, v := range labels {
			if k == "" || len(k) > 64 || v == "" || len(v) > 256 || flow.Label(ctx, k) != v {
				t.Fatalf("label %q=%q", k, v)
			}
		}
		out := http.Header{}
		flow.Inject(ctx, out)
		if ms := out.Get("Request-Timeout-Ms"); ms != "" {
			if _, err := strconv.ParseUint(ms, 10, 64); err != nil {
				t.Fatalf("sent %q", ms)
			}
		}
		again, cancel2, _ := flow.Extract(context.Background(), out)
		defer cancel2()
		if flow.TraceID(again) != flow.TraceID(ctx) || !maps.Equal(flow.Labels(again), labels) || flow.Attempt(again) != flow.Attempt(ctx) {
			t.Fatalf("one more hop changed it: %v %v", flow.Labels(again), labels)
		}
	})
}

func BenchmarkExtractInject(b *testing.B) {
	in := http.Header{"Traceparent": {parent}, "Request-Timeout-Ms": {"1500"}, "Baggage": {"sf.tier=premium"}}
	b.ReportAllocs()
	for b.Loop() {
		ctx, cancel, _ := flow.Extract(context.Background(), in)
		out := http.Header{}
		flow.Inject(ctx, out)
		cancel()
	}
}
