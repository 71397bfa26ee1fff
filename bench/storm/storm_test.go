package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/shed"
)

const (
	calm    = 10 * time.Second
	lasting = 5 * time.Second
	slice   = 250 * time.Millisecond
)

// storm is one story: 10 clients, 600 calls a second of the 1000 the target
// can do.
type storm struct {
	kind     kind
	door     bool // with shed in front
	stubborn bool
}

// story puts the calls of one storm into slices of 250ms, by when they come.
type story struct {
	mu                 sync.Mutex
	calls, good, tries []int
}

// share of the calls that come in slices from to to and succeed.
func (y *story) share(from, to int) float64 {
	calls, good := sum(y.calls[from:to]), sum(y.good[from:to])
	if calls == 0 {
		return 1
	}
	return float64(good) / float64(calls)
}

func sum(ns []int) (n int) {
	for _, m := range ns {
		n += m
	}
	return n
}

const (
	second = int(time.Second / slice)
	end    = int((calm + lasting) / slice) // of the storm
	rate   = 600.0
)

// recovered is the first slice since which at least 95 % of the calls succeed in
// every second; the number of slices if there is none.
func (y *story) recovered() int {
	at := len(y.calls) - second
	if y.share(at, at+second) < 0.95 {
		return len(y.calls)
	}
	for at > end && y.share(at-1, at-1+second) >= 0.95 {
		at--
	}
	return at
}

// tellStorm watches s for a time after its end.
func tellStorm(t *testing.T, s storm, client func() caller, after time.Duration, seed uint64) (f figure) {
	t.Helper()
	f = figure{Seed: seed, Values: map[string]float64{}}
	bubble(t, func() {
		begin := time.Now()
		srv := &target{places: make(chan struct{}, workers), kind: s.kind, from: begin.Add(calm), to: begin.Add(calm + lasting),
			stubborn: s.stubborn, off: make(chan struct{})}
		if s.door {
			srv.door = shed.New(shed.Settings{})
		}
		clients := make([]caller, 10)
		for i := range clients {
			clients[i] = client()
		}
		n := end + int(after/slice)
		y := &story{calls: make([]int, n), good: make([]int, n), tries: make([]int, n)}
		y.run(seed, clients, srv)
		close(srv.off)
		srv.work.Wait()

		f.Values["recovered"] = never
		since := end // what opens later is a relapse
		if at := y.recovered(); at < n {
			f.Values["recovered"] = (time.Duration(at-end) * slice).Seconds()
			since = at
		}
		watched := end + int(min(watch, after)/slice) // not what comes of it in the long run
		f.Values["mean"] = float64(sum(y.tries[:watched])) / float64(sum(y.calls[:watched]))
		for i := 0; i+second <= n; i++ {
			f.Values["peak"] = max(f.Values["peak"], float64(sum(y.tries[i:i+second]))/rate)
		}
		f.Values["during"] = y.share(int(calm/slice), end)
		for i := range n {
			f.Line = append(f.Line, float64(int(y.share(i, i+1)*1000))/1000)
		}
		f.Values["retrips"] = 0
		for _, c := range clients {
			if c.opened != nil {
				f.Values["retrips"] += float64(c.opened(begin.Add(time.Duration(since) * slice)))
			}
		}
	})
	return f
}

// run sends the calls and waits for them.
func (y *story) run(seed uint64, clients []caller, srv *target) {
	r := rand.New(rand.NewPCG(seed, 12))
	begin := time.Now()
	try := func(ctx context.Context) error {
		i := int(time.Since(begin) / slice)
		y.mu.Lock()
		if i < len(y.tries) {
			y.tries[i]++
		}
		y.mu.Unlock()
		return srv.serve(ctx)
	}
	var wg sync.WaitGroup
	for next := time.Duration(0); ; {
		next += time.Duration(r.ExpFloat64() / rate * 1e9)
		i := int(next / slice)
		if i >= len(y.calls) {
			break
		}
		time.Sleep(next - time.Since(begin))
		c := clients[r.IntN(len(clients))]
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			err := c.call(ctx, try)
			y.mu.Lock()
			defer y.mu.Unlock()
			y.calls[i]++
			if err == nil {
				y.good[i]++
			}
		})
	}
	wg.Wait()
}

// storms are the tables' cases; peers meet those without a door.
var storms = []struct {
	name string
	storm
	peers bool
}{
	{caseStall, storm{kind: stall}, true},
	{caseError, storm{kind: failures}, true},
	{caseStallDoor, storm{kind: stall, door: true}, false},
	{caseErrorDoor, storm{kind: failures, door: true}, false},
	{caseStallStubborn, storm{kind: stall, stubborn: true}, true},
	{caseErrorStubborn, storm{kind: failures, stubborn: true}, false},
}

// How long a storm's end is watched: those that do not recover soon for longer.
const (
	watch = 30 * time.Second
	long  = 90 * time.Second
)

var callers = []struct {
	name  string
	open  func() caller
	after time.Duration
}{
	{self, func() caller { return ours(resilience.Default()) }, watch},
	{classic, func() caller { return ours(resilience.Classic()) }, long},
	{"failsafe-go, as in its documentation", safelyByDocs, long},
	{"failsafe-go, with our numbers", safelyTuned, long},
	{"retryablehttp and gobreaker", retryable, long},
	{"kratos", kratos, long},
	{"go-zero", gozero, long},
	{"plain loop, 3 retries", plain, long},
	{"none", none, long},
}
