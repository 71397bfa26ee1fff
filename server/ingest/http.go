package ingest

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/surefoot-go/surefoot/errs"
)

// Handler answers POST /v1/traces, /v1/metrics and /v1/logs as OTLP/HTTP says:
// protobuf or JSON, plain or gzip; a failure is a google.rpc.Status in the
// request's encoding.
//
// A handler cannot guard against clients that send slowly; the *http.Server
// around it must (see HTTPServer).
func (r *Receiver) Handler() http.Handler {
	mux := http.NewServeMux()
	for path, s := range map[string]*signal{"/v1/traces": traces, "/v1/metrics": metrics, "/v1/logs": logs} {
		mux.HandleFunc(path, func(w http.ResponseWriter, req *http.Request) { r.serve(w, req, s) })
	}
	return mux
}

// HTTPServer returns a server for Handler with the time limits it needs: a
// client has 5 s for its header and 30 s for everything, and 2 minutes of
// silence end a connection. The caller sets Addr or a listener, and shuts it
// down.
func (r *Receiver) HTTPServer() *http.Server {
	return &http.Server{
		Handler:           r.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      45 * time.Second, // counts from the header, so it covers reading too
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

const (
	typeProtobuf = "application/x-protobuf"
	typeJSON     = "application/json"
)

func (r *Receiver) serve(w http.ResponseWriter, req *http.Request, s *signal) {
	op := "ingest." + s.name
	enc, ok := encodingOf(req.Header.Get("Content-Type"))
	if req.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		r.n.bad.Add(1)
		fail(w, enc, errs.New(errs.Invalid, op, "only POST").Status(http.StatusMethodNotAllowed))
		return
	}
	if !ok {
		r.n.bad.Add(1)
		fail(w, enc, errs.New(errs.Invalid, op, "the content type must be application/x-protobuf or application/json").Status(http.StatusUnsupportedMediaType))
		return
	}
	body, free, err := r.read(req, op)
	if err != nil {
		fail(w, enc, err)
		return
	}
	defer free()
	out, err := r.export(req.Context(), s, body, enc)
	if err != nil {
		fail(w, enc, err)
		return
	}
	w.Header().Set("Content-Type", contentType(enc))
	_, _ = w.Write(out) // a client that went away will send again
}

// encodingOf tells how a request is written; an unknown one is answered in
// JSON, which a person can read.
func encodingOf(contentType string) (encoding, bool) {
	t, _, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil:
		return jsonText, false
	case t == typeProtobuf:
		return protobuf, true
	}
	return jsonText, t == typeJSON
}

func contentType(enc encoding) string {
	if enc == protobuf {
		return typeProtobuf
	}
	return typeJSON
}

// read takes the body, unpacked, into memory that counts against Memory while
// it grows, so that many clients that send slowly cannot hold more than that.
func (r *Receiver) read(req *http.Request, op string) (body []byte, free func(), err error) {
	bad := func(e *errs.Error) ([]byte, func(), error) {
		r.n.bad.Add(1)
		return nil, nil, e
	}
	limit := r.maxBody()
	var in io.Reader = io.LimitReader(req.Body, limit+1) // packed data larger than the limit unpacked is no good either
	switch strings.ToLower(strings.TrimSpace(req.Header.Get("Content-Encoding"))) {
	case "", "identity":
		if req.ContentLength > limit {
			return bad(errs.New(errs.Invalid, op, "the request is too large; send smaller batches").Status(http.StatusRequestEntityTooLarge))
		}
	case "gzip":
		z, err := gzip.NewReader(in)
		if err != nil {
			return bad(readFailure(op, err))
		}
		in = z
	default:
		return bad(errs.New(errs.Invalid, op, "the content encoding must be gzip or none").Status(http.StatusUnsupportedMediaType))
	}
	var frees []func()
	release := func() {
		for _, f := range frees {
			f()
		}
	}
	buf := make([]byte, 0, 4<<10)
	if n := req.ContentLength; n > 0 && n < 64<<10 {
		buf = make([]byte, 0, 4*n)
	}
	for {
		if len(buf) == cap(buf) {
			grow := max(cap(buf), 32<<10)
			f, err := r.hold(op, int64(grow))
			if err != nil {
				release()
				return nil, nil, err
			}
			frees = append(frees, f)
			bigger := make([]byte, len(buf), cap(buf)+grow)
			copy(bigger, buf)
			buf = bigger
		}
		n, err := in.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if int64(len(buf)) > limit {
			release()
			return bad(errs.New(errs.Invalid, op, "the request is too large; send smaller batches").Status(http.StatusRequestEntityTooLarge))
		}
		if err == io.EOF {
			return buf, release, nil
		}
		if err != nil {
			release()
			return bad(readFailure(op, err))
		}
	}
}

func readFailure(op string, err error) *errs.Error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errs.New(errs.Timeout, op, "the request took too long to arrive").Status(http.StatusRequestTimeout).Because(err)
	case errors.Is(err, context.Canceled):
		return errs.New(errs.Canceled, op, "the request was canceled").Because(err)
	}
	return errs.New(errs.Invalid, op, "the request body cannot be read, or is not gzip as it says").Because(err)
}

// fail answers with a google.rpc.Status.
func fail(w http.ResponseWriter, enc encoding, err error) {
	e := errs.From(err)
	if d := e.RetryDelay(); d > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(d.Seconds()))))
	}
	st := status.New(codes.Code(e.Kind().GRPC()), e.Message()).Proto()
	var body []byte
	var merr error
	if enc == protobuf {
		body, merr = proto.Marshal(st)
	} else {
		body, merr = protojson.Marshal(st)
	}
	if merr != nil {
		body = nil // a status of a number and a sentence always marshals
	}
	w.Header().Set("Content-Type", contentType(enc))
	w.WriteHeader(e.HTTP())
	_, _ = w.Write(body)
}
