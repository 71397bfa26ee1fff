package main

import (
	"sync"
	"time"

	"github.com/sasha-s/go-deadlock"

	"github.com/surefoot-go/surefoot/locks"
)

// rw is what the libraries' locks have in common.
type rw interface {
	Lock()
	Unlock()
	RLock()
	RUnlock()
}

// tools make the locks of a library.
var tools = map[string]func(name string) rw{
	"locks":       func(name string) rw { return &locks.RWMutex{Name: name} },
	"go-deadlock": func(string) rw { return &deadlock.RWMutex{} },
	"sync":        func(string) rw { return &sync.RWMutex{} },
}

// How a lock kernel is played.
const (
	near   = "near"   // it happens not to deadlock this time
	struck = "struck" // it does
	well   = "well"   // the healthy twin
)

// lockKernel is one bug with locks. call plays it with a goroutine for each
// party; it may never return when struck.
type lockKernel struct {
	id    string
	what  string
	after string
	near  bool // whether there is an interleaving that goes well
	call  func(a, b, c rw, how string)
}

var lockKernels = []lockKernel{
	{"double", "a method that locks calls another that locks", "moby#36114", false, doubleLock},
	{"ab-ba", "two locks in two orders", "moby#4951", true, abba},
	{"read-write-read", "a recursive read lock, and a writer in between", "kubernetes#62464", true, readWriteRead},
	{"cycle", "three locks in a circle of orders", "class: lock order", true, circle},
	{"held", "a return in between leaves the lock locked", "cockroach#584", false, held},
	{"channel", "sends on a channel under a lock that the receiver wants first", "moby#28462", false, channelAndLock},
	{"gated", "two orders, but always under a third lock: it cannot deadlock", "no bug", false, gated},
}

func both(f ...func()) {
	var all sync.WaitGroup
	for _, fn := range f {
		all.Go(fn)
	}
	all.Wait()
}

func doubleLock(a, _, _ rw, how string) {
	remove := func() {
		if how != well { // the cure: the caller holds it already
			a.Lock()
			defer a.Unlock()
		}
	}
	a.Lock()
	defer a.Unlock()
	remove()
}

// take locks first, then, when the others have their first too, second.
func take(first, second rw, meet func()) {
	first.Lock()
	defer first.Unlock()
	meet()
	second.Lock()
	second.Unlock()
}

func abba(a, b, _ rw, how string) {
	var met sync.WaitGroup
	met.Add(2)
	meet := func() {}
	if how == struck {
		meet = func() { met.Done(); met.Wait() }
	}
	global := func() { take(a, b, meet) }
	device := func() { take(b, a, meet) }
	switch how {
	case struck:
		both(global, device)
	case near:
		both(global)
		both(device)
	default:
		both(global, func() { take(a, b, meet) })
	}
}

func readWriteRead(a, _, _ rw, how string) {
	inside := make(chan struct{})
	reader := func() {
		a.RLock()
		defer a.RUnlock()
		if how == struck {
			close(inside)
			time.Sleep(100 * time.Millisecond) // until the writer waits
		}
		if how != well {
			a.RLock()
			a.RUnlock()
		}
	}
	writer := func() {
		if how == struck {
			<-inside
		}
		a.Lock()
		a.Unlock()
	}
	if how == struck {
		both(reader, writer)
		return
	}
	both(reader)
	both(writer)
}

func circle(a, b, c rw, how string) {
	var met sync.WaitGroup
	met.Add(3)
	meet := func() { met.Done(); met.Wait() }
	if how != struck {
		meet = func() {}
	}
	last := func() { take(c, a, meet) }
	if how == well {
		last = func() { take(a, c, meet) }
	}
	parties := []func(){func() { take(a, b, meet) }, func() { take(b, c, meet) }, last}
	if how == struck {
		both(parties...)
		return
	}
	for _, p := range parties {
		both(p)
	}
}

func held(a, _, _ rw, how string) {
	both(func() {
		a.Lock()
		if how == well {
			a.Unlock()
		}
	})
	both(func() { a.Lock(); a.Unlock() })
}

func channelAndLock(a, _, _ rw, how string) {
	stop, sending := make(chan struct{}), make(chan struct{})
	both(func() {
		a.Lock()
		close(sending)
		if how == well {
			a.Unlock()
		}
		stop <- struct{}{}
		if how != well {
			a.Unlock()
		}
	}, func() {
		<-sending
		a.Lock()
		a.Unlock()
		<-stop
	})
}

func gated(a, b, c rw, _ string) {
	gate := c
	both(
		func() { gate.Lock(); take(a, b, func() {}); gate.Unlock() },
		func() { gate.Lock(); take(b, a, func() {}); gate.Unlock() },
	)
}
