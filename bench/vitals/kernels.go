package main

import (
	"context"
	"sync"
	"time"
)

// kernel is one bug, small. Its function is one request: with fix it is the
// healthy twin. A line that a good report names ends in // @ and the id.
type kernel struct {
	id    string
	what  string
	after string // the published bug it is modelled after, or its class
	call  func(l *lab, fix bool)
}

// lab is what the requests of a process share.
type lab struct {
	far  string // address of a process that is another service: HTTP
	grpc string // likewise, gRPC
	once sync.Once
	some map[string]any
	mu   sync.Mutex
}

// shared is made by the first request of a kernel.
func shared[T any](l *lab, make func() T) T {
	l.once.Do(func() { l.some = map[string]any{"": make()} })
	return l.some[""].(T)
}

// loose starts f and forgets it, as the bugs do.
func loose(f func()) { new(sync.WaitGroup).Go(f) }

var kernels = []kernel{
	{"late-answer", "the one who asked has gone after a time limit; the answer goes to an unbuffered channel", "kubernetes#5316", lateAnswer},
	{"stopped-watch", "cancel is called, but the sender does not look at the context", "kubernetes#25331", stoppedWatch},
	{"ticker", "a poller's ticker runs on: its done channel is never closed", "kubernetes#70277", ticker},
	{"dead-loop", "a question to a loop that has ended, without a way out", "etcd#6857", deadLoop},
	{"group-in-loop", "WaitGroup.Wait inside the loop that starts what it waits for", "moby#25384", groupInLoop},
	{"missed-signal", "Cond.Wait without a Signal on one path", "moby#30408", missedSignal},
	{"lock-and-send", "sends on a channel under a lock that the receiver wants first", "moby#28462", lockAndSend},
	{"rows", "the rows of a query are not closed", "cockroach#13755", rowsLeft},
	{"no-unlock", "a return in between leaves the lock locked", "cockroach#584", noUnlock},
	{"no-close", "a worker ranges over a channel that nobody closes", "class: missing close", noClose},
	{"no-cancel", "a context is never cancelled; its watcher waits on", "class: lost cancel", noCancel},
	{"early-return", "the reader stops at the first error; the producer still sends", "class: abandoned receiver", earlyReturn},
	{"errgroup", "workers of an errgroup send to whom has left: Wait never returns", "class: errgroup with a blocked worker", errGroup},
	{"permit", "a permit is not given back on an error; the next requests wait", "class: leaked semaphore", permitLost},
	{"nil-channel", "a select whose channels are nil", "class: nil channel", nilChannel},
	{"body", "the body of a response is never closed", "class: net/http, body", bodyOpen},
	{"no-timeout", "a client without time limits, and a server that hangs", "class: net/http, timeouts", noTimeout},
	{"stream", "a gRPC stream is neither read to its end nor cancelled", "class: grpc-go, stream", streamOpen},
}

func lateAnswer(_ *lab, fix bool) {
	size := 0
	if fix {
		size = 1
	}
	answer := make(chan int, size)
	gone := make(chan struct{})
	loose(func() { // @ late-answer
		<-gone
		answer <- 1 // @ late-answer
	})
	select { // the time limit is over before the answer is there
	case <-answer:
	case <-time.After(time.Microsecond):
	}
	close(gone)
}

func stoppedWatch(_ *lab, fix bool) {
	ctx, cancel := context.WithCancel(context.Background())
	results, failed := make(chan error), make(chan error, 1)
	loose(func() { // @ stopped-watch
		err := <-failed
		if !fix {
			results <- err // @ stopped-watch
			return
		}
		select {
		case results <- err:
		case <-ctx.Done():
		}
	})
	failed <- context.Canceled
	cancel()
}

func ticker(_ *lab, fix bool) {
	done := make(chan struct{})
	ticks := make(chan struct{}, 1)
	loose(func() { // @ ticker
		t := time.NewTicker(time.Hour)
		defer t.Stop()
		for {
			select { // @ ticker
			case <-t.C:
				ticks <- struct{}{}
			case <-done:
				return
			}
		}
	})
	if fix {
		close(done)
	}
}

func deadLoop(_ *lab, fix bool) {
	status, done := make(chan int), make(chan struct{})
	close(done) // the loop has seen its stop, and will receive no more
	if !fix {
		status <- 1 // @ dead-loop
		return
	}
	select {
	case status <- 1:
	case <-done:
	}
}

func groupInLoop(_ *lab, fix bool) {
	var group sync.WaitGroup
	group.Add(2)
	for range 2 {
		loose(group.Done)
		if !fix {
			group.Wait() // @ group-in-loop
		}
	}
	group.Wait()
}

func missedSignal(_ *lab, fix bool) {
	var mu sync.Mutex
	active := sync.NewCond(&mu)
	failed := false
	loose(func() {
		mu.Lock()
		defer mu.Unlock()
		failed = true
		if fix {
			active.Broadcast()
		}
	})
	mu.Lock()
	defer mu.Unlock()
	for !failed || !fix {
		active.Wait() // @ missed-signal
	}
}

func lockAndSend(_ *lab, fix bool) {
	var container sync.Mutex
	stop, probe := make(chan struct{}), make(chan struct{})
	loose(func() { // @ lock-and-send
		<-probe
		container.Lock() // @ lock-and-send
		container.Unlock()
		<-stop
	})
	container.Lock()
	if fix {
		container.Unlock()
	}
	close(probe)
	stop <- struct{}{} // @ lock-and-send
	if !fix {
		container.Unlock()
	}
}

func noUnlock(l *lab, fix bool) {
	l.mu.Lock() // @ no-unlock
	if !fix {
		return
	}
	l.mu.Unlock()
}

func noClose(_ *lab, fix bool) {
	jobs := make(chan int, 1)
	loose(func() { // @ no-close
		for range jobs { // @ no-close
		}
	})
	jobs <- 1
	if fix {
		close(jobs)
	}
}

func noCancel(_ *lab, fix bool) {
	ctx, cancel := context.WithCancel(context.Background())
	loose(func() { // @ no-cancel
		<-ctx.Done() // @ no-cancel
	})
	if fix {
		cancel()
	}
	_ = cancel
}

func earlyReturn(_ *lab, fix bool) {
	size := 0
	if fix {
		size = 3
	}
	items := make(chan int, size)
	loose(func() { // @ early-return
		for i := range 3 {
			items <- i // @ early-return
		}
	})
	<-items // an error: the rest is of no use
}

func permitLost(l *lab, fix bool) {
	permits := shared(l, func() chan struct{} { return make(chan struct{}, 10) })
	permits <- struct{}{} // @ permit
	if fix {
		<-permits
	}
}

func nilChannel(_ *lab, fix bool) {
	var updates chan int
	quit := make(chan struct{})
	loose(func() { // @ nil-channel
		stop := quit
		if !fix {
			stop = nil // "disabled" for good
		}
		select { // @ nil-channel
		case <-updates:
		case <-stop:
		}
	})
	close(quit)
}
