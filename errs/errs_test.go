package errs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/errs"
)

func TestKinds(t *testing.T) {
	table := []struct {
		k     errs.Kind
		id    string
		http  int
		grpc  uint32
		fault errs.Fault
		retry bool
	}{
		{errs.Internal, "internal_error", 500, 13, errs.Callee, false},
		{errs.Invalid, "invalid_request", 400, 3, errs.Caller, false},
		{errs.Unauthorized, "unauthorized", 401, 16, errs.Caller, false},
		{errs.Forbidden, "forbidden", 403, 7, errs.Caller, false},
		{errs.NotFound, "not_found", 404, 5, errs.Caller, false},
		{errs.Conflict, "conflict", 409, 10, errs.Caller, false},
		{errs.FailedPrecondition, "failed_precondition", 412, 9, errs.Caller, false},
		{errs.TooMany, "too_many_requests", 429, 8, errs.Caller, true},
		{errs.Canceled, "canceled", 499, 1, errs.Caller, false},
		{errs.Unimplemented, "unimplemented", 501, 12, errs.Callee, false},
		{errs.BadGateway, "bad_gateway", 502, 14, errs.Callee, true},
		{errs.Unavailable, "unavailable", 503, 14, errs.Callee, true},
		{errs.Timeout, "timeout", 504, 4, errs.Callee, true},
	}
	for _, c := range table {
		if c.k.ID() != c.id || c.k.String() != c.id || c.k.HTTP() != c.http || c.k.GRPC() != c.grpc || c.k.Fault() != c.fault || c.k.Retryable() != c.retry {
			t.Errorf("%v: %d %d %v %v", c.k, c.k.HTTP(), c.k.GRPC(), c.k.Fault(), c.k.Retryable())
		}
		if got := errs.KindOfHTTP(c.http); got != c.k {
			t.Errorf("KindOfHTTP(%d) = %v", c.http, got)
		}
		if got, ok := errs.KindOfID(c.id); !ok || got != c.k {
			t.Errorf("KindOfID(%q) = %v", c.id, got)
		}
		if got := errs.KindOfGRPC(c.grpc); got != c.k && c.k != errs.BadGateway { // 502 shares 14 with 503
			t.Errorf("KindOfGRPC(%d) = %v, want %v", c.grpc, got, c.k)
		}
	}
	if k := errs.Kind(200); k.ID() != "internal_error" || k.HTTP() != 500 || k.GRPC() != 13 {
		t.Error("an unknown kind must behave as Internal")
	}
	for status, want := range map[int]errs.Kind{
		0: errs.Internal, 200: errs.Internal, 302: errs.Internal, 402: errs.Invalid, 407: errs.Unauthorized, 408: errs.Timeout,
		410: errs.NotFound, 413: errs.Invalid, 418: errs.Invalid, 423: errs.Conflict, 428: errs.FailedPrecondition,
		505: errs.Unimplemented, 507: errs.Unavailable, 520: errs.BadGateway, 522: errs.Timeout, 529: errs.Unavailable, 599: errs.Internal, 700: errs.Internal,
	} {
		if got := errs.KindOfHTTP(status); got != want {
			t.Errorf("KindOfHTTP(%d) = %v, want %v", status, got, want)
		}
	}
	for code, want := range map[uint32]errs.Kind{0: errs.Internal, 2: errs.Internal, 6: errs.Conflict, 11: errs.Invalid, 15: errs.Internal, 99: errs.Internal} {
		if got := errs.KindOfGRPC(code); got != want {
			t.Errorf("KindOfGRPC(%d) = %v, want %v", code, got, want)
		}
	}
}

func TestFromForeign(t *testing.T) {
	sold := errs.New(errs.Conflict, "stock.Take", "sold out").ID("sold_out")
	down := errs.New(errs.Unavailable, "bank.Charge", "the bank is closed")
	var dial net.Error = &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
	table := []struct {
		name string
		err  error
		kind errs.Kind
		id   string
	}{
		{"plain", errors.New("dsn=postgres://u:p@h"), errs.Internal, "internal_error"},
		{"canceled", context.Canceled, errs.Canceled, "canceled"},
		{"deadline", context.DeadlineExceeded, errs.Timeout, "timeout"},
		{"deadline wrapped", fmt.Errorf("x: %w", context.DeadlineExceeded), errs.Timeout, "timeout"},
		{"net timeout", dial, errs.Timeout, "timeout"},
		{"ours", sold, errs.Conflict, "sold_out"},
		{"ours under fmt", fmt.Errorf("placing: %w", sold), errs.Conflict, "sold_out"},
		{"joined, worst first", errors.Join(down, sold), errs.Unavailable, "unavailable"},
		{"joined, worst last", errors.Join(io.EOF, sold, down), errs.Unavailable, "unavailable"},
		{"joined, none of ours", errors.Join(io.EOF, context.Canceled), errs.Canceled, "canceled"},
		{"an Unwrap that loops", loop{}, errs.Internal, "internal_error"},
		{"nil *Error", (*errs.Error)(nil), errs.Internal, "internal_error"},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			e := errs.From(c.err)
			if e.Kind() != c.kind || e.Code() != c.id || errs.KindOf(c.err) != c.kind {
				t.Fatalf("got %v %q", e.Kind(), e.Code())
			}
			if strings.Contains(e.Message(), "postgres") || e.Message() == "" {
				t.Errorf("message %q", e.Message())
			}
			if c.name != "an Unwrap that loops" && !errors.Is(e, c.err) {
				t.Error("the original is lost")
			}
		})
	}
	if errs.From(nil) != nil || errs.Wrap(nil, "x") != nil || errs.Encode(nil, errs.Options{}) != nil {
		t.Error("nil must stay nil")
	}
}

type loop struct{}

func (loop) Error() string   { return "loop" }
func (l loop) Unwrap() error { return l }

func TestWrapKeepsTheStory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := errs.New(errs.Conflict, "stock.Take", "sold out").ID("sold_out").Detail("sku 7").
			With("row", 12).Because(io.EOF).RetryAfter(3 * time.Second)
		time.Sleep(time.Second) // fake time
		err := fmt.Errorf("reserving: %w", errs.Wrap(origin, "order.Reserve"))
		e := errs.From(errs.Wrap(err, "order.Place"))

		if e.Kind() != errs.Conflict || e.Code() != "sold_out" || e.Message() != "sold out" || e.RetryDelay() != 3*time.Second {
			t.Errorf("lost something: %v", e)
		}
		if d := e.Details(); len(d) != 1 || d[0] != "sku 7" {
			t.Errorf("details %q", d)
		}
		var ops []string
		for _, h := range e.Chain() {
			ops = append(ops, h.Op+"="+h.Error)
		}
		if got := strings.Join(ops, " "); got != "order.Place=sold_out order.Reserve=sold_out stock.Take=sold_out" {
			t.Errorf("chain %s", got)
		}
		if !errors.Is(e, origin) || !errors.Is(e, io.EOF) || e.Op() != "order.Place" || e.Remote() {
			t.Error("Is, Op or Remote is wrong")
		}
		if got, ok := errors.AsType[*errs.Error](error(e)); !ok || got != e {
			t.Error("AsType")
		}
		if chain := e.Chain(); chain[2].At.Sub(chain[0].At) != -time.Second || !e.Time().Equal(chain[2].At) {
			t.Errorf("times %v", chain)
		}
	})
}

func TestBecauseTranslates(t *testing.T) {
	bank := errs.Assemble(errs.Parts{Kind: errs.BadGateway, ID: "ledger_offline", Message: "secret bank talk", Remote: true,
		Trace: trace1, Chain: []errs.Hop{{Service: "bank", Op: "bank.Charge", Error: "ledger_offline"}}})
	e := errs.New(errs.Unavailable, "payment.Charge", "payment is delayed").ID("payment_delayed").Because(fmt.Errorf("x: %w", bank))
	chain := e.Chain()
	if len(chain) != 2 || chain[0].Error != "payment_delayed" || chain[1].Error != "ledger_offline" || chain[1].Service != "bank" {
		t.Errorf("chain %+v", chain)
	}
	if e.Trace() != trace1 || e.Remote() || !errors.Is(e, bank) {
		t.Errorf("trace %q remote %v", e.Trace(), e.Remote())
	}
	if got := string(errs.Encode(e, errs.Options{})); strings.Contains(got, "bank talk") {
		t.Errorf("the cause's message crossed: %s", got)
	}
	if e.Because(nil) != e {
		t.Error("Because(nil) must change nothing")
	}
	if again := e.Because(io.EOF); !errors.Is(again, io.EOF) || !errors.Is(again, bank) {
		t.Error("a second cause must not hide the first")
	}
}

func TestBadSettersChangeNothing(t *testing.T) {
	e := errs.New(errs.Invalid, "op", "msg")
	for _, id := range []string{"", "Has Space", "UPPER", "a\nb", strings.Repeat("x", 65), "é"} {
		if got := e.ID(id).Code(); got != "invalid_request" {
			t.Errorf("ID(%q) = %q", id, got)
		}
	}
	for _, status := range []int{0, 200, 404, 500, 600} {
		if got := e.Status(status).HTTP(); got != 400 {
			t.Errorf("Status(%d) = %d", status, got)
		}
	}
	if got := e.Status(413).HTTP(); got != 413 {
		t.Errorf("Status(413) = %d", got)
	}
	if got := e.RetryAfter(-1).RetryDelay(); got != 0 {
		t.Errorf("RetryAfter(-1) = %v", got)
	}
}

// A shared error must stay as it is, whoever derives from it at the same time.
func TestSharedErrorsDoNotChange(t *testing.T) {
	shared := errs.New(errs.NotFound, "user.Get", "no such user").With("a", 1).Detail("d")
	before := shared.Error() + fmt.Sprint(shared.Details(), shared.Chain())
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 100 {
				e := shared.With("k", i).Detail(fmt.Sprint(i)).ID(fmt.Sprintf("id_%d", i)).Because(io.EOF)
				e = errs.From(errs.Wrap(e, "x")).At(errs.Border{Service: "s", Op: "y"})
				if d := e.Details(); len(d) != 2 || d[1] != fmt.Sprint(i) {
					t.Errorf("details of another goroutine: %q", d)
				}
				if c := e.Chain(); len(c) != 3 || c[2].Error != fmt.Sprintf("id_%d", i) {
					t.Errorf("chain of another goroutine: %v", c)
				}
			}
		})
	}
	wg.Wait()
	if after := shared.Error() + fmt.Sprint(shared.Details(), shared.Chain()); after != before {
		t.Errorf("changed from %s to %s", before, after)
	}
}

func TestChainIsBounded(t *testing.T) {
	var err error = errs.New(errs.Internal, "origin", "m")
	for i := range 100 {
		err = errs.Wrap(err, fmt.Sprint("hop", i))
	}
	chain := errs.From(err).Chain()
	if len(chain) != 32 || chain[0].Op != "hop99" || chain[30].Op != "hop69" || chain[31].Op != "origin" {
		t.Errorf("%d hops, %s … %s", len(chain), chain[0].Op, chain[len(chain)-1].Op)
	}
}

func TestAtStampsTheBorder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started := time.Now()
		err := errs.Wrap(errs.New(errs.Invalid, "order.check", "m"), "order.Place")
		time.Sleep(12 * time.Millisecond)
		e := errs.From(err).At(errs.Border{Service: "order", Op: "order.Place", Started: started, Trace: trace1})
		c := e.Chain()
		if len(c) != 2 || c[0].Service != "order" || c[1].Service != "order" || c[0].Elapsed != 12*time.Millisecond || c[1].Elapsed != 0 {
			t.Errorf("own hop must be stamped, not repeated: %+v", c)
		}
		if e.Trace() != trace1 {
			t.Errorf("trace %q", e.Trace())
		}
		above := e.At(errs.Border{Service: "gateway", Op: "order.Place", Trace: "nonsense"}) // same op, other service
		if c := above.Chain(); len(c) != 3 || c[0].Service != "gateway" || c[0].Elapsed != 0 || above.Trace() != trace1 {
			t.Errorf("%+v %q", c, above.Trace())
		}
	})
}

// An error made at start-up and returned an hour later tells when it happened,
// not when the program began.
func TestPackageVariables(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		soldOut := errs.New(errs.Conflict, "stock.Take", "sold out")
		time.Sleep(time.Hour)
		started := time.Now()
		time.Sleep(time.Millisecond)
		e := soldOut.At(errs.Border{Service: "stock", Op: "stock.Serve", Started: started})
		if !e.Time().Equal(time.Now()) || !e.Chain()[1].At.Equal(time.Now()) {
			t.Errorf("time %v, chain %v", e.Time(), e.Chain())
		}
		if !errors.Is(e, soldOut) {
			t.Error("a package variable must work as a pattern")
		}
	})
}

func TestLogShowsEverything(t *testing.T) {
	var b strings.Builder
	e := errs.New(errs.Timeout, "bank.Charge", "safe words").With("account", 42).Because(errors.New("dial tcp 10.0.0.7:443")).Detail("d1")
	e = errs.From(errs.Wrap(e, "payment.Charge")).At(errs.Border{Service: "payment", Op: "payment.Charge", Trace: trace1})
	slog.New(slog.NewTextHandler(&b, nil)).Error("failed", "err", e)
	for _, want := range []string{"err.id=timeout", "safe words", "err.account=42", "10.0.0.7:443", "err.trace=" + trace1,
		"payment payment.Charge timeout < payment bank.Charge timeout", "err.details=[d1]", "err.op=payment.Charge"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in %s", want, b.String())
		}
	}
}

func TestAllocations(t *testing.T) {
	e := errs.New(errs.Internal, "op", "msg")
	var err error = e
	for name, c := range map[string]struct {
		want float64
		f    func()
	}{
		"New":    {2, func() { _ = errs.New(errs.Internal, "op", "msg") }},
		"Wrap":   {2, func() { _ = errs.Wrap(err, "op") }},
		"KindOf": {0, func() { _ = errs.KindOf(err) }},
		"From":   {0, func() { _ = errs.From(err) }},
		"Is":     {0, func() { _ = errors.Is(err, e) }},
	} {
		if got := testing.AllocsPerRun(100, c.f); got > c.want {
			t.Errorf("%s: %v allocations, at most %v wanted", name, got, c.want)
		}
	}
}
