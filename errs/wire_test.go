package errs_test

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/surefoot-go/surefoot/errs"
)

const trace1 = "4bf92f3577b34da6a3ce929d0e0e4736"

func story() *errs.Error {
	started := time.Now()
	time.Sleep(12500 * time.Microsecond) // fake time
	e := errs.New(errs.Invalid, "user.Check", "request parameters failed <validation>").
		Detail("username must not be empty").With("dsn", "postgres://root:hunter2@db").Because(errors.New("hunter2"))
	return errs.From(errs.Wrap(e, "order.Place")).
		At(errs.Border{Service: "order", Op: "order.Place", Started: started, Trace: trace1})
}

func TestEncode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := story()
		table := []struct {
			o    errs.Options
			want string
		}{
			{errs.Options{}, `{"code":400,"error":"invalid_request","message":"request parameters failed <validation>","details":["username must not be empty"],"traceId":"` + trace1 + `","timestamp":"2000-01-01T00:00:00.012Z","chain":[{"service":"order","op":"order.Place","error":"invalid_request","at":"2000-01-01T00:00:00.012Z","elapsedMs":12.5},{"service":"order","op":"user.Check","error":"invalid_request","at":"2000-01-01T00:00:00.012Z","elapsedMs":0}]}`},
			{errs.Options{Edge: true}, `{"code":400,"error":"invalid_request","message":"request parameters failed <validation>","details":["username must not be empty"],"traceId":"` + trace1 + `","timestamp":"2000-01-01T00:00:00.012Z"}`},
			{errs.Options{Edge: true, Problem: true}, `{"type":"about:blank","title":"Bad Request","status":400,"detail":"request parameters failed <validation>","error":"invalid_request","details":["username must not be empty"],"traceId":"` + trace1 + `","timestamp":"2000-01-01T00:00:00.012Z"}`},
		}
		for _, c := range table {
			if got := strings.TrimSpace(string(errs.Encode(e, c.o))); got != c.want {
				t.Errorf("%+v\n got %s\nwant %s", c.o, got, c.want)
			}
		}
		if errs.Options.ContentType(errs.Options{}) != "application/json" || (errs.Options{Problem: true}).ContentType() != "application/problem+json" {
			t.Error("content types")
		}
	})
}

// What is private must not cross, in any shape, from any source.
func TestNothingPrivateCrosses(t *testing.T) {
	secret := errors.New("hunter2 at postgres://db")
	sources := map[string]error{
		"plain":           secret,
		"wrapped":         errs.Wrap(secret, "op"),
		"cause":           errs.New(errs.Unavailable, "op", "later").Because(secret),
		"with":            errs.New(errs.Internal, "op", "later").With("password", "hunter2"),
		"joined":          errors.Join(secret, errs.New(errs.Invalid, "op", "no")),
		"foreign":         errs.Decode([]byte("<h1>hunter2</h1>"), 502, "text/html"),
		"foreign json":    errs.Decode([]byte(`{"error":{"message":"hunter2"},"message":"hunter2"}`), 500, "application/json"),
		"foreign problem": errs.Decode([]byte(`{"type":"x","title":"hunter2","status":500,"detail":"hunter2"}`), 500, "application/problem+json"),
	}
	for name, err := range sources {
		for _, o := range []errs.Options{{}, {Edge: true}, {Problem: true}, {Edge: true, Problem: true}} {
			if got := string(errs.Encode(err, o)); strings.Contains(got, "hunter2") || strings.Contains(got, "postgres") {
				t.Errorf("%s %+v leaks: %s", name, o, got)
			}
		}
	}
}

func TestRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, e := range []*errs.Error{
			story(),
			errs.New(errs.Conflict, "stock.Take", "sold out").ID("sold_out"),
			errs.New(errs.Invalid, "httpx.Read", "too big").ID("body_too_large").Status(413),
			errs.New(errs.BadGateway, "b", "m"),
		} {
			for _, o := range []errs.Options{{}, {Problem: true}} {
				got := errs.Decode(errs.Encode(e, o), e.HTTP(), o.ContentType()+"; charset=utf-8")
				if !got.Remote() {
					t.Error("what was decoded is remote")
				}
				a, b := e.Parts(), got.Parts()
				a.Remote, b.Remote = false, false
				a.At = a.At.Truncate(time.Millisecond).UTC()
				for i := range a.Chain {
					a.Chain[i].At = a.Chain[i].At.Truncate(time.Millisecond).UTC()
				}
				if !reflect.DeepEqual(a, b) {
					t.Errorf("%+v\n got %+v\nwant %+v", o, b, a)
				}
				if !errors.Is(got, e) {
					t.Error("errors.Is must work across the wire")
				}
			}
		}
	})
}

func TestDecodeForeign(t *testing.T) {
	table := []struct {
		name, body, contentType string
		status                  int
		kind                    errs.Kind
		id, message             string
	}{
		{"plain text", "upstream connect error", "text/plain", 502, errs.BadGateway, "bad_gateway", errs.KindOfHTTP(502).ID()},
		{"empty", "", "", 503, errs.Unavailable, "unavailable", ""},
		{"html", "<html>504</html>", "text/html", 504, errs.Timeout, "timeout", ""},
		{"other json", `{"code":"E17","reason":"nope"}`, "application/json", 422, errs.Invalid, "invalid_request", ""},
		{"json array", `[1,2]`, "application/json", 404, errs.NotFound, "not_found", ""},
		{"code is not the status", `{"code":400,"error":"invalid_request","message":"m"}`, "application/json", 502, errs.BadGateway, "bad_gateway", ""},
		{"ours but called text", `{"code":409,"error":"sold_out","message":"m"}`, "text/plain", 409, errs.Conflict, "conflict", ""},
		{"ours, minimal", `{"code":409,"error":"sold_out","message":"m"}`, "application/json", 409, errs.Conflict, "sold_out", "m"},
		{"ours, no content type", `{"code":409,"error":"sold_out","message":"m"}`, "", 409, errs.Conflict, "sold_out", "m"},
		{"ours, extras are foreign", `{"code":409,"error":"sold_out","message":"m","details":{"a":1},"traceId":7,"timestamp":[],"chain":"x"}`, "application/json", 409, errs.Conflict, "sold_out", "m"},
		{"id is none", `{"code":409,"error":"Sold Out!","message":"m"}`, "application/json", 409, errs.Conflict, "conflict", ""},
		{"id of another kind", `{"code":409,"error":"timeout","message":"m"}`, "application/json", 409, errs.Conflict, "conflict", "m"},
		{"foreign problem", `{"type":"https://x/y","title":"Nope","status":403,"detail":"d"}`, "application/problem+json", 403, errs.Forbidden, "forbidden", ""},
		{"our problem", `{"type":"about:blank","status":403,"detail":"d","error":"not_yours"}`, "application/problem+json", 403, errs.Forbidden, "not_yours", "d"},
		{"not a failure", `ok`, "text/plain", 200, errs.Internal, "internal_error", ""},
		{"truncated", `{"code":409,"error":"sold_out","mess`, "application/json", 409, errs.Conflict, "conflict", ""},
		{"deep", strings.Repeat(`{"a":`, 20000), "application/json", 500, errs.Internal, "internal_error", ""},
		{"control characters", `{"code":400,"error":"x","message":"a\u0000b\u001b[31mc\nd"}`, "application/json", 400, errs.Invalid, "x", "ab[31mc d"},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			e := errs.Decode([]byte(c.body), c.status, c.contentType)
			if e.Kind() != c.kind || e.Code() != c.id || !e.Remote() || e.Message() == "" {
				t.Fatalf("got %v %q %q", e.Kind(), e.Code(), e.Message())
			}
			if c.status >= 400 && e.HTTP() != c.status {
				t.Errorf("%d became %d", c.status, e.HTTP())
			}
			if c.message != "" && c.id != "bad_gateway" && e.Message() != c.message {
				t.Errorf("message %q", e.Message())
			}
		})
	}
}

func TestForeignTextGoesToTheLogOnly(t *testing.T) {
	e := errs.Decode([]byte("  upstream\x00 connect error "), 502, "text/plain")
	if got := e.LogValue().String(); !strings.Contains(got, "upstream connect error") || !strings.Contains(got, "502") {
		t.Errorf("log: %s", got)
	}
}

// The largest error there can be still fits, so the next service sees it whole.
func TestEncodeFits(t *testing.T) {
	worst := strings.Repeat("\u2028\"", 4000)
	e := errs.New(errs.Invalid, worst, worst)
	for range 100 {
		e = errs.From(errs.Wrap(e.Detail(worst), worst))
	}
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"} {
		e = e.Arg(name, worst)
	}
	e = e.At(errs.Border{Service: worst, Op: "op"})
	for _, o := range []errs.Options{{}, {Problem: true}} {
		wire := errs.Encode(e, o)
		if got := errs.Decode(wire, 400, o.ContentType()); len(wire) > errs.MaxWire || len(got.Chain()) != 32 || len(got.Details()) != 32 || len(got.Parts().Args) != 8 {
			t.Errorf("%d bytes, %d hops", len(wire), len(got.Chain()))
		}
	}
}

func TestAssembleBoundsStrangers(t *testing.T) {
	many := make([]string, 1000)
	hops := make([]errs.Hop, 1000)
	for i := range hops {
		hops[i] = errs.Hop{Service: strings.Repeat("s", 1000), Op: strings.Repeat("ö", 1000), Error: "Not An Id", Elapsed: -1}
	}
	e := errs.Assemble(errs.Parts{Kind: errs.Kind(99), Status: 12, ID: "x y", Message: strings.Repeat("é", 4000), Details: many,
		Trace: "UPPER", Chain: hops, RetryAfter: math.MaxInt64})
	p := e.Parts()
	if p.Kind != errs.Internal || p.Status != 500 || p.ID != "internal_error" || p.Trace != "" || p.RetryAfter != time.Hour || p.At.IsZero() {
		t.Errorf("%+v", p)
	}
	if len(p.Message) > 1024 || !utf8.ValidString(p.Message) || len(p.Details) != 32 || len(p.Chain) != 32 {
		t.Errorf("%d %d %d", len(p.Message), len(p.Details), len(p.Chain))
	}
	for _, h := range p.Chain {
		if len(h.Service) > 128 || len(h.Op) > 128 || !utf8.ValidString(h.Op) || h.Error != "internal_error" || h.Elapsed != 0 {
			t.Fatalf("%+v", h)
		}
	}
	if c := e.Behind(errs.Hop{Service: "x"}).Chain(); len(c) != 32 {
		t.Error("Behind must not touch an error that has a chain")
	}
	if c := errs.Assemble(errs.Parts{Kind: errs.Timeout}).Behind(errs.Hop{Service: "bank", Op: "GET"}).Chain(); len(c) != 1 || c[0].Error != "timeout" || c[0].At.IsZero() {
		t.Errorf("Behind: %+v", c)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"code":400,"error":"a","message":"m","details":["d"],"traceId":"`+trace1+`","args":{"a":"b","C":"d","e":7},"timestamp":"2026-11-23T04:05:06.789Z","chain":[{"service":"s","op":"o","error":"e","at":"2026-11-23T04:05:06.789Z","elapsedMs":1e300}]}`), 400, "application/json")
	f.Add([]byte(`{"type":"about:blank","title":"t","status":503,"detail":"d","error":"e"}`), 503, "application/problem+json; charset=utf-8")
	f.Add([]byte("\xff\x00<html>"), 502, "text/html")
	f.Add([]byte(`{"code":400,"error":"a","message":"\ud800"}`), 400, "")
	f.Fuzz(func(t *testing.T, body []byte, status int, contentType string) {
		e := errs.Decode(body, status, contentType)
		if e == nil || !e.Remote() || e.Message() == "" && len(body) == 0 {
			t.Fatal("nothing decoded")
		}
		if e.Kind() != errs.KindOfHTTP(status) {
			t.Fatalf("status %d became %v", status, e.Kind())
		}
		if status >= 400 && status <= 599 && e.HTTP() != status {
			t.Fatalf("status %d became %d", status, e.HTTP())
		}
		for _, o := range []errs.Options{{}, {Problem: true}} {
			wire := errs.Encode(e, o)
			if !json.Valid(wire) {
				t.Fatalf("not JSON: %q", wire)
			}
			if len(wire) > errs.MaxWire {
				t.Fatalf("%d bytes", len(wire))
			}
			again := errs.Decode(wire, e.HTTP(), o.ContentType())
			if a, b := e.Parts(), again.Parts(); a.ID != b.ID || a.Message != b.Message || len(a.Chain) != len(b.Chain) || len(a.Details) != len(b.Details) || a.Trace != b.Trace || !maps.Equal(a.Args, b.Args) || a.GRPC != b.GRPC {
				t.Fatalf("one more hop changed it:\n%+v\n%+v", a, b)
			}
		}
	})
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_ = errs.New(errs.Internal, "op", "msg")
	}
}

func BenchmarkWrap(b *testing.B) {
	e := errs.New(errs.Internal, "op", "msg")
	b.ReportAllocs()
	for b.Loop() {
		_ = errs.Wrap(e, "op")
	}
}

func BenchmarkEncode(b *testing.B) {
	e := errs.From(errs.Wrap(errs.New(errs.Internal, "op", "msg"), "b"))
	b.ReportAllocs()
	for b.Loop() {
		_ = errs.Encode(e, errs.Options{})
	}
}

func BenchmarkDecode(b *testing.B) {
	wire := errs.Encode(errs.Wrap(errs.New(errs.Internal, "op", "msg"), "b"), errs.Options{})
	b.ReportAllocs()
	for b.Loop() {
		_ = errs.Decode(wire, 500, errs.TypeJSON)
	}
}
