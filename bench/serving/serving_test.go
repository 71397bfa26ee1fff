package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/bench/command"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestInFlight is the run of 100,000 in small and in one process: all of 2000
// requests are in flight at once, each is answered, and nothing is left over.
func TestInFlight(t *testing.T) {
	const held = 1500 * time.Millisecond
	before := runtime.NumGoroutine()
	down := downstream(listen(t), held)
	sinks, flush := sinks(1)
	middle := middleOurs(listen(t), down.addr, held, sinks, flush)

	p := flightPlan{n: 2000, rate: 4000, hold: held}
	sent := 0.0
	f, err := p.fly(t.Context(), middle.addr, func() { sent = middle.count()["most"] })
	if err != nil || f.answered != p.n || f.wrong != 0 {
		t.Errorf("%d answered and %d failed of %d: %v", f.answered, f.wrong, p.n, err)
	}
	figures := middle.count()
	if figures["most"] < float64(p.n)/2 || figures["now"] != 0 {
		t.Errorf("%v in flight, %v when the last was sent; want about %d at once and none at the end", figures, sent, p.n)
	}
	middle.stop()
	down.stop()
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before+2; runtime.Gosched() {
		if time.Now().After(end) {
			all := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, all[:runtime.Stack(all, true)])
		}
	}
	t.Logf("beyond the downstream's time: p50 %v, p99 %v", f.quantile(0.5), f.quantile(0.99))
}

// TestServers asks each server a few times: what is compared must answer.
func TestServers(t *testing.T) {
	for name, begin := range servers() {
		which, library := cut(name)
		if !strings.HasSuffix(which, "/always") || library == "go-zero" { // it wants to own its process
			continue
		}
		t.Run(name, func(t *testing.T) {
			s, err := begin(t.Context(), listen(t))
			if err != nil {
				t.Fatal(err)
			}
			defer s.stop()
			d := drive{2, askHTTP}
			if strings.HasPrefix(name, "GRPC") {
				d = drive{1, askGRPC}
			}
			r, err := d.run(t.Context(), s.addr, 20*time.Millisecond, func() (time.Duration, error) { return 0, nil })
			if err != nil || r.refused > 0.5 { // on a busy machine some shed a little, as they should
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

func TestReadHTTP(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		refused, bad bool
	}{
		{name: "fine", answer: "HTTP/1.1 200 OK\r\nX: y\r\ncontent-length: 2\r\n\r\nok"},
		{name: "refused", answer: "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", refused: true},
		{name: "limited", answer: "HTTP/1.1 429 No\r\nContent-Length: 0\r\n\r\n", refused: true},
		{name: "wrong", answer: "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", bad: true},
		{name: "no length", answer: "HTTP/1.1 200 OK\r\n\r\nok", bad: true},
		{name: "short", answer: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", bad: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := readHTTP(bufio.NewReader(strings.NewReader(c.answer)))
			if refused := errors.Is(err, errRefused); refused != c.refused || (err != nil && !refused) != c.bad {
				t.Error(err)
			}
		})
	}
}

func TestRows(t *testing.T) {
	all := rows{
		"HTTPServer/always/bare":     {{perSecond: 1000, ofBare: 1}, {perSecond: 3000, ofBare: 1}},
		"HTTPServer/always/surefoot": {{perSecond: 900, ofBare: 0.9, cpu: 5000}, {perSecond: 2400, ofBare: 0.8, cpu: 6000}},
	}
	var b, p strings.Builder
	if err := errors.Join(all.bench(&b), all.table(&p)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"BenchmarkHTTPServer/always/surefoot 1 1111111 ns/op 900 req/s 0.9000 of-bare 5000 cpu-ns/req 0.0000 refused\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if got := p.String(); !strings.Contains(got, "1650 req/s  0.850 of bare (0.800 – 0.900)     5.5 µs CPU") || strings.Index(got, "bare") > strings.Index(got, "surefoot") {
		t.Error(got)
	}
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{{"-rounds", "0"}, {"-each", "-1s"}, {"-only", "("}, {"-only", "nothing"}, {"-serve", "nobody"}, {"-inflight", "-1"}, {"extra"}} {
		if err := run(context.Background(), args, strings.NewReader(""), io.Discard, io.Discard); !errors.As(err, new(command.Misuse)) {
			t.Errorf("%v: %v, want a misuse", args, err)
		}
	}
}
