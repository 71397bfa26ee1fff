package e2e_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

// nested is an AnyValue of lists in lists, n deep, as a log record's body.
func nested(n int) []byte {
	var v []byte
	for range n {
		list := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), v)
		v = protowire.AppendBytes(protowire.AppendTag(nil, 5, protowire.BytesType), list)
		if len(v) > 4<<20 {
			break
		}
	}
	field := func(num protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), b)
	}
	return field(1, field(2, field(2, field(5, v))))
}

func TestBadTelemetryIsRefusedWithAReason(t *testing.T) {
	p := start(t, t.TempDir())
	td := ptrace.NewTraces()
	order(td, 1, time.Now(), false)
	good, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	pack := func(b []byte) []byte {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		_, _ = z.Write(b)
		_ = z.Close()
		return out.Bytes()
	}
	const proto, text = "application/x-protobuf", "application/json"
	tests := []struct {
		name, path, kind string
		body             []byte
		headers          []string
		code             int
	}{
		{"empty", "/v1/traces", proto, nil, nil, 200}, // an empty request is a valid one
		{"garbage", "/v1/traces", proto, []byte("\xff\xfe not protobuf at all"), nil, 400},
		{"truncated", "/v1/traces", proto, good[:len(good)-7], nil, 400},
		{"garbage JSON", "/v1/logs", text, []byte(`{"resourceLogs":[{`), nil, 400},
		{"wrong JSON", "/v1/metrics", text, []byte(`{"resourceMetrics":7}`), nil, 400},
		{"deep JSON", "/v1/logs", text, []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":` + strings.Repeat(`{"arrayValue":{"values":[`, 20000) + strings.Repeat(`]}}`, 20000) + `}]}]}]}`), nil, 400},
		{"deep protobuf", "/v1/logs", proto, nested(20000), nil, 400},
		{"oversized", "/v1/traces", proto, make([]byte, 9<<20), nil, 413},
		{"bomb", "/v1/traces", proto, pack(make([]byte, 64<<20)), []string{"Content-Encoding: gzip"}, 413},
		{"not gzip", "/v1/traces", proto, good, []string{"Content-Encoding: gzip"}, 400},
		{"unknown packing", "/v1/traces", proto, good, []string{"Content-Encoding: zpaq"}, 415},
		{"wrong type", "/v1/traces", "text/plain", good, nil, 415},
		{"no such signal", "/v1/feelings", proto, good, nil, 404},
		{"good after all that", "/v1/traces", proto, good, nil, 200},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			p.t = t
			code, body, _ := p.send(c.path, c.kind, c.body, c.headers...)
			if code != c.code {
				t.Errorf("%d %.200q, want %d", code, body, c.code)
			}
			p.alive()
		})
	}
	p.t = t
	t.Run("gRPC", func(t *testing.T) {
		conn, err := grpc.NewClient(p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for name, c := range map[string]struct {
			body []byte
			code []codes.Code
		}{
			"garbage":   {[]byte("\xff\xff\xff"), []codes.Code{codes.InvalidArgument, codes.Internal}},
			"deep":      {nested(20000), []codes.Code{codes.InvalidArgument, codes.Internal}},
			"oversized": {make([]byte, 12<<20), []codes.Code{codes.ResourceExhausted}},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			err := conn.Invoke(ctx, "/opentelemetry.proto.collector.logs.v1.LogsService/Export", c.body, new([]byte), grpc.ForceCodecV2(rawCodec{encoding.GetCodecV2("proto")}))
			cancel()
			ok := false
			for _, code := range c.code {
				ok = ok || status.Code(err) == code
			}
			if !ok {
				t.Errorf("%s: %v, want %v", name, err, c.code)
			}
			p.alive()
		}
	})
	p.stop()
}

// Clients that are slow, silent or rude do not keep others from being served,
// and do not stay for ever.
func TestSlowClients(t *testing.T) {
	p := start(t, t.TempDir())
	var slow []net.Conn
	for range 50 {
		for _, addr := range []string{strings.TrimPrefix(p.url, "http://"), strings.TrimPrefix(p.http, "http://"), p.grpc} {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, _ = c.Write([]byte("POST /v1/traces HTTP/1.1\r\nHost: x\r\nX-Slow"))
			slow = append(slow, c)
		}
	}
	p.alive()
	s := dial(t, p.grpc)
	td := ptrace.NewTraces()
	order(td, 1, time.Now(), false)
	if err := s.send(t.Context(), td); err != nil {
		t.Errorf("beside slow clients: %v", err)
	}
	for _, c := range slow { // each is cut off within the header limit
		_ = c.SetReadDeadline(time.Now().Add(15 * time.Second))
		if _, err := io.Copy(io.Discard, c); err != nil {
			if e, ok := err.(net.Error); ok && e.Timeout() {
				t.Fatalf("%s still holds a silent client", c.RemoteAddr())
			}
		}
	}
	if resp, err := client.Get(p.url + "/healthz?" + strings.Repeat("x", 100<<10)); err != nil || resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of 100 KiB: %v %v", resp, err)
	}
	p.alive()
	p.stop()
}

func TestForeignPagesAreRefused(t *testing.T) {
	p := start(t, t.TempDir())
	for name, c := range map[string]struct{ host, origin, method string }{
		"rebound name":      {host: "evil.example", method: "GET"},
		"cross-site change": {origin: "https://evil.example", method: "PUT"},
	} {
		req, err := http.NewRequest(c.method, p.url+"/api/v1/routes/pay", strings.NewReader(`{"stable":"v1","by":"mallory"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if c.origin != "" {
			req.Header.Set("Origin", c.origin)
		}
		req.Host = c.host
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
	}
	p.stop()
}
