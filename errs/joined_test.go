package errs_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/surefoot-go/surefoot/errs"
)

// Of joined errors the gravest decides: each kind here before those after it.
var gravest = []errs.Kind{
	errs.Internal, errs.Unimplemented, errs.Timeout, errs.BadGateway, errs.Unavailable,
	errs.Unauthorized, errs.Forbidden, errs.Invalid, errs.FailedPrecondition, errs.NotFound, errs.Conflict, errs.TooMany, errs.Canceled,
}

func TestJoined(t *testing.T) {
	for i, a := range gravest {
		for j, b := range gravest {
			ea, eb := errs.New(a, "op.A", "a").Detail("of a", "of both"), errs.New(b, "op.B", "b").Detail("of b", "of both")
			joined := errors.Join(io.EOF, fmt.Errorf("ctx: %w", ea), eb)
			e := errs.From(joined)
			want, message, details := a, "a", []string{"of a", "of both", "of b"}
			if j < i {
				want, message, details = b, "b", []string{"of b", "of both", "of a"}
			}
			if e.Kind() != want || errs.KindOf(joined) != want || e.Message() != message || !reflect.DeepEqual(e.Details(), details) {
				t.Fatalf("%v and %v: %v %q %q", a, b, e.Kind(), e.Message(), e.Details())
			}
			if !errors.Is(e, ea) || !errors.Is(e, eb) || !errors.Is(e, io.EOF) {
				t.Fatal("a member is lost")
			}
			if wrapped, ok := errors.AsType[*errs.Error](errs.Wrap(joined, "op")); !ok || wrapped.Kind() != want || len(wrapped.Chain()) != 2 {
				t.Fatal("Wrap")
			}
		}
	}
	if len(gravest) != 13 {
		t.Error("a kind is missing")
	}

	// What is only the cause of another is not its rival, and its details are private.
	translated := errs.New(errs.NotFound, "op", "no such order").Because(errs.New(errs.Internal, "sql", "x").Detail("table orders"))
	if e := errs.From(errors.Join(translated, errs.New(errs.Conflict, "op", "c"))); e.Kind() != errs.NotFound || len(e.Details()) != 0 {
		t.Errorf("%v %q", e.Kind(), e.Details())
	}
	// A failed clean-up of another package does not turn a 404 into a 500.
	if e := errs.From(errors.Join(errs.New(errs.NotFound, "op", "no such order"), errors.New("rows: close"))); e.Kind() != errs.NotFound {
		t.Error(e.Kind())
	}
	var many []error
	for i := range 100 {
		many = append(many, errs.New(errs.Invalid, "op", "m").Detail(fmt.Sprint(i)))
	}
	if got := errs.From(errors.Join(many...)).Details(); len(got) != 32 {
		t.Errorf("%d details", len(got))
	}
}

// The errors of the standard library: what they mean for the one who asked.
func TestFromStandardLibrary(t *testing.T) {
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	table := []struct {
		err  error
		kind errs.Kind
	}{
		{sql.ErrNoRows, errs.Internal}, // never silently a 404: see From
		{sql.ErrTxDone, errs.Internal},
		{fs.ErrNotExist, errs.Internal},
		{&fs.PathError{Op: "open", Path: "/etc/secret", Err: syscall.ENOENT}, errs.Internal},
		{&fs.PathError{Op: "open", Path: "/etc/secret", Err: syscall.EACCES}, errs.Internal},
		{io.EOF, errs.Internal},
		{io.ErrUnexpectedEOF, errs.Internal},
		{os.ErrDeadlineExceeded, errs.Timeout},
		{context.DeadlineExceeded, errs.Timeout},
		{context.Canceled, errs.Canceled},
		{dial, errs.Unavailable},
		{fmt.Errorf("query: %w", dial), errs.Unavailable},
		{&net.OpError{Op: "dial", Net: "tcp", Err: context.Canceled}, errs.Canceled},
		{&net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}, errs.Timeout},
		{&net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, errs.Unavailable},
		{&net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}, errs.Internal},
		{&net.DNSError{Err: "no such host", Name: "db.internal", IsNotFound: true}, errs.Unavailable},
		{&net.DNSError{Err: "timeout", Name: "db.internal", IsTimeout: true}, errs.Timeout},
		{syscall.EPIPE, errs.Unavailable},
		{syscall.ENOSPC, errs.Internal},
	}
	for _, c := range table {
		e := errs.From(c.err)
		if e.Kind() != c.kind || errs.KindOf(c.err) != c.kind || !errors.Is(e, c.err) {
			t.Errorf("%v became %v", c.err, e.Kind())
		}
		if wire := string(errs.Encode(c.err, errs.Options{})); strings.Contains(wire, c.err.Error()) || strings.Contains(wire, "internal\"") {
			t.Errorf("%v crossed: %s", c.err, wire)
		}
	}
}

func TestFields(t *testing.T) {
	e := errs.New(errs.Invalid, "op", "m").Field("items[2].unit-price", "must be positive: it is 0").Detail("at most 5 items: you sent 6", "username must not be empty")
	table := []struct {
		detail, field, problem string
		ok                     bool
	}{
		{e.Details()[0], "items[2].unit-price", "must be positive: it is 0", true},
		{e.Details()[1], "", "", false},
		{e.Details()[2], "", "", false},
		{"", "", "", false},
		{": x", "", "", false},
		{"x: ", "", "", false},
		{strings.Repeat("x", 129) + ": y", "", "", false},
	}
	for _, c := range table {
		if f, p, ok := errs.CutField(c.detail); f != c.field || p != c.problem || ok != c.ok {
			t.Errorf("%q: %q %q %v", c.detail, f, p, ok)
		}
	}
}

// Codes that share a kind come back as themselves.
func TestGRPCCodesSurvive(t *testing.T) {
	for code := uint32(1); code <= 16; code++ {
		e := errs.Assemble(errs.Parts{Kind: errs.KindOfGRPC(code), GRPC: code, Remote: true})
		if e.GRPC() != code || errs.Assemble(e.Parts()).GRPC() != code || errs.From(errs.Wrap(e, "op")).GRPC() != code {
			t.Errorf("%d became %d", code, e.GRPC())
		}
		over := errs.Decode(errs.Encode(e, errs.Options{}), e.HTTP(), errs.TypeJSON)
		if want := code; over.GRPC() != want && code != 2 { // UNKNOWN says nothing that INTERNAL does not
			t.Errorf("%d became %d over HTTP", want, over.GRPC())
		}
	}
	for _, p := range []errs.Parts{{Kind: errs.Invalid, GRPC: 6}, {Kind: errs.Internal, GRPC: 99}, {Kind: errs.Internal, GRPC: 1 << 30}} {
		if e := errs.Assemble(p); e.GRPC() != p.Kind.GRPC() || e.Code() != p.Kind.ID() {
			t.Errorf("%+v believed", p)
		}
	}
	if e := errs.New(errs.Conflict, "op", "m").ID("already_exists"); e.GRPC() != 6 {
		t.Error(e.GRPC())
	}
	if e := errs.New(errs.Invalid, "op", "m").ID("already_exists"); e.GRPC() != 3 {
		t.Error(e.GRPC())
	}
}

var _ slog.LogValuer = (*errs.Error)(nil)
