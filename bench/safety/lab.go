package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/safe"
)

// verdict is what a cell of the table says.
type verdict string

const (
	yes  verdict = "yes" // the trap did not spring
	no   verdict = "no"  // it did
	none verdict = "n/a" // the library has nothing in that place
)

// answer is the outcome of one experiment, with what it saw. What it saw names
// no measured number, so that the document does not change from run to run.
type answer struct {
	verdict verdict
	saw     string
}

func safely(format string, args ...any) answer { return answer{yes, fmt.Sprintf(format, args...)} }
func sprung(format string, args ...any) answer { return answer{no, fmt.Sprintf(format, args...)} }
func absent(reason string) experiment          { return func(*lab) answer { return answer{none, reason} } }

// unless is safely(good) if ok, and sprung(bad) if not.
func unless(ok bool, good, bad string) answer {
	if ok {
		return answer{yes, good}
	}
	return answer{no, bad}
}

// opt adds the option that makes a library safe to an answer of no.
func (a answer) opt(option string) answer {
	if a.verdict == no {
		a.saw += "; opt-in: " + option
	}
	return a
}

// both is one answer out of parts that all must hold.
func both(parts ...answer) answer {
	out := answer{verdict: none}
	var saw []string
	for _, p := range parts {
		saw = append(saw, p.saw)
		if out.verdict == none || p.verdict == no {
			out.verdict = p.verdict
		}
	}
	out.saw = strings.Join(saw, "; ")
	return out
}

// over prefixes what was seen with where.
func (a answer) over(where string) answer {
	a.saw = where + ": " + a.saw
	return a
}

// experiment decides one cell. It may use l from its own goroutine only.
type experiment func(l *lab) answer

// lab is where one experiment runs: what it starts is stopped when it ends.
type lab struct {
	ctx  context.Context
	undo []func()
}

// longest bounds one experiment.
const longest = 10 * time.Second

// mishap is an experiment that could not be made.
type mishap struct{ err error }

// run makes the experiment. An error means that it could not be made and says
// nothing about the library.
func run(ctx context.Context, e experiment) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	l := &lab{ctx: ctx}
	task := safe.Go(ctx, "experiment", func(context.Context) error {
		defer l.close()
		defer func() {
			if m, ok := recover().(mishap); ok {
				err = m.err
			}
		}()
		a = e(l)
		return nil
	})
	if failed := task.Wait(); failed != nil {
		return a, failed
	}
	return a, err
}

func (l *lab) close() {
	for i := len(l.undo) - 1; i >= 0; i-- {
		l.undo[i]()
	}
}

func (l *lab) later(fn func()) { l.undo = append(l.undo, fn) }

// must ends the experiment without an answer if err is not nil.
func (l *lab) must(err error) {
	if err != nil {
		panic(mishap{err})
	}
}

// wait returns when cond holds or after d, and says which.
func (l *lab) wait(d time.Duration, cond func() bool) bool {
	for end := time.Now().Add(d); ; l.pause(2 * time.Millisecond) {
		if cond() {
			return true
		}
		if time.Now().After(end) || l.ctx.Err() != nil {
			return false
		}
	}
}

func (l *lab) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-l.ctx.Done():
	}
}

// web serves h on loopback and returns its URL.
func (l *lab) web(h http.Handler) string {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = silent
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	l.later(func() {
		s.CloseClientConnections()
		done := safe.Go(context.Background(), "close", func(context.Context) error { s.Close(); return nil })
		select { // a handler that does not end must not hold up the rest
		case <-done.Done():
		case <-time.After(time.Second):
		}
	})
	return s.URL
}

// dir makes a folder that is gone afterwards.
func (l *lab) dir() string {
	name, err := os.MkdirTemp("", "safety")
	l.must(err)
	l.later(func() { os.RemoveAll(name) })
	return name
}

// listen opens a port on loopback.
func (l *lab) listen() net.Listener {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	l.must(err)
	l.later(func() { lis.Close() })
	return lis
}

// serve runs fn, which blocks, until stop is called at the end.
func (l *lab) serve(fn func() error, stop func()) {
	task := safe.Go(l.ctx, "serve", func(context.Context) error { return fn() })
	l.later(func() {
		stop()
		select {
		case <-task.Done():
		case <-time.After(time.Second):
		}
	})
}

// fetch makes one exchange over a plain client and returns status, header and
// body as one text: everything the other side can see.
func (l *lab) fetch(method, url string, body string, header ...string) (int, string) {
	r, err := http.NewRequestWithContext(l.ctx, method, url, strings.NewReader(body))
	l.must(err)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	t := &http.Transport{DisableKeepAlives: true}
	defer t.CloseIdleConnections()
	resp, err := t.RoundTrip(r)
	if err != nil {
		return 0, err.Error() // the connection was cut, as net/http does after a panic
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		l.must(err)
	}
	return resp.StatusCode, fmt.Sprint(resp.Header, resp.Trailer, string(text))
}

// caller makes a client of a library for the target at url; method and path
// are of each call.
type caller func(l *lab, url string) func(ctx context.Context, method, path string) error
