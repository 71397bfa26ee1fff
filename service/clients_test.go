package service_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/service"
)

func TestClientsDefaultsAreTheDocumentedOnes(t *testing.T) {
	want := service.Clients{Header: 5 * time.Second, Stall: 30 * time.Second, Rate: 1000, Idle: 2 * time.Minute, MaxHeader: 64 << 10}
	if got := (service.Clients{}).OrDefault(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// dial returns a connection as a slow client has it.
func (p *pipes) dial(t *testing.T) net.Conn {
	near, far := net.Pipe()
	p.conns <- far
	return near
}

// Each client does something slowly. What it holds is freed in bounded time, and
// one that keeps moving is served however long that takes.
func TestSlowClients(t *testing.T) {
	type seen struct {
		err  error         // of the handler
		took time.Duration // until it returned
	}
	drip := func(c net.Conn, s string, every time.Duration) error {
		for i := range len(s) {
			if _, err := io.WriteString(c, s[i:i+1]); err != nil {
				return err
			}
			time.Sleep(every)
		}
		return nil
	}
	const post = "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
	for _, c := range []struct {
		name    string
		client  func(net.Conn)
		path    string
		within  time.Duration // until the connection is closed
		handler bool          // is called
		fails   bool          // it sees an error
		status  string        // first line of the answer, "" for none
	}{
		{"header, a byte a second", func(c net.Conn) {
			_ = drip(c, "GET /upload HTTP/1.1\r\nHost: x\r\nA: "+strings.Repeat("a", 100), time.Second)
		},
			"", 6 * time.Second, false, false, "HTTP/1.1 400 Bad Request"},
		{"body, a byte a second", func(c net.Conn) { io.WriteString(c, post); _ = drip(c, strings.Repeat("b", 100000), time.Second) },
			"", 32 * time.Second, true, true, "HTTP/1.1 408 Request Timeout"},
		{"body, nothing more", func(c net.Conn) { io.WriteString(c, post+"bbb") }, "", 32 * time.Second, true, true, "HTTP/1.1 408 Request Timeout"},
		{"body, in bits but well", func(c net.Conn) {
			io.WriteString(c, strings.Replace(post, "Host: x", "Host: x\r\nConnection: close", 1))
			for range 100 {
				time.Sleep(time.Second)
				io.WriteString(c, strings.Repeat("b", 1000))
			}
		}, "", 102 * time.Second, true, false, "HTTP/1.1 200 OK"},
		{"body, which nobody reads", func(c net.Conn) { io.WriteString(c, strings.Replace(post, "upload", "ignore", 1)) }, "", 32 * time.Second, true, false, "HTTP/1.1 200 OK"},
		{"stops reading", func(c net.Conn) {
			io.WriteString(c, "GET /download HTTP/1.1\r\nHost: x\r\n\r\n")
			_, _ = io.CopyN(io.Discard, c, 100)
		},
			"", 32 * time.Second, true, true, "-"},
		{"reads a byte a second", func(c net.Conn) {
			io.WriteString(c, "GET /download HTTP/1.1\r\nHost: x\r\n\r\n")
			b := make([]byte, 1)
			for {
				if _, err := c.Read(b); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}, "", 32 * time.Second, true, true, "-"},
		{"idle", func(c net.Conn) { io.WriteString(c, "GET /ignore HTTP/1.1\r\nHost: x\r\n\r\n") }, "", 121 * time.Second, true, false, "HTTP/1.1 200 OK"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := network()
				handled := make(chan seen, 1)
				s := &service.Service{Listener: network, Drain: -1}
				note := func(fn func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
					return func(w http.ResponseWriter, r *http.Request) error {
						begin := time.Now()
						err := fn(w, r)
						handled <- seen{err, time.Since(begin)}
						return err
					}
				}
				s.HandleFunc("POST /upload", note(func(w http.ResponseWriter, r *http.Request) error {
					_, err := io.Copy(io.Discard, r.Body)
					return err
				}))
				s.HandleFunc("/ignore", note(func(http.ResponseWriter, *http.Request) error { return nil }))
				s.HandleFunc("GET /download", note(func(w http.ResponseWriter, r *http.Request) error {
					for range 100 {
						if _, err := w.Write(make([]byte, 1<<20)); err != nil {
							return err
						}
					}
					return nil
				}))
				s.HandleFunc("GET /other", func(w http.ResponseWriter, r *http.Request) error { return httpx.Write(w, 200, "fine") })
				stop, ended := start(t, s)
				begin := time.Now()
				conn := network.dial(t)
				closed := make(chan time.Duration, 1)
				answer := make(chan string, 1)
				var wg sync.WaitGroup
				defer wg.Wait()
				defer conn.Close()
				wg.Go(func() { c.client(conn) })
				if c.status != "-" {
					go func() {
						line, _ := bufio.NewReader(conn).ReadString('\n')
						answer <- strings.TrimSpace(line)
						_, _ = io.Copy(io.Discard, conn)
						closed <- time.Since(begin)
					}()
				}
				time.Sleep(time.Second)
				if status, body := get(t, network.client(), "/other"); status != 200 {
					t.Errorf("somebody else got %d %s", status, body)
				}
				if c.handler {
					h := <-handled
					if (h.err != nil) != c.fails || h.took > c.within {
						t.Errorf("the handler took %v and saw %v", h.took, h.err)
					}
					if e := errs.From(h.err); strings.HasPrefix(c.name, "body") && c.fails && (e.Code() != "body_too_slow" || e.HTTP() != 408) {
						t.Errorf("the handler saw %v", h.err)
					}
				}
				if c.status == "-" {
					time.Sleep(2 * time.Second)
					if _, err := conn.Write([]byte("x")); err == nil {
						t.Error("the connection is still there")
					}
				} else {
					if took := <-closed; took > c.within {
						t.Errorf("the connection was held for %v", took)
					}
					if got := <-answer; got != c.status {
						t.Errorf("answer %q, want %q", got, c.status)
					}
				}
				stop()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Slow work, long streams and big files are no slow clients.
func TestPatientServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := network()
		s := &service.Service{Listener: network, Drain: -1}
		s.HandleFunc("GET /long", func(w http.ResponseWriter, r *http.Request) error {
			time.Sleep(10 * time.Minute)
			return httpx.Write(w, 200, "done")
		})
		s.HandleFunc("GET /longer", func(http.ResponseWriter, *http.Request) error { time.Sleep(10 * time.Minute); return nil })
		s.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Content-Type", "text/event-stream")
			for i := range 60 {
				time.Sleep(time.Minute)
				fmt.Fprintf(w, "data: %d\n\n", i)
				if err := http.NewResponseController(w).Flush(); err != nil {
					return err
				}
			}
			return nil
		})
		s.HandleFunc("GET /file", func(w http.ResponseWriter, r *http.Request) error {
			_, err := io.Copy(w, strings.NewReader(strings.Repeat("x", 1<<20)))
			return err
		})
		s.HandleFunc("GET /hijack", func(w http.ResponseWriter, r *http.Request) error {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return err
			}
			defer c.Close()
			time.Sleep(time.Hour)
			_, err = io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\nstill there")
			return err
		})
		s.HandleFunc("POST /think", func(w http.ResponseWriter, r *http.Request) error {
			if _, err := io.ReadAll(r.Body); err != nil {
				return err
			}
			select { // net/http listens for the end of the client meanwhile
			case <-time.After(10 * time.Minute):
			case <-r.Context().Done():
				return errors.New("ended too early")
			}
			return httpx.Write(w, 200, "done")
		})
		stop, ended := start(t, s)
		for path, want := range map[string]string{"/long": `"done"`, "/longer": "", "/hijack": "still there", "/think": `"done"`} {
			method, body := "GET", io.Reader(nil)
			if path == "/think" {
				method, body = "POST", strings.NewReader("x")
			}
			req, _ := http.NewRequestWithContext(context.Background(), method, "http://hello"+path, body)
			resp, err := network.client().Do(req)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != 200 || string(got) != want || err != nil {
				t.Errorf("%s: %d %s %v", path, resp.StatusCode, got, err)
			}
		}
		if _, body := get(t, network.client(), "/events"); !strings.HasSuffix(body, "data: 59") {
			t.Errorf("events ended with %q", body[max(0, len(body)-20):])
		}
		if _, body := get(t, network.client(), "/file"); len(body) != 1<<20 {
			t.Errorf("%d bytes of the file", len(body))
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
