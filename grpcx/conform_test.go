package grpcx_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/observe"
)

var quietSinks = observe.Sinks{Log: quiet}

var update = flag.Bool("update", false, "write the tables in testdata anew")

// table prints what A showed, one line a failure, for a person to read.
type table struct {
	b strings.Builder
	w *tabwriter.Writer
}

func newTable(title, first string) *table {
	t := &table{}
	t.b.WriteString(title)
	t.w = tabwriter.NewWriter(&t.b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t.w, first+"\tfails with\tgRPC B->A\tA\tretry\tid\tmessage\tdetails\thops, newest first, with their id where it is another")
	return t
}

func (tb *table) add(d, name string, l *lab, e *errs.Error) {
	var hops []string
	for _, h := range e.Chain() {
		hop := h.Service + " " + h.Op
		if h.Error != e.Code() {
			hop += " " + h.Error
		}
		hops = append(hops, hop)
	}
	fmt.Fprintf(tb.w, "%s\t%s\t%v\t%d\t%s\t%s\t%s\t%s\t%s\n", d, name, l.code, e.HTTP(), l.retry, e.Code(), e.Message(),
		strings.Join(e.Details(), " | "), strings.Join(hops, " < "))
}

// check compares with the golden file, or writes it.
func (tb *table) check(t *testing.T, file string) {
	t.Helper()
	tb.w.Flush()
	var lines []string
	for line := range strings.Lines(tb.b.String()) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	got := strings.Join(lines, "\n") + "\n"
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) == got {
		return
	}
	was := strings.Split(string(want), "\n")
	for i, line := range strings.Split(got, "\n") {
		if i >= len(was) || was[i] != line {
			t.Errorf("%s:%d\n got %s\nwant %s", path, i+1, line, append(was, make([]string, i+1)...)[i])
		}
	}
}

// failing is D's failure in every way a service of ours can fail.
func failing() (names []string, by map[string]func(op string) error) {
	by = map[string]func(string) error{}
	add := func(name string, f func(op string) error) { names, by[name] = append(names, name), f }
	for _, k := range kinds {
		made := func(op string) *errs.Error {
			return errs.New(k, op, "says "+k.ID()).Detail("plain detail").Field("items[0].sku", "unknown").
				With("dsn", dsn).Because(fmt.Errorf("pq: %s at %s", private, dsn))
		}
		add(k.ID(), func(op string) error { return made(op) })
		add(k.ID()+", own id", func(op string) error { return made(op).ID("bank." + k.ID() + "-7") })
	}
	for _, s := range []int{402, 410, 413, 418, 422, 423, 451, 505, 507, 511, 599} {
		add(fmt.Sprint("status ", s), func(op string) error { return errs.New(errs.KindOfHTTP(s), op, "says so").Status(s) })
	}
	add("busy for 6.2 s", func(op string) error {
		return errs.New(errs.TooMany, op, "over the limit").ID("bank.busy").RetryAfter(6200 * time.Millisecond)
	})
	add("plain error", func(string) error { return errors.New("pq: " + dsn) })
	add("panic", func(string) error { panic("panic with " + dsn) })
	add("panic with an error", func(op string) error { panic(errs.New(errs.NotFound, op, dsn)) })
	add("joined", func(op string) error {
		return errors.Join(errs.New(errs.Invalid, op, "bad").Detail("of the first"), errors.New(dsn), errs.New(errs.Unavailable, op, "down").Detail("of the second"))
	})
	add("wrapped by others", func(op string) error {
		return fmt.Errorf("%s: %w", dsn, errs.New(errs.NotFound, op, "no such account"))
	})
	add("deadline", func(string) error { return fmt.Errorf("%s: %w", dsn, context.DeadlineExceeded) })
	add("canceled, but not by the caller", func(string) error { return fmt.Errorf("%s: %w", dsn, context.Canceled) })
	return names, by
}

// serveD starts a D of ours that fails with f.
func (l *lab) serveD(overGRPC bool, f func(op string) error) {
	if overGRPC {
		l.serveGRPC("d", labHandlers{do: func(context.Context) error { return f("lab.d/Do") }}, l.guarded("d")...)
		return
	}
	l.serveHTTP("d", httpx.Server{Service: "d", Observe: quietSinks}.Handle("d.Charge",
		func(http.ResponseWriter, *http.Request) error { return f("d.Charge") }))
}

func protocol(overGRPC bool) string {
	if overGRPC {
		return "gRPC"
	}
	return "HTTP"
}

// Every failure of D is seen at A with its id, code, message, details, trace id
// and the four hops in order, whichever way A is asked; and nothing else is on
// any wire.
func TestConformance(t *testing.T) {
	tb := newTable("What A answers when A(HTTP) -> B(gRPC) -> C(HTTP) -> D and D fails; under trace id "+wireTrace+".\n\n", "D")
	names, by := failing()
	for _, overGRPC := range []bool{false, true} {
		for _, name := range names {
			t.Run(protocol(overGRPC)+" "+name, func(t *testing.T) {
				l := newLab(t)
				l.serveD(overGRPC, by[name])
				url := l.build(httpx.Server{}, overGRPC)
				e, resp, raw := l.ask(url, nil)
				tb.add(protocol(overGRPC), name, l, e)
				if resp.Header.Get("Content-Type") != errs.TypeJSON || e.Trace() != wireTrace {
					t.Errorf("%s, trace %q", resp.Header.Get("Content-Type"), e.Trace())
				}
				four(t, e)
				// A's handler has the error as if D were next door.
				var here *errs.Error
				if !errors.As(l.err, &here) || !here.Remote() || !errors.Is(l.err, errs.Assemble(errs.Parts{Kind: e.Kind(), ID: e.Code()})) {
					t.Errorf("A's handler got %v", l.err)
				}
				if busy := name == "busy for 6.2 s"; busy != (l.retry == "7") || busy && here.RetryDelay() != 7*time.Second {
					t.Errorf("retry after %q, %v", l.retry, here.RetryDelay())
				}

				problem, resp, _ := l.ask(url, http.Header{"Accept": {"application/problem+json"}})
				if resp.Header.Get("Content-Type") != errs.TypeProblem || !same(problem, e) {
					t.Errorf("as a problem: %+v", problem.Parts())
				}
				l.quietWires()
				// The tap is not blind: what may cross was seen on each wire.
				if id := e.Code(); !strings.Contains(id, "internal") {
					for name, at := range l.taps {
						if heard := at.heard(); !strings.Contains(heard, id) || !strings.Contains(heard, wireTrace) {
							t.Errorf("the tap at %s heard nothing of %s", name, id)
						}
					}
				}
				edge := newLab(t)
				edge.serveD(overGRPC, by[name])
				public, _, raw := edge.ask(edge.build(httpx.Server{Edge: true}, overGRPC), nil)
				if len(public.Chain()) != 0 || strings.Contains(raw, "chain") || strings.Contains(raw, "d.Charge") || strings.Contains(raw, "lab.") {
					t.Errorf("the edge shows the chain: %s", raw)
				}
				if p, q := public.Parts(), e.Parts(); p.ID != q.ID || p.Status != q.Status || p.Message != q.Message || p.Trace != q.Trace || !slices.Equal(p.Details, q.Details) {
					t.Errorf("the edge lost something: %+v", p)
				}
				edge.quietWires()
			})
		}
	}
	tb.check(t, "conform.txt")
}

// four checks the hops of A, B, C and D, in order.
func four(t *testing.T, e *errs.Error) {
	t.Helper()
	var services []string
	for i, h := range e.Chain() {
		services = append(services, h.Service)
		if h.At.IsZero() || time.Since(h.At) > time.Minute || i == 0 && h.Elapsed <= 0 {
			t.Errorf("hop %d: %+v", i, h)
		}
	}
	if got := strings.Join(services, " "); got != "a b c d" {
		t.Errorf("hops %s", got)
	}
}

// same compares what does not depend on the time of two failures.
func same(a, b *errs.Error) bool {
	p, q := a.Parts(), b.Parts()
	return p.ID == q.ID && p.Status == q.Status && p.Message == q.Message && p.Trace == q.Trace &&
		slices.Equal(p.Details, q.Details) && len(p.Chain) == len(q.Chain)
}

// Streams of every kind between A and B fail as calls do, after what was sent;
// and so does a D that streams.
func TestConformanceOfStreams(t *testing.T) {
	tb := newTable("The same, where A asks B with a stream. B sends three messages, or takes three, and then fails because of D.\n\n", "D")
	names, by := failing()
	for _, kind := range []string{"server", "client", "bidi"} {
		for _, name := range names {
			if strings.Contains(name, "own id") || strings.Contains(name, "status") {
				continue // nothing there that the kind does not show
			}
			t.Run(kind+" "+name, func(t *testing.T) {
				l := newLab(t)
				l.stream = kind
				l.serveD(true, by[name])
				e, _, _ := l.ask(l.build(httpx.Server{}, true), nil)
				if want := map[string]int{"server": 3, "bidi": 3}[kind]; len(l.got) != want {
					t.Errorf("A had %q before the failure", l.got)
				}
				tb.add(kind+" stream", name, l, e)
				four(t, e)
				l.quietWires()
			})
		}
	}
	for _, name := range names {
		t.Run("D streams "+name, func(t *testing.T) {
			l := newLab(t)
			l.serveGRPC("d", labHandlers{stream: func(s grpc.ServerStream) error {
				if err := errors.Join(s.SendMsg(wrapperspb.String("one")), s.SendMsg(wrapperspb.String("two"))); err != nil {
					return err
				}
				return by[name]("lab.d/server")
			}}, l.guarded("d")...)
			conn := l.grpcTo("c", "d", oneTry)
			var had int
			l.buildAsking(httpx.Server{}, func(ctx context.Context) error {
				s, err := conn.NewStream(ctx, &labDesc("d").Streams[0], "/lab.d/server")
				if err != nil {
					return err
				}
				if err := errors.Join(s.SendMsg(wrapperspb.String("x")), s.CloseSend()); err != nil {
					return err
				}
				for {
					if err := s.RecvMsg(new(text)); err != nil {
						return err
					}
					had++
				}
			})
			e, _, _ := l.ask("http://"+l.address["a"]+"/", nil)
			if had != 2 {
				t.Errorf("C had %d messages", had)
			}
			tb.add("gRPC, 2 sent", name, l, e)
			four(t, e)
			l.quietWires()
		})
	}
	tb.check(t, "conform_streams.txt")
}

// A D that hangs, refuses, breaks off or talks nonsense.
func TestConformanceOfBrokenTargets(t *testing.T) {
	tb := newTable("The same, where D does not fail but breaks. One that hangs is given 150 ms by C.\n\n", "D")
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	answers := func(head, body string) func(*lab) {
		return func(l *lab) {
			l.rough("d", func(c net.Conn) {
				_, _ = c.Read(make([]byte, 4096))
				_, _ = io.WriteString(c, head+"\r\n\r\n"+body)
			})
		}
	}
	cases := []struct {
		name  string
		grpc  bool
		start func(l *lab)
	}{
		{"hangs", false, func(l *lab) {
			l.serveHTTP("d", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _ = hang(r.Context()) }))
		}},
		{"hangs", true, func(l *lab) { // not only until C's time is over: then both would tell of it
			l.serveGRPC("d", labHandlers{do: func(context.Context) error { return hang(l.t.Context()) }})
		}},
		{"refuses connections", false, func(l *lab) { l.address["d"] = refused(l.t) }},
		{"refuses connections", true, func(l *lab) { l.address["d"] = refused(l.t) }},
		{"HTML 502", false, answers("HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nConnection: close", "<html>"+dsn+"</html>")},
		{"HTML 502", true, answers("HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nConnection: close", "<html>"+dsn+"</html>")},
		{"HTML 200", false, answers("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close", "<html>"+dsn+"</html>")},
		{"cut in a body of 200", false, answers("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000", `{"dsn":"`+dsn)},
		{"cut in a body of 503", false, answers("HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 1000", `{"code":503,"error":"bank_closed","mess`)},
		{"cut in a body of 504", false, answers("HTTP/1.1 504 Gateway Timeout\r\nContent-Type: text/html\r\nContent-Length: 1000", "<html>")},
		{"cut in the header", false, func(l *lab) {
			l.rough("d", func(c net.Conn) {
				_, _ = c.Read(make([]byte, 4096))
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Ty")
			})
		}},
		{"closes without a word", false, func(l *lab) { l.rough("d", func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) }) }},
		{"closes without a word", true, func(l *lab) { l.rough("d", func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) }) }},
		{"cut in a call", true, func(l *lab) {
			l.serveGRPC("d", labHandlers{do: func(ctx context.Context) error {
				d := l.taps["d"]
				d.mu.Lock()
				c := d.conns[0]
				d.mu.Unlock()
				_ = c.Close()
				return hang(ctx)
			}})
		}},
		{"no HTTP at all", false, answers("220 mail."+private+" ESMTP", "")},
		{"a redirect to nowhere", false, answers("HTTP/1.1 302 Found\r\nContent-Length: 0", "")},
	}
	for _, c := range cases {
		t.Run(protocol(c.grpc)+" "+c.name, func(t *testing.T) {
			l := newLab(t)
			if c.name == "hangs" {
				l.c.Timeout, l.c.AttemptTimeout = 150*time.Millisecond, 150*time.Millisecond
			}
			c.start(l)
			e, _, raw := l.ask(l.build(httpx.Server{}, c.grpc), nil)
			tb.add(protocol(c.grpc), c.name, l, e)
			if e.Trace() != wireTrace || len(e.Chain()) < 3 || e.HTTP() < 502 {
				t.Errorf("%s", raw)
			}
			l.quietWires("d")
		})
	}
	tb.check(t, "conform_broken.txt")
}

// What foreign services say keeps its code all the way, and none of their text
// gets to A.
func TestConformanceOfForeignTargets(t *testing.T) {
	tb := newTable("The same, where D is not of ours. Its text may say anything, so it stays in the log of C.\n\n", "D")
	for _, s := range []int{400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 412, 413, 415, 418, 422, 423, 425, 428, 429, 431, 451, 499,
		500, 501, 502, 503, 504, 505, 507, 508, 511, 520, 522, 526, 529, 530, 599} {
		for i, body := range []string{dsn, `{"type":"https://bank/` + private + `","title":"` + dsn + `","status":` + fmt.Sprint(s) + `,"detail":"` + dsn + `"}`} {
			name := fmt.Sprint(s, []string{" plain text", " problem+json"}[i])
			t.Run(name, func(t *testing.T) {
				l := newLab(t)
				l.serveHTTP("d", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", []string{"text/plain", errs.TypeProblem}[i])
					w.WriteHeader(s)
					_, _ = io.WriteString(w, body)
				}))
				e, _, raw := l.ask(l.build(httpx.Server{}, false), nil)
				if i == 0 {
					tb.add("HTTP", name, l, e)
				}
				if e.HTTP() != s || e.Trace() != wireTrace {
					t.Errorf("%d became %s", s, raw)
				}
				four(t, e)
				l.quietWires("d")
			})
		}
	}
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		t.Run(code.String(), func(t *testing.T) {
			l := newLab(t)
			l.serveGRPC("d", labHandlers{do: func(context.Context) error { return status.Error(code, dsn) }})
			e, _, _ := l.ask(l.build(httpx.Server{}, true), nil)
			tb.add("gRPC", code.String(), l, e)
			want := code
			switch code {
			case codes.Unknown:
				want = codes.Internal // over HTTP it says nothing more
			case codes.Canceled:
				want = codes.Unavailable // not by its caller: it gave up
			}
			if l.code != want {
				t.Errorf("%v became %v", code, l.code)
			}
			four(t, e)
			l.quietWires("d")
			if !strings.Contains(l.taps["d"].heard(), private) {
				t.Error("the tap is blind: D has just said it") // packed, in a header of HTTP/2
			}
		})
	}
	tb.check(t, "conform_foreign.txt")
}
