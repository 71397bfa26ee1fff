package faulttest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/faulttest"
)

const text = "0123456789"

// noted is a request body that knows whether it was closed.
type noted struct {
	io.Reader
	closed bool
}

func (n *noted) Close() error { n.closed = true; return nil }

// serve answers every request on network n at "shop:80" with text.
func serve(t *testing.T, l net.Listener) (asked func() int, stop func()) {
	var mu sync.Mutex
	n := 0
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		mu.Lock()
		n++
		mu.Unlock()
		io.WriteString(w, text)
	})}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	return func() int { mu.Lock(); defer mu.Unlock(); return n }, func() { s.Close(); <-done }
}

func listen(t *testing.T, n *faulttest.Network) net.Listener {
	t.Helper()
	l, err := n.Listen("shop:80")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestTransport(t *testing.T) {
	const limit = 10 * time.Second // of the caller
	for name, tt := range map[string]struct {
		f      faulttest.Fault
		status int
		body   string
		err    error // of the request, or of reading the body
		asked  int
		took   time.Duration
	}{
		"pass":     {status: 200, body: text, asked: 1},
		"delay":    {f: faulttest.Fault{Delay: time.Second}, status: 200, body: text, asked: 1, took: time.Second},
		"too late": {f: faulttest.Fault{Delay: time.Hour}, err: context.DeadlineExceeded, took: limit},
		"refuse":   {f: faulttest.Fault{What: faulttest.Refuse, Delay: time.Second}, err: syscall.ECONNREFUSED, took: time.Second},
		"drop":     {f: faulttest.Fault{What: faulttest.Drop}, err: context.DeadlineExceeded, took: limit},
		"reset":    {f: faulttest.Fault{What: faulttest.Reset}, err: syscall.ECONNRESET},
		"lose":     {f: faulttest.Fault{What: faulttest.Lose}, err: syscall.ECONNRESET, asked: 1},
		"answer":   {f: faulttest.Fault{What: faulttest.Answer, Body: "go away"}, status: 503, body: "go away"},
		"answer 418": {f: faulttest.Fault{What: faulttest.Answer, Status: 418, Header: http.Header{"Retry-After": {"1"}}},
			status: 418},
		"truncate":             {f: faulttest.Fault{What: faulttest.Truncate, At: 4}, status: 200, body: "0123", err: io.ErrUnexpectedEOF, asked: 1},
		"truncate at once":     {f: faulttest.Fault{What: faulttest.Truncate, At: -1}, status: 200, err: io.ErrUnexpectedEOF, asked: 1},
		"stall":                {f: faulttest.Fault{What: faulttest.Stall, At: 4}, status: 200, body: "0123", err: context.DeadlineExceeded, asked: 1, took: limit},
		"corrupt":              {f: faulttest.Fault{What: faulttest.Corrupt, At: 2}, status: 200, body: "0133456789", asked: 1},
		"trickle":              {f: faulttest.Fault{What: faulttest.Trickle, At: 4}, status: 200, body: text, asked: 1, took: 3 * time.Second},
		"trickle too slowly":   {f: faulttest.Fault{What: faulttest.Trickle, At: 4, Pause: 4 * time.Second}, status: 200, body: "01234567", err: context.DeadlineExceeded, asked: 1, took: limit},
		"corrupt past the end": {f: faulttest.Fault{What: faulttest.Corrupt, At: 99}, status: 200, body: text, asked: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n faulttest.Network
				asked, stop := serve(t, listen(t, &n))
				defer stop()
				base := &http.Transport{DialContext: n.DialContext}
				defer base.CloseIdleConnections()
				ft := &faulttest.Transport{Base: base, Plan: faulttest.Always(tt.f)}
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				sent := &noted{Reader: strings.NewReader("order")}
				req, err := http.NewRequestWithContext(ctx, "POST", "http://shop", sent)
				if err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				resp, err := ft.RoundTrip(req)
				status, body := 0, ""
				if err == nil {
					status = resp.StatusCode
					if h := tt.f.Header.Get("Retry-After"); resp.Header.Get("Retry-After") != h {
						t.Errorf("header %v", resp.Header)
					}
					var b []byte
					b, err = io.ReadAll(resp.Body)
					body = string(b)
					resp.Body.Close()
				}
				if status != tt.status || body != tt.body || !errors.Is(err, tt.err) || time.Since(begin) != tt.took || asked() != tt.asked {
					t.Errorf("%d %q, %v, %v, target asked %d times; want %+v", status, body, err, time.Since(begin), asked(), tt)
				}
				if synctest.Wait(); !sent.closed {
					t.Error("the request's body was left open")
				}
				if c := ft.Counts(); len(c) != 1 || c[tt.f.What] != 1 {
					t.Errorf("counts %v", c)
				}
			})
		})
	}
}

// Without a deadline a lost request ends as a network ends it.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ft := &faulttest.Transport{Plan: faulttest.Always(faulttest.Fault{What: faulttest.Drop})}
		begin := time.Now()
		_, err := (&http.Client{Transport: ft}).Get("http://shop")
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() || !errors.Is(err, syscall.ETIMEDOUT) || time.Since(begin) != 127*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

func TestStalledBodyEndsWithClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ft := &faulttest.Transport{Plan: faulttest.Always(faulttest.Fault{What: faulttest.Stall, At: 3}),
			Base: roundTrip(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(text))}, nil
			})}
		resp, err := (&http.Client{Transport: ft}).Get("http://shop")
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, func() { resp.Body.Close() })
		if b, err := io.ReadAll(resp.Body); string(b) != "012" || err == nil {
			t.Errorf("%q, %v", b, err)
		}
		resp.Body.Close()
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestMatch(t *testing.T) {
	ft := &faulttest.Transport{
		Plan:  faulttest.Script(faulttest.Fault{What: faulttest.Reset}),
		Match: func(r *http.Request) bool { return r.Method == "POST" },
		Base: roundTrip(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		}),
	}
	c := &http.Client{Transport: ft}
	for i, want := range []error{nil, syscall.ECONNRESET, nil} {
		send := func() (*http.Response, error) { return c.Post("http://shop", "", nil) }
		if i == 0 {
			send = func() (*http.Response, error) { return c.Get("http://shop") }
		}
		resp, err := send()
		if !errors.Is(err, want) {
			t.Errorf("request %d: %v, want %v", i, err, want)
		}
		if err == nil {
			resp.Body.Close()
		}
	}
	if c := ft.Counts(); !maps.Equal(c, map[faulttest.What]int{faulttest.Reset: 1, faulttest.Pass: 1}) {
		t.Errorf("counts %v", c)
	}
}

func TestPlans(t *testing.T) {
	bad, slow := faulttest.Fault{What: faulttest.Reset}, faulttest.Fault{Delay: time.Second}
	const n = 100000
	plan := faulttest.Seeded(7, faulttest.Odds{Share: 0.1, Fault: bad}, faulttest.Odds{Share: 0.3, Fault: slow})
	again, other := faulttest.Seeded(7, faulttest.Odds{Share: 0.1, Fault: bad}, faulttest.Odds{Share: 0.3, Fault: slow}),
		faulttest.Seeded(8, faulttest.Odds{Share: 0.1, Fault: bad}, faulttest.Odds{Share: 0.3, Fault: slow})
	var resets, delays, differ int
	var sum time.Duration
	for i := range n {
		f := plan(i)
		if g := again(i); g.What != f.What || g.Delay != f.Delay {
			t.Fatal("the same seed plans differently")
		}
		if g := other(i); g.What != f.What {
			differ++
		}
		if f.What == faulttest.Reset {
			resets++
		}
		if f.Delay > 0 {
			delays++
			sum += f.Delay
		}
		if f.Delay < 0 || f.Delay > time.Second {
			t.Fatalf("delay %v", f.Delay)
		}
	}
	t.Logf("resets %.3f, delays %.3f of %v in the mean", float64(resets)/n, float64(delays)/n, sum/time.Duration(delays))
	if math.Abs(float64(resets)/n-0.1) > 0.005 || math.Abs(float64(delays)/n-0.3) > 0.005 || differ == 0 {
		t.Error("want 0.1 and 0.3, otherwise with another seed")
	}
	synctest.Test(t, func(t *testing.T) {
		p := faulttest.During(time.Now().Add(time.Second), time.Second, faulttest.Always(bad))
		for i, want := range []faulttest.What{faulttest.Pass, faulttest.Reset, faulttest.Pass} {
			if got := p(i).What; got != want {
				t.Errorf("second %d: %v, want %v", i, got, want)
			}
			time.Sleep(time.Second)
		}
	})
	if faulttest.Corrupt.String() != "corrupt" || faulttest.What(99).String() != "What(99)" {
		t.Error("names")
	}
}

// The faults of connections, each way in.
func TestConnections(t *testing.T) {
	for name, tt := range map[string]struct {
		f    faulttest.Fault
		got  string
		err  error
		sent string        // what the other side got
		took time.Duration // until all is read
	}{
		"pass":     {got: text, sent: "ask"},
		"delay":    {f: faulttest.Fault{Delay: time.Second}, got: text, sent: "ask", took: time.Second},
		"refuse":   {f: faulttest.Fault{What: faulttest.Refuse}, err: syscall.ECONNREFUSED},
		"drop":     {f: faulttest.Fault{What: faulttest.Drop}, err: errTimeout, took: 10 * time.Second},
		"reset":    {f: faulttest.Fault{What: faulttest.Reset, At: 3}, got: "012", err: syscall.ECONNRESET, sent: "ask"},
		"truncate": {f: faulttest.Fault{What: faulttest.Truncate, At: 3}, got: "012", sent: "ask"},
		"stall":    {f: faulttest.Fault{What: faulttest.Stall, At: 3}, got: "012", err: errTimeout, sent: "ask", took: 10 * time.Second},
		"corrupt":  {f: faulttest.Fault{What: faulttest.Corrupt, At: 3}, got: "0122456789", sent: "ask"},
		"trickle":  {f: faulttest.Fault{What: faulttest.Trickle, At: 5, Pause: time.Millisecond}, got: text, sent: "ask", took: 3 * time.Millisecond},
	} {
		for _, via := range []string{"Network", "Dialer"} {
			t.Run(name+" by "+via, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := &faulttest.Network{}
					d := &faulttest.Dialer{Dial: n.DialContext, Plan: faulttest.Always(tt.f)}
					dial := d.DialContext
					if via == "Network" {
						n.Plan, dial = faulttest.Always(tt.f), n.DialContext
					}
					l := listen(t, n)
					defer l.Close()
					var sent bytes.Buffer
					done := make(chan struct{})
					go func() {
						defer close(done)
						c, err := l.Accept()
						if err != nil {
							return
						}
						defer c.Close()
						buf := make([]byte, 3)
						c.SetDeadline(time.Now().Add(5 * time.Second))
						k, err := io.ReadFull(c, buf)
						sent.Write(buf[:k])
						if err == nil {
							io.WriteString(c, text)
						}
						if tt.err == errTimeout {
							time.Sleep(time.Minute) // keeps the connection open
						}
					}()
					begin := time.Now()
					var got []byte
					c, err := dial(t.Context(), "tcp", "shop:80")
					if err == nil {
						c.SetDeadline(time.Now().Add(10 * time.Second))
						if _, err = c.Write([]byte("ask")); err == nil {
							got, err = io.ReadAll(c)
						}
						c.Close()
					}
					var ne net.Error
					same := errors.Is(err, tt.err) || tt.err == errTimeout && errors.As(err, &ne) && ne.Timeout()
					if string(got) != tt.got || !same || time.Since(begin) != tt.took {
						t.Errorf("%q, %v after %v; want %+v", got, err, time.Since(begin), tt)
					}
					l.Close()
					<-done
					if sent.String() != tt.sent {
						t.Errorf("the other side got %q", sent.String())
					}
				})
			})
		}
	}
}

var errTimeout = errors.New("timeout")

func TestListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n faulttest.Network
		l := &faulttest.Listener{Listener: listen(t, &n), Plan: faulttest.Script(
			faulttest.Fault{What: faulttest.Refuse}, faulttest.Fault{What: faulttest.Reset, At: 2}, faulttest.Fault{Delay: time.Second})}
		asked, stop := serve(t, l)
		base := &http.Transport{DialContext: n.DialContext, DisableKeepAlives: true}
		c := &http.Client{Transport: base, Timeout: time.Minute}
		for i := range 4 {
			begin := time.Now()
			resp, err := c.Post("http://shop", "", nil)
			if (err == nil) != (i >= 2) || i == 2 && time.Since(begin) != time.Second {
				t.Errorf("request %d: %v after %v", i, err, time.Since(begin))
			}
			if err == nil {
				resp.Body.Close()
			}
		}
		if asked() != 2 || l.Counts()[faulttest.Pass] != 2 {
			t.Errorf("asked %d times, %v", asked(), l.Counts())
		}
		if _, err := n.Listen("shop:80"); err == nil {
			t.Error("two listeners on one address")
		}
		stop()
		if _, err := c.Get("http://shop"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("nobody listens: %v", err)
		}
		listen(t, &n).Close()
	})
}

// Many at once: each number in a script is given out once.
func TestConcurrentUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var faults []faulttest.Fault
		for range 50 {
			faults = append(faults, faulttest.Fault{What: faulttest.Reset, Delay: time.Millisecond})
		}
		n := &faulttest.Network{}
		_, stop := serve(t, listen(t, n))
		base := &http.Transport{DialContext: n.DialContext}
		ft := &faulttest.Transport{Base: base, Plan: faulttest.Script(faults...)}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for range 10 {
					if resp, err := (&http.Client{Transport: ft}).Get("http://shop"); err == nil {
						io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
				}
			})
		}
		wg.Wait()
		base.CloseIdleConnections()
		stop()
		if c := ft.Counts(); c[faulttest.Reset] != 50 || c[faulttest.Pass] != 150 {
			t.Errorf("counts %v", c)
		}
	})
}
