package grpcx

import (
	"cmp"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/grpcx/errsv1"
)

const (
	domain = "surefoot" // of our ErrorInfo: its metadata can be believed
	// Names in ErrorInfo.metadata. Reason is the id as Google's rules write it;
	// the id itself, the kind and the HTTP status (502 and 503 share a gRPC
	// code) are beside it.
	metaID, metaKind, metaHTTP = "id", "kind", "http_status"
	metaArg                    = "arg_" // and a name: a public value for the message

	// maxTrailer bounds a status, in bytes, as it is in a trailer: the details in
	// base64 and the message with %xx for what is not ASCII stay under the 8 KiB
	// that proxies commonly allow for all headers.
	maxTrailer = 7 << 10
	maxUnknown = 64 // details read of a status from a stranger

	unknownLanguage = "und" // as BCP 47 has it
)

// ToStatus returns what of err may cross a gRPC wire: its code, its safe
// message, and as details ErrorInfo, BadRequest, RequestInfo, LocalizedMessage,
// RetryInfo and surefoot.errs.v1.Chain, at most 7 KiB in all as a trailer; public
// details, then hops from the middle of the chain, then the values of Arg are left
// out to fit. Causes, stacks and log values stay behind. ToStatus(nil) is OK.
//
// The status of a handler that returned one of grpc's own keeps its message
// only where its code is the caller's fault; elsewhere such text is written
// for logs.
func ToStatus(err error) *status.Status {
	if err == nil {
		return status.New(codes.OK, "")
	}
	p := errs.Assemble(own(err).Parts()).Parts() // cut and clean, as the reader will anyway
	code := codes.Code(p.GRPC)
	for {
		pb := &statuspb.Status{Code: int32(code), Message: p.Message, Details: details(p)}
		if trailer(pb) <= maxTrailer || !shorten(&p) {
			return status.FromProto(pb)
		}
	}
}

// trailer is how long pb is in a trailer.
func trailer(pb *statuspb.Status) int {
	n := (proto.Size(pb) + 2) / 3 * 4
	for i := range len(pb.Message) {
		if n++; pb.Message[i] < ' ' || pb.Message[i] > '~' || pb.Message[i] == '%' {
			n += 2
		}
	}
	return n
}

// shorten takes something out of p and tells whether there was anything.
func shorten(p *errs.Parts) bool {
	switch n := len(p.Chain); {
	case len(p.Details) > 0:
		p.Details = p.Details[:len(p.Details)/2]
	case n > 2:
		p.Chain = append(p.Chain[:n/2:n/2], p.Chain[n/2+1:]...)
	case len(p.Args) > 0:
		p.Args = nil
	default:
		return false
	}
	return true
}

func details(p errs.Parts) []*anypb.Any {
	var out []*anypb.Any
	add := func(m proto.Message) {
		if a, err := anypb.New(m); err == nil { // invalid UTF-8 can not be: Parts are clean
			out = append(out, a)
		}
	}
	meta := map[string]string{metaID: p.ID, metaKind: p.Kind.ID(), metaHTTP: strconv.Itoa(p.Status)}
	for k, v := range p.Args {
		meta[metaArg+k] = v
	}
	add(&errdetails.ErrorInfo{Reason: reason(p.ID), Domain: domain, Metadata: meta})
	if len(p.Details) > 0 {
		b := &errdetails.BadRequest{}
		for _, d := range p.Details {
			v := &errdetails.BadRequest_FieldViolation{Description: d}
			if field, problem, ok := errs.CutField(d); ok {
				v.Field, v.Description = field, problem
			}
			b.FieldViolations = append(b.FieldViolations, v)
		}
		add(b)
	}
	if p.Trace != "" {
		add(&errdetails.RequestInfo{RequestId: p.Trace})
	}
	add(&errdetails.LocalizedMessage{Locale: cmp.Or(p.Language, unknownLanguage), Message: p.Message})
	if p.RetryAfter > 0 {
		add(&errdetails.RetryInfo{RetryDelay: durationpb.New(p.RetryAfter)})
	}
	c := &errsv1.Chain{At: timestamppb.New(p.At)}
	for _, h := range p.Chain {
		hop := &errsv1.Hop{Service: h.Service, Op: h.Op, Error: h.Error, At: timestamppb.New(h.At)}
		if h.Elapsed > 0 {
			hop.Elapsed = durationpb.New(h.Elapsed)
		}
		c.Hops = append(c.Hops, hop)
	}
	add(c)
	return out
}

// reason writes an id as google.rpc.ErrorInfo asks: upper case, no '-' or '.'.
func reason(id string) string {
	return strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(id))
}

// FromError returns err as the one error: what a gRPC call or an interceptor of
// this package returned, decoded with its id, message, details, trace id and
// chain, and Remote when a service said it; anything else as errs.From does.
// FromError(nil) is nil.
//
// A status without our details, or anybody's LocalizedMessage, has a generic
// message; its own text, which may say anything, is kept as the cause.
func FromError(err error) *errs.Error {
	return from(err, false)
}

// own is FromError for an error of our own handlers; see ToStatus.
func own(err error) *errs.Error { return from(err, true) }

func from(err error, ours bool) *errs.Error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*errs.Error](err); ok || errors.Is(err, io.EOF) {
		return errs.From(err)
	}
	if st, ok := status.FromError(err); ok && st.Code() != codes.OK {
		_, direct := err.(interface{ GRPCStatus() *status.Status })
		return decode(st, ours && direct).Because(err)
	}
	return errs.From(err)
}

// decode reads a status. Every part may come from a stranger; errs.Assemble
// puts limits on them.
func decode(st *status.Status, trusted bool) *errs.Error {
	pb := st.Proto()
	p := errs.Parts{Kind: errs.KindOfGRPC(uint32(pb.GetCode())), GRPC: uint32(pb.GetCode())}
	if trusted && p.Kind.Fault() == errs.Caller {
		p.Message = pb.GetMessage()
	}
	for _, a := range pb.GetDetails()[:min(len(pb.GetDetails()), maxUnknown)] {
		m, err := a.UnmarshalNew()
		if err != nil {
			continue // of a type we do not know, or damaged
		}
		switch d := m.(type) {
		case *errdetails.ErrorInfo:
			p.Remote = true
			info(&p, d)
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				p.Details = append(p.Details, violation(v))
			}
		case *errdetails.RequestInfo:
			p.Trace = d.GetRequestId()
		case *errdetails.LocalizedMessage:
			p.Message, p.Language = d.GetMessage(), d.GetLocale()
			if p.Language == unknownLanguage {
				p.Language = ""
			}
		case *errdetails.RetryInfo:
			p.RetryAfter = d.GetRetryDelay().AsDuration()
		case *errsv1.Chain:
			if d.GetAt().IsValid() {
				p.At = d.GetAt().AsTime()
			}
			p.Chain = hops(d)
		}
	}
	return errs.Assemble(p)
}

func info(p *errs.Parts, d *errdetails.ErrorInfo) {
	if d.GetDomain() != domain {
		p.ID = strings.ToLower(d.GetReason())
		return
	}
	m := d.GetMetadata()
	if k, ok := errs.KindOfID(m[metaKind]); ok && k.GRPC() == p.Kind.GRPC() {
		p.Kind = k
	}
	p.ID = m[metaID]
	if n, err := strconv.Atoi(m[metaHTTP]); err == nil {
		p.Status = n
	}
	for k, v := range m {
		if name, ok := strings.CutPrefix(k, metaArg); ok {
			if p.Args == nil {
				p.Args = map[string]string{}
			}
			p.Args[name] = v
		}
	}
}

func violation(v *errdetails.BadRequest_FieldViolation) string {
	if v.GetField() == "" {
		return v.GetDescription()
	}
	return v.GetField() + ": " + v.GetDescription()
}

func hops(c *errsv1.Chain) []errs.Hop {
	out := make([]errs.Hop, 0, min(len(c.GetHops()), maxUnknown))
	for _, h := range c.GetHops()[:min(len(c.GetHops()), maxUnknown)] {
		hop := errs.Hop{Service: h.GetService(), Op: h.GetOp(), Error: h.GetError(), Elapsed: h.GetElapsed().AsDuration()}
		if h.GetAt().IsValid() {
			hop.At = h.GetAt().AsTime()
		}
		out = append(out, hop)
	}
	return out
}

// classify is own with what only the serving side knows.
func classify(ctx context.Context, err error) *errs.Error {
	e := own(err)
	if _, ours := errors.AsType[*errs.Error](err); !ours && e.Kind() == errs.Canceled && ctx.Err() == nil {
		// Something here was canceled, but not by the caller, who is waiting.
		return errs.From(errors.New("canceled, but not by the caller")).Because(err)
	}
	return e
}

// pushbackKey is the trailer that tells gRPC clients when to try again.
const pushbackKey = "grpc-retry-pushback-ms"

func pushback(d time.Duration) string {
	return strconv.FormatInt(max(d.Milliseconds(), 1), 10)
}

// pushedBack reads it; 0 means that it says nothing. What is negative or no
// number means that the call is not to be tried again, by gRPC's rules (A6).
func pushedBack(md metadata.MD) (wait time.Duration, never bool) {
	v := md.Get(pushbackKey)
	if len(v) == 0 {
		return 0, false
	}
	ms, err := strconv.ParseUint(v[0], 10, 32)
	if err != nil || len(v) > 1 {
		return 0, true
	}
	return min(time.Duration(ms)*time.Millisecond, time.Hour), false
}
