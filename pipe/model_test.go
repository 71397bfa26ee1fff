package pipe_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/faulttest"
	"github.com/surefoot-go/surefoot/pipe"
)

// doing is one call of a side that may not have returned.
type doing struct {
	busy   bool
	result chan string
}

func (d *doing) start(fn func() string) {
	d.busy = true
	go func() { d.result <- fn() }()
}

// done takes the result if there is one.
func (d *doing) done() (string, bool) {
	select {
	case s := <-d.result:
		d.busy = false
		return s, true
	default:
		return "", false
	}
}

// TestModel runs random programs of send, receive and close on a Go channel
// and on a pipe, and compares after each step who waits and what came. With a
// Capacity of 1 or less they are the same. Above that, a pipe's sender may
// wait although there is room, while at least half the window is taken up.
func TestModel(t *testing.T) {
	for _, capacity := range []int{-1, 1, 2, 7, 64} {
		for _, ack := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d,%t", capacity, ack), func(t *testing.T) {
				for seed := range uint64(25) {
					s := security(t)
					synctest.Test(t, func(t *testing.T) { testModel(t, s, capacity, ack, seed) })
				}
			})
		}
	}
}

func testModel(t *testing.T, s pipe.Security, capacity int, ack bool, seed uint64) {
	var network faulttest.Network
	ln, err := network.Listen("here")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	o := pipe.Options{Capacity: capacity, Ack: ack}
	l := &pipe.Listener{Security: s, Observe: quiet, Listener: ln}
	l.Topic("t", o)
	served := make(chan error, 1)
	go func() { served <- l.Serve(ctx) }()
	k := &pipe.Link{Addr: "here", Security: s, Observe: quiet, Dialer: &network}
	out, err := k.Open(ctx, "t", o)
	if err != nil {
		t.Fatal(err)
	}
	in, err := l.Accept(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	model := make(chan string, max(capacity, 0))

	sends := [2]doing{{result: make(chan string, 1)}, {result: make(chan string, 1)}}
	recvs := [2]doing{{result: make(chan string, 1)}, {result: make(chan string, 1)}}
	var got [2][]string
	closed := false
	rng := rand.New(rand.NewPCG(seed, uint64(capacity+2)))
	for step := range 400 {
		switch x := rng.IntN(20); {
		case x == 0 && step > 200 && !closed && !sends[0].busy && !sends[1].busy:
			closed = true
			close(model)
			out.CloseSend()
		case x < 12 && !closed && !sends[0].busy && !sends[1].busy:
			v := fmt.Sprint(step)
			sends[0].start(func() string { model <- v; return "" })
			sends[1].start(func() string {
				if err := out.Send(ctx, []byte(v)); err != nil {
					return err.Error()
				}
				return ""
			})
		case x >= 12 && !recvs[0].busy && !recvs[1].busy:
			recvs[0].start(func() string { v, ok := <-model; return fmt.Sprint(v, ok) })
			recvs[1].start(func() string { m, ok := <-in.C(); return fmt.Sprint(string(m.Data), ok) })
		}
		synctest.Wait()
		for i := range 2 {
			if s, ok := sends[i].done(); ok && s != "" {
				t.Fatalf("seed %d, step %d: Send: %s", seed, step, s)
			}
			if s, ok := recvs[i].done(); ok {
				got[i] = append(got[i], s)
			}
		}
		lags := capacity > 1 && sends[1].busy && !sends[0].busy && len(model) >= capacity/2
		if sends[0].busy != sends[1].busy && !lags {
			t.Fatalf("seed %d, step %d: the Go channel's sender waits: %t; the pipe's: %t, with %d of %d", seed, step, sends[0].busy, sends[1].busy, len(model), capacity)
		}
		if fmt.Sprint(got[0]) != fmt.Sprint(got[1]) || recvs[0].busy != recvs[1].busy {
			t.Fatalf("seed %d, step %d: from the Go channel %v (waits: %t), from the pipe %v (%t)", seed, step, got[0], recvs[0].busy, got[1], recvs[1].busy)
		}
	}
	if !closed && !sends[0].busy && !sends[1].busy {
		close(model)
		out.CloseSend()
	}
	k.Close()
	in.Close()
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if sends[0].busy || recvs[0].busy { // let the model's goroutines go
		for range 2 {
			select {
			case <-model:
			case model <- "":
			default:
			}
		}
	}
	synctest.Wait()
}

// TestSendAllocates nothing, and with Ack a chunk now and then.
func TestSendAllocates(t *testing.T) {
	out, in := pair(t, pipe.Options{Capacity: 60_000})
	ctx := within(t, 10*time.Second)
	data := make([]byte, 64)
	done := make(chan struct{})
	go func() {
		for range in.C() {
		}
		close(done)
	}()
	send := func() {
		if err := out.Send(ctx, data); err != nil {
			t.Error(err)
		}
	}
	for range 20_000 {
		send()
	}
	if n := testing.AllocsPerRun(20_000, send); n > 0.5 {
		t.Errorf("%.2f allocations a message, both ends", n)
	}
	out.CloseSend()
	<-done
}
