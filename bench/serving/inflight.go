package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/shed"
	"github.com/surefoot-go/surefoot/safe"
)

// Many requests in flight in one process: a service in the middle, which asks
// a downstream for each request and waits. It is asked, and asks, over HTTP/2
// in the clear through loopback sockets, 250 requests to a connection, since a
// process may not have 200,000 sockets on a usual machine. Requests arrive in
// an open loop slow enough that the processor is not the limit, and the
// downstream holds each answer until all of them are in flight.

// flightPlan says how many requests, how many a second, and how long the
// downstream takes.
type flightPlan struct {
	n, rate int
	hold    time.Duration
}

const (
	streams = 250 // requests to a connection, the usual limit
	burst   = 5   // requests in a row over the same connection
)

// serveH2 is serveHTTP for HTTP/2 in the clear.
func serveH2(l net.Listener, h http.Handler, flight *inFlight, also ...func()) server {
	s := &http.Server{Handler: flight.count(h), Protocols: clear2(), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: streams}}
	task := safe.Go(context.Background(), "h2", func(context.Context) error { return s.Serve(l) })
	return server{addr: l.Addr().String(), count: flight.figures, stop: func() {
		_ = s.Close()
		_ = task.Wait()
		for _, f := range also {
			f()
		}
	}}
}

func clear2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

// inFlight counts requests under way.
type inFlight struct{ now, most atomic.Int64 }

func (f *inFlight) count(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for n, m := f.now.Add(1), f.most.Load(); n > m && !f.most.CompareAndSwap(m, n); m = f.most.Load() {
		}
		defer f.now.Add(-1)
		h.ServeHTTP(w, r)
	})
}

func (f *inFlight) figures() map[string]float64 {
	return map[string]float64{"now": float64(f.now.Load()), "most": float64(f.most.Load())}
}

// The children learn from their environment what to call and how long to hold.
const (
	envDownstream = "SERVING_DOWNSTREAM"
	envHold       = "SERVING_HOLD"
)

func hold() (time.Duration, error) { return time.ParseDuration(os.Getenv(envHold)) }

func flightDownstream(_ context.Context, l net.Listener) (server, error) {
	d, err := hold()
	return downstream(l, d), err
}

func flightBare(_ context.Context, l net.Listener) (server, error) {
	return middleBare(l, os.Getenv(envDownstream)), nil
}

func flightOurs(_ context.Context, l net.Listener) (server, error) {
	d, err := hold()
	sinks, flush := sinks(1)
	return middleOurs(l, os.Getenv(envDownstream), d, sinks, flush), err
}

func wire() *http.Transport {
	return &http.Transport{Protocols: clear2(), IdleConnTimeout: time.Minute}
}

// middleBare is net/http on both sides.
func middleBare(l net.Listener, addr string) server {
	tr := wire()
	client := &http.Client{Transport: tr}
	return serveH2(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := relay(w, r, client, addr); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	}), new(inFlight), tr.CloseIdleConnections)
}

// middleOurs has every guard and all telemetry on, on both sides. Its limits
// are those of a service that is meant to have so many in flight: the door's
// 10,000 and the times are raised, nothing is off.
func middleOurs(l net.Listener, addr string, d time.Duration, sinks observe.Sinks, flush func()) server {
	long := d + 30*time.Second
	tr := wire()
	client := httpx.Client{Service: "bench", Target: "downstream", Observe: sinks, Transport: tr, ReadTimeout: long,
		Policy: resilience.Policy{Timeout: long, AttemptTimeout: long}}.HTTP()
	s := ours(sinks)
	s.Door = shed.New(shed.Settings{Start: 1 << 18, Max: 1 << 18})
	return serveH2(l, s.Handle("order.Relay", func(w http.ResponseWriter, r *http.Request) error {
		return relay(w, r, client, addr)
	}), new(inFlight), tr.CloseIdleConnections, flush)
}

// relay asks the downstream and passes its answer on.
func relay(w http.ResponseWriter, r *http.Request, client *http.Client, addr string) error {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://"+addr+httpPath, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the downstream says %s", resp.Status)
	}
	w.Header().Set("Content-Type", contentType)
	_, err = io.Copy(w, resp.Body)
	return err
}

// flown is what became of the requests.
type flown struct {
	answered, wrong int
	said            string          // the status of one of the wrong
	extra           []time.Duration // beyond the downstream's time, sorted
}

func (f flown) quantile(q float64) time.Duration {
	if len(f.extra) == 0 {
		return 0
	}
	return f.extra[min(int(q*float64(len(f.extra))), len(f.extra)-1)]
}

// fly sends p.n requests at p.rate and waits for every answer, until 30s after
// the last could be there. full is called once, when all have been sent.
func (p flightPlan) fly(ctx context.Context, addr string, full func()) (flown, error) {
	took := time.Duration(p.n)*time.Second/time.Duration(p.rate) + p.hold + 30*time.Second
	ctx, cancel := context.WithTimeout(ctx, took)
	defer cancel()
	conns := make([]*flightConn, (p.n+streams-1)/streams)
	g := safe.Group{Name: "flight", Max: -1}
	for i := range conns {
		c, end, err := connect(ctx, addr)
		if err != nil {
			return flown{}, err
		}
		defer end()
		h, err := newH2(c, []hpack.HeaderField{
			{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: httpPath}, {Name: ":authority", Value: addr},
		}, nil, hpack.HeaderField{Name: ":status", Value: "200"})
		if err != nil {
			return flown{}, err
		}
		conns[i] = &flightConn{h2: h, sent: map[uint32]time.Time{}}
	}
	for i := range p.n {
		conns[i/burst%len(conns)].expect++
	}
	for _, f := range conns {
		g.Go(ctx, func(ctx context.Context) error { return over(ctx, f.receive()) })
	}
	err := p.send(ctx, conns)
	full()
	err = errors.Join(err, g.Wait())
	var sum flown
	for _, c := range conns {
		sum.answered += c.answered
		sum.wrong += c.wrong
		if c.wrong > 0 {
			sum.said = c.said
		}
		for _, d := range c.took {
			sum.extra = append(sum.extra, d-p.hold)
		}
	}
	slices.Sort(sum.extra)
	return sum, err
}

// send is the open loop: each millisecond what is due, whatever has been
// answered, over the connections in turn. A late millisecond counts against
// the answers: their time runs from when they were due.
func (p flightPlan) send(ctx context.Context, conns []*flightConn) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for sent := 0; sent < p.n; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		due := min(int(time.Since(began)*time.Duration(p.rate)/time.Second), p.n)
		for sent < due {
			c := conns[sent/burst%len(conns)]
			for last := min(due, (sent/burst+1)*burst); sent < last; sent++ {
				if err := c.begin(began.Add(time.Duration(sent) * time.Second / time.Duration(p.rate))); err != nil {
					return err
				}
			}
			if err := c.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// flightConn is one connection with its requests under way.
type flightConn struct {
	*h2
	expect, answered, wrong int
	took                    []time.Duration

	mu   sync.Mutex
	sent map[uint32]time.Time
}

func (c *flightConn) begin(at time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	id, err := c.h2.send()
	if err != nil {
		return err
	}
	c.sent[id] = at
	return nil
}

func (c *flightConn) receive() error {
	for c.answered+c.wrong < c.expect {
		id, right, err := c.read()
		if err != nil {
			return err
		}
		now := time.Now()
		c.mu.Lock()
		at := c.sent[id]
		delete(c.sent, id)
		c.mu.Unlock()
		if right {
			c.answered++
			c.took = append(c.took, now.Sub(at))
		} else {
			c.wrong++
		}
	}
	return nil
}

// flight is what one process went through.
type flight struct {
	flown
	most    float64 // in flight at once
	bytes   float64 // per request in flight, garbage collected
	threads int     // goroutines per request in flight
	cpu     time.Duration
}

// through flies p through the middle called name, in processes of their own.
func (p flightPlan) through(ctx context.Context, name string) (f flight, err error) {
	env := envHold + "=" + p.hold.String()
	down, err := spawn(ctx, "Flight/hold/downstream", env)
	if err != nil {
		return f, err
	}
	defer down.stop()
	middle, err := spawn(ctx, "Flight/hold/"+name, env, envDownstream+"="+down.addr)
	if err != nil {
		return f, err
	}
	defer middle.stop()
	before, err := middle.usage(true)
	if err != nil {
		return f, err
	}
	var all usage
	var err1 error
	f.flown, err = p.fly(ctx, middle.addr, func() {
		wait(ctx, time.Second/2) // the last are on their way
		all, err1 = middle.usage(true)
	})
	after, err2 := middle.usage(false)
	f.most = after.Extra["most"]
	f.bytes = float64(all.Memory-before.Memory) / all.Extra["now"]
	f.threads = int(float64(all.Goroutines)/all.Extra["now"] + 0.5)
	f.cpu = after.CPU / time.Duration(p.n)
	return f, errors.Join(err, err1, err2)
}

// runInflight flies through net/http alone and then through ours.
func runInflight(ctx context.Context, p flightPlan, bench bool, stdout, stderr io.Writer) error {
	for _, name := range []string{"bare", "surefoot"} {
		fmt.Fprintf(stderr, "serving: %d requests in flight through %s\n", p.n, name)
		f, err := p.through(ctx, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if f.wrong > 0 {
			fmt.Fprintf(stderr, "serving: %d requests failed through %s, one with status %s\n", f.wrong, name, f.said)
		}
		format := "%-10s %.0f in flight at once, %d lost, %d failed, %.0f B and %d goroutines each, beyond the downstream's time p50 %.2f ms, p99 %.2f ms, max %.2f ms, %.1f µs CPU\n"
		if bench {
			format = "BenchmarkFlight/hold/%s 1 %.0f most %d lost %d wrong %.0f B/op %d goroutines %.3f p50-ms %.3f p99-ms %.3f max-ms %.2f cpu-us/req" +
				fmt.Sprintf(" %d n %d rate %.0f hold-s\n", p.n, p.rate, p.hold.Seconds())
		}
		ms := func(q float64) float64 { return float64(f.quantile(q)) / 1e6 }
		fmt.Fprintf(stdout, format, name, f.most, p.n-f.answered-f.wrong, f.wrong, f.bytes, f.threads, ms(0.5), ms(0.99), ms(1), float64(f.cpu)/1e3)
	}
	return nil
}
