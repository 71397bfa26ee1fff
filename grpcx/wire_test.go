package grpcx_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/grpcx"
)

var kinds = []errs.Kind{errs.Internal, errs.Invalid, errs.Unauthorized, errs.Forbidden, errs.NotFound, errs.Conflict,
	errs.FailedPrecondition, errs.TooMany, errs.Canceled, errs.Unimplemented, errs.BadGateway, errs.Unavailable, errs.Timeout}

func TestEveryKindCrosses(t *testing.T) {
	for _, k := range kinds {
		for _, id := range []string{"", "out-of.stock_2"} {
			in := errs.New(k, "stock.Take", "sold out").Detail("sku 7", "ask again on Monday").
				RetryAfter(1500*time.Millisecond).Because(errors.New("dsn=secret")).With("user", "secret")
			if id != "" {
				in = in.ID(id)
			}
			in = in.At(errs.Border{Service: "stock", Op: "stock.Take", Trace: strings.Repeat("4b", 16), Started: time.Now().Add(-time.Second)})
			st := grpcx.ToStatus(fmt.Errorf("wrapped by others: %w", in))
			if st.Code() != codes.Code(k.GRPC()) {
				t.Errorf("%v: code %v", k, st.Code())
			}
			wire, err := proto.Marshal(st.Proto())
			if err != nil || bytes.Contains(wire, []byte("secret")) || bytes.Contains(wire, []byte("wrapped")) {
				t.Errorf("%v: %q, %v", k, wire, err)
			}
			var pb statuspb.Status
			if err := proto.Unmarshal(wire, &pb); err != nil {
				t.Fatal(err)
			}
			out := grpcx.FromError(status.FromProto(&pb).Err())
			got, want := out.Parts(), in.Parts()
			want.Remote = true
			for i := range want.Chain {
				if !got.Chain[i].At.Equal(want.Chain[i].At) {
					t.Errorf("%v: hop at %v, want %v", k, got.Chain[i].At, want.Chain[i].At)
				}
				got.Chain[i].At = want.Chain[i].At // another location
			}
			got.At = want.At
			if !reflect.DeepEqual(got, want) || !errors.Is(out, in) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		}
	}
	if grpcx.ToStatus(nil).Code() != codes.OK || grpcx.FromError(nil) != nil {
		t.Error("nil")
	}
}

func TestStatusStaysSmall(t *testing.T) {
	for _, letter := range []string{"m", "%", "字"} {
		big := errs.New(errs.Invalid, "a", strings.Repeat(letter, 5000))
		for i := range 60 {
			big = big.Arg(string(rune('a'+i%26)), strings.Repeat(letter, 100)).Detail(strings.Repeat("d", 900) + fmt.Sprint(i))
		}
		var err error = big
		for i := range 30 {
			err = errs.Wrap(err, fmt.Sprintf("%s%d", strings.Repeat("o", 120), i))
		}
		st := grpcx.ToStatus(err)
		inHeader := len(url.PathEscape(st.Message())) // as %xx
		if letter == "m" {
			inHeader = len(st.Message())
		}
		if n := base64.RawStdEncoding.EncodedLen(proto.Size(st.Proto())) + inHeader; n > 8<<10 {
			t.Errorf("%s: %d bytes in the trailer", letter, n)
		}
		out := grpcx.FromError(st.Err())
		chain, whole := out.Chain(), errs.From(err).Chain()
		if len(chain) < 2 || chain[0].Op != whole[0].Op || chain[len(chain)-1].Op != whole[len(whole)-1].Op {
			t.Errorf("%s: chain lost its ends: %d hops", letter, len(chain))
		}
		if len(out.Message()) < 1020 {
			t.Errorf("%s: message of %d bytes", letter, len(out.Message()))
		}
	}
}

func TestStrangersStatus(t *testing.T) {
	with := func(c codes.Code, d ...proto.Message) error {
		st := status.New(c, "pq: dsn=postgres://secret")
		for _, m := range d {
			next, err := st.WithDetails(protoadapt.MessageV1Of(m))
			if err != nil {
				t.Fatal(err)
			}
			st = next
		}
		return st.Err()
	}
	for _, c := range []struct {
		name   string
		err    error
		kind   errs.Kind
		id     string
		msg    string
		remote bool
	}{
		{"no details", with(codes.Internal), errs.Internal, "internal_error", "", false},
		{"unknown code", with(codes.Code(77)), errs.Internal, "internal_error", "", false},
		{"another domain", with(codes.NotFound, &errdetails.ErrorInfo{Domain: "googleapis.com", Reason: "BUCKET_GONE"}), errs.NotFound, "bucket_gone", "", true},
		{"a nonsense reason", with(codes.NotFound, &errdetails.ErrorInfo{Domain: "x", Reason: "no such\nthing"}), errs.NotFound, "not_found", "", true},
		{"a message for people", with(codes.NotFound, &errdetails.LocalizedMessage{Locale: "en", Message: "no such bucket"}), errs.NotFound, "not_found", "no such bucket", false},
		{"our domain, a kind that is not the code's", with(codes.NotFound, &errdetails.ErrorInfo{Domain: "surefoot",
			Metadata: map[string]string{"kind": "internal_error", "id": "x", "http_status": "500"}}), errs.NotFound, "x", "", true},
		{"cancelled context", context.Canceled, errs.Canceled, "canceled", "", false},
		{"anything", errors.New("pq: dsn=secret"), errs.Internal, "internal_error", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := grpcx.FromError(c.err)
			if e.Kind() != c.kind || e.Code() != c.id || e.Remote() != c.remote || c.msg != "" && e.Message() != c.msg {
				t.Errorf("%v %q %q remote %v", e.Kind(), e.Code(), e.Message(), e.Remote())
			}
			if strings.Contains(e.Message(), "secret") || strings.Contains(grpcx.ToStatus(e).Proto().String(), "secret") {
				t.Errorf("a stranger's text crossed: %v", grpcx.ToStatus(e))
			}
			if e.HTTP() != c.kind.HTTP() {
				t.Errorf("status %d", e.HTTP())
			}
		})
	}
}

func TestHandlersOwnStatus(t *testing.T) {
	st := grpcx.ToStatus(status.Error(codes.InvalidArgument, "quantity must be positive"))
	if st.Message() != "quantity must be positive" {
		t.Errorf("caller's fault: %q", st.Message())
	}
	if st := grpcx.ToStatus(status.Error(codes.Internal, "pq: secret")); strings.Contains(st.Message(), "secret") {
		t.Errorf("our fault: %q", st.Message())
	}
	if st := grpcx.ToStatus(fmt.Errorf("x: %w", status.Error(codes.NotFound, "secret"))); strings.Contains(st.Message(), "secret") {
		t.Errorf("somebody else's: %q", st.Message())
	}
}

// TestChainOfThree is A -> B -> C: what C says reaches A whole, and what C
// logs does not.
func TestChainOfThree(t *testing.T) {
	for _, c := range []struct {
		name string
		fail func() error
		kind errs.Kind
		id   string
		msg  string
		ops  string // newest first
		log  string // what C's log has and the wire has not
	}{
		{"own id", func() error {
			return errs.New(errs.Conflict, "stock.Take", "sold out").ID("out_of_stock").Detail("sku 7").With("dsn", "hidden-value").Because(errors.New("hidden cause"))
		}, errs.Conflict, "out_of_stock", "sold out", "b:test.Service/Do b:order.Place c:test.Service/Do c:stock.Take", "hidden cause"},
		{"502 stays 502", func() error { return errs.New(errs.BadGateway, "bank.Charge", "the bank answered nonsense") },
			errs.BadGateway, "bad_gateway", "the bank answered nonsense", "", ""},
		{"panic", func() error { panic("hidden panic value") }, errs.Internal, "internal_error", "", "", "hidden panic value"},
		{"foreign error", func() error { return errors.New("pq: hidden text") }, errs.Internal, "internal_error", "", "", "hidden text"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			rec := new(recorder)
			sinksC := rec.sinks()
			sinksC.Log = slog.New(slog.NewTextHandler(&log, nil))
			toC := serve(t, grpcx.Server{Service: "c", Observe: sinksC}, handlers{do: func(context.Context, string) (string, error) { return "", c.fail() }},
				grpcx.Client{Service: "b", Target: "c", Observe: rec.sinks()})
			toB := serve(t, grpcx.Server{Service: "b", Observe: rec.sinks()}, handlers{do: func(ctx context.Context, in string) (string, error) {
				out, err := call(ctx, toC, in)
				return out, errs.Wrap(err, "order.Place")
			}}, grpcx.Client{Service: "a", Target: "b", Observe: rec.sinks()})

			ctx, root := rec.Tracer("").Start(t.Context(), "root")
			_, err := call(ctx, toB, "x")
			e := errs.From(err)
			if e.Kind() != c.kind || e.Code() != c.id || c.msg != "" && e.Message() != c.msg || e.HTTP() != c.kind.HTTP() || !e.Remote() {
				t.Errorf("%v %q %q %d", e.Kind(), e.Code(), e.Message(), e.HTTP())
			}
			if e.Trace() != root.SpanContext().TraceID().String() {
				t.Errorf("trace %q", e.Trace())
			}
			if status.Code(err) != codes.Code(c.kind.GRPC()) {
				t.Errorf("grpc's own view: %v", status.Code(err))
			}
			var ops []string
			for i, h := range e.Chain() {
				ops = append(ops, h.Service+":"+h.Op)
				if h.Error != c.id || h.At.IsZero() {
					t.Errorf("hop %d: %+v", i, h)
				}
			}
			if c.ops != "" && strings.Join(ops, " ") != c.ops {
				t.Errorf("hops %v, want %v", ops, c.ops)
			}
			if c.log != "" && !strings.Contains(log.String(), c.log) {
				t.Errorf("C's log lacks %q: %s", c.log, log.String())
			}
			if all := fmt.Sprintf("%v %+v %v", err, e.Parts(), e.Unwrap()); strings.Contains(all, "hidden") || strings.Contains(all, "goroutine") {
				t.Errorf("crossed the wire: %s", all)
			}
			if !strings.Contains(log.String(), e.Trace()) {
				t.Error("C's log lacks the trace id")
			}
		})
	}
}

func TestEdgeShowsNoChainAndBelievesNoLabels(t *testing.T) {
	var labels map[string]string
	conn := serve(t, grpcx.Server{Service: "s", Edge: true}, handlers{do: func(ctx context.Context, _ string) (string, error) {
		labels = flow.Labels(ctx)
		return "", errs.New(errs.NotFound, "x", "no such order")
	}}, grpcx.Client{Target: "s"})
	_, err := call(flow.WithLabels(t.Context(), map[string]string{"tier": "premium"}), conn, "")
	e := errs.From(err)
	if len(labels) != 0 || e.Code() != "not_found" || len(e.Trace()) != 32 {
		t.Errorf("labels %v, error %v, trace %q", labels, e, e.Trace())
	}
	for _, h := range e.Chain() {
		if h.Op == "x" {
			t.Errorf("chain %v", e.Chain())
		}
	}
}

func FuzzFromStatus(f *testing.F) {
	for _, k := range kinds {
		b, _ := proto.Marshal(grpcx.ToStatus(errs.New(k, "op", "m").Detail("d").Field("a.b[0]", "c").Arg("n", "v").In(texts, "zh").RetryAfter(time.Second)).Proto())
		f.Add(b)
	}
	zh, _ := proto.Marshal(grpcx.ToStatus(errs.Assemble(errs.Parts{Kind: errs.Conflict, GRPC: 6}).In(nil, "zh")).Proto())
	f.Add(zh)
	f.Fuzz(func(t *testing.T, b []byte) {
		var pb statuspb.Status
		if proto.Unmarshal(b, &pb) != nil {
			return
		}
		err := status.FromProto(&pb).Err()
		if err == nil {
			return
		}
		e := grpcx.FromError(err)
		p := e.Parts()
		if len(p.Message) > 1024 || len(p.Details) > 64 || len(p.Chain) > 32 || p.RetryAfter < 0 || p.Status < 400 || p.Status > 599 {
			t.Fatalf("believed too much: %+v", p)
		}
		again := grpcx.FromError(grpcx.ToStatus(e).Err())
		if again.Kind() != e.Kind() || again.Code() != e.Code() || again.Message() != e.Message() || again.HTTP() != e.HTTP() || again.Trace() != e.Trace() ||
			again.GRPC() != e.GRPC() || again.Language() != e.Language() || !maps.Equal(again.Parts().Args, p.Args) {
			t.Fatalf("second pass differs: %+v, %+v", p, again.Parts())
		}
		if n := proto.Size(grpcx.ToStatus(e).Proto()); n > 8<<10 {
			t.Fatalf("status of %d bytes", n)
		}
	})
}
