package ingest_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/ingest"
	"github.com/surefoot-go/surefoot/server/store"
)

func tag(field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), v)
}

// deepProto is a trace request with an attribute of so many lists in lists.
func deepProto(depth int) []byte {
	v := []byte{}
	for range depth {
		v = tag(5, tag(1, v))
	}
	attr := append(tag(1, []byte("k")), tag(2, v)...)
	id := append(tag(1, bytes.Repeat([]byte{1}, 16)), tag(2, bytes.Repeat([]byte{2}, 8))...)
	return tag(1, tag(2, tag(2, append(id, tag(9, attr)...))))
}

func deepJSON(depth int) []byte {
	return []byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"01010101010101010101010101010101","spanId":"0202020202020202","attributes":[{"key":"k","value":` +
		strings.Repeat(`{"arrayValue":{"values":[`, depth) + `{"intValue":"1"}` + strings.Repeat(`]}}`, depth) + `}]}]}]}]}`)
}

func good(t *testing.T) (proto, json []byte) {
	t.Helper()
	req := ptraceotlp.NewExportRequestFromTraces(someTraces(3, 9))
	p, err := req.MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	j, err := req.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return p, j
}

// Every bad request gets a clear answer in its own encoding, and the next good
// one is kept.
func TestBadHTTP(t *testing.T) {
	goodProto, goodJSON := good(t)
	many := bytes.Repeat(tag(1, nil), 2<<20) // 4 MiB that ask for 2 million resources
	cases := []struct {
		name, contentType, encoding string
		body                        []byte
		status                      int
		code                        codes.Code
	}{
		{"garbage protobuf", pb, "", []byte("\xff\xfe\xfd garbage"), 400, codes.InvalidArgument},
		{"garbage json", js, "", []byte("\xff\xfe garbage"), 400, codes.InvalidArgument},
		{"json for protobuf", pb, "", goodJSON, 400, codes.InvalidArgument},
		{"protobuf for json", js, "", goodProto, 400, codes.InvalidArgument},
		{"truncated protobuf", pb, "", goodProto[:len(goodProto)-7], 400, codes.InvalidArgument},
		{"truncated json", js, "", goodJSON[:len(goodJSON)-7], 400, codes.InvalidArgument},
		{"empty json", js, "", nil, 400, codes.InvalidArgument},
		{"json of another type", js, "", []byte(`[1,2,3]`), 400, codes.InvalidArgument},
		{"wrong json field type", js, "", []byte(`{"resourceSpans":"x"}`), 400, codes.InvalidArgument},
		{"bad trace id", js, "", []byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz"}]}]}]}`), 400, codes.InvalidArgument},
		{"deep protobuf", pb, "", deepProto(60), 400, codes.InvalidArgument},
		{"very deep protobuf", pb, "", deepProto(20_000), 400, codes.InvalidArgument},
		{"deep json", js, "", deepJSON(60), 400, codes.InvalidArgument},
		{"very deep json", js, "", deepJSON(20_000), 400, codes.InvalidArgument},
		{"deep unknown json", js, "", []byte(`{"x":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`), 400, codes.InvalidArgument},
		{"deep groups", pb, "", bytes.Repeat([]byte{0x0b}, 1<<20), 400, codes.InvalidArgument},
		{"oversized", pb, "", make([]byte, 9<<20), 413, codes.InvalidArgument},
		{"oversized json", js, "", bytes.Repeat([]byte(" "), 9<<20), 413, codes.InvalidArgument},
		{"gzip bomb", pb, "gzip", make([]byte, 64<<20), 413, codes.InvalidArgument},
		{"weighs too much", pb, "", many, 413, codes.InvalidArgument},
		{"not gzip", pb, "gzip?", goodProto, 400, codes.InvalidArgument},
		{"unknown encoding", pb, "br", goodProto, 415, codes.InvalidArgument},
		{"wrong type", "text/plain", "", goodProto, 415, codes.InvalidArgument},
		{"no type", "", "", goodProto, 415, codes.InvalidArgument},
	}
	p := start(t, nil)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var resp *http.Response
			var out []byte
			if c.encoding == "gzip?" { // says gzip and is not
				req, _ := http.NewRequest(http.MethodPost, p.http.URL+"/v1/traces", bytes.NewReader(c.body))
				req.Header.Set("Content-Type", c.contentType)
				req.Header.Set("Content-Encoding", "gzip")
				var err error
				if resp, err = http.DefaultClient.Do(req); err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				out, _ = io.ReadAll(resp.Body)
			} else {
				resp, out = p.post(t, "/v1/traces", c.contentType, c.encoding, c.body)
			}
			if resp.StatusCode != c.status {
				t.Fatalf("%s %.200s, want %d", resp.Status, out, c.status)
			}
			st := &spb.Status{}
			var err error
			if c.contentType == pb {
				err = proto.Unmarshal(out, st)
			} else {
				err = protojson.Unmarshal(out, st)
			}
			if err != nil || codes.Code(st.Code) != c.code || st.Message == "" {
				t.Errorf("answer %q: %v %v", out, st, err)
			}
			if resp.Header.Get("Retry-After") != "" {
				t.Error("a bad request must not be sent again")
			}
		})
	}
	s := p.Stats()
	if s.Panics != 0 || s.Bad != uint64(len(cases)) || s.Spans != 0 {
		t.Errorf("stats %+v for %d bad requests", s, len(cases))
	}
	if resp, out := p.post(t, "/v1/traces", pb, "", goodProto); resp.StatusCode != 200 {
		t.Errorf("a good one after all that: %s %s", resp.Status, out)
	}
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		req, _ := http.NewRequest(method, p.http.URL+"/v1/logs", nil)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST" {
			t.Errorf("%s: %s", method, resp.Status)
		}
	}
}

// The limit of nesting refuses nothing that people send: ten lists in lists
// are kept.
func TestNestingThatIsFine(t *testing.T) {
	p := start(t, nil)
	for contentType, body := range map[string][]byte{pb: deepProto(10), js: deepJSON(10)} {
		if resp, out := p.post(t, "/v1/traces", contentType, "", body); resp.StatusCode != 200 {
			t.Errorf("%s %s", resp.Status, out)
		}
	}
}

// The same over gRPC.
func TestBadGRPC(t *testing.T) {
	p := start(t, nil)
	goodProto, _ := good(t)
	send := func(body []byte, opts ...grpc.CallOption) error {
		req := &emptypb.Empty{}
		req.ProtoReflect().SetUnknown(body)
		return p.conn.Invoke(t.Context(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export", req, &emptypb.Empty{}, opts...)
	}
	gz := grpc.UseCompressor("gzip")
	for _, c := range []struct {
		name string
		body []byte
		code codes.Code
	}{
		{"truncated", goodProto[:len(goodProto)-7], codes.InvalidArgument},
		{"deep", deepProto(60), codes.InvalidArgument},
		{"very deep", deepProto(20_000), codes.InvalidArgument},
		{"wrong field types", protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 7), codes.InvalidArgument},
		{"weighs too much", bytes.Repeat(tag(1, nil), 2<<20), codes.InvalidArgument},
		{"oversized", tag(99, make([]byte, 9<<20)), codes.ResourceExhausted}, // gRPC's own answer
	} {
		for _, opts := range [][]grpc.CallOption{nil, {gz}} {
			if err := send(c.body, opts...); status.Code(err) != c.code {
				t.Errorf("%s: %v, want %v", c.name, err, c.code)
			} else if len(status.Convert(err).Details()) != 0 {
				t.Errorf("%s: a bad request must not be sent again: %v", c.name, status.Convert(err).Details())
			}
		}
	}
	if err := send(goodProto); err != nil {
		t.Error(err)
	}
	if s := p.Stats(); s.Panics != 0 || s.Spans != 3 {
		t.Errorf("stats %+v", s)
	}
}

// slowStore holds every Put until it is let go, or fails it.
type slowStore struct {
	store.Spans
	entered chan struct{}
	release chan error
}

func (s *slowStore) Put(ctx context.Context, spans []store.Span) error {
	select {
	case s.entered <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-s.release:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A full queue refuses at once and says when to come back; nobody is
// acknowledged before the store has answered; a store's refusal is passed on.
func TestFullQueue(t *testing.T) {
	slow := &slowStore{entered: make(chan struct{}), release: make(chan error)}
	p := start(t, func(r *ingest.Receiver) { r.Spans, r.Queue = slow, 2 })
	body, _ := good(t)
	type answer struct {
		status     int
		retryAfter string
	}
	answers := make(chan answer, 2)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			resp, _ := p.post(t, "/v1/traces", pb, "", body)
			answers <- answer{resp.StatusCode, resp.Header.Get("Retry-After")}
		})
		<-slow.entered
	}
	resp, out := p.post(t, "/v1/traces", pb, "", body)
	st := &spb.Status{}
	if err := proto.Unmarshal(out, st); err != nil || resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "1" || codes.Code(st.Code) != codes.ResourceExhausted {
		t.Errorf("full queue: %s %v %v", resp.Status, st, err)
	}
	_, err := ptraceotlp.NewGRPCClient(p.conn).Export(t.Context(), ptraceotlp.NewExportRequestFromTraces(someTraces(1, 1)))
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(fmt.Sprint(status.Convert(err).Details()), "retry_delay") {
		t.Errorf("full queue over gRPC: %v %v", err, status.Convert(err).Details())
	}
	select {
	case a := <-answers:
		t.Errorf("acknowledged before it was kept: %v", a)
	default:
	}
	slow.release <- nil
	slow.release <- errs.New(errs.Unavailable, "disk", "the disk is full").RetryAfter(5 * time.Second)
	wg.Wait()
	got := map[answer]bool{<-answers: true, <-answers: true}
	if !got[answer{200, ""}] || !got[answer{503, "5"}] {
		t.Errorf("answers %v", got)
	}
	var gerr error
	wg.Go(func() {
		_, gerr = ptraceotlp.NewGRPCClient(p.conn).Export(t.Context(), ptraceotlp.NewExportRequestFromTraces(someTraces(1, 1)))
	})
	<-slow.entered
	slow.release <- errs.New(errs.Unavailable, "disk", "the disk is full")
	wg.Wait()
	if status.Code(gerr) != codes.Unavailable || !strings.Contains(fmt.Sprint(status.Convert(gerr).Details()), "retry_delay") {
		t.Errorf("store failure over gRPC: %v", gerr)
	}
	if s := p.Stats(); s.Full != 2 || s.Failed != 2 || s.Spans != 3 {
		t.Errorf("stats %+v", s)
	}
}

// A budget of memory refuses like a full queue does.
func TestFullMemory(t *testing.T) {
	slow := &slowStore{entered: make(chan struct{}), release: make(chan error)}
	p := start(t, func(r *ingest.Receiver) { r.Spans, r.Memory = slow, 40_000 })
	body, _ := good(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		if resp, _ := p.post(t, "/v1/traces", pb, "", body); resp.StatusCode != 200 {
			t.Error(resp.Status)
		}
	})
	<-slow.entered
	refused := false
	for i := 0; i < 20 && !refused; i++ {
		done := make(chan int, 1)
		wg.Go(func() {
			resp, _ := p.post(t, "/v1/traces", pb, "", body)
			done <- resp.StatusCode
		})
		select {
		case code := <-done:
			refused = code == 429
		case <-slow.entered:
		}
	}
	if !refused {
		t.Error("twenty requests fitted into 40 kB")
	}
	close(slow.release)
	wg.Wait()
}

// A client that never finishes its request is cut off, one that goes away
// while the store works leaves nothing behind.
func TestSlowClients(t *testing.T) {
	p := start(t, nil)
	srv := p.Receiver.HTTPServer()
	if srv.ReadHeaderTimeout == 0 || srv.ReadTimeout == 0 || srv.WriteTimeout == 0 || srv.IdleTimeout == 0 || srv.MaxHeaderBytes == 0 {
		t.Errorf("a limit is missing: %+v", srv)
	}
	srv.ReadTimeout = 200 * time.Millisecond
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(ln) })
	defer wg.Wait()
	defer srv.Close()
	for _, body := range []string{"x", "\x1f\x8b\x08\x00"} {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		encoding := ""
		if body != "x" {
			encoding = "Content-Encoding: gzip\r\n"
		}
		fmt.Fprintf(conn, "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\n%sContent-Length: 100000\r\n\r\n%s", js, encoding, body)
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		out, err := io.ReadAll(conn)
		if err != nil {
			t.Errorf("the server did not hang up: %v", err)
		}
		if !strings.HasPrefix(string(out), "HTTP/1.1 408") {
			t.Errorf("answer %q", out)
		}
		conn.Close()
	}

	slow := &slowStore{entered: make(chan struct{}), release: make(chan error)}
	p = start(t, func(r *ingest.Receiver) { r.Spans = slow })
	ctx, cancel := context.WithCancel(t.Context())
	var gerr error
	wg.Go(func() {
		_, gerr = ptraceotlp.NewGRPCClient(p.conn).Export(ctx, ptraceotlp.NewExportRequestFromTraces(someTraces(1, 1)))
	})
	<-slow.entered
	cancel()
	srv.Close()
	wg.Wait()
	if status.Code(gerr) != codes.Canceled {
		t.Error(gerr)
	}
}
