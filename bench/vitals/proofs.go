package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/service"
	"github.com/surefoot-go/surefoot/vitals"
)

// ear is a service's telemetry that hears its findings.
type ear struct {
	slog.Handler
	heard chan slog.Record
}

func newEar() *ear { return &ear{slog.DiscardHandler, make(chan slog.Record, 1000)} }

func (e *ear) Start(context.Context, observe.Resource) (observe.Sinks, func(context.Context) error, error) {
	return observe.Sinks{Log: slog.New(e)}, func(context.Context) error { return nil }, nil
}

func (e *ear) Enabled(context.Context, slog.Level) bool { return true }
func (e *ear) WithAttrs([]slog.Attr) slog.Handler       { return e }
func (e *ear) WithGroup(string) slog.Handler            { return e }
func (e *ear) Handle(_ context.Context, r slog.Record) error {
	if kind(r) != "" {
		select {
		case e.heard <- r:
		default:
		}
	}
	return nil
}

// kind is that of a finding that is open; "" for any other record.
func kind(r slog.Record) (kind string) {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "surefoot.finding" {
			kind = a.Value.String()
		}
		return true
	})
	if r.Level < slog.LevelWarn {
		return ""
	}
	return kind
}

// start runs a service with one route in this process.
func start(ctx context.Context, handle func(http.ResponseWriter, *http.Request) error) (addr string, e *ear, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	e = newEar()
	s := &service.Service{Name: "proof", Version: "v1", Listener: l, Telemetry: e}
	s.HandleFunc("GET /", handle)
	safe.Go(ctx, "service", s.Run)
	return l.Addr().String(), e, nil
}

// serve is a real service that leaves one goroutine behind with each request,
// at 20 requests a second, until its own watch says so.
func serve(ctx context.Context, o order) (a answer, err error) {
	never := make(chan int)
	addr, e, err := start(ctx, func(w http.ResponseWriter, _ *http.Request) error {
		if !o.Fix {
			loose(func() { never <- 1 })
		}
		return httpx.Write(w, http.StatusOK, "ok")
	})
	if err != nil {
		return a, err
	}
	began := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	end := time.After(time.Duration(o.Seconds * float64(time.Second)))
	for {
		select {
		case <-tick.C:
			res, err := http.Get("http://" + addr + "/")
			if err != nil {
				continue // not up yet
			}
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			a.Requests++
		case r := <-e.heard:
			if kind(r) == vitals.Goroutines {
				a.Found, a.After, a.Text = true, time.Since(began).Seconds(), r.Message
				return a, nil
			}
		case <-end:
			return a, nil
		}
	}
}

// cost is the processors' time that Count idle goroutines take in Seconds, with
// or without a watch.
func cost(ctx context.Context, o order) (a answer, err error) {
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range o.Count {
		all.Go(func() { <-stop })
	}
	if o.Watch {
		w := &vitals.Watch{Settings: vitals.Settings{Every: 2 * time.Second / time.Duration(max(o.Speed, 1))}}
		safe.Go(ctx, "watch", w.Run)
	}
	runtime.GC()
	time.Sleep(500 * time.Millisecond)
	before := used()
	time.Sleep(time.Duration(o.Seconds * float64(time.Second)))
	a.CPU = (used() - before).Seconds()
	close(stop)
	all.Wait()
	return a, nil
}

// idle is a service with Count connections, held by children, over which
// requests go in turn. Beside its own watch a second one runs Speed times as
// fast. Every finding of either is in Text.
func idle(ctx context.Context, o order) (a answer, err error) {
	a.Limit = raise(uint64(2*o.Count + 1000))
	if room := a.Limit * 3 / 4; a.Limit > 0 && room < o.Count {
		return a, nil // the caller splits it
	}
	var served atomic.Int64
	addr, e, err := start(ctx, func(w http.ResponseWriter, _ *http.Request) error {
		served.Add(1)
		return httpx.Write(w, http.StatusOK, "ok")
	})
	if err != nil {
		return a, err
	}
	const each = 10000
	for left := o.Count; left > 0; left -= each {
		wait, err := holder(ctx, addr, min(left, each), 20*o.Speed/((o.Count+each-1)/each))
		if err != nil {
			return a, err
		}
		defer wait()
	}
	a.Peak = runtime.NumGoroutine()
	w := &vitals.Watch{Settings: vitals.Settings{Every: 2 * time.Second / time.Duration(o.Speed)}}
	safe.Go(ctx, "watch", w.Run)
	began := time.Now()
	seen := map[string]bool{}
	say := func(who, kind, text string) {
		if !seen[who+kind] {
			seen[who+kind] = true
			a.Text += fmt.Sprintf("%s after %.0f s: %s\n", who, time.Since(began).Seconds(), text)
		}
	}
	for time.Since(began).Seconds() < o.Seconds {
		time.Sleep(20 * time.Millisecond)
		a.Peak = max(a.Peak, runtime.NumGoroutine())
		for _, f := range w.Findings() {
			say("fast watch", f.Kind, f.Text)
		}
		for len(e.heard) > 0 {
			r := <-e.heard
			say("watch", kind(r), r.Message)
		}
	}
	a.Requests = int(served.Load())
	a.Beats = int(time.Since(began).Seconds() * float64(o.Speed) / 2)
	a.Found = a.Text != ""
	return a, nil
}

// holder starts a child that opens n connections, and returns when they are.
func holder(ctx context.Context, addr string, n, rate int) (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(order{Do: "hold", Tool: addr, Count: n, Speed: rate})
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "held\n" {
		_ = cmd.Process.Kill()
		return nil, fmt.Errorf("a child that holds connections: %q, %w", line, cmd.Wait())
	}
	return func() { in.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() }, nil
}

// hold opens Count connections to Tool, says so, and sends Speed requests a
// second over them, the next one over the next, until its input ends.
func hold(_ context.Context, o order) (a answer, err error) {
	raise(uint64(o.Count + 100))
	request := func(c net.Conn, r *bufio.Reader) error {
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			return err
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, res.Body)
		return err
	}
	conns := make([]net.Conn, o.Count)
	for i := range conns {
		if conns[i], err = net.Dial("tcp", o.Tool); err == nil {
			err = request(conns[i], bufio.NewReaderSize(conns[i], 512))
		}
		if err != nil {
			return a, fmt.Errorf("connection %d: %w", i, err)
		}
	}
	fmt.Println("held")
	loose(func() {
		tick := time.NewTicker(time.Second / time.Duration(o.Speed))
		for i := 0; ; i++ {
			<-tick.C
			c := conns[i%len(conns)]
			if err := request(c, bufio.NewReaderSize(c, 512)); err != nil {
				fmt.Fprintln(os.Stderr, "request:", err)
				return
			}
		}
	})
	_, _ = io.Copy(io.Discard, os.Stdin)
	return a, nil
}
