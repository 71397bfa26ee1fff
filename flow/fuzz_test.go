package flow_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/propagation"

	"github.com/surefoot-go/surefoot/flow"
)

// The short way reads of any headers that we would send on what the long way
// does, and of all others something harmless.
func FuzzPeek(f *testing.F) {
	f.Add("sf.user=7", "sf.user=8,a=b;p=1", parent)
	f.Add("a=b, sf.user = %E4%B8%8A ;p=1;q,c=d", "", strings.ToUpper(parent))
	f.Add("sf.user=%00", "sf.user", "00-"+strings.Repeat("0", 32)+"-00f067aa0ba902b7-01")
	f.Fuzz(func(t *testing.T, first, second, tp string) {
		if got := flow.PeekLabel([]string{first, second}, "user"); len(got) > 256 {
			t.Fatalf("a label of %d bytes", len(got))
		}
		if got := flow.PeekTraceID([]string{tp}); got != "" && (len(got) != 32 || !strings.Contains(tp, got)) {
			t.Fatalf("trace %q", got)
		}
		ctx := flow.ExtractCarrier(t.Context(), propagation.HeaderCarrier(http.Header{"Baggage": {first, second}, "Traceparent": {tp}}))
		h := http.Header{}
		flow.Inject(ctx, h)
		if got, want := flow.PeekLabel(h["Baggage"], "user"), flow.Label(ctx, "user"); got != want {
			t.Fatalf("%q: user %q, want %q", h, got, want)
		}
		if got, want := flow.PeekTraceID(h["Traceparent"]), flow.TraceID(ctx); got != want {
			t.Fatalf("%q: trace %q, want %q", h, got, want)
		}
	})
}

// What WithLabels takes arrives as it was, past whatever baggage was there.
func FuzzLabels(f *testing.F) {
	f.Add("tier", "premium", "a=b,sf.tier=old")
	f.Add("用户", "值 with, ; = %", "sf.x=1;p")
	f.Add("k", "\x00\xff", strings.Repeat("a=b,", 100))
	f.Fuzz(func(t *testing.T, key, value, bag string) {
		ctx := flow.ExtractCarrier(t.Context(), propagation.HeaderCarrier(http.Header{"Baggage": {bag}}))
		before := flow.Labels(ctx)
		ctx = flow.WithLabels(ctx, map[string]string{key: value})
		h := http.Header{}
		flow.Inject(ctx, h)
		for _, v := range h["Baggage"] {
			if strings.ContainsAny(v, "\r\n\x00") {
				t.Fatalf("header %q", v)
			}
		}
		got := flow.ExtractCarrier(t.Context(), propagation.HeaderCarrier(h))
		if want := flow.Labels(ctx); !maps.Equal(flow.Labels(got), want) {
			t.Fatalf("arrived %q, sent %q (%q before)", flow.Labels(got), want, before)
		}
		if left := flow.Labels(flow.WithoutLabels(got)); len(left) != 0 {
			t.Fatalf("left %q", left)
		}
	})
}
