package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/surefoot-go/surefoot/safe"
)

// A load generator takes CPU from the server beside it, so these two write
// ready-made bytes and read no more of the answers than it takes to tell right
// from wrong.

// drive makes conns clients that ask again as soon as they are answered, until
// ctx ends or each is told to rest, and counts the answers.
type drive struct {
	conns int
	one   func(ctx context.Context, addr string, n *tally) error
}

// tally counts answers, and those that said "not now".
type tally struct{ answered, refused atomic.Int64 }

var (
	httpDrive = drive{64, askHTTP}
	grpcDrive = drive{4, askGRPC} // 16 streams each
)

// run drives addr for each, after a start of a fifth of it that does not count;
// cpu is asked at both ends. Refused requests are no answers.
func (d drive) run(ctx context.Context, addr string, each time.Duration, cpu func() (time.Duration, error)) (row, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var sum tally
	g := safe.Group{Name: "load", Max: -1}
	for range d.conns {
		g.Go(ctx, func(ctx context.Context) error { return d.one(ctx, addr, &sum) })
	}
	wait(ctx, each/5)
	cpu0, err1 := cpu()
	n0, r0, t0 := sum.answered.Load(), sum.refused.Load(), time.Now()
	wait(ctx, each)
	n, r, took := sum.answered.Load()-n0, sum.refused.Load()-r0, time.Since(t0)
	cpu1, err2 := cpu()
	stop()
	if err := errors.Join(err1, err2, g.Wait()); err != nil {
		return row{}, err
	}
	if n == 0 {
		return row{}, errors.New("no answers")
	}
	return row{
		perSecond: float64(n) / took.Seconds(),
		refused:   float64(r) / float64(n+r),
		cpu:       (cpu1 - cpu0) / time.Duration(n),
	}, nil
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// connect returns a connection that is closed when ctx ends.
func connect(ctx context.Context, addr string) (net.Conn, func(), error) {
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	return c, func() {
		stop()
		_ = c.Close()
	}, nil
}

// askHTTP is one keep-alive connection.
func askHTTP(ctx context.Context, addr string, n *tally) error {
	c, end, err := connect(ctx, addr)
	if err != nil {
		return err
	}
	defer end()
	request := []byte("GET " + httpPath + " HTTP/1.1\r\nHost: " + addr + "\r\nAccept: application/json\r\nUser-Agent: bench\r\n\r\n")
	r := bufio.NewReader(c)
	for {
		if _, err := c.Write(request); err != nil {
			return over(ctx, err)
		}
		switch err := readHTTP(r); {
		case err == nil:
			n.answered.Add(1)
		case errors.Is(err, errRefused):
			n.refused.Add(1)
		default:
			return over(ctx, err)
		}
	}
}

// over is nil if the connection failed because it was told to end.
func over(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

var (
	lengthField = []byte("content-length:")
	errRefused  = errors.New("refused")
)

// readHTTP reads one answer, which must have a length. It is nil for a 200 and
// errRefused for a 429 and a 503.
func readHTTP(r *bufio.Reader) error {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	var verdict error
	switch {
	case bytes.HasPrefix(line, []byte("HTTP/1.1 200")):
	case bytes.HasPrefix(line, []byte("HTTP/1.1 429")), bytes.HasPrefix(line, []byte("HTTP/1.1 503")):
		verdict = errRefused
	default:
		return fmt.Errorf("answered %q", line)
	}
	length := -1
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if len(line) > len(lengthField) && bytes.EqualFold(line[:len(lengthField)], lengthField) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(lengthField):]))); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return errors.New("an answer without Content-Length")
	}
	if _, err = r.Discard(length); err != nil {
		return err
	}
	return verdict
}
